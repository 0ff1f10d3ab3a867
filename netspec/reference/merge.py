"""The values of merges."""

from __future__ import annotations

from functools import reduce

import numpy as np

from netspec.layers import Add, Average, Concat, Dot, Maximum, Minimum, Multiply, Subtract
from netspec.network import Node
from netspec.reference.table import Function, Values, rules

LEAST_NORM = 1e-7


@rules(Add)
def add(layer: Add, node: Node) -> Function:
    """The sum."""
    return lambda *given: reduce(np.add, given)


@rules(Subtract)
def subtract(layer: Subtract, node: Node) -> Function:
    """The difference."""
    return lambda left, right: left - right


@rules(Multiply)
def multiply(layer: Multiply, node: Node) -> Function:
    """The product."""
    return lambda *given: reduce(np.multiply, given)


@rules(Average)
def average(layer: Average, node: Node) -> Function:
    """The sum over how many there are."""
    return lambda *given: reduce(np.add, given) / len(given)


@rules(Maximum)
def maximum(layer: Maximum, node: Node) -> Function:
    """The largest."""
    return lambda *given: reduce(np.maximum, given)


@rules(Minimum)
def minimum(layer: Minimum, node: Node) -> Function:
    """The smallest."""
    return lambda *given: reduce(np.minimum, given)


@rules(Concat)
def concat(layer: Concat, node: Node) -> Function:
    """One behind the other."""
    return lambda *given: np.concatenate(given, axis=layer.axis)


@rules(Dot)
def dot(layer: Dot, node: Node) -> Function:
    """Scalar products of the last axes."""

    def unit(x: Values) -> Values:
        length: Values = np.sqrt(np.square(x).sum(-1, keepdims=True))
        scaled: Values = x / np.maximum(length, LEAST_NORM)
        return scaled

    def value(left: Values, right: Values) -> Values:
        if layer.normalize:
            left, right = unit(left), unit(right)
        products: Values = (left * right).sum(1, keepdims=True) if left.ndim == 2 else left @ right.transpose(0, 2, 1)
        return products

    return value
