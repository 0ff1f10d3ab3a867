"""Dropout."""

from __future__ import annotations

from netspec.layers import Dropout, SpatialDropout, StochasticDepth
from netspec.network import Node
from netspec_keras.steps import Realisation, one, rules


@rules(Dropout)
def dropout(layer: Dropout, node: Node) -> Realisation:
    """Each value on its own."""
    return one("Dropout", layer.rate)


@rules(SpatialDropout)
def spatial_dropout(layer: SpatialDropout, node: Node) -> Realisation:
    """Whole channels."""
    return one(f"SpatialDropout{node.input_type.rank - 1}D", layer.rate)


@rules(StochasticDepth)
def stochastic_depth(layer: StochasticDepth, node: Node) -> Realisation:
    """One decision a sample."""
    return one("Dropout", layer.rate, noise_shape=(None, *(1 for _ in node.input_type.shape)))
