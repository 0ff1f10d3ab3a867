"""Activations: a function of every value, or along one axis."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field

from netspec.errors import LayerError
from netspec.layers.base import Inputs, Layer, Weight, axis_index, fold
from netspec.layers.initializer import Init, Initializer

Function = Literal[
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "hard_sigmoid",
    "hard_swish",
    "softplus",
    "mish",
    "softsign",
    "tanh",
    "hard_tanh",
    "sigmoid",
    "log_sigmoid",
    "softmax",
    "log_softmax",
]
FUNCTIONS: tuple[Function, ...] = get_args(Function)
SYNONYMS: dict[str, Function] = {
    "swish": "silu",
    "logistic": "sigmoid",
    "hard_silu": "hard_swish",
    "leaky": "leaky_relu",
}

# What the unnamed argument of `name(0.2)` means, and which fields each function has.
ARGUMENTS: dict[str, str] = {
    "leaky_relu": "slope",
    "elu": "alpha",
    "celu": "alpha",
    "gelu": "approximate",
    "softmax": "axis",
    "log_softmax": "axis",
}


class Activation(
    Layer,
    kind="Activation",
    size=("function",),
    presets={name: {"function": name} for name in FUNCTIONS}
    | {name: {"function": to} for name, to in SYNONYMS.items()},
):
    """Apply a function to every value; softmax and log_softmax work along `axis`. The shape stays."""

    function: Function
    """Which function."""
    slope: Annotated[float, Field(ge=0)] | None = None
    """Slope of `leaky_relu` below zero; required there, for the frameworks' defaults all differ."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """Scale of `elu` and `celu` below zero; 1 when not given."""
    approximate: Literal["none", "tanh"] | None = None
    """`gelu`: the exact form with erf (`none`, when not given), or the `tanh` approximation."""
    axis: int | None = None
    """The axis that `softmax` and `log_softmax` sum over (0 is the batch); the channels, -1, when not given."""

    def check(self) -> None:
        own = ARGUMENTS.get(self.function)
        for field in ("slope", "alpha", "approximate", "axis"):
            if field != own and getattr(self, field) is not None:
                raise LayerError(f"{self.function} has no {field}", field=field)
        if self.function == "leaky_relu" and self.slope is None:
            raise LayerError(
                "leaky_relu needs its slope: the frameworks' defaults all differ",
                "for example leaky_relu(0.01)",
                "function",
            )

    def resolve(self, inputs: Inputs) -> Self:
        defaults = {"alpha": 1.0, "approximate": "none"}
        own = ARGUMENTS.get(self.function)
        if own is None or own == "slope":
            return self
        if own == "axis":
            return self.replace(axis=axis_index(-1 if self.axis is None else self.axis, inputs[0].rank))
        return self.replace(**{own: defaults[own] if getattr(self, own) is None else getattr(self, own)})


class PReLU(Layer, kind="PReLU"):
    """max(0, x) + alpha * min(0, x) with one learnt alpha a channel (He et al. 2015); the shape stays.

    weights: alpha [c]
    """

    alpha_init: Init = Initializer.model_construct(scheme="constant", value=0.25)
    """Initial values of alpha."""

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        return (Weight("alpha", (inputs[0].channels,), self.alpha_init),)


def function_named(name: str) -> Function | None:
    """The activation function of this name, in any spelling, or None."""
    folded = fold(name)
    for known in FUNCTIONS:
        if fold(known) == folded:
            return known
    return next((function for known, function in SYNONYMS.items() if fold(known) == folded), None)
