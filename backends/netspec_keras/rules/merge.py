"""Merges."""

from __future__ import annotations

from netspec.layers import Add, Average, Concat, Dot, Maximum, Minimum, Multiply, Subtract
from netspec.network import Node
from netspec_keras.steps import Realisation, one, rules


@rules(Add)
def add(layer: Add, node: Node) -> Realisation:
    """The sum."""
    return one("Add")


@rules(Subtract)
def subtract(layer: Subtract, node: Node) -> Realisation:
    """The difference."""
    return one("Subtract")


@rules(Multiply)
def multiply(layer: Multiply, node: Node) -> Realisation:
    """The product."""
    return one("Multiply")


@rules(Average)
def average(layer: Average, node: Node) -> Realisation:
    """The mean."""
    return one("Average")


@rules(Maximum)
def maximum(layer: Maximum, node: Node) -> Realisation:
    """The largest."""
    return one("Maximum")


@rules(Minimum)
def minimum(layer: Minimum, node: Node) -> Realisation:
    """The smallest."""
    return one("Minimum")


@rules(Concat)
def concat(layer: Concat, node: Node) -> Realisation:
    """One behind the other; Keras' own axis is that of the channels."""
    return one("Concatenate", axis=None if layer.axis == node.output.rank else layer.axis)


@rules(Dot)
def dot(layer: Dot, node: Node) -> Realisation:
    """Scalar products of the last axes."""
    return one("Dot", axes=-1, normalize=True if layer.normalize else None)
