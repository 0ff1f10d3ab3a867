"""The losses of `netspec.reference.loss` in PyTorch, with torch's own where they are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from netspec.training.loss import Loss, LossName

Reduction = Literal["mean", "none"]
"""The mean over the images, or the loss of each, [n]."""


def loss_of(loss: Loss) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The loss of outputs [n, outputs] for their targets and their labels int64 [n], as one number.

    Targets are labels for cross_entropy, which may also be one-hot, and one-hot (or 0 and 1) for all others.
    """
    function, part = LOSSES[loss.name], part_of(loss)
    if not loss.class_weights:
        return lambda outputs, targets, labels: function(loss, outputs, targets, "mean")
    return lambda outputs, targets, labels: part(outputs, targets, labels, labels)


def part_of(loss: Loss) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """What a part of a batch adds to its loss, from outputs, targets and labels, and the labels of all the batch."""
    function = LOSSES[loss.name]

    @cache
    def weights(dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.tensor(loss.class_weights, dtype=dtype, device=device)

    def part(outputs: Tensor, targets: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        each = function(loss, outputs, targets, "none")
        if not loss.class_weights:
            return each.sum() / len(whole)
        counts = weights(outputs.dtype, outputs.device)
        total = counts[whole].sum() if loss.mean_over == "weights" else len(whole)
        return (each * counts[labels]).sum() / total

    return part


def _per_image(found: Tensor) -> Tensor:
    """The mean over the outputs, where that over all was not taken yet."""
    return found.mean(1) if found.ndim else found


def _reduced(each: Tensor, reduction: Reduction) -> Tensor:
    return each.mean() if reduction == "mean" else each


def cross_entropy(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    return F.cross_entropy(outputs, targets, label_smoothing=loss.label_smoothing, reduction=reduction)


def binary_cross_entropy(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    if loss.label_smoothing:
        targets = targets * (1 - loss.label_smoothing) + loss.label_smoothing / 2
    return _per_image(F.binary_cross_entropy_with_logits(outputs, targets, reduction=reduction))


def mean_squared_error(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    return _per_image(F.mse_loss(outputs, targets, reduction=reduction))


def mean_absolute_error(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    return _per_image(F.l1_loss(outputs, targets, reduction=reduction))


def huber(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    return _per_image(F.huber_loss(outputs, targets, delta=loss.delta, reduction=reduction))


def kl_divergence(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    targets = targets * (1 - loss.label_smoothing) + loss.label_smoothing / outputs.shape[1]
    return _reduced(F.kl_div(outputs.log_softmax(1), targets, reduction="none").sum(1), reduction)


def hinge(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    return _reduced(F.relu(1 - (2 * targets - 1) * outputs).mean(1), reduction)


def focal(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    log_p = outputs.log_softmax(1)
    each = (targets * (-torch.expm1(log_p)) ** loss.gamma * log_p).sum(1)
    return _reduced(-loss.alpha * each, reduction)


def binary_focal(loss: Loss, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    signed = (2 * targets - 1) * outputs
    alpha = targets * loss.alpha + (1 - targets) * (1 - loss.alpha)
    return _reduced((-alpha * torch.sigmoid(-signed) ** loss.gamma * F.logsigmoid(signed)).mean(1), reduction)


LOSSES: Mapping[LossName, Callable[[Loss, Tensor, Tensor, Reduction], Tensor]] = {
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
