"""Layers that move values; sizes and axes are constants, the batch stays dynamic."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from netspec.layers import (
    ChannelShuffle,
    Crop,
    Flatten,
    Identity,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    Slice,
    Split,
    Upsample,
)
from netspec.network import Node
from netspec.tensors import TensorType
from netspec_onnx.graph import Emission, Scope, Value, ordered, rules


@rules(Identity)
def identity(layer: Identity, node: Node) -> Emission:
    """Nothing: what reads it reads what it would."""

    def build(scope: Scope, given: Value) -> Value:
        return given

    return Emission(build)


@rules(Flatten)
def flatten(layer: Flatten, node: Node) -> Emission:
    """Flatten, of either order where both give the same."""
    given = node.input_type
    same = given.channels == 1 or prod(given.spatial) == 1

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("Flatten", given, axis=1)

    return Emission(build, None if same else "first" if layer.order == "chw" else "last")


@rules(Reshape)
def reshape(layer: Reshape, node: Node) -> Emission:
    """Reshape in the canonical order; the 0 keeps the batch."""

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("Reshape", given, scope.integers("shape", (0, *node.output.shape)), allowzero=0)

    return Emission(build, "last")


@rules(Permute)
def permute(layer: Permute, node: Node) -> Emission:
    """One Transpose, whichever order the input has; the result has the same."""

    def build(scope: Scope, given: Value) -> Value:
        rank = given.type.rank
        canonical = (0, *range(1, rank + 1)) if given.order == "last" else (0, rank, *range(1, rank))
        sources = (0, *layer.order)
        return scope.op("Transpose", given, perm=tuple(given.axis(sources[axis]) for axis in canonical))

    return Emission(build)


@rules(Pad)
def pad(layer: Pad, node: Node) -> Emission:
    """Pad in the mode of this name; ONNX has no symmetric one, so there the pixels are gathered."""

    def build(scope: Scope, given: Value) -> Value:
        if layer.mode == "symmetric":
            return _mirrored(scope, given, layer.padding)
        return padded(scope, given, layer.padding, layer.mode, layer.value)

    return Emission(build)


def padded(
    scope: Scope,
    given: Value,
    padding: Sequence[tuple[int, int]],
    mode: str = "constant",
    value: float = 0.0,
    part: str | None = None,
) -> Value:
    """The value with (begin, end) pads along its spatial axes, as a step of this name or as the node's result.

    The axes are said, though they could be left out: ONNX Runtime makes a pad that says none one of the pool that
    reads it, whose pads mean something else. All of them are said, for where it moves a Transpose behind the pad it
    takes pads for those of all axes (docs/framework-findings.md).
    """
    count = given.type.rank + 1
    begins, ends = [0] * count, [0] * count
    for axis, (begin, end) in enumerate(padding, start=1):
        begins[given.axis(axis)], ends[given.axis(axis)] = begin, end
    pads, axes = [*begins, *ends], scope.integers("axes", list(range(count)))
    fill = (scope.constant("zero" if value == 0 else "value", value),) if mode == "constant" else ()
    spatial = (size + sum(pad) for size, pad in zip(given.type.spatial, padding, strict=True))
    type_ = TensorType((*spatial, given.type.channels))
    numbers = (scope.integers("pads", pads), *(fill or (None,)), axes)
    return scope.op("Pad", given, *numbers, part=part, type=type_, mode=mode)


def _mirrored(scope: Scope, given: Value, padding: Sequence[tuple[int, int]]) -> Value:
    """Every axis between its own first and last pixels in reverse."""
    axes = [axis for axis, pads in enumerate(padding, start=1) if any(pads)]
    for axis in axes:
        (begin, end), size = padding[axis - 1], given.type.shape[axis - 1]
        places = [*reversed(range(begin)), *range(size), *reversed(range(size - end, size))]
        type_ = TensorType((*given.type.shape[: axis - 1], len(places), *given.type.shape[axis:]))
        part = None if axis == axes[-1] else f"axis_{axis}"
        pixels = scope.integers(f"pixels_{axis}", places)
        given = scope.op("Gather", given, pixels, part=part, type=type_, axis=given.axis(axis))
    return given


@rules(Crop)
def crop(layer: Crop, node: Node) -> Emission:
    """Slice along the spatial axes."""

    def build(scope: Scope, given: Value) -> Value:
        starts = [begin for begin, _ in layer.crop]
        ends = [size - end for size, (_, end) in zip(given.type.spatial, layer.crop, strict=True)]
        axes = [given.axis(axis) for axis in range(1, given.type.rank)]
        return scope.op(
            "Slice", given, scope.integers("starts", starts), scope.integers("ends", ends), scope.integers("axes", axes)
        )

    return Emission(build)


@rules(Slice)
def slice_(layer: Slice, node: Node) -> Emission:
    """Slice along one axis."""
    assert layer.end is not None, "the layer is not resolved"
    return _part(layer.axis, layer.begin, layer.end)


@rules(Split)
def split(layer: Split, node: Node) -> Emission:
    """Slice: ONNX' Split would compute every part."""
    return _part(layer.axis, *layer.span(node.input_type))


def _part(axis: int, begin: int, end: int) -> Emission:
    def build(scope: Scope, given: Value) -> Value:
        limits = scope.integers("begin", [begin]), scope.integers("end", [end])
        return scope.op("Slice", given, *limits, scope.integers("axes", [given.axis(axis)]))

    return Emission(build)


@rules(Upsample)
def upsample(layer: Upsample, node: Node) -> Emission:
    """Resize by whole factors."""

    def build(scope: Scope, given: Value) -> Value:
        import numpy as np

        factors = np.array([1, 1, *layer.size], np.float32)
        scales = scope.graph.initializer(f"{node.name}/scales", factors)
        how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if layer.mode == "nearest":
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return scope.op("Resize", given, None, scales, **how)
        return scope.op("Resize", scope.kept(given), None, scales, **how)

    return Emission(build, "first")


@rules(ChannelShuffle)
def channel_shuffle(layer: ChannelShuffle, node: Node) -> Emission:
    """The channels as a table of groups, turned; all pixels as one axis beside it, wherever that stands."""

    def build(scope: Scope, given: Value) -> Value:
        length, pixels = given.type.channels // layer.groups, prod(given.type.spatial)
        if given.order == "first":
            apart, turned = TensorType((length, pixels, layer.groups)), TensorType((layer.groups, pixels, length))
            shape, perm = (0, layer.groups, length, -1), (0, 2, 1, 3)
        else:
            apart, turned = TensorType((pixels, layer.groups, length)), TensorType((pixels, length, layer.groups))
            shape, perm = (0, -1, layer.groups, length), (0, 1, 3, 2)
        groups = scope.op("Reshape", given, scope.integers("groups_shape", shape), part="groups", type=apart)
        mixed = scope.op("Transpose", groups, part="mixed", type=turned, perm=perm)
        return scope.op("Reshape", mixed, scope.integers("shape", (0, *given.shape)))

    return Emission(build)


@rules(PixelShuffle)
def pixel_shuffle(layer: PixelShuffle, node: Node) -> Emission:
    """DepthToSpace, in the mode that has torch's order of the channels."""

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("DepthToSpace", given, blocksize=layer.size, mode="CRD")

    return Emission(build, "first")


@rules(PixelUnshuffle)
def pixel_unshuffle(layer: PixelUnshuffle, node: Node) -> Emission:
    """The places in a square as two axes that join the channels: SpaceToDepth has them in the other order."""

    def build(scope: Scope, given: Value) -> Value:
        size, channels = layer.size, given.type.channels
        height, width, _ = node.output.shape
        apart, turned = (height, size, width, size, channels), (size, size, height, width, channels)
        shape = scope.integers("squares_shape", (0, channels, *apart[:-1]))
        squares = scope.op("Reshape", given, shape, part="squares", type=TensorType(apart))
        perm = (0, 1, 3, 5, 2, 4)
        places = scope.op("Transpose", squares, part="places", type=TensorType(turned), perm=perm)
        return scope.op("Reshape", places, scope.integers("shape", (0, *ordered(node.output, "first"))))

    return Emission(build, "first")
