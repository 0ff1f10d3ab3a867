"""Fully connected layers."""

from __future__ import annotations

from netspec.codegen.source import unless
from netspec.layers import Dense
from netspec.network import Node
from netspec.tensors import Placement
from netspec_torch.line import Attribute, Line, call, rules


@rules(Dense)
def dense(layer: Dense, node: Node) -> Line:
    """A Linear over the last axis."""
    code = call("nn.Linear", node.input_type.channels, layer.units, bias=unless(layer.bias, True))
    bias = {"bias": Placement("bias")} if layer.bias else {}
    attribute = Attribute(code, {"kernel": Placement("weight", axes=(1, 0)), **bias})
    return Line({"last": "{self}({x})"}, attributes=(attribute,))
