"""Images and labels in batches, on JAX in chunks of them, as Keras' `fit` takes them. Importing this imports Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from netspec.data.batches import batch_slices, epoch_order
from netspec.memory import memory_available
from netspec_keras.augment import Augmentation

if TYPE_CHECKING:
    from netspec.data.dataset import Split
    from netspec.tensors import Array


RESIDENT_BYTES, SPARED = 2**30, 4
"""What images may take at most to be copied to where TensorFlow or JAX read them by themselves; and what part of the
memory that is available there: the training and the other split need the rest."""
PREFETCHED = 2
"""How many batches are made while a step computes."""


Chunk = Mapping[str, Any]
"""`images` that batches are taken from; for each of as many steps as there is room for the `chosen` ones [room, batch],
their `labels` [room, batch, ...], the `rates` of learning [room] and what is `drawn` for augmentation, by its name
[room, batch, ...]; and the `count` of steps that are to be taken.
"""


class Batches(keras.utils.PyDataset):
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

    def at_once(self, most: int, *, steady: bool) -> int:
        """How many steps on these, of `most`, go with no Python between them; `steady` is a rate that stays as it is.

        On JAX all: each brings its rate. On TensorFlow Python sets the rate in between, and on torch it takes the step.
        """
        runtime = keras.backend.backend()
        return most if runtime == "jax" or (runtime == "tensorflow" and steady) else 1

    def source(self, room: int = 1, most: int | None = None, rate_of: Callable[[int], float] | None = None) -> Any:
        """What `fit` reads: these batches, which TensorFlow and JAX take from memory by themselves where they can.

        On JAX several steps go at once in programs with room for so many, and every one has its rate.
        """
        if keras.backend.backend() == "jax":
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
        needed, available = self.split.images.nbytes, device_memory()
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


class Chunks(keras.utils.PyDataset):
    """The batches of an epoch that `batches` has left, in chunks of at most `most` steps of one size.

    There is room for `room` steps in each: what is compiled, and so what is computed, depends on that alone.
    """

    def __init__(
        self, batches: Batches, images: Any, room: int, most: int, rate_of: Callable[[int], float] | None = None
    ) -> None:
        super().__init__()
        self.batches, self.images, self.room, self.rate_of = batches, images, room, rate_of
        self.spans = list(spans([place.stop - place.start for place in batches.places[batches.done :]], most))
        """The steps of each chunk, counted from the first that is left."""

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> tuple[Chunk]:
        batches = self.batches
        steps = [batches.done + step for step in self.spans[index]]
        chosen = np.stack([batches.order[batches.places[step]] for step in steps])
        chunk: dict[str, Any] = {"count": np.int32(len(steps))}
        if batches.augmentation is None:
            each = {"labels": batches.split.labels[chosen]}
        else:
            found = [batches.augmentation.drawn_for(batches.split.labels[row], row) for row in chosen]
            each = {"labels": np.stack([labels for labels, _ in found])}
            names = found[0][1].arrays()
            drawn = {name: np.stack([own.arrays()[name] for _, own in found]) for name in names}
            chunk["drawn"] = {name: _roomy(array, self.room) for name, array in drawn.items()}
        if self.rate_of is not None:
            each["rates"] = np.array([self.rate_of(step) for step in steps], np.float32)
        if self.images is None:  # they are not on the device: each chunk brings its own
            chunk["images"] = np.concatenate(_roomy(batches.split.images[chosen], self.room))
            chosen = np.arange(chosen.size).reshape(chosen.shape)
        else:
            chunk["images"] = self.images
        each["chosen"] = chosen.astype(np.int32)
        return (chunk | {name: _roomy(array, self.room) for name, array in each.items()},)


def _roomy(array: Any, room: int) -> Any:
    """An array whose first axis is that long; nothing reads what is added."""
    return np.pad(array, [(0, room - len(array)), *[(0, 0)] * (array.ndim - 1)])


def spans(sizes: Sequence[int], most: int) -> Iterator[range]:
    """Which batches go together: neighbours of one size, at most so many.

    >>> list(spans([8, 8, 8, 5], most=2))
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    begin = 0
    while begin < len(sizes):
        end = begin + 1
        while end < len(sizes) and end - begin < most and sizes[end] == sizes[begin]:
            end += 1
        yield range(begin, end)
        begin = end


def device_memory() -> int | None:
    """The bytes that are free where images would be copied to, or None where nobody says."""
    known = memory_stats() if keras.backend.backend() == "jax" else None
    return known["bytes_limit"] - known["bytes_in_use"] if known else memory_available()


def memory_stats() -> Mapping[str, int] | None:
    """What the device that JAX computes on says of its memory; None from a CPU, whose memory is the system's."""
    [device] = keras.ops.zeros(()).devices()
    found: Mapping[str, int] | None = device.memory_stats()
    return found
