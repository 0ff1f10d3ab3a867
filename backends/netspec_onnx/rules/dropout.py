"""Dropout does nothing outside of training, so the file has no trace of it."""

from __future__ import annotations

from netspec.layers import Dropout, SpatialDropout, StochasticDepth
from netspec.network import Node
from netspec_onnx.graph import Emission, Scope, Value, rules


def _unchanged(scope: Scope, given: Value) -> Value:
    return given


@rules(Dropout)
def dropout(layer: Dropout, node: Node) -> Emission:
    """Nothing."""
    return Emission(_unchanged)


@rules(SpatialDropout)
def spatial_dropout(layer: SpatialDropout, node: Node) -> Emission:
    """Nothing."""
    return Emission(_unchanged)


@rules(StochasticDepth)
def stochastic_depth(layer: StochasticDepth, node: Node) -> Emission:
    """Nothing."""
    return Emission(_unchanged)
