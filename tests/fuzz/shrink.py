"""A smaller spec that fails in the same way: rows, blocks, options and sizes go, one after the other, while it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from tests.fuzz.document import Block, Document, Row, compute

Fails = Callable[[Document], bool]
T = TypeVar("T")


def shrink(document: Document, fails: Fails, limit: int = 1500) -> Document:
    """The smallest document found for which `fails` still holds, after at most `limit` tries."""
    tries = 0
    progress = True
    while progress:
        progress = False
        for smaller in candidates(document):
            if tries >= limit:
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
        yield replace(document, sections=tuple(each for each in document.sections if each is not section))
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
        yield replace(document, table=False)
    if document.name != "net":
        yield replace(document, name="net")


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
    inputs = tuple(document.inputs) if not body else next(each.inputs for each in document.blocks if each.name == body)
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
        if row.type == block.name and len(block.inputs) == 1:
            yield replace(
                document, rows=(*document.rows[:index], *_inlined(row, block, document), *document.rows[index + 1 :])
            )
    if block.table:
        yield _with_block(document, block, replace(block, table=False))


def _with_block(document: Document, block: Block, other: Block) -> Document:
    return replace(document, blocks=tuple(other if each is block else each for each in document.blocks))


def _inlined(use: Row, block: Block, document: Document) -> Iterator[Row]:
    """The rows of a block with the values of this use, under names of their own."""
    values = {**document.variables, **block.sample, **dict(zip(block.sample, use.size, strict=False)), **use.options}
    names = {name: compute(value, document.variables) for name, value in values.items()}
    prefix = use.name or block.name
    for index, row in enumerate(block.rows):
        sources = tuple(
            f"{prefix}_{name}" if name not in block.inputs else (use.sources or ("input",))[0] for name in row.sources
        )
        if index == 0 and not sources:
            sources = use.sources
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
    plain = {"activation": None, "repeat": None, "when": None, "frozen": False, "form": "pipes"}
    for name, value in plain.items():
        if getattr(row, name) != value:
            yield replace(row, **{name: value})
    for key in row.options:
        yield replace(row, options=_others(row.options, key))
    for index, value in enumerate(row.size):
        for less in _less(value):
            yield replace(row, size=(*row.size[:index], less, *row.size[index + 1 :]))
    for key, value in row.options.items():
        for less in _less(value):
            yield replace(row, options={**row.options, key: less})
    read = {name for rows in document.bodies().values() for each in rows for name in each.sources}
    if row.name and row.name not in {*read, *document.outputs.values()}:
        yield replace(row, name=None)


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
