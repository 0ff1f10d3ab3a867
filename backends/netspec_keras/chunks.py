"""Training on JAX: a chunk is a few steps in one compiled program, which takes its images from those on the device.

Keras' trainer for JAX gives a step the state of the training and gets it back, so that `fit` may as well go on by
chunks. What changes from step to step, the learning rate too, comes with them. Importing this imports Keras and JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import jax
import keras
from keras import ops

from netspec.data.draw import Drawn
from netspec_keras.augment import augmented
from netspec_keras.batches import Chunk
from netspec_keras.objective import Objective

State = tuple[Any, ...]


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
