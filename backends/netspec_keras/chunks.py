"""Training on JAX: a chunk is a few steps in one compiled program, which takes its images from those on the device.

Keras' trainer for JAX gives a step the state of the training and gets it back, so that `fit` may as well go on by
chunks. What changes from step to step, the learning rate too, comes with them. Importing this imports Keras and JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import jax
import keras
import numpy as np
from keras import ops

from netspec.data.draw import Drawn
from netspec_keras.augment import augmented
from netspec_keras.objective import Objective

if TYPE_CHECKING:
    from netspec_keras.batches import Batches

Chunk = Mapping[str, Any]
"""`images` that batches are taken from; for each of as many steps as there is room for the `chosen` ones [room, batch],
their `labels` [room, batch, ...], the `rates` of learning [room] and what is `drawn` for augmentation, by its name
[room, batch, ...]; and the `count` of steps that are to be taken.
"""
State = tuple[Any, ...]


class Chunks(keras.utils.PyDataset):  # type: ignore[misc]
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


class ChunkedObjective(Objective):
    """An objective of which `fit` and `evaluate` are given chunks."""

    def train_step(self, state: State, data: tuple[Chunk]) -> tuple[Mapping[str, Any], State]:
        """Every step of a chunk after the other; the means over the epoch until then, and the state."""
        take, (chunk,) = super().train_step, data
        own = [id(variable) for variable in self.optimizer.variables]
        at = own.index(id(self.optimizer.learning_rate))

        def step(index: Any, state: State) -> State:
            trained, fixed, kept, sums = state
            kept = [*kept[:at], chunk["rates"][index].astype(kept[at].dtype), *kept[at + 1 :]]
            _, found = take((trained, fixed, kept, sums), self._batch(chunk, index))
            return _like(state, found)

        state = _taken(chunk, step, state)
        return self._means(state[-1]), state

    def test_step(self, state: State, data: tuple[Chunk]) -> tuple[Mapping[str, Any], State]:
        """As `train_step`, without learning."""
        take, (chunk,) = super().test_step, data

        def step(index: Any, state: State) -> State:
            _, found = take(state, self._batch(chunk, index))
            return _like(state, found)

        state = _taken(chunk, step, state)
        return self._means(state[-1]), state

    def _batch(self, chunk: Chunk, index: Any) -> tuple[Any, Any]:
        images, labels = chunk["images"][chunk["chosen"][index]], chunk["labels"][index]
        if "drawn" not in chunk:
            return ops.cast(images, "float32"), labels
        assert self.augment is not None
        drawn = {field.name: None for field in fields(Drawn)} | {
            name: array[index] for name, array in chunk["drawn"].items()
        }
        return augmented(images, Drawn(**drawn), self.augment), labels

    def _means(self, sums: Sequence[Any]) -> Mapping[str, Any]:
        with keras.StatelessScope(state_mapping=list(zip(self.metrics_variables, sums, strict=True))):
            found: Mapping[str, Any] = self.get_metrics_result()
        return found


def _taken(chunk: Chunk, step: Callable[[Any, State], State], state: State) -> State:
    """The state after the steps of a chunk; how many they are is no part of the program."""
    if len(chunk["chosen"]) == 1:
        return step(0, state)
    found: State = jax.lax.fori_loop(0, chunk["count"], step, state)
    return found


def _like(state: State, found: State) -> State:
    """The state that a step gave, in the containers of the one that it was given."""
    return tuple(type(before)(after) for before, after in zip(state, found, strict=True))
