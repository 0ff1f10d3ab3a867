"""Pooling, with explicit pads."""

from __future__ import annotations

from typing import Any

from netspec.layers import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from netspec.network import Node, TensorType
from netspec_onnx.graph import Emission, Scope, Value, rules
from netspec_onnx.rules.conv import begins_then_ends


def _window(layer: MaxPool | AvgPool) -> dict[str, Any]:
    return {"kernel_shape": layer.size, "strides": layer.stride, "pads": begins_then_ends(layer.pads), "ceil_mode": 0}


@rules(MaxPool)
def max_pool(layer: MaxPool, node: Node) -> Emission:
    """MaxPool; its pads count as minus infinity."""

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("MaxPool", given, **_window(layer))

    return Emission(build, "first")


@rules(AvgPool)
def avg_pool(layer: AvgPool, node: Node) -> Emission:
    """AveragePool; whether its pads count is said."""

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("AveragePool", given, count_include_pad=int(layer.count_include_pad), **_window(layer))

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
