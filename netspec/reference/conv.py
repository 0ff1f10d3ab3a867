"""The values of convolutions: a sum over the kernel's taps, each a shifted view of the input times one matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from netspec.layers import Conv, ConvTranspose, DepthwiseConv, SeparableConv
from netspec.layers.conv import window_output
from netspec.network import Node
from netspec.reference.table import Function, Values, rules

Pads = Sequence[tuple[int, int]]


def pad_spatial(x: Values, pads: Pads, fill: float = 0.0) -> Values:
    """The spatial axes extended by (begin, end) pads; a negative pad cuts."""
    cut = tuple(
        slice(max(-begin, 0), size - max(-end, 0)) for size, (begin, end) in zip(x.shape[1:-1], pads, strict=True)
    )
    extend = [(0, 0), *((max(begin, 0), max(end, 0)) for begin, end in pads), (0, 0)]
    return np.pad(x[:, *cut], extend, constant_values=fill)


def taps(
    kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], count: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Every tap of a kernel, with the slices that pick what it meets at `count` positions along each axis."""
    for tap in product(*map(range, kernel)):
        starts = [place * spread for place, spread in zip(tap, dilation, strict=True)]
        axes = zip(starts, stride, count, strict=True)
        yield tap, tuple(slice(start, start + (number - 1) * step + 1, step) for start, step, number in axes)


def convolve(
    x: Values, kernel: Values, stride: Sequence[int], dilation: Sequence[int], pads: Pads, groups: int = 1
) -> Values:
    """Cross-correlation: y[p, f] = sum over taps t and channels c of x[p * stride + t * dilation, c] * kernel[t, c, f].

    [n, spatial..., c] with a kernel [k..., c / groups, f] gives [n, spatial'..., f]. Group g takes the g-th share of
    the channels to the g-th share of the filters.
    """
    size, filters = kernel.shape[:-2], kernel.shape[-1]
    batch, channels = x.shape[0], x.shape[-1]
    count = window_output(x.shape[1:-1], size, tuple(stride), tuple(dilation), tuple(pads))
    padded = pad_spatial(x, pads)
    shares = np.moveaxis(padded.reshape(*padded.shape[:-1], groups, channels // groups), -2, 0)
    matrices = np.moveaxis(kernel.reshape(*kernel.shape[:-1], groups, filters // groups), -2, len(size))
    total = np.zeros((groups, batch * prod(count), filters // groups))
    for tap, places in taps(size, stride, dilation, count):
        seen = shares[:, :, *places].reshape(groups, -1, channels // groups)
        # One channel a group is a product of numbers, for which a product of matrices is slow.
        total += seen * matrices[tap] if channels == groups else seen @ matrices[tap]
    return np.moveaxis(total, 0, 1).reshape(batch, *count, filters)


def _depthwise(x: Values, kernel: Values, layer: DepthwiseConv | SeparableConv) -> Values:
    """Every channel alone: result c * multiplier + m is channel c under kernel [.., c, m]."""
    grouped = kernel.reshape(*kernel.shape[:-2], 1, kernel.shape[-2] * kernel.shape[-1])
    return convolve(x, grouped, layer.stride, layer.dilation, layer.pads, groups=x.shape[-1])


@rules(Conv)
def conv(layer: Conv, node: Node) -> Function:
    """Cross-correlation with every kernel, plus bias."""

    def value(x: Values, kernel: Values, bias: Values | float = 0.0) -> Values:
        return convolve(x, kernel, layer.stride, layer.dilation, layer.pads, layer.groups) + bias

    return value


@rules(DepthwiseConv)
def depthwise_conv(layer: DepthwiseConv, node: Node) -> Function:
    """Cross-correlation of every channel with its own kernels, plus bias."""

    def value(x: Values, kernel: Values, bias: Values | float = 0.0) -> Values:
        return _depthwise(x, kernel, layer) + bias

    return value


@rules(SeparableConv)
def separable_conv(layer: SeparableConv, node: Node) -> Function:
    """A depthwise convolution, a weighted sum of its channels, plus bias."""

    def value(x: Values, depthwise: Values, pointwise: Values, bias: Values | float = 0.0) -> Values:
        between = _depthwise(x, depthwise, layer)
        return between @ pointwise.reshape(pointwise.shape[-2:]) + bias

    return value


@rules(ConvTranspose)
def conv_transpose(layer: ConvTranspose, node: Node) -> Function:
    """Every input pixel stamps the kernel, `stride` apart; the result is cropped, or extended by zeros, then biased."""

    def value(x: Values, kernel: Values, bias: Values | float = 0.0) -> Values:
        axes = zip(x.shape[1:-1], layer.kernel, layer.stride, layer.dilation, strict=True)
        full = [(size - 1) * step + (reach - 1) * spread + 1 for size, reach, step, spread in axes]
        stamped = np.zeros((x.shape[0], *full, layer.filters))
        for tap, places in taps(layer.kernel, layer.stride, layer.dilation, x.shape[1:-1]):
            stamped[:, *places] += x @ kernel[tap].T
        return pad_spatial(stamped, [(-begin, -end) for begin, end in layer.pads]) + bias

    return value
