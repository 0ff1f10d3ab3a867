"""Images with labels, split for training, for choosing the best epoch and for the final test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images [n, *shape], channels last, uint8 or float32, as their source has them; labels int64 [n]."""

    images: NDArray[Any]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> Split:
        """The images and labels at these places."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A data set: the names of its classes, by label, and its splits; not every one has images for a final test."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None = None
