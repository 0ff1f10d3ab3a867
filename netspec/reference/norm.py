"""The values of normalisations, in inference; every variance is the biased one."""

from __future__ import annotations

import numpy as np

from netspec.layers import BatchNorm, GroupNorm, LayerNorm
from netspec.network import Node
from netspec.reference.table import Function, Values, rules


def in_groups(layer: LayerNorm | GroupNorm, x: Values) -> tuple[Values, tuple[int, ...]]:
    """The values shaped so that whole axes are normalised together, and those axes."""
    if isinstance(layer, LayerNorm):
        return x, layer.axis
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
