"""A smaller spec that fails in the same way: rows, blocks, options and sizes go, one after the other, while it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import inf
from typing import TypeVar

from tests.fuzz.document import Block, Document, Row, Value, compute, computed
from tests.fuzz.kept import INVALID
from tests.fuzz.walk import names_of, shapes

Fails = Callable[[Document], bool]
T = TypeVar("T")


def shrink(document: Document, fails: Fails, limit: int = 1500, seconds: float = inf) -> Document:
    """The smallest document found for which `fails` still holds, after at most `limit` tries, or so many seconds."""
    tries, end = 0, time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for smaller in candidates(document):
            if tries >= limit or time.monotonic() >= end:
                return document
            tries += 1
            if fails(smaller):
                document, progress = smaller, True
                break
    return document


def candidates(document: Document) -> Iterator[Document]:
    """Smaller documents, those that lose most first; not all of them are valid."""
    # What is expected of the whole goes first, for nothing else could.
    for section in document.sections:
        yield replace(document, sections=_others(document.sections, section))
    yield from _fewer_files(document)
    yield from _named(document)
    for body, rows in document.bodies().items():
        for length in (len(rows) // 2, len(rows) // 4, 1):
            for begin in range(len(rows) - length, -1, -1) if length else ():
                yield _without(document, body, begin, begin + length)
    for block in document.blocks:
        yield from _without_block(document, block)
    yield from _fewer_names(document)
    for body, rows in document.bodies().items():
        for index, row in enumerate(rows):
            for smaller in _smaller_rows(row, document):
                yield document.with_rows(body, (*rows[:index], smaller, *rows[index + 1 :]))
    yield from _smaller_inputs(document)
    if document.table:
        yield replace(document, table="")
    if document.lists:
        yield replace(document, lists=False)
    if document.name != "net":
        yield replace(document, name="net")


def _fewer_files(document: Document) -> Iterator[Document]:
    """Without included files; with fewer variants and changes; without a base, or with a smaller one."""
    for part in document.included:
        yield replace(document, included=tuple(each for each in document.included if each != part))
    for name in document.beside:
        yield replace(document, beside=tuple(each for each in document.beside if each != name))
    for variant in document.variants:
        left = tuple(each for each in document.variants if each is not variant)
        yield replace(document, variants=left, chosen=None if document.chosen == variant.name else document.chosen)
        for path in variant.changes:
            fewer = replace(variant, changes=_others(variant.changes, path))
            yield replace(document, variants=tuple(fewer if each is variant else each for each in document.variants))
    if document.chosen is not None:
        yield replace(document, chosen=None)
    base = document.base
    if base is None:
        return
    # The base alone, as the spec itself.
    yield replace(base.document, chosen=base.variant)
    for smaller in (replace(base, output=None), replace(base, freeze=False), replace(base, variant=None)):
        if smaller != base:
            yield replace(document, base=smaller)
    for inner in candidates(base.document):
        yield replace(document, base=replace(base, document=inner))


def _named(document: Document) -> Iterator[Document]:
    """With the name written that is given to a row and read: it would be another one if rows above it went."""
    for body, rows in document.bodies().items():
        read = {name for row in rows for name in row.sources} | (set() if body else set(document.outputs.values()))
        try:
            names = names_of(document, body)
        except INVALID:
            continue  # they depend on what the block is told
        for at, row in enumerate(rows):
            if row.name is None and row.repeat is None and names[at][0] in read:
                yield document.with_rows(body, (*rows[:at], replace(row, name=names[at][0]), *rows[at + 1 :]))


def _fewer_names(document: Document) -> Iterator[Document]:
    """Without one of the outputs, inputs, defaults or variables."""
    for name in document.outputs:
        left = _others(document.outputs, name)
        yield replace(document, outputs=left if len(left) > 1 else {})
    for name in document.inputs if len(document.inputs) > 1 else ():
        yield replace(document, inputs=_others(document.inputs, name))
    for kind in document.defaults:
        yield replace(document, defaults=_others(document.defaults, kind))
    for name in document.variables:
        yield replace(document, variables=_others(document.variables, name))


def _others(entries: Mapping[str, T], name: str) -> dict[str, T]:
    return {other: entry for other, entry in entries.items() if other != name}


def _without(document: Document, body: str, begin: int, end: int) -> Document:
    """The document without some rows of a body; who read them reads what they read."""
    rows = document.bodies()[body]
    inputs = tuple(shapes(document)) if not body else next(each.inputs for each in document.blocks if each.name == body)
    left, renamed = list(rows), dict[str, str | None]()
    for index in range(end - 1, begin - 1, -1):
        row = left.pop(index)
        above = left[index - 1].name if index else inputs[0]
        source = row.sources[0] if row.sources else above
        renamed[row.name or ""] = source
        for later in range(index, len(left)):
            reads = left[later].sources
            if row.name and row.name in reads:
                found = tuple(dict.fromkeys((source or "") if name == row.name else name for name in reads))
                # A merge of one thing is nothing but that thing; the row after a gap needs to say what it reads.
                left[later] = replace(left[later], sources=found)
            elif later == index and not reads and row.sources:
                left[later] = replace(left[later], sources=row.sources[:1])
    found = document.with_rows(body, tuple(left))
    if not body:
        found = replace(found, outputs={name: renamed.get(row) or row for name, row in found.outputs.items()})
    return found


def _without_block(document: Document, block: Block) -> Iterator[Document]:
    """Without a block that nobody uses; or with the rows of one in the place of the row that uses it."""
    used = any(row.type == block.name for rows in document.bodies().values() for row in rows)
    if not used:
        yield replace(document, blocks=tuple(each for each in document.blocks if each is not block))
    for index, row in enumerate(document.rows):
        if row.type == block.name:
            yield replace(
                document, rows=(*document.rows[:index], *_inlined(row, block, document), *document.rows[index + 1 :])
            )
    if block.table:
        yield _with_block(document, block, replace(block, table=""))


def _with_block(document: Document, block: Block, other: Block) -> Document:
    return replace(document, blocks=tuple(other if each is block else each for each in document.blocks))


def _inlined(use: Row, block: Block, document: Document) -> Iterator[Row]:
    """The rows of a block with the values of this use, under names of their own."""
    variables = computed(document.variables)
    values = {**variables, **block.sample, **dict(zip(block.sample, use.size, strict=False)), **use.options}
    names = {name: compute(value, variables) for name, value in values.items()}
    prefix, given = use.name or block.name, dict(zip(block.inputs, use.sources or ("input",), strict=False))
    for index, row in enumerate(block.rows):
        sources = tuple(given.get(name, f"{prefix}_{name}") for name in row.sources)
        if index == 0 and not sources:
            sources = use.sources[:1]
        name = f"{prefix}_{row.name}" if row.name else None
        if index == len(block.rows) - 1:
            name = use.name
        activation = row.activation if row.activation is None or hasattr(row.activation, "function") else None
        yield replace(
            row,
            name=name,
            sources=sources,
            activation=activation,
            size=tuple(compute(value, names) for value in row.size),
            options={key: compute(value, names) for key, value in row.options.items()},
            when=None if row.when is None else compute(row.when, names),
        )


def _smaller_rows(row: Row, document: Document) -> Iterator[Row]:
    plain = {"activation": None, "repeat": None, "when": None, "frozen": False, "form": "pipes", "note": False}
    for name, value in plain.items():
        if getattr(row, name) != value:
            yield replace(row, **{name: value})
    for key in row.options:
        yield replace(row, options=_others(row.options, key))
    values = computed(document.variables)
    size = tuple(_known(value, values) for value in row.size)
    options = {key: _known(value, values) for key, value in row.options.items()}
    if (size, options) != (row.size, row.options):
        yield replace(row, size=size, options=options)
    for index, value in enumerate(row.size):
        for less in _less(value):
            yield replace(row, size=(*row.size[:index], less, *row.size[index + 1 :]))
    for key, value in row.options.items():
        for less in _less(value):
            yield replace(row, options={**row.options, key: less})
    read = {name for rows in document.bodies().values() for each in rows for name in each.sources}
    if row.name and row.name not in {*read, *document.outputs.values()}:
        yield replace(row, name=None)


def _known(value: Value, values: Mapping[str, Value]) -> Value:
    """What a name or formula comes to, where that is known without the parameters of a block."""
    try:
        return compute(value, values)
    except KeyError:
        return value


def _less(value: object) -> Iterator[int | tuple[int, ...]]:
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        yield 1
        if value > 2:
            yield value - 1
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value) and set(value) != {1}:
        yield tuple(1 for _ in value)


def _smaller_inputs(document: Document) -> Iterator[Document]:
    for name, shape in document.inputs.items():
        for axis, size in enumerate(shape):
            for less in {1, 2, size // 2, size - 1} - {0, size}:
                if less < size:
                    yield replace(document, inputs={**document.inputs, name: (*shape[:axis], less, *shape[axis + 1 :])})
