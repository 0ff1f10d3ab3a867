"""Images and labels in batches, as Keras' `fit` takes them. Importing this imports Keras."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from netspec.data.batches import batch_slices, epoch_order
from netspec.memory import memory_available
from netspec_keras.augment import Augmentation

if TYPE_CHECKING:
    from netspec.backend import Array
    from netspec.data.dataset import Split


RESIDENT_BYTES, SPARED = 2**30, 4
"""What images may take at most to be copied to where TensorFlow or JAX read them by themselves; and what part of the
memory that is available: the training and the other split need the rest."""
PREFETCHED = 2
"""How many batches are made while a step computes."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Images in batches of one epoch after the other, in the order that a seed gives each, or as they lie."""

    def __init__(
        self, split: Split, size: int, seed: int | None = None, augmentation: Augmentation | None = None
    ) -> None:
        super().__init__()
        self.split, self.seed, self.augmentation = split, seed, augmentation
        self.places, self.done = batch_slices(len(split), size), 0
        """Where each batch lies in the order, and how many are left out, for they were before a checkpoint."""
        self._placed: Any = None
        """The order where TensorFlow's own pipeline reads it."""
        self.begin(1)

    def source(self, room: int = 1, most: int | None = None, rate_of: Callable[[int], float] | None = None) -> Any:
        """What `fit` reads: these batches, which TensorFlow and JAX take from memory by themselves where they can.

        On JAX several steps go at once in programs with room for so many, and every one has its rate.
        """
        if keras.backend.backend() == "jax":
            from netspec_keras.chunks import Chunks

            return Chunks(self, self._resident, room, min(most or room, room), rate_of)
        if keras.backend.backend() != "tensorflow" or self.augmentation is not None or self._resident is None:
            return self
        import tensorflow as tf

        with tf.device("cpu"):
            images, labels = self._resident
            order = self._placed = tf.Variable(self.order, trainable=False)
            starts, stops = (
                tf.constant([getattr(place, end) for place in self.places], tf.int64) for end in ("start", "stop")
            )

            def batch(step: Any) -> tuple[Any, Any]:
                chosen = order[starts[step] : stops[step]]
                return tf.cast(tf.gather(images, chosen), tf.float32), tf.gather(labels, chosen)

            return tf.data.Dataset.range(self.done, len(self.places)).map(batch).prefetch(PREFETCHED)

    @cached_property
    def _resident(self) -> Any:
        """All images on the device that computes, for TensorFlow on the CPU and with their labels, or None where they
        are too large. One copy for all that `fit` reads; once it is there, less memory is available.
        """
        needed, available = self.split.images.nbytes, memory_available()
        if needed > RESIDENT_BYTES or (available is not None and SPARED * needed > available):
            return None
        if keras.backend.backend() == "jax":
            return keras.ops.convert_to_tensor(self.split.images)
        import tensorflow as tf

        with tf.device("cpu"):
            return tf.constant(self.split.images), tf.constant(self.split.labels)

    def begin(self, epoch: int) -> None:
        """Take the order of this epoch, counted from 1."""
        count = len(self.split)
        self.order = np.arange(count) if self.seed is None else epoch_order(count, self.seed, epoch)
        if self._placed is not None:
            self._placed.assign(self.order)
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
