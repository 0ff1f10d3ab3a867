"""The values of fully connected layers."""

from __future__ import annotations

from netspec.layers import Dense
from netspec.network import Node
from netspec.reference.table import Function, Values, rules


@rules(Dense)
def dense(layer: Dense, node: Node) -> Function:
    """Weighted sums of the last axis: x @ kernel + bias."""

    def value(x: Values, kernel: Values, bias: Values | float = 0.0) -> Values:
        return x @ kernel + bias

    return value
