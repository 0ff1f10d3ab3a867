"""One update of a training as a pure function: what goes in and what comes out, the same for every backend.

Arrays are numpy, in the canonical layouts; a backend brings them to its own and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.tensors import Array, Arrays

AVERAGE = "average"
"""The slot that keeps the running mean of a weight."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A training between two updates: every weight, statistics too, and every slot of each, by their names.

    There are no slots before the first update; `update` counts those that were made.
    """

    weights: Mapping[str, Array]
    slots: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    update: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs by their names, channels last, and the labels of the images: int64 [n], or one-hot."""

    inputs: Arrays
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What one update gave: the mean over its batches of the loss (with the regulariser) and of the gradients.

    `outputs` is what the loss read, a batch after the other. The gradients are those before clipping, of every trained
    weight.
    """

    state: State
    loss: float
    outputs: Array
    gradients: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """What a backend derives of sum(outputs * cotangents), in float64 and in the canonical layouts.

    `outputs` is what it computed on the way, `weights` has every trained weight and `inputs` every input. Where they
    were asked for, `values` has the result of every row, and `rows` the derivative by it.
    """

    outputs: Arrays
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    values: Mapping[str, Array] = field(default_factory=dict)
    rows: Mapping[str, Array] = field(default_factory=dict)
