"""What updates gave, held against each other by L2 distance, and how near the worst came to what was granted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from netspec.reference.table import Array
from netspec.tensors import Precision
from netspec.training.stepping import State, Update
from netspec.verify.result import Difference, Quantity


class Key(NamedTuple):
    """One thing that an update gives: what it is, of which weight, and for a slot its name."""

    quantity: Quantity
    weight: str = ""
    slot: str = ""

    def __str__(self) -> str:
        return f"{self.weight}, {self.slot}" if self.slot else self.weight or self.quantity


def measured(update: Update) -> dict[Key, Array]:
    """What an update gave of itself, before the optimiser: loss, gradients and statistics."""
    found = {Key("loss"): np.array([update.loss])}
    found |= {Key("gradient", name): gradient for name, gradient in update.gradients.items()}
    others = (item for item in update.state.weights.items() if item[0] not in update.gradients)
    return found | {Key("statistic", name): array for name, array in others}


def moved(state: State) -> dict[Key, Array]:
    """What the optimiser moved: every weight that has slots, even none of them, and its slots."""
    found: dict[Key, Array] = {}
    for name, slots in state.slots.items():
        found |= {Key("slot", name, slot): array for slot, array in slots.items()}
        found[Key("weight", name)] = state.weights[name]
    return found


def size_of(array: Array) -> float:
    """The L2 norm of all numbers."""
    # Not by BLAS, whose threads cost more than they bring here.
    return float(np.sqrt(np.square(np.asarray(array, np.float64)).sum()))


class Tally:
    """The comparisons of one precision: the largest error over what was granted, by quantity, is kept."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.worst: dict[Quantity, float] = {}

    def check(
        self,
        step: int,
        key: Key,
        left: tuple[str, Array],
        right: tuple[str, Array],
        granted: float,
    ) -> Iterator[Difference]:
        """The difference of what two sides have, each with its name, where it is larger than granted."""
        found, expected = (np.asarray(value, np.float64) for _, value in (left, right))
        error = size_of(found - expected)
        ratio = 0.0 if error == 0 else error / granted if granted > 0 else float("inf")
        self.worst[key.quantity] = max(self.worst.get(key.quantity, 0.0), ratio)
        if ratio <= 1:  # which no comparison with what is not a number is
            return
        place = np.unravel_index(int(np.argmax(np.abs(found - expected))), expected.shape)
        scale = size_of(expected) or 1.0
        yield Difference(
            step=step + 1,
            precision=self.precision,
            quantity=key.quantity,
            name=str(key),
            left=left[0],
            right=right[0],
            place=tuple(map(int, place)),
            left_value=float(found[place]),
            right_value=float(expected[place]),
            error=error / scale,
            granted=granted / scale,
        )
