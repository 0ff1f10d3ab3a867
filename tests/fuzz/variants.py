"""Variants at random: overrides of everything that a spec says, by every path that names it, valid together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random

from netspec.layers import ALIASES, fold
from netspec.tensors import TensorType
from tests.fuzz import kinds
from tests.fuzz.document import Change, Document, Formula, Name, Value, Variant, computed, frozen
from tests.fuzz.kept import BASE, INVALID
from tests.fuzz.meaning import Meaning, meaning
from tests.fuzz.rows import PADDINGS, activation, other_value, row_of
from tests.fuzz.walk import names_of

NAMES = ("wide", "small-1", "v2.0", "Wide", "x_y", "a")
TRIES = 12


def variants_of(
    r: Random, found: Document, suits: Callable[[Meaning], bool], expected: Callable[[Meaning], str] | None
) -> tuple[Variant, ...]:
    """Some variants of a document, each of which is valid and suits; `expected` writes what it should become."""
    variants: list[Variant] = []
    for name in r.sample(NAMES, r.choice([1, 1, 2, 3])):
        variant = Variant(name, {})
        for _ in range(r.choice([1, 1, 2, 3])):
            variant = _more(r, found, variant, suits)
        if expected is not None:
            means = meaning(replace(found, variants=(variant,)), name)
            variant = replace(variant, changes={**variant.changes, "expect": expected(means)})
        if variant.changes:
            variants.append(variant)
    return tuple(variants)


def _more(r: Random, found: Document, variant: Variant, suits: Callable[[Meaning], bool]) -> Variant:
    """The variant with one change more, if one is found that is valid."""
    for _ in range(TRIES):
        try:
            path, change = r.choice(CHANGES)(r, found)
            more = replace(variant, changes={**variant.changes, path: change})
            if suits(meaning(replace(found, variants=(more,)), variant.name)):
                return more
        except (*INVALID, IndexError):
            continue  # there is nothing of this, or it does not fit
    return variant


def _variable(r: Random, found: Document) -> tuple[str, Change]:
    name = r.choice(list(found.variables))
    old = computed(found.variables)[name]
    if isinstance(old, int) and not isinstance(old, bool) and r.random() < 0.2 and name != "wide":
        return f"variables.{name}", Formula("+", Name("wide"), 1)
    return f"variables.{name}", other_value(r, old)


def _input(r: Random, found: Document) -> tuple[str, Change]:
    name = r.choice(list(found.inputs))
    shape = tuple(max(1, size + r.choice([-1, 0, 1, 2])) for size in found.inputs[name][:-1])
    path = "input" if list(found.inputs) == ["input"] else f"inputs.{name}"
    return path, "x".join(map(str, (*shape, found.inputs[name][-1])))


def _row(r: Random, found: Document) -> tuple[str, int]:
    """A row of the spec, or of a block, by the name of that."""
    body = r.choice(["", "", *(block.name for block in found.blocks)])
    return body, r.choice([at for at, row in enumerate(found.bodies()[body]) if row.type != BASE])


def _path(r: Random, found: Document, body: str, at: int) -> str:
    """The path of a row: by its name, the one that it is given where it has none, or its number."""
    name = found.bodies()[body][at].name
    if name is None or r.random() < 0.2:
        name = names_of(found, body)[at][0] if name is None and r.random() < 0.7 else str(at)
    return f"blocks.{body}.layers.{name}" if body else f"layers.{name}"


def _field(r: Random, found: Document) -> tuple[str, Change]:
    """Something that a row says, said in another way."""
    body, at = _row(r, found)
    row = found.bodies()[body][at]
    said: dict[str, Value] = dict(zip(row.positional, row.size, strict=False)) | dict(row.options)
    key = r.choice(list(said))
    return f"{_path(r, found, body, at)}.{key}", _other(r, key, said[key])


def _other(r: Random, key: str, value: Value) -> Value:
    if isinstance(value, str) and value not in PADDINGS:
        return r.choice(kinds.INITS) if key.endswith(("init", "initializer")) else value
    if isinstance(value, tuple):
        return tuple(_other(r, key, item) for item in value)
    return value if isinstance(value, (Name, Formula)) else other_value(r, value)


def _said(r: Random, found: Document) -> tuple[str, Change]:
    """Something that any row may say."""
    body, at = _row(r, found)
    rows = found.bodies()[body]
    key = r.choice(["activation", "activation", "frozen", "when", "repeat", "from"])
    changes: dict[str, Callable[[], Change]] = {
        "activation": lambda: activation(r, _given(found, body, at), computed(found.variables)),
        "frozen": lambda: r.random() < 0.8,
        "when": lambda: r.random() < 0.3,
        "repeat": lambda: r.randint(1, 3),
        "from": lambda: r.choice([row.name for row in rows[:at] if row.name]),
    }
    return f"{_path(r, found, body, at)}.{key}", changes[key]()


def _given(found: Document, body: str, at: int) -> TensorType:
    """What a row gives, in one of the uses of its block."""
    name = names_of(found, body)[at][0]
    kept = meaning(found).rows.items()
    types = [each.given.type for full, each in kept if full == name or (body and full.endswith(f".{name}"))]
    return types[0]


def _whole(r: Random, found: Document) -> tuple[str, Change]:
    """Another row in the place of one."""
    body, at = _row(r, found)
    given = _given(found, body, at)  # which is what most rows read as well
    kind = r.choice(list(kinds.ROWS))
    fields = kinds.ROWS[kind](r, given)
    if fields is None:
        raise ValueError("the kind does not suit what the row reads")
    sources = found.bodies()[body][at].sources
    return _path(r, found, body, at), row_of(r, kind, fields, given, computed(found.variables), sources=sources)


def _parameter(r: Random, found: Document) -> tuple[str, Change]:
    block = r.choice(found.blocks)
    name = r.choice([name for name in block.sample if name not in block.required])
    return f"blocks.{block.name}.parameters.{name}", other_value(r, computed({**found.variables, **block.sample})[name])


def _default(r: Random, found: Document) -> tuple[str, Change]:
    if found.defaults and r.random() < 0.6:
        kind = r.choice(list(found.defaults))
        name = r.choice(list(found.defaults[kind]))
        return f"defaults.{kind}.{name}", _other(r, name, found.defaults[kind][name])
    kind = r.choice([row.type for row in found.rows if fold(row.type) in ALIASES])
    return f"defaults.{kind}.{r.choice(['bias', 'use_bias', 'center', 'ceil'])}", r.random() < 0.5


def _cut(r: Random, found: Document) -> tuple[str, Change]:
    if found.base is None:
        raise ValueError("there is no base")
    means = meaning(found.base.document, found.base.variant)
    key = r.choice(["output", "freeze", *(["variant"] * 2 if found.base.document.variants else [])])
    if key == "output":
        return "base.output", r.choice([*means.rows, *means.uses])
    if key == "freeze":
        return "base.freeze", frozen(r.choice([True, False, (r.choice(list(means.rows)),)]))
    return "base.variant", json.dumps(r.choice(found.base.document.variants).name)


def _output(r: Random, found: Document) -> tuple[str, Change]:
    if found.listed_outputs:
        raise ValueError("items of a list have no names")
    return f"outputs.{r.choice(list(found.outputs))}", r.choice([row.name for row in found.rows if row.name])


def _section(r: Random, found: Document) -> tuple[str, Change]:
    choices = {
        "name": r.choice(["other", "Net-3"]),
        "verify.seed": str(r.randrange(100)),
        "export.onnx.layout": r.choice(["nchw", "nhwc"]),
        "about": '"another sentence"',
    }
    path = r.choice(list(choices))
    return path, choices[path]


CHANGES: tuple[Callable[[Random, Document], tuple[str, Change]], ...] = (
    _variable, _variable, _input, _field, _field, _field, _said, _said, _whole, _parameter, _default, _cut,
    _cut, _output, _output, _section,
)  # fmt: skip
