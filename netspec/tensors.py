"""What passes between rooms: the type of a value, arrays by their names, and how a backend keeps them.

Arrays are numpy, in the canonical layout: the batch first, the channels last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]
    """Batches by the names of the network's inputs, or of its outputs."""
    Weights = Mapping[str, NDArray[np.float32]]

Precision = Literal["float32", "float64"]
Order = Literal["first", "last"]
"""Where the channels of a value stand in a backend: before or after the spatial axes."""


AXES: Mapping[int, tuple[str, ...]] = {
    1: ("channels",),
    2: ("length", "channels"),
    3: ("height", "width", "channels"),
    4: ("depth", "height", "width", "channels"),
}
"""The names of a value's axes, by how many there are."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a value: its shape without the batch, channels last.

    >>> str(TensorType((28, 28, 64)))
    '28x28x64'
    """

    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """The size of the last axis."""
        return self.shape[-1]

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of every axis but the last."""
        return self.shape[:-1]

    @property
    def rank(self) -> int:
        """How many axes there are, without the batch."""
        return len(self.shape)

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of its axes; the numbers of a flat vector are its channels.

        >>> TensorType((28, 28, 64)).axes, TensorType((100,)).axes
        (('height', 'width', 'channels'), ('channels',))
        """
        return AXES[self.rank]

    @property
    def size(self) -> int:
        """How many numbers one sample has."""
        return prod(self.shape)

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a canonical weight lives in a backend: its name there, its order of axes, its shape after that.

    `axes` transposes the canonical array, then `shape` reshapes it; both undone by `recover`, bit for bit.
    """

    name: str
    axes: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    def place(self, canonical: Array) -> Array:
        """The canonical array as the backend keeps it."""
        import numpy as np

        array = canonical if self.axes is None else canonical.transpose(self.axes)
        return np.ascontiguousarray(array if self.shape is None else array.reshape(self.shape))

    def placed_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a canonical array of this shape as the backend keeps it.

        >>> Placement("conv.weight", axes=(3, 2, 0, 1)).placed_shape((5, 4, 3, 8))
        (8, 3, 5, 4)
        """
        if self.shape is not None:
            return self.shape
        return tuple(shape if self.axes is None else (shape[axis] for axis in self.axes))

    def recover(self, placed: Array, canonical_shape: Sequence[int]) -> Array:
        """The backend's array in the canonical layout."""
        import numpy as np

        if self.axes is None:
            return np.ascontiguousarray(placed.reshape(canonical_shape))
        between = placed.reshape([canonical_shape[axis] for axis in self.axes])
        return np.ascontiguousarray(between.transpose([self.axes.index(axis) for axis in range(len(self.axes))]))


def channels_first(rank: int) -> tuple[int, ...]:
    """The axes that bring a batch of channels-last values of this rank (without the batch) to channels first.

    >>> channels_first(3)
    (0, 3, 1, 2)
    """
    return (0, rank, *range(1, rank))


def channels_last(rank: int) -> tuple[int, ...]:
    """The axes that bring a batch of channels-first values back to channels last.

    >>> channels_last(3)
    (0, 2, 3, 1)
    """
    return (0, *range(2, rank + 1), 1)


def first_axis(axis: int, rank: int) -> int:
    """Where axis `axis` of a channels-last batch (0 is the batch, `rank` the channels) stands channels first."""
    return axis if axis == 0 else 1 if axis == rank else axis + 1
