"""Merges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netspec.layers import Add, Average, Concat, Dot, Maximum, Minimum, Multiply, Subtract
from netspec.layers.base import Layer
from netspec.network import Node
from netspec.tensors import TensorType
from netspec_onnx.graph import Emission, Scope, Value, rules

LEAST_NORM = 1e-7


def _pairwise(scope: Scope, operator: str, given: Sequence[Value], part: str | None = None) -> Value:
    """An operator of two inputs applied to several; operators that take them all fail to broadcast in places."""
    first, *between, last = given
    kind = scope.node.output
    for index, value in enumerate(between, 1):
        first = scope.op(operator, first, value.ir, part=f"{operator.lower()}_{index}", type=kind)
    return scope.op(operator, first, last.ir, part=part, type=kind)


def _rule(operator: str) -> Callable[[Layer, Node], Emission]:
    def rule(layer: Layer, node: Node) -> Emission:
        return Emission(lambda scope, *given: _pairwise(scope, operator, given))

    return rule


rules(Add)(_rule("Add"))
rules(Subtract)(_rule("Sub"))
rules(Multiply)(_rule("Mul"))
rules(Maximum)(_rule("Max"))
rules(Minimum)(_rule("Min"))


@rules(Average)
def average(layer: Average, node: Node) -> Emission:
    """The sum over how many there are."""

    def build(scope: Scope, *given: Value) -> Value:
        return scope.op("Div", _pairwise(scope, "Add", given, "sum"), scope.constant("count", len(given)))

    return Emission(build)


@rules(Concat)
def concat(layer: Concat, node: Node) -> Emission:
    """One behind the other, wherever the channels stand."""

    def build(scope: Scope, first: Value, *others: Value) -> Value:
        return scope.op("Concat", first, *(value.ir for value in others), axis=first.axis(layer.axis))

    return Emission(build)


@rules(Dot)
def dot(layer: Dot, node: Node) -> Emission:
    """A product of matrices; of vectors, the sum of their product."""
    sequence = node.output.rank == 2

    def unit(scope: Scope, given: Value, side: str) -> Value:
        kind = TensorType((*given.type.spatial, 1))
        axis, floor = scope.integers(f"{side}_axis", [-1]), scope.constant(f"{side}_least", LEAST_NORM)
        length = scope.op("ReduceL2", given, axis, part=f"{side}_norm", type=kind, keepdims=1)
        least = scope.op("Max", length, floor, part=f"{side}_length", type=kind)
        return scope.op("Div", given, least.ir, part=f"{side}_unit")

    def build(scope: Scope, left: Value, right: Value) -> Value:
        if layer.normalize:
            left, right = unit(scope, left, "left"), unit(scope, right, "right")
        if not sequence:
            product = scope.op("Mul", left, right.ir, part="product")
            return scope.op("ReduceSum", product, scope.integers("axis", [1]), keepdims=1)
        shape = right.type.shape[::-1]
        turned = scope.emit("Transpose", [right.ir], f"{node.name}/turned", shape, perm=(0, 2, 1))
        return scope.op("MatMul", left, turned)

    return Emission(build, "last")
