"""What a rule returns: the line of Python that realises one layer, and what `__init__` makes for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from netspec.backend import Rules
from netspec.codegen.source import Default
from netspec.codegen.template import optional
from netspec.tensors import Order, Placement


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that keeps weights: an attribute of the module, named after its node.

    `code` makes it. `weights` says where in it each canonical weight of the node lives, by the weight's short name; one
    that is the attribute itself, a parameter, lives under the empty name. `counters` are integers that torch keeps in
    its state for itself, which are no weights. In `then`, statements that complete it, `{self}` is the attribute. A
    `constant` is a tensor that is neither trained, saved nor counted.
    """

    code: str
    weights: Mapping[str, Placement] = field(default_factory=dict)
    suffix: str = ""
    counters: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One layer as an expression over its inputs.

    `code` holds the expression for every order of axes that it can be written for; a value in another order is
    permuted first, so that all inputs have the same. `gives` is the order of the result where it is not theirs. In the
    expression and in the statements of `before`, which stand above it, `{x}` is the first input, `{0}`, `{1}`, ... are
    all of them, and `{self}` is the node's attribute. `comment` stands behind the line; with `quote` the row as it was
    written stands above it, for code that does not show why it is as it is.
    """

    code: Mapping[Order, str]
    gives: Mapping[Order, Order] = field(default_factory=dict)
    attributes: tuple[Attribute, ...] = ()
    before: tuple[str, ...] = ()
    comment: str = ""
    quote: bool = False


rules = Rules[Line]("torch")


def either(code: str) -> Line:
    """A line that is the same wherever the channels stand."""
    return Line({"first": code, "last": code})


def literal(value: object) -> str:
    """A Python value as source; a text is source already.

    >>> literal(1e-3), literal((3, 5)), literal("self.training"), literal(True)
    ('0.001', '(3, 5)', 'self.training', 'True')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not isfinite(value):
        return f'float("{value}")'
    if isinstance(value, tuple):
        inside = ", ".join(map(literal, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)


def call(function: str, *arguments: object, **options: object) -> str:
    """A call as source; options that are None are left out, those that are the default are marked as optional.

    >>> call("nn.Conv2d", 3, 32, 3, padding=1, groups=None)
    'nn.Conv2d(3, 32, 3, padding=1)'
    """
    written = [literal(argument) for argument in arguments]
    for name, value in options.items():
        if isinstance(value, Default):
            written.append(optional(f"{name}={literal(value.value)}"))
        elif value is not None:
            written.append(f"{name}={literal(value)}")
    return f"{function}({', '.join(written)})"


def symmetric(pads: Sequence[tuple[int, int]]) -> bool:
    """Whether every axis is padded at its end as at its beginning."""
    return all(begin == end for begin, end in pads)


def pad_amounts(pads: Sequence[tuple[int, int]], order: Order = "first") -> tuple[int, ...]:
    """The pads as `F.pad` takes them, the last axis first.

    >>> pad_amounts([(0, 1), (2, 3)]), pad_amounts([(0, 1)], "last")
    ((2, 3, 0, 1), (0, 0, 0, 1))
    """
    spatial = tuple(amount for pad in reversed(pads) for amount in pad)
    return spatial if order == "first" else (0, 0, *spatial)


def cut(crop: Sequence[tuple[int, int]], order: Order = "first") -> str:
    """A subscript that cuts (begin, end) off every spatial axis, or nothing where there is nothing to cut.

    >>> cut([(1, 1), (0, 2)]), cut([(0, 0)])
    ('[:, :, 1:-1, :-2]', '')
    """
    if not any(map(any, crop)):
        return ""
    spatial = [f"{begin or ''}:{-end or ''}" for begin, end in crop]
    return f"[{', '.join([':', ':', *spatial] if order == 'first' else [':', *spatial])}]"
