"""Merges."""

from __future__ import annotations

from netspec.layers import Add, Average, Concat, Dot, Maximum, Minimum, Multiply, Subtract
from netspec.network import Node
from netspec.tensors import first_axis
from netspec_torch.line import Line, call, either, rules

LEAST_NORM = 1e-7


def given(node: Node) -> list[str]:
    """Every input, as the expression names it."""
    return [f"{{{index}}}" for index in range(len(node.inputs))]


def nested(function: str, values: list[str]) -> str:
    """A function of two, applied to several."""
    code = values[0]
    for value in values[1:]:
        code = f"{function}({code}, {value})"
    return code


@rules(Add)
def add(layer: Add, node: Node) -> Line:
    """The sum."""
    return either(" + ".join(given(node)))


@rules(Subtract)
def subtract(layer: Subtract, node: Node) -> Line:
    """The difference."""
    return either("{0} - {1}")


@rules(Multiply)
def multiply(layer: Multiply, node: Node) -> Line:
    """The product."""
    return either(" * ".join(given(node)))


@rules(Average)
def average(layer: Average, node: Node) -> Line:
    """The mean."""
    return either(f"({' + '.join(given(node))}) / {len(node.inputs)}")


@rules(Maximum)
def maximum(layer: Maximum, node: Node) -> Line:
    """`torch.maximum` shares the gradient between equal values."""
    return either(nested("torch.maximum", given(node)))


@rules(Minimum)
def minimum(layer: Minimum, node: Node) -> Line:
    """`torch.minimum` shares the gradient between equal values."""
    return either(nested("torch.minimum", given(node)))


@rules(Concat)
def concat(layer: Concat, node: Node) -> Line:
    """One behind the other, wherever the channels stand."""
    values = f"({', '.join(given(node))})"
    return Line(
        {
            "first": call("torch.cat", values, first_axis(layer.axis, node.output.rank)),
            "last": call("torch.cat", values, layer.axis),
        }
    )


@rules(Dot)
def dot(layer: Dot, node: Node) -> Line:
    """A product of matrices, or of vectors."""
    left, right = ("{0}", "{1}")
    if layer.normalize:
        left, right = (call("F.normalize", value, dim=-1, eps=LEAST_NORM) for value in (left, right))
    if node.output.rank == 1:
        return either(f"({left} * {right}).sum(1, keepdim=True)")
    return Line({"last": f"{left} @ {right}.transpose(1, 2)"})
