"""The values of activations, in forms that neither overflow nor cancel."""

from __future__ import annotations

from collections.abc import Mapping
from math import erfc, pi, sqrt

import numpy as np

from netspec.layers import Activation, PReLU
from netspec.network import Node
from netspec.reference.table import Function, Values, rules

# Klambauer et al. 2017, to float64.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934
_erfc = np.frompyfunc(erfc, 1, 1)


def _relu(x: Values) -> Values:
    return np.maximum(x, 0.0)


def _elu(x: Values, alpha: float) -> Values:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _softplus(x: Values) -> Values:
    positive: Values = np.logaddexp(0.0, x)
    return positive


def _sigmoid(x: Values) -> Values:
    share: Values = np.exp(-_softplus(-x))
    return share


def _hard_sigmoid(x: Values) -> Values:
    return np.clip(x + 3.0, 0.0, 6.0) / 6.0


def _gelu(x: Values, approximate: str | None) -> Values:
    if approximate == "tanh":
        wide: Values = 0.5 * x * (1.0 + np.tanh(sqrt(2.0 / pi) * (x + 0.044715 * x**3)))
        return wide
    doubled: Values = np.asarray(_erfc(-x / sqrt(2.0)), np.float64)
    return 0.5 * x * doubled


def _log_softmax(x: Values, axis: int) -> Values:
    below = x - x.max(axis, keepdims=True)
    logarithm: Values = below - np.log(np.exp(below).sum(axis, keepdims=True))
    return logarithm


POINTWISE: Mapping[str, Function] = {
    "relu": _relu,
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "selu": lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
    "silu": lambda x: x * _sigmoid(x),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda x: x * _hard_sigmoid(x),
    "softplus": _softplus,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1.0, 1.0),
    "sigmoid": _sigmoid,
    "log_sigmoid": lambda x: -_softplus(-x),
}


@rules(Activation)
def activation(layer: Activation, node: Node) -> Function:
    """The function of every value, or along an axis."""
    slope, alpha, axis = layer.slope, layer.alpha, layer.axis
    match layer.function:
        case "leaky_relu":
            return lambda x: np.where(x > 0, x, slope * x)
        case "elu":
            assert alpha is not None  # resolved
            return lambda x: _elu(x, alpha)
        case "celu":
            return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha))
        case "gelu":
            return lambda x: _gelu(x, layer.approximate)
        case "softmax":
            assert axis is not None  # resolved
            return lambda x: np.exp(_log_softmax(x, axis))
        case "log_softmax":
            assert axis is not None  # resolved
            return lambda x: _log_softmax(x, axis)
        case pointwise:
            return POINTWISE[pointwise]


@rules(PReLU)
def prelu(layer: PReLU, node: Node) -> Function:
    """max(0, x) + alpha * min(0, x)."""

    def value(x: Values, alpha: Values) -> Values:
        return np.where(x > 0, x, alpha * x)

    return value
