"""The losses: the value of each and its gradient by what it reads, in float64.

A loss has a value for every image; over the images it is their weighted mean. What the losses of a softmax or a
sigmoid read are logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from netspec.reference.table import Values
from netspec.training.loss import class_labels, loss_targets

if TYPE_CHECKING:
    from netspec.reference.table import Array
    from netspec.training.loss import Loss, LossName

    Each = tuple[Values, Values]
    """The value for every image [n], and its gradient by the outputs [n, outputs]."""


def loss_and_gradient(loss: Loss, outputs: Array, labels: Array) -> tuple[float, Values]:
    """The value of a loss and its gradient by the outputs [n, outputs] that it reads.

    Labels are classes, int64 [n], or one-hot rows [n, outputs], which mean the same.
    """
    outputs = outputs.astype(np.float64)
    targets = loss_targets(labels, outputs.shape[1]).astype(np.float64)
    values, gradients = LOSSES[loss.name](loss, outputs, targets)
    counts = image_weights(loss, targets)
    total = counts.sum() if loss.mean_over == "weights" else float(len(counts))
    return float((values * counts).sum() / total), gradients * (counts / total)[:, np.newaxis]


def image_weights(loss: Loss, targets: Values) -> Values:
    """How much each image counts, float64 [n], by its class; `targets` are one-hot, or one 0 or 1 each."""
    if not loss.class_weights:
        return np.ones(len(targets))
    weights: Values = np.array(loss.class_weights)[class_labels(targets)]
    return weights


def log_softmax(x: Values) -> Values:
    """log(exp(x) / sum(exp(x))) over the last axis."""
    shifted = x - x.max(1, keepdims=True)
    found: Values = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found


def cross_entropy(loss: Loss, x: Values, y: Values) -> Each:
    """-sum(t * log softmax(x)), where the targets t = y * (1 - s) + s / classes are smoothed by s."""
    t, log_p = smoothed(loss, y, y.shape[1]), log_softmax(x)
    return -(t * log_p).sum(1), np.exp(log_p) * t.sum(1, keepdims=True) - t


def kl_divergence(loss: Loss, x: Values, y: Values) -> Each:
    """sum(t * (log t - log softmax(x))), where 0 * log 0 = 0 and t is smoothed as for cross_entropy."""
    t = smoothed(loss, y, y.shape[1])
    entropy = (t * np.log(np.where(t > 0, t, 1.0))).sum(1)
    values, gradients = cross_entropy(loss, x, y)
    return values + entropy, gradients


def binary_cross_entropy(loss: Loss, x: Values, y: Values) -> Each:
    """The mean over the outputs of -(t * log p + (1 - t) * log(1 - p)), p = sigmoid(x), t = y * (1 - s) + s / 2."""
    t = smoothed(loss, y, 2)
    # log(1 + exp(x)) - t * x, which is the same and never overflows.
    return (np.logaddexp(0, x) - t * x).mean(1), (sigmoid(x) - t) / x.shape[1]


def smoothed(loss: Loss, y: Values, classes: int) -> Values:
    """The targets, of which `label_smoothing` is spread evenly over the classes."""
    return y * (1 - loss.label_smoothing) + loss.label_smoothing / classes


def sigmoid(x: Values) -> Values:
    """1 / (1 + exp(-x))."""
    found: Values = np.exp(-np.logaddexp(0, -x))
    return found


def mean_squared_error(loss: Loss, x: Values, y: Values) -> Each:
    """The mean over the outputs of (x - y)^2."""
    return np.square(x - y).mean(1), 2 * (x - y) / x.shape[1]


def mean_absolute_error(loss: Loss, x: Values, y: Values) -> Each:
    """The mean over the outputs of |x - y|; at 0 its gradient is 0."""
    return np.abs(x - y).mean(1), np.sign(x - y) / x.shape[1]


def huber(loss: Loss, x: Values, y: Values) -> Each:
    """The mean over the outputs of d^2 / 2 where |d| <= delta, else delta * (|d| - delta / 2), d = x - y."""
    off, delta = x - y, loss.delta
    size = np.abs(off)
    values = np.where(size <= delta, off**2 / 2, delta * (size - delta / 2))
    return values.mean(1), np.clip(off, -delta, delta) / x.shape[1]


def hinge(loss: Loss, x: Values, y: Values) -> Each:
    """The mean over the outputs of max(0, 1 - s * x), where s is 1 for the image's class and -1 for others."""
    sign = 2 * y - 1
    margin = 1 - sign * x
    return np.maximum(margin, 0).mean(1), np.where(margin > 0, -sign, 0.0) / x.shape[1]


def focal(loss: Loss, x: Values, y: Values) -> Each:
    """-alpha * sum(y * (1 - p)^gamma * log p), p = softmax(x) (Lin et al. 2017; Keras' categorical form)."""
    log_p = log_softmax(x)
    p, rest = np.exp(log_p), -np.expm1(log_p)
    values = -loss.alpha * (y * rest**loss.gamma * log_p).sum(1)
    # p times the derivative by p; through the softmax that becomes q - p * sum(q).
    q = -loss.alpha * y * (rest**loss.gamma - loss.gamma * p * rest ** (loss.gamma - 1) * log_p)
    return values, q - p * q.sum(1, keepdims=True)


def binary_focal(loss: Loss, x: Values, y: Values) -> Each:
    """The mean over the outputs of -a * (1 - p)^gamma * log p, p the sigmoid's share for what y says.

    a is alpha where y is 1 and 1 - alpha where it is 0 (Lin et al. 2017, equation 5).
    """
    sign, alpha = 2 * y - 1, np.where(y > 0.5, loss.alpha, 1 - loss.alpha)
    log_p = -np.logaddexp(0, -sign * x)
    p, rest = np.exp(log_p), sigmoid(-sign * x)
    values = -alpha * rest**loss.gamma * log_p
    gradients = -sign * alpha * rest**loss.gamma * (rest - loss.gamma * p * log_p)
    return values.mean(1), gradients / x.shape[1]


LOSSES: Mapping[LossName, Callable[[Loss, Values, Values], Each]] = {
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
