"""Fully connected layers."""

from __future__ import annotations

from netspec.codegen.source import unless
from netspec.layers import Dense
from netspec.network import Node
from netspec_keras.steps import Apply, Realisation, rules, variables_of, written


@rules(Dense)
def dense(layer: Dense, node: Node) -> Realisation:
    """Weighted sums of the last axis."""
    made = Apply("Dense", written(layer.units, use_bias=unless(layer.bias, True)), fuses=True)
    return Realisation((made,), variables_of(node))
