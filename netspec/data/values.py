"""The range of the values that a network was trained on, and whether what it is given lies there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from netspec.data.preprocess import Preprocess, scaled

if TYPE_CHECKING:
    Array = NDArray[Any]

LOOKED_AT = 1000
"""Of so many images, or less than twice as many, the range is taken: reading all of a large data set takes long."""
OUTSIDE = 0.5
"""Values that lie outside by more than this share of the range are doubted: what is new is often a little outside."""
NARROW = 0.1
"""Values of which the range is less than this share are doubted too, as 0 to 1 where bytes are meant."""
ENOUGH = 64
"""Of fewer values the range says nothing: a row of a table may hold two that are alike."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest of some values, and how many there were."""

    least: float
    most: float
    count: int = 0

    def __str__(self) -> str:
        return f"{self.least:.4g} to {self.most:.4g}"

    @classmethod
    def of(cls, array: Array) -> Self:
        """That of an array, which has values.

        >>> str(Range.of(np.array([[0, 16], [4, 0.5]])))
        '0 to 16'
        """
        return cls(float(array.min()), float(array.max()), array.size)

    def joined(self, other: Range) -> Range:
        """That of both."""
        return Range(min(self.least, other.least), max(self.most, other.most), self.count + other.count)

    def doubts(self, given: Range) -> bool:
        """Whether values of the range `given` are hardly such as these, but scaled otherwise.

        >>> trained = Range(0, 16)
        >>> trained.doubts(Range(0, 255)), trained.doubts(Range(0, 1, 64)), trained.doubts(Range(-1, 17, 64))
        (True, True, False)
        """
        span = self.most - self.least
        outside = max(self.least - given.least, given.most - self.most)
        narrow = given.count >= ENOUGH and given.most - given.least < NARROW * span
        return outside > OUTSIDE * span or narrow


def trained_values(images: Array, preprocess: Preprocess | None) -> dict[str, list[float]]:
    """What a build notes of the images [n, ..., c] that it trains on: the range of the `data`, and that of the
    network's `input`, which preprocessing makes of them.
    """
    seen = images[:: max(1, len(images) // LOOKED_AT)]
    # Every channel has its own mean and deviation, and none of them turns the order of values round.
    axes = tuple(range(seen.ndim - 1))
    ends = np.stack([seen.min(axis=axes), seen.max(axis=axes)])
    read = ends if preprocess is None else scaled(ends, preprocess)
    return {name: [float(each.min()), float(each.max())] for name, each in (("data", ends), ("input", read))}


def known_range(facts: Mapping[str, Any] | None, *, pixels: bool) -> Range | None:
    """The range that a build noted among what is to be known of its weights, of the data's `pixels` or of the network's
    input; None where it noted none.
    """
    noted = ((facts or {}).get("values") or {}).get("data" if pixels else "input")
    return Range(*noted) if noted is not None else None
