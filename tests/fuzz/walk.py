"""The rows that bases, blocks, repeats, conditions and variants leave of a document, without netspec's compiler.

The compiler's result is held against this walk. It, the names that rows are given, and what variants change by those
names need each other: the base of a document, which may be a variant, has rows that names are taken by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from netspec.layers import ALIASES, fold
from netspec.layers.base import field_named
from netspec.tensors import TensorType
from tests.fuzz.document import Act, Base, Block, Change, Document, Name, Row, Value, compute, computed
from tests.fuzz.kept import BASE, Given, Kept, Namer, layers_of


@dataclass
class Scope:
    """What the rows of one body may read, by the names that they have for it."""

    values: dict[str, Given]
    names: Mapping[str, Value]
    above: Given | None
    prefix: str = ""

    def copy(self) -> Scope:
        """Another one, with the same in it."""
        return replace(self, values=dict(self.values))


@dataclass
class Walk:
    """The rows so far, in order, and the blocks at work, each with the value that is its result."""

    blocks: Mapping[str, Block]
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)
    """Their values."""
    base: Base | None = None
    own: bool = True
    based: bool = False
    """Whether the rows of the base are there."""
    rows: dict[str, Kept] = field(default_factory=dict)
    uses: dict[str, Given] = field(default_factory=dict)

    @staticmethod
    def of(document: Document, *, own: bool = True) -> Walk:
        """One that begins."""
        names = {block.name: block for block in document.blocks}
        return Walk(names, document.defaults, computed(document.variables), document.base, own)

    def whole(self, document: Document, inputs: Mapping[str, Given]) -> dict[str, Given]:
        """All rows of a document that has no variants left; its outputs."""
        above = next(iter(inputs.values())) if len(inputs) == 1 else None
        scope = Scope(dict(inputs), self.variables, above)
        result = self.body(with_base_row(document), scope, frozen=False)
        if not document.outputs:
            return {"output": result}
        outputs = {name: scope.values[row] for name, row in document.outputs.items()}
        if {value.name for value in outputs.values()} & {value.name for value in inputs.values()}:
            raise ValueError("an output is an input")
        return outputs

    def body(self, rows: Sequence[Row], scope: Scope, *, frozen: bool) -> Given:
        """The result of the rows of one body; `scope` has what they may read, and gets what they are called."""
        namer = Namer({row.name for row in rows if row.name} | set(scope.values))
        for row in rows:
            self.row(row, scope, namer, frozen=frozen)
        if scope.above is None:
            raise ValueError("no row gives anything")
        return scope.above

    def row(self, row: Row, scope: Scope, namer: Namer, *, frozen: bool) -> None:
        """One row; raises LayerError, ValueError or KeyError for one that cannot be."""
        if not row.sources and scope.above is None:
            raise ValueError("the first row says which of the inputs it reads")
        if row.name in scope.values:
            raise ValueError(f"the name {row.name} is taken")
        given = tuple(scope.values[name] for name in row.sources) or (scope.above,)
        names = namer.names(row, scope.names, self.blocks)
        if row.when is None or compute(row.when, scope.names):
            for name in names:
                given = (self._once(row, name, given, scope, frozen=frozen or row.frozen),)
                scope.values[name] = given[0]
        if row.type == BASE:
            namer.taken.update(scope.values)
        # One that is left out stands for the one thing that it would have read, or is as if it were not written.
        name = row.name or names[-1]
        if len(given) > 1:
            scope.values.pop(name, None)
            return
        scope.values[name] = scope.above = given[0]

    def _once(self, row: Row, name: str, given: tuple[Given, ...], scope: Scope, *, frozen: bool) -> Given:
        if row.type == BASE:
            return self._base(given, scope, frozen=frozen)
        full = scope.prefix + name
        block = self.blocks.get(row.type)
        if block is not None:
            return self._use(block, row, full, given, scope.names, frozen=frozen)
        if full in self.rows:
            raise ValueError(f"two rows are called {full}")
        if ALIASES[fold(row.type)].rank not in (None, given[0].type.rank - 1):
            raise ValueError(f"{row.type} says another rank")
        layers = layers_of(row, scope.names, self.defaults, self.variables)
        self.rows[full] = Kept.of(full, layers, given, frozen=frozen, own=self.own)
        return self.rows[full].given

    def _use(
        self, block: Block, row: Row, full: str, given: tuple[Given, ...], names: Mapping[str, Value], *, frozen: bool
    ) -> Given:
        """The rows of a block."""
        if len(given) != len(block.inputs):
            raise ValueError(f"{block.name} takes {len(block.inputs)} inputs")
        said = {**dict(zip(block.sample, row.size, strict=False)), **row.options}
        values = {name: compute(value, self.variables) for name, value in block.sample.items() if name not in said}
        values |= {name: compute(value, names) for name, value in said.items()}
        if set(values) != set(block.sample) or any(name not in said for name in block.required):
            raise ValueError(f"{block.name} has other parameters")
        before = len(self.rows)
        self.uses[full] = given[0]  # outer ones stand before those inside
        inputs = dict(zip(block.inputs, given, strict=True))
        result = self.body(block.rows, Scope(inputs, {**self.variables, **values}, given[0], f"{full}."), frozen=frozen)
        if len(self.rows) == before:
            del self.uses[full]
        else:
            self.uses[full] = result
        return result

    def _base(self, given: tuple[Given, ...], scope: Scope, *, frozen: bool) -> Given:
        """The rows of the base, up to the cut and beyond."""
        if self.base is None or self.based or scope.prefix:
            raise ValueError("the base cannot stand here")
        self.based = True
        document = varied(self.base.document, self.base.variant)
        walk = Walk.of(document, own=False)
        outputs = walk.whole(document, dict(zip(shapes(document), given, strict=True)))
        named = {name: kept.given for name, kept in walk.rows.items()} | walk.uses
        top = {name: value for name, value in named.items() if "." not in name}
        if top.keys() & scope.values.keys():
            raise ValueError("a row of the base has the name of one above it")
        frozen_too = patterns(self.base)
        for pattern in frozen_too:
            if not any(matches(name, pattern) for name in walk.rows):
                raise ValueError(f"no row of the base matches {pattern}")
        for name, kept in walk.rows.items():
            chosen = any(matches(name, pattern) for pattern in frozen_too)
            self.rows[name] = replace(kept, frozen=kept.frozen or frozen or chosen)
        self.uses |= walk.uses
        scope.values |= top
        if self.base.output is None:
            [result] = outputs.values()
            return result
        return {**outputs, **named}[self.base.output]


def patterns(base: Base) -> Sequence[str]:
    """The patterns of the rows that a base freezes."""
    return ("*",) if base.freeze is True else base.freeze or ()


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern names a row, or a block around it."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def with_base_row(document: Document) -> tuple[Row, ...]:
    """The rows, the one that stands for those of the base among them."""
    if document.base is None or any(row.type == BASE for row in document.rows):
        return document.rows
    count = len(shapes(document))
    several = count > 1 and count == len(shapes(document.base.document))
    return (Row(BASE, sources=tuple(shapes(document)) if several else ()), *document.rows)


def shapes(document: Document) -> Mapping[str, tuple[int, ...]]:
    """The inputs, which may be those of the base."""
    if document.inputs or document.base is None:
        return document.inputs
    return shapes(varied(document.base.document, document.base.variant))


def names_of(document: Document, body: str = "") -> list[list[str]]:
    """What each row of a document, or of one of its blocks, is called, or each of its repetitions.

    Raises KeyError where that depends on what a block is told.
    """
    variables, blocks = computed(document.variables), {block.name: block for block in document.blocks}
    rows = blocks[body].rows if body else with_base_row(document)
    inputs = blocks[body].inputs if body else tuple(shapes(document))
    if body:
        variables = {name: value for name, value in variables.items() if name not in blocks[body].sample}
    namer = Namer({row.name for row in rows if row.name} | set(inputs))
    found = []
    for row in rows:
        found.append(namer.names(row, variables, blocks))
        based = row.type == BASE and document.base is not None
        if based and (row.when is None or compute(row.when, variables)):
            namer.taken |= top_names(document.base)
    return found if body else found[len(rows) - len(document.rows) :]


def top_names(base: Base) -> set[str]:
    """What the rows and blocks of a base are called, those beyond the cut among them."""
    document = varied(base.document, base.variant)
    walk = Walk.of(document)
    walk.whole(document, {name: Given(name, TensorType(shape)) for name, shape in shapes(document).items()})
    return {name for name in (*walk.rows, *walk.uses) if "." not in name}


def varied(document: Document, variant: str | None) -> Document:
    """The document with what a variant says in it; raises KeyError or ValueError where that fits nothing."""
    if variant is None:
        return replace(document, variants=())
    [changes] = [each.changes for each in document.variants if each.name == variant]
    found = replace(document, variants=(), name=f"{document.name}-{variant}")
    # Rows are changed last, whatever the order: those that the other changes leave.
    for path, change in sorted(changes.items(), key=lambda entry: "layers" in entry[0].split(".")[:3]):
        found = _changed(found, path.split("."), change)
    return found


def _changed(document: Document, path: list[str], change: Any) -> Document:
    section, *rest = path
    if section in ("expect", "verify", "export", "about"):
        return document
    if section == "name":
        return replace(document, name=change)
    if section == "variables":
        return replace(document, variables=_replaced(document.variables, rest[0], change))
    if section in ("input", "inputs"):
        name = rest[0] if rest else "input"
        shape = tuple(int(size) for size in str(change).split("x"))
        return replace(document, inputs=_replaced(document.inputs, name, shape))
    if section == "outputs":
        return replace(document, outputs=_replaced(document.outputs, rest[0], change))
    if section == "defaults":
        kind, name = rest
        fields = {**document.defaults.get(kind, {}), name: change}
        return replace(document, defaults={**document.defaults, kind: fields})
    if section == "base":
        assert document.base is not None
        return replace(document, base=_of_base(document.base, rest[0], change))
    if section == "blocks":
        name, part, *inside = rest
        if part == "layers":
            return _in_row(document, name, inside, change)
        blocks = [_in_block(block, inside[0], change) if block.name == name else block for block in document.blocks]
        return replace(document, blocks=tuple(blocks))
    assert section == "layers"
    return _in_row(document, "", rest, change)


def _in_row(document: Document, body: str, path: list[str], change: Change) -> Document:
    """A row of the document, or of one of its blocks, changed."""
    rows = document.bodies()[body]
    at = _index(document, body, path[0])
    row = _other_row(rows[at], change) if len(path) == 1 else _with(rows[at], path[1], change)
    return document.with_rows(body, (*rows[:at], row, *rows[at + 1 :]))


def _replaced(entries: Mapping[str, Any], name: str, change: Any) -> dict[str, Any]:
    if name not in entries:
        raise KeyError(name)
    return {**entries, name: change}


def _of_base(base: Base, key: str, change: str) -> Base:
    if key == "freeze":
        return replace(base, freeze={"true": True, "false": False}.get(change, (change.strip('"'),)))
    return replace(base, **{key: change.strip('"')})


def _in_block(block: Block, parameter: str, change: Change) -> Block:
    if parameter in block.required:
        raise ValueError(f"{parameter} has no default")
    return replace(block, sample=_replaced(block.sample, parameter, change))


def _index(document: Document, body: str, wanted: str) -> int:
    """The row of a name that is written, of a number, or of a name that is given."""
    written = [row.name for row in document.bodies()[body]]
    if wanted in written:
        return written.index(wanted)
    if wanted.isdecimal():
        return range(len(written)).index(int(wanted))
    return [names[0] for names in names_of(document, body)].index(wanted)


def _other_row(row: Row, change: Change) -> Row:
    """A row in the place of another, which has its name."""
    assert isinstance(change, Row)
    return replace(change, name=row.name)


def _with(row: Row, key: str, change: Any) -> Row:
    """A row with one thing said in another way."""
    if key in ("repeat", "when", "frozen"):
        return replace(row, **{key: change})
    if key == "activation":
        if not isinstance(change, (Act, Name)):
            raise ValueError(f"{change} is no activation")
        return replace(row, activation=change)
    if key == "from":
        return replace(row, sources=(change,))
    alias = ALIASES.get(fold(row.type))

    def meant(word: str) -> str:
        return field_named(alias.layer, word) if alias else word

    options: dict[str, Value] = {word: value for word, value in row.options.items() if meant(word) != meant(key)}
    if meant(key) not in row.positional[: len(row.size)]:
        return replace(row, options={**options, key: change})
    at = row.positional.index(meant(key))
    return replace(row, options=options, size=(*row.size[:at], change, *row.size[at + 1 :]))
