"""Operators that the float64 run needs written out in primitives.

ONNX stores a float attribute as float32 (an epsilon of 0.001 becomes 0.0010000000475), and its reference evaluator,
which is what runs in float64, is wrong for some of them (onnx 1.23). In the float64 graph,
which only verification runs, each such operator is replaced by its definition in the ONNX specification with constants
in double precision. What a rule asks for is the same in both precisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir

    from netspec_onnx.graph import Inputs, Primitive, Scope


class _Steps:
    """Primitive operators on whole values, numbered under the name of the operator that they replace."""

    def __init__(self, scope: Scope, name: str) -> None:
        self.scope, self.name, self.count = scope, name, 0

    def constant(self, value: float | Sequence[int]) -> ir.Value:
        """A double, or whole numbers for a shape or axes."""
        self.count += 1
        part = f"{self.name.removeprefix(self.scope.node.name).lstrip('/')}/constant_{self.count}".lstrip("/")
        return self.scope.constant(part, value) if isinstance(value, float) else self.scope.integers(part, value)

    def __call__(self, op_type: str, *inputs: ir.Value | float | Sequence[int] | None, **attributes: Any) -> ir.Value:
        """A step; numbers among its inputs become constants."""
        values = [self.constant(each) if isinstance(each, (float, list)) else each for each in inputs]
        self.count += 1
        return self.scope.emit(op_type, values, f"{self.name}/{op_type.lower()}_{self.count}", **attributes)  # type: ignore[arg-type]  # none left

    def result(self, op_type: str, *inputs: ir.Value | float | None, **attributes: Any) -> ir.Value:
        """The last step, which has the name of the operator that is replaced."""
        values = [self.constant(each) if isinstance(each, float) else each for each in inputs]
        return self.scope.emit(op_type, values, self.name, **attributes)

    def expm1(self, given: ir.Value | None) -> ir.Value:
        """exp(x) - 1 where x is below zero, else 0: an Elu whose attribute, 1, is exact."""
        return self("Elu", self("Min", given, 0.0), alpha=1.0)


def leaky_relu(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """x, or alpha * x below zero."""
    step = _Steps(scope, name)
    below = step("Mul", step("Min", inputs[0], 0.0), attributes["alpha"])
    return step.result("Add", step("Relu", inputs[0]), below)


def elu(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """x, or alpha * (exp(x) - 1) below zero."""
    step = _Steps(scope, name)
    below = step("Mul", step.expm1(inputs[0]), attributes["alpha"])
    return step.result("Add", step("Relu", inputs[0]), below)


def celu(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """x, or alpha * (exp(x / alpha) - 1) below zero."""
    step = _Steps(scope, name)
    below = step("Mul", step.expm1(step("Div", inputs[0], attributes["alpha"])), attributes["alpha"])
    return step.result("Add", step("Relu", inputs[0]), below)


def selu(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """x, or alpha * (exp(x) - 1) below zero, all times gamma."""
    step = _Steps(scope, name)
    below = step("Mul", step.expm1(inputs[0]), attributes["alpha"])
    return step.result("Mul", step("Add", step("Relu", inputs[0]), below), attributes["gamma"])


def hard_sigmoid(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """The line alpha * x + beta within [0, 1]."""
    step = _Steps(scope, name)
    line = step("Add", step("Mul", inputs[0], attributes["alpha"]), attributes["beta"])
    return step.result("Clip", line, 0.0, 1.0)


def hard_swish(scope: Scope, name: str, inputs: Inputs, _: Mapping[str, Any]) -> ir.Value:
    """The product of x and the line x / 6 + 1 / 2 within [0, 1]."""
    step = _Steps(scope, name)
    line = step("Clip", step("Add", step("Div", inputs[0], 6.0), 0.5), 0.0, 1.0)
    return step.result("Mul", inputs[0], line)


def gelu(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """Half of x times 1 + erf(x / sqrt(2)), or its approximation with tanh."""
    step = _Steps(scope, name)
    given = inputs[0]
    if attributes["approximate"] == "tanh":
        cubic = step("Mul", step("Mul", step("Mul", given, given), given), 0.044715)
        curve = step("Tanh", step("Mul", step("Add", given, cubic), sqrt(2 / pi)))
    else:
        curve = step("Erf", step("Div", given, sqrt(2)))
    return step.result("Mul", step("Mul", given, 0.5), step("Add", curve, 1.0))


def log_softmax(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """The maximum taken off, x - log(sum(exp(x))); the reference evaluator takes the log of a softmax of 0."""
    step = _Steps(scope, name)
    axes = [attributes["axis"]]
    shifted = step("Sub", inputs[0], step("ReduceMax", inputs[0], axes, keepdims=1))
    return step.result("Sub", shifted, step("Log", step("ReduceSum", step("Exp", shifted), axes, keepdims=1)))


def batch_normalization(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, every channel by its own."""
    step = _Steps(scope, name)
    given, scale, bias, mean, variance = inputs
    shape = [-1, *(1 for _ in range(scope.node.input_type.rank - 1))]
    scale, bias, mean, variance = (step("Reshape", each, shape) for each in (scale, bias, mean, variance))
    deviation = step("Sqrt", step("Add", variance, attributes["epsilon"]))
    return step.result("Add", step("Mul", step("Div", step("Sub", given, mean), deviation), scale), bias)


def layer_normalization(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """(x - mean) / sqrt(var + epsilon) * scale + bias over the axes from `axis` on."""
    step = _Steps(scope, name)
    given, scale, *bias = inputs
    normal = _normalized(step, given, list(range(attributes["axis"], scope.node.input_type.rank + 1)), attributes)
    scaled = step("Mul", normal, scale)
    return step.result("Add", scaled, bias[0]) if bias else step.result("Identity", scaled)


def instance_normalization(scope: Scope, name: str, inputs: Inputs, attributes: Mapping[str, Any]) -> ir.Value:
    """(x - mean) / sqrt(var + epsilon) * scale + bias over the positions of every channel."""
    step = _Steps(scope, name)
    given, scale, bias = inputs
    assert given is not None, "InstanceNormalization needs an input"
    assert given.shape is not None, "the emitted values are typed"
    rank = len(given.shape)
    normal = _normalized(step, given, list(range(2, rank)), attributes)
    shape = [-1, *(1 for _ in range(2, rank))]
    return step.result("Add", step("Mul", normal, step("Reshape", scale, shape)), step("Reshape", bias, shape))


def _normalized(step: _Steps, given: ir.Value | None, axes: list[int], attributes: Mapping[str, Any]) -> ir.Value:
    centred = step("Sub", given, step("ReduceMean", given, axes, keepdims=1))
    variance = step("ReduceMean", step("Mul", centred, centred), axes, keepdims=1)
    return step("Div", centred, step("Sqrt", step("Add", variance, attributes["epsilon"])))


def global_max_pool(scope: Scope, name: str, inputs: Inputs, _: Mapping[str, Any]) -> ir.Value:
    """The largest value along every axis but batch and channels."""
    step = _Steps(scope, name)
    axes = list(range(2, scope.node.input_type.rank + 1))
    return step.result("ReduceMax", inputs[0], step.constant(axes), keepdims=1)


PRIMITIVES: Mapping[str, Primitive] = {
    "BatchNormalization": batch_normalization,
    "Celu": celu,
    "Elu": elu,
    "Gelu": gelu,
    "GlobalMaxPool": global_max_pool,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Selu": selu,
}
