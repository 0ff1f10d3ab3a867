"""Normalisation; an epsilon is always stated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netspec.backend import Placement
from netspec.layers import BatchNorm, GroupNorm, LayerNorm
from netspec.network import Node, TensorType
from netspec_onnx.graph import Emission, Scope, Value, place, rules

if TYPE_CHECKING:
    import onnx_ir as ir


def _affine(scope: Scope, shape: tuple[int, ...]) -> tuple[ir.Value, ir.Value]:
    """Gamma and beta; ones and zeros where the layer has none, for the operators want both."""
    import numpy as np

    gamma = scope.weight("gamma") or scope.constant("ones", np.ones(shape))
    beta = scope.weight("beta") or scope.constant("zeros", np.zeros(shape))
    return gamma, beta


@rules(BatchNorm)
def batch_norm(layer: BatchNorm, node: Node) -> Emission:
    """BatchNormalization with the running statistics, left for the runtime to fold into its convolution."""

    def build(scope: Scope, given: Value) -> Value:
        statistics = scope.weight("mean"), scope.weight("var")
        affine = _affine(scope, (given.type.channels,))
        return scope.op(
            "BatchNormalization", given, *affine, *statistics, epsilon=layer.epsilon, momentum=layer.momentum
        )

    return Emission(build, "first")


@rules(LayerNorm)
def layer_norm(layer: LayerNorm, node: Node) -> Emission:
    """LayerNormalization over trailing axes; when these are all of them, in the order that convolutions use."""
    whole = layer.axis[0] == 1
    rank = node.input_type.rank

    def build(scope: Scope, given: Value) -> Value:
        gamma, beta = _affine(scope, given.shape[layer.axis[0] - 1 :])
        return scope.op("LayerNormalization", given, gamma, beta, axis=layer.axis[0], epsilon=layer.epsilon)

    if not whole or rank == 1:
        return Emission(build, "last")
    placed: dict[str, Placement] = {}
    for weight in node.weights:
        placed |= place(node, weight.name.rpartition(".")[2], (rank - 1, *range(rank - 1)))
    return Emission(build, "first", placed)


@rules(GroupNorm)
def group_norm(layer: GroupNorm, node: Node) -> Emission:
    """InstanceNormalization of the groups, then gamma and beta; all in one where every channel is a group.

    GroupNormalization is a function in ONNX whose variance is E[x^2] - E[x]^2, and ONNX Runtime computes it so: where
    the mean is a thousand times the deviation, its result is off by a tenth.
    """
    kind = node.input_type
    if layer.groups == kind.channels and kind.rank > 1:
        return Emission(_every_channel(layer), "first")

    def build(scope: Scope, given: Value) -> Value:
        groups = TensorType((kind.size // layer.groups, layer.groups))
        folded = scope.op("Reshape", given, scope.integers("groups", (0, layer.groups, -1)), part="folded", type=groups)
        ones, zeros = scope.constant("ones", [1.0] * layer.groups), scope.constant("zeros", [0.0] * layer.groups)
        normal = scope.op("InstanceNormalization", folded, ones, zeros, part="normal", epsilon=layer.epsilon)
        steps: list[tuple[str, ir.Value | None]] = [("Reshape", scope.integers("shape", (0, *given.shape)))]
        steps += [("Mul", scope.weight("gamma"))] if layer.scale else []
        steps += [("Add", scope.weight("beta"))] if layer.center else []
        for op_type, other in steps:
            part = None if op_type == steps[-1][0] else op_type.lower()
            normal = scope.op(op_type, normal, other, part=part, type=kind)
        return normal

    placed: dict[str, Placement] = {}
    for weight in node.weights:
        placed |= place(node, weight.name.rpartition(".")[2], shape=(kind.channels, *(1 for _ in kind.spatial)))
    return Emission(build, "first", placed)


def _every_channel(layer: GroupNorm) -> Callable[[Scope, Value], Value]:
    def build(scope: Scope, given: Value) -> Value:
        affine = _affine(scope, (given.type.channels,))
        return scope.op("InstanceNormalization", given, *affine, epsilon=layer.epsilon)

    return build
