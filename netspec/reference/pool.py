"""The values of poolings, over windows and over the whole image."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from netspec.layers import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from netspec.network import Node
from netspec.reference.conv import pad_spatial
from netspec.reference.table import Function, Values, rules


def windows(layer: MaxPool | AvgPool, x: Values, fill: float) -> Values:
    """What each window sees: [n, spatial'..., c, size...], where pads hold `fill`."""
    views: Values = sliding_window_view(pad_spatial(x, layer.pads, fill), layer.size, _spatial_axes(x))
    steps = (slice(None), *(slice(None, None, step) for step in layer.stride))
    return views[steps]


def _spatial_axes(x: Values) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))


def _window_axes(layer: MaxPool | AvgPool) -> tuple[int, ...]:
    return tuple(range(-len(layer.size), 0))


@rules(MaxPool)
def max_pool(layer: MaxPool, node: Node) -> Function:
    """The largest value of each window; pads are minus infinity."""
    return lambda x: windows(layer, x, -np.inf).max(_window_axes(layer))


@rules(AvgPool)
def avg_pool(layer: AvgPool, node: Node) -> Function:
    """The sum of each window over how many of its values count."""

    def value(x: Values) -> Values:
        ones = np.ones((1, *x.shape[1:-1], 1))
        counted = windows(layer, ones, fill=float(layer.count_include_pad)).sum(_window_axes(layer))
        mean: Values = windows(layer, x, 0.0).sum(_window_axes(layer)) / counted
        return mean

    return value


@rules(GlobalMaxPool)
def global_max_pool(layer: GlobalMaxPool, node: Node) -> Function:
    """The largest value of every channel."""
    return lambda x: np.max(x, axis=_spatial_axes(x), keepdims=layer.keepdims)


@rules(GlobalAvgPool)
def global_avg_pool(layer: GlobalAvgPool, node: Node) -> Function:
    """The mean of every channel."""
    return lambda x: np.mean(x, axis=_spatial_axes(x), keepdims=layer.keepdims)
