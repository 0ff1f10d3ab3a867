"""Dropout, of values, of whole channels or of whole samples."""

from __future__ import annotations

from dataclasses import replace

from netspec.layers import Dropout, SpatialDropout, StochasticDepth
from netspec.network import Node
from netspec_torch.line import Line, call, either, rules


@rules(Dropout)
def dropout(layer: Dropout, node: Node) -> Line:
    """Inverted dropout."""
    return either(call("F.dropout", "{x}", layer.rate, "self.training"))


@rules(SpatialDropout)
def spatial_dropout(layer: SpatialDropout, node: Node) -> Line:
    """Inverted dropout of channels; which function it is follows the rank, for torch guesses it otherwise."""
    return Line({"first": call(f"F.dropout{node.input_type.rank - 1}d", "{x}", layer.rate, "self.training")})


@rules(StochasticDepth)
def stochastic_depth(layer: StochasticDepth, node: Node) -> Line:
    """Inverted dropout of channels, where the samples stand for channels: without a cost once training is over."""
    rank = node.input_type.rank
    # torch's functions by rank end with three axes beside these two.
    function = f"F.dropout{rank}d" if rank < 4 else "torch.feature_dropout"
    return replace(either(f"{call(function, '{x}[None]', layer.rate, 'self.training')}[0]"), comment="whole samples")
