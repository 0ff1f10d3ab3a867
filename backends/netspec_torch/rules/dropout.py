"""Dropout, of values or of whole channels."""

from __future__ import annotations

from netspec.layers import Dropout, SpatialDropout
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
