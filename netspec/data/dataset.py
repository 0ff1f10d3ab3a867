"""Images with labels, split for training, for choosing the best epoch and for the final test."""

from __future__ import annotations

import mmap
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

    def __reduce__(self) -> tuple[Any, ...]:
        # What is mapped from a file is mapped again in another process, not sent there.
        return _unpacked, (_packed(self.images), _packed(self.labels))

    def take(self, indices: NDArray[np.int64]) -> Split:
        """The images and labels at these places."""
        return Split(self.images[indices], self.labels[indices])


def _packed(array: NDArray[Any]) -> Any:
    whole = isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)
    return str(array.filename) if whole and isinstance(array, np.memmap) else array


def _unpacked(images: Any, labels: Any) -> Split:
    return Split(*(np.load(part, mmap_mode="c") if isinstance(part, str) else part for part in (images, labels)))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A data set: the names of its classes, by label, and its splits; not every one has images for a final test."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None = None
    skipped: tuple[str, ...] = ()
    """The images that could not be decoded and were left out."""
    scale: tuple[tuple[float, float], ...] = ()
    """For each column that was standardised its mean and standard deviation."""
