"""Which row a training that diverged went wrong in: found afterwards, by taking its last steps once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from netspec.network import Network

if TYPE_CHECKING:
    from netspec.tensors import Array, Weights

What = Literal["images", "weights", "values", "loss", "gradient"]


@dataclass(frozen=True, slots=True)
class Culprit:
    """What was the first that was not finite, of which row, in which step of all, counted from 0."""

    step: int
    what: What
    row: str = ""

    def __str__(self) -> str:
        match self.what:
            case "images":
                return "an image of that batch has values that are not finite"
            case "loss":
                return "the values of every row were finite"
            case "gradient":
                return f"the first gradient that was not finite is that of row {self.row!r}"
            case "weights":
                return f"row {self.row!r} is the first whose weights were not finite then"
            case "values":
                return f"row {self.row!r} is the first whose values were not finite"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A step that was taken once more: the images, the value of every row and its gradient, where it has one; the
    loss.
    """

    images: Array
    values: Mapping[str, Array]
    loss: float
    gradients: Mapping[str, Array]


def culprit_of(network: Network, step: int, weights: Weights, seen: Seen) -> Culprit | None:
    """What was not finite first in a step that began with these weights; None where all was.

    Rows are looked at in the order of the network, gradients in the other one, for that is how they come about.
    """
    rows: Sequence[str] = [row.name for row in network.rows]
    if not _finite(seen.images):
        return Culprit(step, "images")
    if (lost := row_of_weights(network, weights)) is not None:
        return Culprit(step, "weights", lost)
    for row in rows:
        if row in seen.values and not _finite(seen.values[row]):
            return Culprit(step, "values", row)
    if not _finite(seen.loss):
        return Culprit(step, "loss")
    for row in reversed(rows):
        if row in seen.gradients and not _finite(seen.gradients[row]):
            return Culprit(step, "gradient", row)
    return None


def row_of_weights(network: Network, weights: Weights) -> str | None:
    """The first row with a weight that is not finite."""
    for row in network.rows:
        if not all(_finite(weights[weight.name]) for node in row.nodes for weight in node.weights):
            return row.name
    return None


def _finite(array: Array | float) -> bool:
    import numpy as np

    return bool(np.isfinite(array).all())


def up_to(network: Network, value: str) -> Network:
    """The network that ends with a value, which a final Softmax or Sigmoid reads: what comes after it is left out."""
    from dataclasses import replace

    if value in network.results:
        return network
    kept = tuple(node for node in network.nodes if node.name not in network.results)
    return replace(network, nodes=kept, outputs={next(iter(network.outputs)): value}, uses=())
