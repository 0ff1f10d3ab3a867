"""What a search for causes may cost, counted in products, so that what is found does not depend on the machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netspec.network import Node

OF_A_CALL = 1e5
"""Evaluating a small node takes as long as so many products."""


class SpentError(Exception):
    """The work that is allowed does not suffice for what comes next."""


@dataclass
class Work:
    """So much may be computed yet: without a limit, unless one is said."""

    left: float = float("inf")
    spent: bool = False
    """Whether it did not suffice; then nothing more is computed."""

    def spend(self, cost: float) -> None:
        """Take what comes next off it; raises SpentError where that is more than is left."""
        self.spent = self.spent or cost > self.left
        if self.spent:
            raise SpentError
        self.left -= cost


def products(nodes: Iterable[Node], samples: int, of_a_value: float = 1.0) -> float:
    """What evaluating these nodes costs, where a value takes as long as so many products."""
    return sum(OF_A_CALL + samples * (node.macs + of_a_value * node.output.size) for node in nodes)
