"""The last steps of a training that diverged, taken once more to see which row went wrong.

Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import keras

from netspec.interrupt import STOP
from netspec.network import Network
from netspec.training.culprit import Culprit, Seen, culprit_of, row_of_weights, up_to
from netspec.training.loss import loss_input
from netspec.training.record import Record
from netspec_keras.batches import Batches
from netspec_keras.exact import Layers
from netspec_keras.gradients import DERIVE
from netspec_keras.model import build, set_weights
from netspec_keras.render import render_taps
from netspec_keras.training import ADAPTED, Training

if TYPE_CHECKING:
    from netspec.tensors import Array


class Found(Exception):
    """There is no need to go on: this was not finite first, if anything was."""

    def __init__(self, culprit: Culprit | None) -> None:
        super().__init__(culprit)
        self.culprit = culprit


class Again(keras.callbacks.Callback):
    """Takes the steps of `record` as another one, `lost`, took them, up to `last`, and looks at it and the one before.

    With `search` it only looks for the first step whose loss is not finite, or that leaves weights which are not.
    """

    def __init__(
        self,
        training: Training,
        batches: Batches,
        record: Record,
        lost: Record,
        last: int,
        search: Literal["loss", "weights"] | None = None,
    ) -> None:
        super().__init__()
        self.training, self.batches, self.record, self.lost = training, batches, record, lost
        self.last, self.search = last, search
        self.under_way = bool(batches.done)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Another order, unless a checkpoint left the epoch."""
        if not self.under_way:
            self.record.begin()
        self.under_way = False
        self.batches.begin(self.record.epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """The rate of the step; and at the last of them a look at what it will compute. Ctrl-C ends the search."""
        if STOP.is_set():
            raise Found(None)
        self.training.set_rate(self.record.rate_of(batch + self.batches.done))
        at = self._at(batch)
        if self.search is None and at >= self.last - self.record.settings.accumulate:
            images, labels = self.batches[batch]
            given = seen(self.training, self.record, images, labels)
            culprit = culprit_of(self.training.network, at, self.training.state(), given)
            if culprit is not None:
                raise Found(culprit)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """What the step left."""
        at = self._at(batch)
        if self.search == "loss":
            if not isfinite(float(logs["loss"])) or at == self.last:
                raise Found(Culprit(at, "loss"))
        elif self.search == "weights" or at == self.last:
            row = row_of_weights(self.training.network, self.training.state())
            if row is not None or at == self.last:
                raise Found(Culprit(at, "weights", row) if row is not None else None)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """As it was."""
        self.record.end_as(self.lost)

    def _at(self, batch: int) -> int:
        return (self.record.epoch - 1) * self.record.steps + self.batches.done + batch


def seen(training: Training, record: Record, images: Array, labels: Array) -> Seen:
    """A step as `training` would take it next, which it does not."""
    network = up_to(training.network, loss_input(training.network, record.settings.loss))
    model = build(render_taps(network), Layers(ADAPTED, {}))
    kept = {weight.name for weight in network.weights()}
    set_weights(model, network, {name: array for name, array in training.state().items() if name in kept})
    rows = [row.name for row in network.rows]
    at, truth = rows.index(_row_of(network)), keras.ops.convert_to_tensor(labels)

    def loss(results: Sequence[Any]) -> Any:
        return training.objective.compute_loss(y=truth, y_pred=results[at])

    derive = DERIVE[keras.backend.backend()]
    results, _, _, gradients = derive(model, [], [keras.ops.convert_to_tensor(images)], loss, True, True)
    return Seen(
        images,
        {row: _float32(value) for row, value in zip(rows, results, strict=True)},
        float(keras.ops.convert_to_numpy(loss(results))),
        {row: _float32(value) for row, value in zip(rows, gradients, strict=True) if value is not None},
    )


def _row_of(network: Network) -> str:
    return next(row.name for row in network.rows if row.result == network.output)


def _float32(value: Any) -> Array:
    array: Array = keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))
    return array
