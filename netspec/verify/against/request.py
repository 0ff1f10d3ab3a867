"""What is asked of a file that others made, and how asking ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.network import Network
from netspec.spec.model import VerifySettings
from netspec.verify.result import Failure, Stage, Symptom

if TYPE_CHECKING:
    from netspec.tensors import Order, Weights

LIMIT_S = 300.0
"""How long a file may take to be read, and to be run, unless another limit is given."""
OTHER: Mapping[Order, Order] = {"first": "last", "last": "first"}


@dataclass(frozen=True)
class Request:
    """What is asked of a file, beside the network."""

    settings: VerifySettings
    weights: Weights | None = None
    """The weights that the file should have; when not given, those that it has."""
    turned: Callable[[], Weights | None] = lambda: None
    """Those of the same file with images flattened in the other order; None where it says it, or it is all the same."""
    given: str = ""
    """Where those come from, in words."""
    pixels: Network | None = None
    """The same network as it reads pixels from 0 to 255, where the spec says how."""
    mapping: Path | None = None
    ignore: Sequence[str] = ()
    flattened: Order | None = None
    limit_s: float = LIMIT_S


class Stopped(Exception):
    """Nothing more can be asked of the file, for this reason."""

    def __init__(self, stage: Stage, symptom: Symptom, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(stage=stage, symptom=symptom, message=message)
