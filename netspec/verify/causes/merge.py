"""What may be otherwise where values are brought together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce

import numpy as np

from netspec.layers import Add, Average, Concat, Dot, Maximum, Minimum, Multiply, Subtract
from netspec.reference.activation import POINTWISE
from netspec.reference.table import Values
from netspec.verify.causes.hypothesis import Alternative, Call, Fields, Hypothesis, fields, instead
from netspec.verify.causes.written import formula

ALIKE = (Add, Average, Multiply, Maximum, Minimum)
"""Merges in which the order of the inputs does not count."""
SEVERAL = (*ALIKE, Subtract, Concat)
BEFORE = ("relu", "relu6", "silu")
"""What a network has behind a sum that converters put in front of it."""


def _folded(function: Callable[[Values, Values], Values]) -> Callable[[Call], Values]:
    return lambda call: reduce(function, call.inputs)


def _lost(call: Call) -> Iterator[Alternative]:
    """Each input left out in turn."""
    for place, name in enumerate(call.node.inputs):
        rest = tuple(given for index, given in enumerate(call.inputs) if index != place)

        def value(rest: tuple[Values, ...] = rest) -> Values:
            return rest[0] if len(rest) == 1 else Call(call.node, rest, call.weights).value()

        yield Alternative(f"the input {name} is left out", lambda name=name: f"{call.layer.kind} without {name}", value)


def _twice(call: Call) -> Iterator[Alternative]:
    """Each input in the place of another one."""
    for place, lost in enumerate(call.node.inputs):
        for name, taken in zip(call.node.inputs, call.inputs, strict=True):
            if name != lost and taken.shape == call.inputs[place].shape:
                given = (*call.inputs[:place], taken, *call.inputs[place + 1 :])
                says = f"the input {name} is read twice, and {lost} never"
                formula = f"{call.layer.kind} of {name} twice, without {lost}"
                yield Alternative(says, partial(str, formula), Call(call.node, given, call.weights).value)


def _activated(call: Call) -> Iterator[Alternative]:
    """Each input through an activation first."""
    for function in BEFORE:
        for place, name in enumerate(call.node.inputs):
            given = tuple(
                POINTWISE[function](each) if index == place else each for index, each in enumerate(call.inputs)
            )
            yield Alternative(
                f"{name} goes through {function} first, which the spec does not say",
                lambda name=name, function=function: f"{formula(call.layer)}, {function}({name}) for {name}",
                call.reading(*given).value,
            )


def _axes(call: Call) -> Iterator[Fields]:
    yield from ({"axis": axis} for axis in range(1, call.node.output.rank + 1))


def _interleaved(call: Call) -> Values | None:
    if len({given.shape for given in call.inputs}) > 1:
        return None
    return np.stack(call.inputs, axis=call.layer.axis + 1).reshape(len(call.x), *call.node.output.shape)


def _scaled(call: Call) -> Values:
    return call.value() / float(np.sqrt(call.node.input_type.channels))


def _normalized(call: Call) -> Iterator[Fields]:
    yield {"normalize": not call.layer.normalize}


HYPOTHESES: tuple[Hypothesis, ...] = (
    instead(
        Concat,
        "inputs in the reverse order",
        "the inputs stand in the reverse order",
        "{value}, the last input first",
        lambda call: np.concatenate(call.inputs[::-1], axis=call.layer.axis),
    ),
    instead(
        Concat,
        "inputs interleaved",
        "the inputs are interleaved, not one behind the other",
        "{value}, a value of each in turn",
        _interleaved,
    ),
    fields(Concat, "another axis", _axes),
    instead(
        Subtract,
        "inputs in the reverse order",
        "the first input is taken off the second",
        "b - a",
        lambda call: call.inputs[1] - call.inputs[0],
    ),
    instead(Subtract, "sum for difference", "the inputs are added", "a + b", _folded(np.add)),
    Hypothesis(ALIKE, "an input left out", _lost),
    Hypothesis((*ALIKE, Subtract, Concat, Dot), "an input twice", _twice),
    Hypothesis(SEVERAL, "an input activated", _activated),
    instead(Average, "sum for mean", "the sum is not divided", "a + b + ...", _folded(np.add)),
    instead(
        Add,
        "mean for sum",
        "the sum is divided by the number of inputs",
        "(a + b + ...) / n",
        lambda call: reduce(np.add, call.inputs) / len(call.inputs),
    ),
    *(
        instead(
            tuple(kind for kind in ALIKE if kind is not own),
            "another merge",
            f"the {word} is taken",
            f"{word} of the inputs",
            _folded(function),
        )
        for own, word, function in (
            (Add, "sum", np.add),
            (Multiply, "product", np.multiply),
            (Maximum, "largest", np.maximum),
            (Minimum, "smallest", np.minimum),
        )
    ),
    fields(Dot, "normalised otherwise", _normalized),
    instead(
        Dot,
        "scaled products",
        "the products are divided by the root of the channels, as in attention",
        "a . b / sqrt(channels)",
        _scaled,
    ),
)
