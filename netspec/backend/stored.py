"""What a file of weights that others wrote holds: layers in the file's own order, with the arrays of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.tensors import Order

Succession = Literal["made", "depth", "kinds", "none"]
"""What the order of a file's layers means: as they were made; as they lie from the input to the output; the same, but
only among the layers of one kind; or nothing."""


AFFINE = "Affine"
"""The kind of layers that only multiply channels by constants and shift them: BatchNorms whose numbers were put
together, or no weights at all. They hold a gamma and a beta, a mean of zeros and a variance of ones."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """An array of a file, under the name that it has there.

    `array` stands in the layout that the backend's placements expect, in float32 where the file has another floating
    type; `dtype` and `shape` are those of the file. `role` is what its layer calls it, in the words of the
    placements, or empty where the file does not say.
    """

    name: str
    array: NDArray[Any]
    dtype: str
    shape: tuple[int, ...]
    role: str = ""


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer, a module or an operator of a file, with or without weights.

    `inputs` are the names of the layers that it reads, None where the file does not say; `ordered` whether it matters
    which is which, as where they are put side by side or subtracted. `kind` is the file's word for what it is, empty
    where there is none; `number` counts the layers of this kind in the order in which they were made, None where the
    file does not say.
    """

    name: str
    tensors: tuple[StoredTensor, ...] = ()
    inputs: tuple[str, ...] | None = None
    ordered: bool = False
    kind: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """All of a file.

    `flattens` is the order in which the file's network turns an image into a vector: channels first or last; None
    where the file does not say. `notes` are sentences on what was left out.
    """

    layers: tuple[StoredLayer, ...]
    succession: Succession
    flattens: Order | None = None
    notes: tuple[str, ...] = ()

    @property
    def tensors(self) -> list[StoredTensor]:
        """Every array, in the order of the layers."""
        return [tensor for layer in self.layers for tensor in layer.tensors]
