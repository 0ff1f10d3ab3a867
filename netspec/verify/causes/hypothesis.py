"""One thing that may have been done otherwise than the spec means: a row of the tables, and how rows are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from netspec.layers import Layer
from netspec.network import Node
from netspec.reference import evaluate_parts
from netspec.reference.table import Values
from netspec.verify.causes.written import formula, number

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A node at work: what it reads, channels last in float64, and its weights by their names without the node."""

    node: Node
    inputs: tuple[Values, ...]
    weights: Mapping[str, Values]

    @property
    def layer(self) -> Any:
        """The node's layer, of the kind that the hypothesis is about."""
        return self.node.layer

    @property
    def x(self) -> Values:
        """The first input."""
        return self.inputs[0]

    def value(self) -> Values:
        """What the reference makes of it."""
        return evaluate_parts(self.node, self.inputs, self.weights)

    def of(self, layer: Layer) -> Call:
        """The same with another layer."""
        return replace(self, node=replace(self.node, layer=layer))

    def reading(self, *inputs: Values) -> Call:
        """The same with other inputs in the place of the first ones."""
        return replace(self, inputs=(*inputs, *self.inputs[len(inputs) :]))

    def weighted(self, **weights: Values) -> Call:
        """The same with other weights."""
        return replace(self, weights={**self.weights, **weights})

    def without(self, *names: str) -> Call:
        """The same without some of the weights."""
        return replace(self, weights={name: array for name, array in self.weights.items() if name not in names})


@dataclass(frozen=True, slots=True)
class Alternative:
    """What may have been done instead: in words, as a formula, and as the value that it gives.

    `fields` are those of the layer that would mean it, where a spec can say it. Where a number has to be found first,
    `fitted` is the range that it lies in; `value`, `formula` and `fields` then take it, and `says` has `{}` for it,
    with a `remark` on what it may come from.
    """

    says: str
    formula: Callable[..., str]
    value: Callable[..., Values]
    fields: Callable[..., Fields] = dict
    fitted: tuple[float, float] | None = None
    remark: Callable[..., str] = lambda *_: ""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A row of the tables: the kinds of layer that it is about, its name, and what may have been done."""

    kinds: tuple[type[Layer], ...]
    name: str
    alternatives: Callable[[Call], Iterable[Alternative]]


Kinds = type[Layer] | tuple[type[Layer], ...]


def _several(kinds: Kinds) -> tuple[type[Layer], ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def fields(kinds: Kinds, name: str, others: Callable[[Call], Iterable[Fields]], says: str = "") -> Hypothesis:
    """The layer has other fields: each of `others` is tried that differs from the layer's own.

    `says` is the sentence; when not given, it names the fields with both values.
    """

    def alternatives(call: Call) -> Iterator[Alternative]:
        own = call.layer.fields()
        seen: list[Fields] = []
        for changed in others(call):
            changed = {field: value for field, value in changed.items() if own[field] != value}
            if not changed or changed in seen:
                continue
            seen.append(changed)
            layer = call.layer.replace(**changed)
            both = ", ".join(
                f"{field} is {number(value)}, not {number(own[field])}" for field, value in changed.items()
            )
            yield Alternative(says or both, partial(formula, layer), call.of(layer).value, partial(dict, changed))

    return Hypothesis(_several(kinds), name, alternatives)


def fitted(kinds: Kinds, name: str, field: str, least: float, most: float) -> Hypothesis:
    """A field that is a positive number has another value between these, which is searched for."""

    def alternatives(call: Call) -> Iterator[Alternative]:
        own = call.layer.fields()[field]
        if own is not None:

            def layer(found: float) -> Layer:
                changed: Layer = call.layer.replace(**{field: found})
                return changed

            yield Alternative(
                f"{field} is {{}}, not {number(own)}",
                lambda found: formula(layer(found)),
                lambda found: call.of(layer(found)).value(),
                lambda found: {field: found},
                (least, most),
            )

    return Hypothesis(_several(kinds), name, alternatives)


def with_factor(
    kinds: Kinds,
    name: str,
    says: str,
    theirs: str,
    value: Callable[[Call, float], Values | Call | None],
    bounds: tuple[float, float] = (1e-2, 1e2),
    remark: Callable[[float], str] = lambda _: "",
) -> Hypothesis:
    """Something is off by a positive number between these bounds, which is searched for: `value` computes with it.

    `says` has `{}` for the number; so has the formula `theirs`, beside `{value}` and the layer's fields.
    """

    def alternatives(call: Call) -> Iterator[Alternative]:
        yield Alternative(
            says,
            lambda found: theirs.format(f"{found:.6g}", **_words(call)),
            lambda found: _computed(value(call, found)),
            lambda _: {},
            fitted=bounds,
            remark=remark,
        )

    return Hypothesis(_several(kinds), name, alternatives)


def instead(
    kinds: Kinds, name: str, says: str, theirs: str, value: Callable[[Call], Values | Call | None]
) -> Hypothesis:
    """Something else is computed: `value` gives it, or the call that gives it, or None where it makes no sense.

    `says` is the sentence and `theirs` the formula.
    """

    def alternatives(call: Call) -> Iterator[Alternative]:
        yield Alternative(says, lambda: theirs.format(**_words(call)), lambda: _computed(value(call)))

    return Hypothesis(_several(kinds), name, alternatives)


def _computed(found: Values | Call | None) -> Values:
    if found is None:
        raise ValueError("it makes no sense here")
    return found.value() if isinstance(found, Call) else found


def _words(call: Call) -> dict[str, str]:
    """The fields of the layer as formulas write them, and `value` for the formula of the whole."""
    return {name: number(value) for name, value in call.layer.fields().items()} | {"value": formula(call.layer)}
