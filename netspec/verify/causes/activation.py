"""What may be otherwise in activations, and the activation that stands, or does not stand, behind any layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from netspec.layers import Activation, Layer, PReLU
from netspec.layers.activation import FUNCTIONS, Function
from netspec.network import Node
from netspec.reference import evaluate_parts
from netspec.reference.table import Values
from netspec.verify.causes.hypothesis import Alternative, Call, Fields, Hypothesis, fields, fitted, instead, with_factor
from netspec.verify.causes.written import formula

SLOPES = (0.01, 0.1, 0.2, 0.3, 0.0, 1.0, 1 / 5.5, 0.05, 0.25)
"""What libraries take for a leaky slope by default: torch and ONNX 0.01, Keras 3 0.3 and 0.2, RReLU's mean."""
SUMMED = ("softmax", "log_softmax")
AFTER: tuple[Function, ...] = ("relu", "softmax", "sigmoid", "tanh", "log_softmax", "relu6", "silu")
"""What models end in, or have behind a layer, where the other one does not."""


def made(function: Function, call: Call, **given: Any) -> Layer:
    """An activation of this function for what a call reads, with the slopes that libraries take by default."""
    extra = {"leaky_relu": {"slope": 0.01}}.get(function, {}) | given
    kind = call.node.input_type if call.x.ndim == call.node.input_type.rank + 1 else call.node.output
    return Activation(function=function, **extra).resolve([kind])


def _others(call: Call) -> Iterator[Alternative]:
    """Every other function."""
    for function in FUNCTIONS:
        if function == call.layer.function:
            continue
        for given in [{"slope": slope} for slope in SLOPES if slope] if function == "leaky_relu" else [{}]:
            layer = made(function, call, **given)
            own = call.layer.fields()
            changed = {name: value for name, value in layer.fields().items() if value != own[name]}
            yield _instead_of(call, layer, f"it is {function}, not {call.layer.function}", changed)


def _instead_of(call: Call, layer: Layer, says: str, changed: Fields) -> Alternative:
    return Alternative(says, lambda: formula(layer), call.of(layer).value, lambda: changed)


def _forms(call: Call) -> Iterator[Fields]:
    if call.layer.function == "gelu":
        yield {"approximate": "tanh" if call.layer.approximate != "tanh" else "none"}


def _axes(call: Call) -> Iterator[Fields]:
    if call.layer.function in SUMMED:
        yield from ({"axis": axis} for axis in range(call.node.input_type.rank + 1))


def _slopes(call: Call) -> Iterator[Fields]:
    if call.layer.function == "leaky_relu":
        yield from ({"slope": slope} for slope in SLOPES)
        yield {"slope": -call.layer.slope}


def _alphas(call: Call) -> Iterator[Fields]:
    if call.layer.function in ("elu", "celu"):
        yield from ({"alpha": alpha} for alpha in (1.0, 0.1, 0.5, 1.6732632423543772))


def _only(*functions: str) -> Callable[[Callable[[Call], Values]], Callable[[Call], Values | None]]:
    """A value that makes sense for some functions alone."""

    def limited(value: Callable[[Call], Values]) -> Callable[[Call], Values | None]:
        return lambda call: value(call) if call.layer.function in functions else None

    return limited


def _logistic(x: Values) -> Values:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), np.float64)


@_only("gelu")
def _gelu_by_sigmoid(call: Call) -> Values:
    return call.x * _logistic(1.702 * call.x)


def _fifth(x: Values) -> Values:
    return np.asarray(np.clip(0.2 * x + 0.5, 0.0, 1.0), np.float64)


@_only("hard_sigmoid")
def _hard_by_fifths(call: Call) -> Values:
    return _fifth(call.x)


@_only("hard_swish")
def _swish_by_fifths(call: Call) -> Values:
    return call.x * _fifth(call.x)


@_only("softplus", "mish")
def _threshold(call: Call) -> Values:
    return np.where(call.x > 20, call.x, call.value())


@_only(*SUMMED)
def _over_everything(call: Call) -> Values:
    flat = call.x.reshape(len(call.x), -1)
    whole: Values = np.exp(flat - flat.max(1, keepdims=True))
    share: Values = (whole / whole.sum(1, keepdims=True)).reshape(call.x.shape)
    return share if call.layer.function == "softmax" else np.log(share)


def _not_shifted(precision: type[np.floating]) -> Callable[[Call], Values | None]:
    """In a precision: where exp overflows, and where all of them are zero, there is no number."""

    @_only(*SUMMED)
    def value(call: Call) -> Values:
        raised = np.exp(call.x.astype(precision))
        share: Values = (raised / raised.sum(call.layer.axis, keepdims=True)).astype(np.float64)
        return share if call.layer.function == "softmax" else np.log(share)

    return value


def _overflowing(precision: type[np.floating]) -> Callable[[Call], Values | None]:
    @_only("softplus", "mish")
    def value(call: Call) -> Values:
        softplus: Values = np.log(1 + np.exp(call.x.astype(precision))).astype(np.float64)
        return softplus if call.layer.function == "softplus" else call.x * np.tanh(softplus)

    return value


def _warmer(call: Call, factor: float) -> Call | None:
    return call.reading(factor * call.x) if call.layer.function in SUMMED else None


def _added_to_sum(call: Call, epsilon: float) -> Values | None:
    if call.layer.function != "softmax":
        return None
    raised = np.exp(call.x - call.x.max(call.layer.axis, keepdims=True))
    return np.asarray(raised / (raised.sum(call.layer.axis, keepdims=True) + epsilon))


@_only("celu")
def _celu_as_elu(call: Call) -> Values:
    return np.where(call.x > 0, call.x, call.layer.alpha * np.expm1(np.minimum(call.x, 0.0)))


def _twice(call: Call) -> Call:
    return call.reading(call.value())


def _after(function: Function) -> Callable[[Call], Values | None]:
    """The result of the layer through one more function."""

    def value(call: Call) -> Values | None:
        if isinstance(call.layer, Activation) and call.layer.function == function:
            return None  # that is `applied twice`
        result = call.value()
        layer = Activation(function=function).resolve([call.node.output])
        node = Node("after", layer, (call.node.name,), (call.node.output,), call.node.output, (), call.node.row)
        return evaluate_parts(node, (result,), {})

    return value


def _one_slope(call: Call) -> Values:
    return np.where(call.x > 0, call.x, call.weights["alpha"].ravel()[0] * call.x)


def _along_height(call: Call) -> Values | None:
    """The slopes taken along the first axis, where that is as long."""
    alpha = call.weights["alpha"]
    if call.x.shape[1] != len(alpha) or call.x.ndim == 2:
        return None
    return np.where(call.x > 0, call.x, alpha.reshape(-1, *(1,) * (call.x.ndim - 2)) * call.x)


HYPOTHESES: tuple[Hypothesis, ...] = (
    instead(
        (Activation, PReLU),
        "activation missing",
        "nothing is applied: the activation is missing",
        "x",
        lambda call: call.x,
    ),
    fields(Activation, "the other form of GELU", _forms),
    fields(Activation, "another slope", _slopes),
    fields(Activation, "another alpha", _alphas),
    fields(Activation, "another axis", _axes),
    Hypothesis((Activation,), "another function", _others),
    instead(
        Activation,
        "applied twice",
        "the function is applied twice",
        "f(f(x)) with f(x) = {value}",
        _twice,
    ),
    instead(
        Activation,
        "GELU by a sigmoid",
        "it is the approximation of GELU by a sigmoid",
        "x / (1 + exp(-1.702 * x))",
        _gelu_by_sigmoid,
    ),
    instead(
        Activation,
        "hard sigmoid by fifths",
        "the hard sigmoid is that of Keras 2 and ONNX, with the slope 1/5, not 1/6",
        "min(max(0.2 * x + 0.5, 0), 1)",
        _hard_by_fifths,
    ),
    instead(
        Activation,
        "hard sigmoid by fifths",
        "the hard sigmoid in it is that of Keras 2 and ONNX, with the slope 1/5, not 1/6",
        "x * min(max(0.2 * x + 0.5, 0), 1)",
        _swish_by_fifths,
    ),
    instead(
        Activation,
        "linear above a threshold",
        "above 20 it is x itself, as torch's softplus has it",
        "x if x > 20 else {value}",
        _threshold,
    ),
    instead(
        Activation,
        "softmax over everything",
        "it sums over all values of a sample, not along one axis",
        "exp(x) / sum of exp(x) over the whole sample",
        _over_everything,
    ),
    *(
        hypothesis
        for precision in (np.float64, np.float32)
        for hypothesis in (
            instead(
                Activation,
                "largest value not taken off",
                f"the largest value is not taken off before exp, which overflows in {precision.__name__}",
                "exp(x) / sum of exp(x), without max(x) taken off",
                _not_shifted(precision),
            ),
            instead(
                Activation,
                "softplus overflows",
                f"exp(x) is computed where x is large, and overflows in {precision.__name__}",
                "{value}, where exp(x) may be infinite",
                _overflowing(precision),
            ),
        )
    ),
    instead(
        Activation,
        "CELU as ELU",
        "x is not divided by alpha inside of exp",
        "x if x > 0 else {alpha} * (exp(x) - 1)",
        _celu_as_elu,
    ),
    instead(
        PReLU,
        "one slope for all channels",
        "every channel has the first slope",
        "x if x > 0 else alpha[0] * x",
        _one_slope,
    ),
    instead(
        PReLU,
        "slopes along another axis",
        "the slopes are those of rows, not of channels",
        "x if x > 0 else alpha[h] * x",
        _along_height,
    ),
    instead(PReLU, "slopes missing", "it is a ReLU", "max(x, 0)", lambda call: np.maximum(call.x, 0.0)),
    instead(
        PReLU,
        "slopes negated",
        "the slopes have the other sign",
        "x if x > 0 else -alpha * x",
        lambda call: call.weighted(alpha=-call.weights["alpha"]),
    ),
    *(
        instead(
            (Layer,),
            "an activation too many",
            f"the result goes through {function} after that, which the spec does not say",
            f"{function}({{value}})",
            _after(function),
        )
        for function in AFTER
    ),
    fitted(Activation, "another slope", "slope", 1e-6, 1e2),
    fitted(Activation, "another alpha", "alpha", 1e-6, 1e2),
    with_factor(
        Activation,
        "what is read by a factor",
        "what goes into it is {} times what it should be: a temperature, or a scale",
        "{value}, {} * x for x",
        _warmer,
    ),
    with_factor(
        Activation,
        "something added to the sum",
        "{} is added to what it is divided by",
        "{value}, the sum {} larger",
        _added_to_sum,
        (1e-10, 1.0),
    ),
)
