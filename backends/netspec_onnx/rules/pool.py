"""Pooling, with explicit pads."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from netspec.layers import AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxUnpool
from netspec.network import Node
from netspec.tensors import TensorType
from netspec_onnx.graph import Emission, Scope, Value, rules
from netspec_onnx.rules.conv import begins_then_ends
from netspec_onnx.rules.shape import padded

if TYPE_CHECKING:
    import onnx_ir as ir


def _window(layer: MaxPool | AvgPool) -> dict[str, Any]:
    return {"kernel_shape": layer.size, "strides": layer.stride, "pads": begins_then_ends(layer.pads), "ceil_mode": 0}


@rules(MaxPool)
def max_pool(layer: MaxPool, node: Node) -> Emission:
    """MaxPool; its pads count as minus infinity, and so does what `ceil` reaches over."""
    window = _window(layer.floored(node.input_type.spatial))

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("MaxPool", given, **window)

    return Emission(build, "first")


@rules(AvgPool)
def avg_pool(layer: AvgPool, node: Node) -> Emission:
    """AveragePool; whether its pads count is said. What `ceil` reaches over never counts, so pads that do are a Pad."""
    spatial = node.input_type.spatial
    apart = layer.ceil and layer.count_include_pad and any(map(any, layer.pads))
    beyond = tuple((0, over) for over in layer.overhang(spatial))
    floored = layer.floored(spatial)
    window = _window(floored.replace(padding=beyond) if apart else floored)

    def build(scope: Scope, given: Value) -> Value:
        if apart:
            given = padded(scope, given, layer.pads, part="padded")
        return scope.op("AveragePool", given, count_include_pad=int(floored.count_include_pad), **window)

    return Emission(build, "first")


@rules(AdaptiveMaxPool)
def adaptive_max_pool(layer: AdaptiveMaxPool, node: Node) -> Emission:
    """The largest value of each window."""
    return _adaptive(layer, node, "Max")


@rules(AdaptiveAvgPool)
def adaptive_avg_pool(layer: AdaptiveAvgPool, node: Node) -> Emission:
    """The mean of each window."""
    return _adaptive(layer, node, "Average")


def _adaptive(layer: AdaptiveMaxPool | AdaptiveAvgPool, node: Node, kind: str) -> Emission:
    """The pool with the same windows; where they differ, slices reduced and put together, one axis after the other."""
    spatial = node.input_type.spatial
    if max(layer.size) == 1:
        return _global(f"Global{kind}Pool", keepdims=True)
    regular = layer.regular(spatial)
    if regular is None:
        return Emission(
            lambda scope, given: _by_slices(scope, given, layer, "ReduceMax" if kind == "Max" else "ReduceMean")
        )
    size, stride = regular
    window: dict[str, Any] = {"kernel_shape": size, "strides": stride, "pads": (0,) * (2 * len(size)), "ceil_mode": 0}

    def build(scope: Scope, given: Value) -> Value:
        return given if max(size) == 1 else scope.op(f"{kind}Pool", given, **window)

    return Emission(build, None if max(size) == 1 else "first")


def _by_slices(scope: Scope, given: Value, layer: AdaptiveMaxPool | AdaptiveAvgPool, reduce: str) -> Value:
    spatial = given.type.spatial
    axes = [axis for axis, size in enumerate(layer.size) if size != spatial[axis]]
    for axis in axes:
        at = given.axis(axis + 1)
        place, pieces = scope.integers(f"axis_{axis + 1}", [at]), []
        for index, (begin, end) in enumerate(layer.windows(spatial)[axis]):
            name = f"axis_{axis + 1}/window_{index}"
            limits = scope.integers(f"{name}/begin", [begin]), scope.integers(f"{name}/end", [end])
            window = scope.op("Slice", given, *limits, place, part=name, type=_resized(given.type, axis, end - begin))
            type_ = _resized(given.type, axis, 1)
            pieces.append(scope.op(reduce, window, place, part=f"{name}/value", type=type_, keepdims=1))
        part = None if axis == axes[-1] else f"axis_{axis + 1}/values"
        type_ = _resized(given.type, axis, len(pieces))
        given = scope.op("Concat", pieces[0], *(piece.ir for piece in pieces[1:]), part=part, type=type_, axis=at)
    return given


def _resized(type_: TensorType, axis: int, size: int) -> TensorType:
    return TensorType((*type_.shape[:axis], size, *type_.shape[axis + 1 :]))


@rules(MaxUnpool)
def max_unpool(layer: MaxUnpool, node: Node) -> Emission:
    """The pixels of every window on an axis of their own, where ArgMax takes the first of equal values."""
    channels, windows, count = node.output.channels, layer.windows(node.output), prod(layer.size)
    rank = len(windows)
    # Axes: the batch, the channels, then window and pixel of every spatial axis in turn; gathered, all windows first.
    apart = (channels, *(size for axis in zip(windows, layer.size, strict=True) for size in axis))
    gathered = (0, 1, *range(2, 2 * rank + 2, 2), *range(3, 2 * rank + 2, 2))
    back = tuple(sorted(range(2 * rank + 2), key=gathered.__getitem__))

    def build(scope: Scope, values: Value, image: Value) -> Value:
        def step(op_type: str, part: str, *inputs: ir.Value, shape: tuple[int, ...], **attributes: Any) -> ir.Value:
            return scope.emit(op_type, inputs, f"{node.name}/{part}", shape, **attributes)

        def shaped(given: ir.Value, part: str, *shape: int) -> ir.Value:
            return step("Reshape", part, given, scope.integers(f"{part}/shape", (0, *shape)), shape=shape, allowzero=0)

        pixels = shaped(image.ir, "apart", *apart)
        pixels = step("Transpose", "gathered", pixels, shape=(channels, *windows, *layer.size), perm=gathered)
        pixels = shaped(pixels, "pixels", channels, *windows, count)
        place = scope.emit("ArgMax", [pixels], f"{node.name}/place", axis=rank + 2, keepdims=1, select_last_index=0)
        scope.graph.state(place, (channels, *windows, 1), "INT64")
        here = scope.emit("Equal", [place, scope.integers("places", range(count))], f"{node.name}/here")
        scope.graph.state(here, (channels, *windows, count), "BOOL")
        single, zero = shaped(values.ir, "single", channels, *windows, 1), scope.constant("zero", 0.0)
        spread = step("Where", "spread", here, single, zero, shape=(channels, *windows, count))
        spread = shaped(spread, "spread_gathered", channels, *windows, *layer.size)
        spread = step("Transpose", "spread_apart", spread, shape=apart, perm=back)
        shape = scope.integers("shape", (0, channels, *node.output.spatial))
        return scope.op("Reshape", replace(image, ir=spread), shape, allowzero=0)

    return Emission(build, "first")


def _global(op_type: str, keepdims: bool) -> Emission:
    def build(scope: Scope, given: Value) -> Value:
        if keepdims:
            return scope.op(op_type, given)
        ones = TensorType((*(1 for _ in given.type.spatial), given.type.channels))
        return scope.op("Flatten", scope.op(op_type, given, part="pool", type=ones), axis=1)

    return Emission(build, "first")


@rules(GlobalMaxPool)
def global_max_pool(layer: GlobalMaxPool, node: Node) -> Emission:
    """GlobalMaxPool, and Flatten when the pooled axes go."""
    return _global("GlobalMaxPool", layer.keepdims)


@rules(GlobalAvgPool)
def global_avg_pool(layer: GlobalAvgPool, node: Node) -> Emission:
    """GlobalAveragePool, and Flatten when the pooled axes go."""
    return _global("GlobalAveragePool", layer.keepdims)
