"""The values of normalisations and learnt scales, in inference; every variance is the biased one."""

from __future__ import annotations

import numpy as np

from netspec.layers import LRN, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LayerScale, RMSNorm
from netspec.network import Node
from netspec.reference.table import Function, Values, rules


def in_groups(layer: LayerNorm | GroupNorm | InstanceNorm, x: Values) -> tuple[Values, tuple[int, ...]]:
    """The values shaped so that whole axes are normalised together, and those axes."""
    if isinstance(layer, LayerNorm):
        return x, layer.axis
    if isinstance(layer, InstanceNorm):
        return x, tuple(range(1, x.ndim - 1))
    return x.reshape(*x.shape[:-1], layer.groups, -1), (*range(1, x.ndim - 1), x.ndim)


def standardize(x: Values, axes: tuple[int, ...], epsilon: float) -> Values:
    """(x - mean) / sqrt(var + epsilon), with both moments taken over `axes`."""
    centred = x - x.mean(axes, keepdims=True)
    variance = np.square(centred).mean(axes, keepdims=True)
    standard: Values = centred / np.sqrt(variance + epsilon)
    return standard


@rules(BatchNorm)
def batch_norm(layer: BatchNorm, node: Node) -> Function:
    """With the running statistics: gamma * (x - mean) / sqrt(var + epsilon) + beta."""

    def value(x: Values, mean: Values, var: Values, gamma: Values | float = 1.0, beta: Values | float = 0.0) -> Values:
        normal: Values = (x - mean) / np.sqrt(var + layer.epsilon) * gamma + beta
        return normal

    return value


@rules(LayerNorm)
def layer_norm(layer: LayerNorm, node: Node) -> Function:
    """Standardised over the last axes, times gamma, plus beta."""

    def value(x: Values, gamma: Values | float = 1.0, beta: Values | float = 0.0) -> Values:
        return standardize(*in_groups(layer, x), layer.epsilon) * gamma + beta

    return value


@rules(GroupNorm)
def group_norm(layer: GroupNorm, node: Node) -> Function:
    """Standardised over every group of channels and all positions, times gamma, plus beta."""

    def value(x: Values, gamma: Values | float = 1.0, beta: Values | float = 0.0) -> Values:
        return standardize(*in_groups(layer, x), layer.epsilon).reshape(x.shape) * gamma + beta

    return value


@rules(InstanceNorm)
def instance_norm(layer: InstanceNorm, node: Node) -> Function:
    """Standardised over the positions of every channel, times gamma, plus beta."""

    def value(x: Values, gamma: Values | float = 1.0, beta: Values | float = 0.0) -> Values:
        return standardize(*in_groups(layer, x), layer.epsilon) * gamma + beta

    return value


@rules(RMSNorm)
def rms_norm(layer: RMSNorm, node: Node) -> Function:
    """Over the root of the mean square of the channels, times gamma."""

    def value(x: Values, gamma: Values | float = 1.0) -> Values:
        normal: Values = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + layer.epsilon) * gamma
        return normal

    return value


@rules(LRN)
def lrn(layer: LRN, node: Node) -> Function:
    """Over a power of k plus the scaled sum of squares of the channels around each."""

    def value(x: Values) -> Values:
        reach, channels = layer.size // 2, x.shape[-1]
        sums = np.stack(
            [np.square(x[..., max(c - reach, 0) : c + reach + 1]).sum(-1) for c in range(channels)], axis=-1
        )
        result: Values = x / (layer.k + layer.alpha / layer.size * sums) ** layer.beta
        return result

    return value


@rules(LayerScale)
def layer_scale(layer: LayerScale, node: Node) -> Function:
    """Every channel times its gamma."""

    def value(x: Values, gamma: Values) -> Values:
        return x * gamma

    return value
