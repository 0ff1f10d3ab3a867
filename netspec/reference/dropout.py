"""The values of dropouts: in inference, what they are given."""

from __future__ import annotations

from netspec.layers import Dropout, SpatialDropout, StochasticDepth
from netspec.network import Node
from netspec.reference.table import Function, rules


@rules(Dropout)
def dropout(layer: Dropout, node: Node) -> Function:
    """The input."""
    return lambda x: x


@rules(SpatialDropout)
def spatial_dropout(layer: SpatialDropout, node: Node) -> Function:
    """The input."""
    return lambda x: x


@rules(StochasticDepth)
def stochastic_depth(layer: StochasticDepth, node: Node) -> Function:
    """The input."""
    return lambda x: x
