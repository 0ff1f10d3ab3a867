"""Convolutions, with explicit pads and kernel shapes; kernels stand as (filters, channels / groups, k...)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.layers import Conv, ConvTranspose, DepthwiseConv, SeparableConv
from netspec.network import Node
from netspec.tensors import TensorType
from netspec_onnx.graph import Emission, Scope, Value, place, rules
from netspec_onnx.rules.shape import padded


def swapped(rank: int) -> tuple[int, ...]:
    """The axes that bring a canonical kernel (k..., a, b) to ONNX's (b, a, k...), for `rank` spatial axes."""
    return (rank + 1, rank, *range(rank))


def begins_then_ends(pads: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Pads as ONNX lists them: every begin, then every end."""
    return (*(begin for begin, _ in pads), *(end for _, end in pads))


def _window(layer: Conv | DepthwiseConv | SeparableConv) -> dict[str, Any]:
    return {
        "kernel_shape": layer.kernel,
        "strides": layer.stride,
        "dilations": layer.dilation,
        "pads": begins_then_ends(layer.pads),
    }


@rules(Conv)
def conv(layer: Conv, node: Node) -> Emission:
    """Conv."""

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("Conv", given, *scope.weights, group=layer.groups, **_window(layer))

    return Emission(build, "first", place(node, "kernel", swapped(len(layer.kernel))))


def _depthwise_axes(rank: int) -> tuple[int, ...]:
    return (rank, rank + 1, *range(rank))


@rules(DepthwiseConv)
def depthwise_conv(layer: DepthwiseConv, node: Node) -> Emission:
    """Conv with a group for every channel."""
    channels = node.input_type.channels

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("Conv", given, *scope.weights, group=channels, **_window(layer))

    shape = (channels * layer.multiplier, 1, *layer.kernel)
    return Emission(build, "first", place(node, "kernel", _depthwise_axes(len(layer.kernel)), shape))


@rules(SeparableConv)
def separable_conv(layer: SeparableConv, node: Node) -> Emission:
    """Conv with a group for every channel, then a Conv with a 1x1 kernel."""
    rank, channels = len(layer.kernel), node.input_type.channels
    between = channels * layer.multiplier

    def build(scope: Scope, given: Value) -> Value:
        middle = TensorType((*node.output.spatial, between))
        window = _window(layer)
        depthwise, pointwise, *bias = scope.weights
        each = scope.op("Conv", given, depthwise, part="depthwise", type=middle, group=channels, **window)
        ones, zeros = (1,) * rank, (0,) * (2 * rank)
        return scope.op(
            "Conv", each, pointwise, *bias, group=1, kernel_shape=ones, strides=ones, dilations=ones, pads=zeros
        )

    placed = place(node, "depthwise", _depthwise_axes(rank), (between, 1, *layer.kernel))
    return Emission(build, "first", placed | place(node, "pointwise", swapped(rank)))


@rules(ConvTranspose)
def conv_transpose(layer: ConvTranspose, node: Node) -> Emission:
    """ConvTranspose; a negative crop is its output_padding.

    That is less than the stride or the dilation. What is more, as where a kernel is shorter than its stride, is what
    another pixel of zeros would give.
    """
    most = [max(each) - 1 for each in zip(layer.stride, layer.dilation, strict=True)]
    more = [
        max(0, -((end + own) // stride)) for (_, end), own, stride in zip(layer.pads, most, layer.stride, strict=True)
    ]
    ends = [end + stride * count for (_, end), stride, count in zip(layer.pads, layer.stride, more, strict=True)]
    crop = tuple((begin, max(end, 0)) for (begin, _), end in zip(layer.pads, ends, strict=True))
    extra = tuple(max(-end, 0) for end in ends)

    def build(scope: Scope, given: Value) -> Value:
        if any(more):
            given = padded(scope, given, [(0, count) for count in more], part="longer")
        return scope.op(
            "ConvTranspose",
            given,
            *scope.weights,
            group=1,
            kernel_shape=layer.kernel,
            strides=layer.stride,
            dilations=layer.dilation,
            pads=begins_then_ends(crop),
            output_padding=extra,
        )

    return Emission(build, "first", place(node, "kernel", swapped(len(layer.kernel))))
