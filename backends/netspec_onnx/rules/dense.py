"""Fully connected layers."""

from __future__ import annotations

from netspec.layers import Dense
from netspec.network import Node
from netspec_onnx.graph import Emission, Scope, Value, place, rules


@rules(Dense)
def dense(layer: Dense, node: Node) -> Emission:
    """Gemm on flat inputs, and MatMul and Add along the last axis of others."""
    flat = node.input_type.rank == 1

    def build(scope: Scope, given: Value) -> Value:
        if flat:
            return scope.op("Gemm", given, *scope.weights, transB=1)
        kernel, *bias = scope.weights
        if not bias:
            return scope.op("MatMul", given, kernel)
        return scope.op("Add", scope.op("MatMul", given, kernel, part="product", type=node.output), *bias)

    return Emission(build, "last", place(node, "kernel", (1, 0)) if flat else {})
