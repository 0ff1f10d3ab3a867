"""Normalisation and learnt scales; an epsilon is always stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from netspec.layers import LRN, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LayerScale, RMSNorm
from netspec.network import Node
from netspec.tensors import Order, Placement, TensorType
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


def _every_channel(layer: GroupNorm | InstanceNorm) -> Callable[[Scope, Value], Value]:
    def build(scope: Scope, given: Value) -> Value:
        affine = _affine(scope, (given.type.channels,))
        return scope.op("InstanceNormalization", given, *affine, epsilon=layer.epsilon)

    return build


@rules(InstanceNorm)
def instance_norm(layer: InstanceNorm, node: Node) -> Emission:
    """InstanceNormalization."""
    return Emission(_every_channel(layer), "first")


def _gamma(node: Node) -> tuple[Order, Mapping[str, Placement]]:
    """The order in which a layer over single positions is written, and gamma shaped for it.

    Sequences mostly come from and go to layers whose channels stand last, images to convolutions.
    """
    kind = node.input_type
    if kind.rank < 3 or not node.weights:
        return "last", {}
    return "first", place(node, "gamma", shape=(kind.channels, *(1 for _ in kind.spatial)))


@rules(RMSNorm)
def rms_norm(layer: RMSNorm, node: Node) -> Emission:
    """Primitives, for ONNX has RMSNormalization from opset 23 on."""
    order, placed = _gamma(node)

    def build(scope: Scope, given: Value) -> Value:
        channels = scope.integers("channels", [given.axis(given.type.rank)])
        one = TensorType((*given.type.spatial, 1))
        squares = scope.op("Mul", given, given.ir, part="squares")
        mean = scope.op("ReduceMean", squares, channels, part="mean", type=one, keepdims=1)
        raised = scope.op("Add", mean, scope.constant("epsilon", layer.epsilon), part="raised", type=one)
        root = scope.op("Sqrt", raised, part="root", type=one)
        if not layer.scale:
            return scope.op("Div", given, root.ir)
        return scope.op("Mul", scope.op("Div", given, root.ir, part="normal"), scope.weight("gamma"))

    return Emission(build, order, placed)


@rules(LRN)
def lrn(layer: LRN, node: Node) -> Emission:
    """The mean of squares as an AveragePool along the channels, whose pads count, then the quotient.

    ONNX Runtime's LRN takes images alone, and carries one sum along the channels to which it adds squares and takes
    them off again: beside a channel of 1000 its results are wrong by a thousandth and more, or are no numbers.
    """
    kind, reach = node.input_type, layer.size // 2

    def build(scope: Scope, given: Value) -> Value:
        positions = kind.size // kind.channels
        squares = scope.op("Mul", given, given.ir, part="squares")
        plane = TensorType((kind.channels, positions, 1))
        folded = scope.op(
            "Reshape", squares, scope.integers("plane", (0, 1, kind.channels, -1)), part="folded", type=plane
        )
        window: dict[str, Any] = {"kernel_shape": (layer.size, 1), "strides": (1, 1), "ceil_mode": 0}
        window |= {"pads": (reach, 0, reach, 0), "count_include_pad": 1}
        means = scope.op("AveragePool", folded, part="means", **window)
        near = scope.op("Reshape", means, scope.integers("shape", (0, *given.shape)), part="near", type=kind)
        scaled = scope.op("Mul", near, scope.constant("alpha", layer.alpha), part="scaled")
        raised = scope.op("Add", scaled, scope.constant("k", layer.k), part="raised")
        power = scope.op("Pow", raised, scope.constant("beta", layer.beta), part="power")
        return scope.op("Div", given, power.ir)

    return Emission(build, "first")


@rules(LayerScale)
def layer_scale(layer: LayerScale, node: Node) -> Emission:
    """Mul by a constant a channel."""
    order, placed = _gamma(node)

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("Mul", given, scope.weight("gamma"))

    return Emission(build, order, placed)
