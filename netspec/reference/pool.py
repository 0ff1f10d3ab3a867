"""The values of poolings, over windows of one size, over a number of windows, and over the whole image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from netspec.layers import AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxUnpool
from netspec.network import Node
from netspec.reference.conv import pad_spatial
from netspec.reference.table import Function, Values, rules


def windows(layer: MaxPool | AvgPool, x: Values, fill: float, beyond: float) -> Values:
    """What each window sees: [n, spatial'..., c, size...]; pads hold `fill`, `beyond` is what `ceil` reaches over."""
    padded = pad_spatial(x, layer.pads, fill)
    padded = pad_spatial(padded, [(0, over) for over in layer.overhang(x.shape[1:-1])], beyond)
    views: Values = sliding_window_view(padded, layer.size, _spatial_axes(x))
    steps = (slice(None), *(slice(None, None, step) for step in layer.stride))
    return views[steps]


def _spatial_axes(x: Values) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))


def _window_axes(layer: MaxPool | AvgPool) -> tuple[int, ...]:
    return tuple(range(-len(layer.size), 0))


@rules(MaxPool)
def max_pool(layer: MaxPool, node: Node) -> Function:
    """The largest value of each window; pads are minus infinity."""
    return lambda x: windows(layer, x, -np.inf, -np.inf).max(_window_axes(layer))


@rules(AvgPool)
def avg_pool(layer: AvgPool, node: Node) -> Function:
    """The sum of each window over how many of its values count."""

    def value(x: Values) -> Values:
        ones = np.ones((1, *x.shape[1:-1], 1))
        counted = windows(layer, ones, float(layer.count_include_pad), 0.0).sum(_window_axes(layer))
        mean: Values = windows(layer, x, 0.0, 0.0).sum(_window_axes(layer)) / counted
        return mean

    return value


def _adaptive(layer: AdaptiveMaxPool | AdaptiveAvgPool, x: Values, reduce: Callable[..., Values]) -> Values:
    """Every window, which is one along each axis, reduced to one value."""
    along = layer.windows(x.shape[1:-1])
    result = np.empty((len(x), *layer.size, x.shape[-1]))
    for place in np.ndindex(layer.size):
        spans = [slice(*windows[index]) for windows, index in zip(along, place, strict=True)]
        result[:, *place] = reduce(x[:, *spans], axis=_spatial_axes(x))
    return result


@rules(AdaptiveMaxPool)
def adaptive_max_pool(layer: AdaptiveMaxPool, node: Node) -> Function:
    """The largest value of each window."""
    return lambda x: _adaptive(layer, x, np.max)


@rules(AdaptiveAvgPool)
def adaptive_avg_pool(layer: AdaptiveAvgPool, node: Node) -> Function:
    """The mean of each window."""
    return lambda x: _adaptive(layer, x, np.mean)


@rules(MaxUnpool)
def max_unpool(layer: MaxUnpool, node: Node) -> Function:
    """Each value where its window is largest, for the first time in the order of rows."""

    def value(values: Values, image: Values) -> Values:
        result = np.zeros_like(image)
        largest = np.full_like(values, -np.inf)
        places = np.zeros(values.shape, int)
        pixels = [
            tuple(slice(at, None, step) for at, step in zip(place, layer.size, strict=True))
            for place in np.ndindex(layer.size)
        ]
        for index, pixel in enumerate(pixels):
            found = image[:, *pixel]
            places[found > largest] = index
            largest = np.maximum(largest, found)
        for index, pixel in enumerate(pixels):
            result[:, *pixel] = np.where(places == index, values, 0.0)
        return result

    return value


@rules(GlobalMaxPool)
def global_max_pool(layer: GlobalMaxPool, node: Node) -> Function:
    """The largest value of every channel."""
    return lambda x: np.max(x, axis=_spatial_axes(x), keepdims=layer.keepdims)


@rules(GlobalAvgPool)
def global_avg_pool(layer: GlobalAvgPool, node: Node) -> Function:
    """The mean of every channel."""
    return lambda x: np.mean(x, axis=_spatial_axes(x), keepdims=layer.keepdims)
