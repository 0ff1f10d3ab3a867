"""Images and labels in batches, as Keras' `fit` takes them. Importing this imports Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from netspec.data.batches import batch_slices, epoch_order
from netspec_keras.augment import Augmentation

if TYPE_CHECKING:
    from netspec.backend import Array
    from netspec.data.dataset import Split


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Images in batches of one epoch after the other, in the order that a seed gives each, or as they lie."""

    def __init__(
        self, split: Split, size: int, seed: int | None = None, augmentation: Augmentation | None = None
    ) -> None:
        super().__init__()
        self.split, self.seed, self.augmentation = split, seed, augmentation
        self.places, self.done = batch_slices(len(split), size), 0
        """Where each batch lies in the order, and how many are left out, for they were before a checkpoint."""
        self.begin(1)

    def begin(self, epoch: int) -> None:
        """Take the order of this epoch, counted from 1."""
        count = len(self.split)
        self.order = np.arange(count) if self.seed is None else epoch_order(count, self.seed, epoch)
        if self.augmentation is not None:
            self.augmentation.begin(count, epoch)

    def __len__(self) -> int:
        return len(self.places) - self.done

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        chosen = self.order[self.places[index + self.done]]
        images, labels = self.split.images[chosen], self.split.labels[chosen]
        return (
            (images.astype(np.float32), labels)
            if self.augmentation is None
            else self.augmentation(images, labels, chosen)
        )
