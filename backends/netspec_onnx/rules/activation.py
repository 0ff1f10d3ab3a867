"""Activations as ONNX's own operators, every argument stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from netspec.layers import Activation, PReLU
from netspec.network import Node
from netspec_onnx.graph import Emission, Scope, Value, place, rules

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al. 2017, in double precision."""

Function = Callable[[Scope, Value, Activation], Value]


def _clip(low: float, high: float) -> Function:
    def build(scope: Scope, given: Value, layer: Activation) -> Value:
        return scope.op("Clip", given, scope.constant("min", low), scope.constant("max", high))

    return build


def _silu(scope: Scope, given: Value, layer: Activation) -> Value:
    return scope.op("Mul", given, scope.op("Sigmoid", given, part="sigmoid").ir)


def _log_sigmoid(scope: Scope, given: Value, layer: Activation) -> Value:
    softplus = scope.op("Softplus", scope.op("Neg", given, part="negative"), part="softplus")
    return scope.op("Neg", softplus)


def _along_axis(op_type: str) -> Function:
    def build(scope: Scope, given: Value, layer: Activation) -> Value:
        assert layer.axis is not None, "the layer is not resolved"
        return scope.op(op_type, given, axis=given.axis(layer.axis))

    return build


def _plain(op_type: str, **attributes: Any) -> Function:
    """An operator whose attributes are constants of the function."""

    def build(scope: Scope, given: Value, layer: Activation) -> Value:
        return scope.op(op_type, given, **attributes)

    return build


def _with_field(op_type: str, attribute: str, field: str) -> Function:
    """An operator with one attribute, which a field of the layer gives."""

    def build(scope: Scope, given: Value, layer: Activation) -> Value:
        arguments: dict[str, Any] = {attribute: getattr(layer, field)}
        return scope.op(op_type, given, **arguments)

    return build


FUNCTIONS: Mapping[str, Function] = {
    "relu": _plain("Relu"),
    "relu6": _clip(0.0, 6.0),
    "leaky_relu": _with_field("LeakyRelu", "alpha", "slope"),
    "elu": _with_field("Elu", "alpha", "alpha"),
    "selu": _plain("Selu", alpha=SELU_ALPHA, gamma=SELU_GAMMA),
    "celu": _with_field("Celu", "alpha", "alpha"),
    "gelu": _with_field("Gelu", "approximate", "approximate"),
    "silu": _silu,
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": _plain("HardSwish"),
    "softplus": _plain("Softplus"),
    "mish": _plain("Mish"),
    "softsign": _plain("Softsign"),
    "tanh": _plain("Tanh"),
    "hard_tanh": _clip(-1.0, 1.0),
    "sigmoid": _plain("Sigmoid"),
    "log_sigmoid": _log_sigmoid,
    "softmax": _along_axis("Softmax"),
    "log_softmax": _along_axis("LogSoftmax"),
}


@rules(Activation)
def activation(layer: Activation, node: Node) -> Emission:
    """The operator of the function."""

    def build(scope: Scope, given: Value) -> Value:
        return FUNCTIONS[layer.function](scope, given, layer)

    return Emission(build)


@rules(PReLU)
def prelu(layer: PReLU, node: Node) -> Emission:
    """PRelu with a slope a channel."""

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("PRelu", given, *scope.weights)

    kind = node.input_type
    return Emission(build, "first", place(node, "alpha", None, (kind.channels, *(1 for _ in kind.spatial))))
