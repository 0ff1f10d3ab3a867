"""What layers compute, as formulas that people compare side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from netspec.layers import (
    LRN,
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Flatten,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    MaxPool,
    Normalize,
    PReLU,
    Rescale,
    RMSNorm,
)
from netspec.layers.activation import ARGUMENTS
from netspec.layers.initializer import Initializer

POINTWISE: Mapping[str, str] = {
    "relu": "max(x, 0)",
    "relu6": "min(max(x, 0), 6)",
    "leaky_relu": "x if x > 0 else {slope} * x",
    "elu": "x if x > 0 else {alpha} * (exp(x) - 1)",
    "celu": "x if x > 0 else {alpha} * (exp(x / {alpha}) - 1)",
    "selu": "1.0507 * (x if x > 0 else 1.6733 * (exp(x) - 1))",
    "silu": "x / (1 + exp(-x))",
    "sigmoid": "1 / (1 + exp(-x))",
    "hard_sigmoid": "min(max(x + 3, 0), 6) / 6",
    "hard_swish": "x * min(max(x + 3, 0), 6) / 6",
    "softplus": "log(1 + exp(x))",
    "mish": "x * tanh(log(1 + exp(x)))",
    "softsign": "x / (1 + |x|)",
    "tanh": "tanh(x)",
    "hard_tanh": "min(max(x, -1), 1)",
    "log_sigmoid": "-log(1 + exp(-x))",
    "softmax": "exp(x) / sum of exp(x) over axis {axis}",
    "log_softmax": "x - log(sum of exp(x) over axis {axis})",
}
GELU: Mapping[str, str] = {
    "none": "x / 2 * (1 + erf(x / sqrt(2)))",
    "tanh": "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))",
}


def number(value: Any) -> str:
    """A field's value as a row of a spec writes it.

    >>> number(1e-05), number(((0, 1), (0, 1))), number("same")
    ('1e-05', '((0,1),(0,1))', 'same')
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, (tuple, list)):
        inner = ",".join(map(number, value))
        return f"({inner})"
    return str(value)


def _affine(normal: str, moments: str = "") -> Callable[[Any], str]:
    def written(layer: Any) -> str:
        scaled = "gamma * " * layer.scale + normal + " + beta" * layer.center
        return str((scaled + moments).format(**_plain(layer)))

    return written


def _activation(layer: Activation) -> str:
    if layer.function == "gelu":
        return GELU[layer.approximate or "none"]
    return POINTWISE[layer.function].format(**_plain(layer))


def _window(sentence: str) -> Callable[[Any], str]:
    return lambda layer: sentence.format(**_plain(layer))


def _sum(kernel: str) -> Callable[[Any], str]:
    def written(layer: Any) -> str:
        spread = "" if set(layer.dilation) == {1} else f" * {number(layer.dilation)}"
        groups = getattr(layer, "groups", 1)
        grouped = "" if groups == 1 else f", in {groups} groups"
        place = f"x[p * {number(layer.stride)} + t{spread} - {number(tuple(begin for begin, _ in layer.pads))}]"
        added = " + bias" if layer.bias else ""
        return f"sum over t of {place} * {kernel}{added}, zeros around by {number(layer.pads)}{grouped}"

    return written


FORMULAS: Mapping[type[Layer], Callable[[Any], str]] = {
    Activation: _activation,
    PReLU: lambda _: "x if x > 0 else alpha * x",
    BatchNorm: _affine("(x - mean) / sqrt(var + {epsilon})"),
    LayerNorm: _affine("(x - m) / sqrt(v + {epsilon})", ", m and v over axes {axis}"),
    GroupNorm: _affine("(x - m) / sqrt(v + {epsilon})", ", m and v over each of {groups} groups"),
    InstanceNorm: _affine("(x - m) / sqrt(v + {epsilon})", ", m and v over each channel"),
    RMSNorm: lambda layer: f"{'gamma * ' * layer.scale}x / sqrt(mean(x^2) + {number(layer.epsilon)})",
    LRN: _window("x / ({k} + {alpha} / {size} * sum of squares over {size} channels) ^ {beta}"),
    Conv: _sum("kernel[t]"),
    DepthwiseConv: _sum("kernel[t], each channel alone"),
    ConvTranspose: _window("x stamped with kernel, {stride} apart, cropped by {padding}"),
    Dense: lambda layer: "x @ kernel" + " + bias" * layer.bias,
    MaxPool: _window("the largest of windows {size}, {stride} apart, -infinity around by {padding}, ceil {ceil}"),
    AvgPool: _window(
        "the mean of windows {size}, {stride} apart, zeros around by {padding}, which count: {count_include_pad}, "
        "ceil {ceil}"
    ),
    Flatten: _window("the values in the order {order}"),
    Rescale: _window("x * {scale} + {offset}"),
    Normalize: _window("(x - {mean}) / {std}"),
}
"""Of each kind its formula; other kinds are written as the row of a spec."""


def formula(layer: Layer) -> str:
    """What a resolved layer computes.

    >>> formula(BatchNorm())
    'gamma * (x - mean) / sqrt(var + 0.001) + beta'
    """
    if type(layer) in FORMULAS:
        return FORMULAS[type(layer)](layer)
    said = {name: value for name, value in layer.fields().items() if not isinstance(value, Initializer)}
    return f"{layer.kind}({', '.join(f'{name}={number(value)}' for name, value in said.items() if value is not None)})"


def written_activation(layer: Layer) -> str:
    """An activation as the cell of a row has it.

    >>> written_activation(Activation(function="leaky_relu", slope=0.2))
    'leaky_relu(0.2)'
    """
    assert isinstance(layer, Activation)
    argument = getattr(layer, ARGUMENTS.get(layer.function, ""), None)
    named = "axis=" if ARGUMENTS.get(layer.function) == "axis" else ""
    return layer.function if argument is None else f"{layer.function}({named}{number(argument)})"


def _plain(layer: Layer) -> dict[str, str]:
    return {name: number(value) for name, value in layer.fields().items()}
