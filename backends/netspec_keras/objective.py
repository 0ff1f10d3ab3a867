"""What a training minimises and what it counts beside it: a Keras model up to what the loss reads.

Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from netspec.data.augment import Augment
from netspec_keras.losses import read_labels


class Objective(keras.Model):
    """The model up to what the loss reads, and the loss: labels and outputs to one number, plus what weights add."""

    loss_of_data: Callable[[Any, Any], Any]
    accuracy: Accuracy
    penalty: Callable[[], Any] | None = None
    augment: Augment | None = None
    """What a step itself does to its images, where it takes them itself; see `chunks`."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """What is minimised; outputs may be narrower than float32, in which the loss is computed at least."""
        wide = keras.backend.result_type(y_pred.dtype, "float32")
        loss = self.loss_of_data(y, ops.cast(y_pred, wide))
        return loss if self.penalty is None else loss + self.penalty()

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Mapping[str, Any]:
        """The means over the epoch so far.

        Metrics that are given to `compile` are built from a first batch, which on JAX is no batch; see `chunks`.
        """
        self.accuracy.update_state(y, y_pred)
        found: Mapping[str, Any] = self.get_metrics_result()
        return found


class Accuracy(keras.metrics.Mean):
    """The fraction of outputs that say what the labels say; a single output above `threshold` means class 1."""

    def __init__(self, threshold: float) -> None:
        super().__init__(name="accuracy")
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        classes, _ = read_labels(y_true, y_pred)
        predicted = y_pred[:, 0] > self.threshold if y_pred.shape[-1] == 1 else ops.argmax(y_pred, axis=-1)
        right = ops.equal(ops.cast(predicted, "int32"), ops.cast(classes, "int32"))
        super().update_state(ops.cast(right, "float32"), sample_weight)
