"""Activations."""

from __future__ import annotations

from netspec.layers import Activation, PReLU
from netspec.network import Node
from netspec.tensors import Placement, first_axis
from netspec_torch.line import Attribute, Line, call, either, rules

PLAIN = {
    "relu": "F.relu({x})",
    "relu6": "F.relu6({x})",
    "selu": "F.selu({x})",
    "silu": "F.silu({x})",
    "hard_sigmoid": "F.hardsigmoid({x})",
    "hard_swish": "F.hardswish({x})",
    # Above its threshold torch takes softplus for linear; 20, its default, still shows in float64, 40 does not.
    "softplus": "F.softplus({x}, threshold=40)",
    "mish": "F.mish({x})",
    "softsign": "F.softsign({x})",
    "tanh": "torch.tanh({x})",
    "hard_tanh": "F.hardtanh({x})",
    "sigmoid": "torch.sigmoid({x})",
    "log_sigmoid": "F.logsigmoid({x})",
}


@rules(Activation)
def activation(layer: Activation, node: Node) -> Line:
    """Apply the function to every value, or along an axis."""
    match layer.function:
        case "leaky_relu":
            return either(call("F.leaky_relu", "{x}", *given(layer.slope, 0.01)))
        case "elu" | "celu":
            return either(call(f"F.{layer.function}", "{x}", *given(layer.alpha, 1.0)))
        case "gelu":
            return either(call("F.gelu", "{x}", approximate='"tanh"' if layer.approximate == "tanh" else None))
        case "softmax" | "log_softmax":
            assert layer.axis is not None, "the layer is not resolved"
            axis = first_axis(layer.axis, node.input_type.rank)
            return Line({"first": f"{{x}}.{layer.function}({axis})", "last": f"{{x}}.{layer.function}({layer.axis})"})
        case plain:
            return either(PLAIN[plain])


def given(value: float | None, default: float) -> tuple[object, ...]:
    """The argument when it has to be written."""
    return () if value == default else (value,)


@rules(PReLU)
def prelu(layer: PReLU, node: Node) -> Line:
    """A learnt slope for every channel."""
    code = call("nn.PReLU", node.input_type.channels)
    return Line({"first": "{self}({x})"}, attributes=(Attribute(code, {"alpha": Placement("weight")}),))
