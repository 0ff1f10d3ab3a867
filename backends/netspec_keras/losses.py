"""The losses of `netspec.reference.loss` in Keras' operations. Importing this imports Keras.

Constants are made in double precision where a number of Python's own would pass through float32 on TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from netspec.training.loss import Loss, LossName


def loss_of(loss: Loss) -> Callable[[Any, Any], Any]:
    """The loss of labels and outputs [n, outputs], as one number.

    Labels are classes [n] or [n, 1], or one-hot rows [n, outputs].
    """

    def reduced(labels: Any, outputs: Any) -> Any:
        classes, targets = read_labels(labels, outputs)
        each = LOSSES[loss.name](loss, outputs, targets)
        if not loss.class_weights:
            return ops.mean(each)
        counts = ops.take(constant(np.array(loss.class_weights), outputs), classes)
        total = ops.sum(counts) if loss.mean_over == "weights" else ops.cast(ops.shape(outputs)[0], outputs.dtype)
        return ops.sum(each * counts) / total

    return reduced


def read_labels(labels: Any, outputs: Any) -> tuple[Any, Any]:
    """The classes int32 [n], and the targets [n, outputs] in the outputs' type: one-hot, or one 0 or 1 each."""
    count = outputs.shape[-1]
    if len(labels.shape) == 2 and labels.shape[-1] == count and count > 1:
        return ops.argmax(labels, axis=-1), ops.cast(labels, outputs.dtype)
    classes = ops.cast(ops.reshape(labels, (-1,)), "int32")
    if count == 1:
        return classes, ops.cast(ops.expand_dims(classes, -1), outputs.dtype)
    return classes, ops.one_hot(classes, count, dtype=outputs.dtype)


def constant(value: Any, like: Any) -> Any:
    """A constant in the type of a tensor, rounded once."""
    return ops.convert_to_tensor(np.asarray(value, keras.backend.standardize_dtype(like.dtype)))


def smoothed(loss: Loss, targets: Any, classes: int) -> Any:
    """The targets, of which `label_smoothing` is spread evenly over the classes."""
    if not loss.label_smoothing:
        return targets
    spread = constant(loss.label_smoothing / classes, targets)
    return targets * constant(1 - loss.label_smoothing, targets) + spread


def cross_entropy(loss: Loss, outputs: Any, targets: Any) -> Any:
    return ops.categorical_crossentropy(smoothed(loss, targets, outputs.shape[-1]), outputs, from_logits=True)


def binary_cross_entropy(loss: Loss, outputs: Any, targets: Any) -> Any:
    return ops.mean(ops.binary_crossentropy(smoothed(loss, targets, 2), outputs, from_logits=True), axis=-1)


def mean_squared_error(loss: Loss, outputs: Any, targets: Any) -> Any:
    return ops.mean(ops.square(outputs - targets), axis=-1)


def mean_absolute_error(loss: Loss, outputs: Any, targets: Any) -> Any:
    return ops.mean(ops.abs(outputs - targets), axis=-1)


def huber(loss: Loss, outputs: Any, targets: Any) -> Any:
    off, delta = outputs - targets, constant(loss.delta, outputs)
    size, half = ops.abs(off), constant(0.5, outputs)
    return ops.mean(ops.where(size <= delta, half * ops.square(off), delta * (size - half * delta)), axis=-1)


def kl_divergence(loss: Loss, outputs: Any, targets: Any) -> Any:
    t = smoothed(loss, targets, outputs.shape[-1])
    entropy = ops.sum(t * ops.log(ops.where(t > 0, t, ops.ones_like(t))), axis=-1)
    return entropy + cross_entropy(loss, outputs, targets)


def hinge(loss: Loss, outputs: Any, targets: Any) -> Any:
    return ops.mean(ops.relu(1 - (2 * targets - 1) * outputs), axis=-1)


def focal(loss: Loss, outputs: Any, targets: Any) -> Any:
    log_p = ops.log_softmax(outputs, axis=-1)
    each = targets * ops.power(-ops.expm1(log_p), constant(loss.gamma, outputs)) * log_p
    return constant(-loss.alpha, outputs) * ops.sum(each, axis=-1)


def binary_focal(loss: Loss, outputs: Any, targets: Any) -> Any:
    signed = (2 * targets - 1) * outputs
    alpha = targets * constant(loss.alpha, outputs) + (1 - targets) * constant(1 - loss.alpha, outputs)
    far = ops.power(ops.sigmoid(-signed), constant(loss.gamma, outputs))
    return ops.mean(-alpha * far * ops.log_sigmoid(signed), axis=-1)


LOSSES: Mapping[LossName, Callable[[Loss, Any, Any], Any]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "huber": huber,
    "kl_divergence": kl_divergence,
    "hinge": hinge,
    "focal": focal,
    "binary_focal": binary_focal,
}
