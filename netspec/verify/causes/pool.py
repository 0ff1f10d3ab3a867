"""What may be otherwise in poolings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from netspec.layers import AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxUnpool
from netspec.reference.pool import windows
from netspec.reference.table import Values
from netspec.verify.causes.conv import other_pads, shifted
from netspec.verify.causes.hypothesis import Call, Fields, Hypothesis, fields, instead

POOLS = (MaxPool, AvgPool)


def _window_axes(call: Call) -> tuple[int, ...]:
    return tuple(range(-len(call.layer.size), 0))


def _places(call: Call) -> tuple[int, ...]:
    return tuple(range(1, call.x.ndim - 1))


def _zeros_win(call: Call) -> Values | None:
    if not any(map(any, call.layer.pads)):
        return None
    largest: Values = windows(call.layer, call.x, 0.0, -np.inf).max(_window_axes(call))
    return largest


def _mean_of_windows(call: Call) -> Values:
    ones = np.ones((1, *call.x.shape[1:-1], 1))
    axes = _window_axes(call)
    mean: Values = windows(call.layer, call.x, 0.0, 0.0).sum(axes) / windows(call.layer, ones, 0.0, 0.0).sum(axes)
    return mean


def _largest_of_windows(call: Call) -> Values:
    largest: Values = windows(call.layer, call.x, -np.inf, -np.inf).max(_window_axes(call))
    return largest


def _sum_of_windows(call: Call) -> Values:
    total: Values = windows(call.layer, call.x, 0.0, 0.0).sum(_window_axes(call))
    return total


def _always_whole(call: Call) -> Values | None:
    """Every window divided by its full size, beyond the padding too."""
    if not call.layer.ceil:
        return None
    return _sum_of_windows(call) / float(prod(call.layer.size))


def _repeated_border(call: Call) -> Values | None:
    if not any(map(any, call.layer.pads)):
        return None
    padded = np.pad(call.x, ((0, 0), *call.layer.pads, (0, 0)), mode="edge")
    return call.of(call.layer.replace(padding=((0, 0),) * len(call.layer.pads))).reading(padded).value()


def _over_image(reduce: Callable[..., Any]) -> Callable[[Call], Values]:
    def value(call: Call) -> Values:
        found: Values = reduce(call.x, axis=_places(call), keepdims=call.layer.keepdims)
        return found

    return value


def _evenly(reduce: Callable[..., Any]) -> Callable[[Call], Values]:
    """Windows of one size and one stride, as a plain pool that stands for an adaptive one has them."""

    def value(call: Call) -> Values:
        spatial = call.x.shape[1:-1]
        strides = [size // parts for size, parts in zip(spatial, call.layer.size, strict=True)]
        sizes = [
            size - (parts - 1) * stride for size, parts, stride in zip(spatial, call.layer.size, strides, strict=True)
        ]
        return _adaptive(call, strides, sizes, reduce)

    return value


def _disjoint(reduce: Callable[..., Any]) -> Callable[[Call], Values]:
    """Windows of floor(size / parts) side by side, the rest left out."""

    def value(call: Call) -> Values:
        strides = [size // parts for size, parts in zip(call.x.shape[1:-1], call.layer.size, strict=True)]
        return _adaptive(call, strides, strides, reduce)

    return value


def _adaptive(call: Call, strides: list[int], sizes: list[int], reduce: Callable[..., Any]) -> Values:
    result = np.empty((len(call.x), *call.layer.size, call.x.shape[-1]))
    for place in np.ndindex(call.layer.size):
        spans = [slice(at * stride, at * stride + size) for at, stride, size in zip(place, strides, sizes, strict=True)]
        result[:, *place] = reduce(call.x[:, *spans], axis=_places(call))
    return result


def _reduced(call: Call) -> Callable[..., Any]:
    return np.max if isinstance(call.layer, AdaptiveMaxPool) else np.mean


def _ceil(call: Call) -> Iterator[Fields]:
    yield {"ceil": not call.layer.ceil}


def _counted(call: Call) -> Iterator[Fields]:
    if any(map(any, call.layer.pads)):
        yield {"count_include_pad": not call.layer.count_include_pad}


def _strides(call: Call) -> Iterator[Fields]:
    yield {"stride": call.layer.size}
    yield {"stride": (1,) * len(call.layer.size)}


def _first_pixel(call: Call) -> Values:
    values, image = call.inputs
    result = np.zeros_like(image)
    result[:, *(slice(None, None, step) for step in call.layer.size)] = values
    return result


def _everywhere(call: Call) -> Values:
    values = call.inputs[0]
    for axis, step in enumerate(call.layer.size, start=1):
        values = values.repeat(step, axis)
    return values


HYPOTHESES: tuple[Hypothesis, ...] = (
    fields(AvgPool, "pads in the mean", _counted),
    fields(POOLS, "shifted padding", shifted),
    instead(
        MaxPool,
        "zeros in the maximum",
        "the padding is zeros, which win where all values are negative, not minus infinity",
        "{value}, but zeros around",
        _zeros_win,
    ),
    instead(
        AvgPool,
        "border pixels repeated",
        "around the image stand its border pixels, repeated, and count",
        "{value}, but padded with border pixels",
        _repeated_border,
    ),
    instead(
        AvgPool,
        "whole windows",
        "a window that reaches beyond the padding is divided by its full size too",
        "sum over the window / {size}",
        _always_whole,
    ),
    instead(
        MaxPool, "mean for maximum", "the mean of each window is taken", "the mean of each window", _mean_of_windows
    ),
    instead(
        MaxPool,
        "mean for maximum",
        "the mean of each window is taken, in which the padding counts as zeros",
        "the mean of each window, with zeros around",
        lambda call: _sum_of_windows(call) / float(prod(call.layer.size)),
    ),
    instead(
        AvgPool,
        "maximum for mean",
        "the largest value of each window is taken",
        "the largest of each window",
        _largest_of_windows,
    ),
    instead(AvgPool, "sum for mean", "the sum is not divided", "the sum of each window", _sum_of_windows),
    instead(
        GlobalAvgPool, "maximum for mean", "the largest value of each channel is taken", "max(x)", _over_image(np.max)
    ),
    instead(GlobalAvgPool, "sum for mean", "the sum is not divided", "sum(x)", _over_image(np.sum)),
    instead(GlobalMaxPool, "mean for maximum", "the mean of each channel is taken", "mean(x)", _over_image(np.mean)),
    instead(
        (AdaptiveAvgPool, AdaptiveMaxPool),
        "windows of one size",
        "the windows have one size and one stride, as in a plain pool",
        "windows of size - (parts - 1) * (size // parts), size // parts apart",
        lambda call: _evenly(_reduced(call))(call),
    ),
    instead(
        (AdaptiveAvgPool, AdaptiveMaxPool),
        "windows side by side",
        "the windows lie side by side, and the pixels that are left over at the end are left out",
        "windows of size // parts, size // parts apart",
        lambda call: _disjoint(_reduced(call))(call),
    ),
    instead(
        AdaptiveAvgPool,
        "maximum for mean",
        "the largest value of each window is taken",
        "the largest of each window",
        lambda call: call.of(AdaptiveMaxPool(size=call.layer.size)),
    ),
    instead(
        AdaptiveMaxPool,
        "mean for maximum",
        "the mean of each window is taken",
        "the mean of each window",
        lambda call: call.of(AdaptiveAvgPool(size=call.layer.size)),
    ),
    instead(
        MaxUnpool,
        "values at the first pixel",
        "each value stands at the first pixel of its window, not where the largest was",
        "the value at [0, 0] of each window",
        _first_pixel,
    ),
    instead(
        MaxUnpool,
        "values repeated",
        "each value fills its window, and is not put where the largest was",
        "the value everywhere in its window",
        _everywhere,
    ),
    fields(POOLS, "rounded otherwise", _ceil),
    fields(POOLS, "another padding", other_pads),
    fields(POOLS, "another stride", _strides),
)
