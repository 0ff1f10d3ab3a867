"""A spec as data that can be written, walked and made smaller: rows, blocks, a base, variants, and files they share."""

from __future__ import annotations

import json
import operator
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Union

FILE = "fuzz.yaml"
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*|\d+(\.\d+)?|\d+(x\d+)+")
SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
BINDING = {"*": 2, "/": 2, "//": 2, "+": 1, "-": 1}
"""How close signs bind; comparisons less than all of them."""
Value = Union[int, float, bool, str, tuple["Value", ...], "Name", "Formula"]


@dataclass(frozen=True)
class Name:
    """A parameter or a variable, where a value could stand."""

    text: str


@dataclass(frozen=True)
class Formula:
    """Arithmetic or a comparison on a name."""

    sign: str
    left: Value
    right: Value


def compute(value: Value, names: Mapping[str, Value]) -> Any:
    """The value itself, with nothing left to be computed."""
    if isinstance(value, Name):
        return names[value.text]
    if isinstance(value, Formula):
        found = SIGNS[value.sign](compute(value.left, names), compute(value.right, names))
        return int(found) if isinstance(found, float) and found.is_integer() else found
    if isinstance(value, tuple):
        return tuple(compute(item, names) for item in value)
    return value


def computed(variables: Mapping[str, Value]) -> dict[str, Value]:
    """The values of variables, each of which may use those above it."""
    found: dict[str, Value] = {}
    for name, value in variables.items():
        found[name] = compute(value, found)
    return found


def write(value: Value, form: str = "pipes") -> str:
    """The value as a cell has it; the form of a row says how tuples are written."""
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Formula):
        binds = BINDING.get(value.sign, 0)
        return f"{_operand(value.left, binds)}{value.sign}{_operand(value.right, binds + 1)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        items = [write(item, form) for item in value]
        if form == "crosses" and len(value) > 1 and all(type(item) is int and item > 0 for item in value):
            return "x".join(items)
        if form in ("lists", "nested"):
            return f"[{', '.join(items)}]"
        return f"({','.join(items)},)" if len(value) == 1 else f"({','.join(items)})"
    return value if isinstance(value, str) else repr(value)


def _operand(value: Value, binds: int) -> str:
    """One side of a formula, in brackets where it would be torn apart otherwise."""
    text = write(value)
    return f"({text})" if isinstance(value, Formula) and BINDING.get(value.sign, 0) < binds else text


@dataclass(frozen=True)
class Act:
    """The activation of a row: its function and its argument; `named` has the argument written with its name."""

    name: str
    function: str
    """Its canonical name; `prelu` for the layer."""
    argument: tuple[str, Value] | None = None
    named: bool = False

    def text(self) -> str:
        """As the third cell has it."""
        if self.argument is None:
            return self.name
        key, value = self.argument
        return f"{self.name}({key}={write(value)})" if self.named else f"{self.name}({write(value)})"


FORMS = ("pipes", "crosses", "lists", "early", "flow", "nested", "mapping")
"""The notations of a row: cells, in which tuples may be 3x3 or [3, 3], or the options stand in the cell of the size; a
mapping on one line, in which tuples may be YAML's lists; a mapping on lines of its own.
"""


@dataclass(frozen=True)
class Row:
    """A row as a person writes it; `form` is its notation, one of FORMS."""

    type: str
    name: str | None = None
    size: tuple[Value, ...] = ()
    activation: Act | Name | None = None
    options: Mapping[str, Value] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    """What `from` names; nothing where the row reads the one above."""
    repeat: Value | None = None
    when: Value | None = None
    frozen: bool = False
    form: str = "pipes"
    positional: tuple[str, ...] = ()
    """The fields that the size cell gives, for the notation without one."""
    note: bool = False
    """Whether a comment stands behind it."""

    def settings(self) -> dict[str, str]:
        """The options as they are written, those that every row has among them."""
        written = {name: write(value, self.form) for name, value in self.options.items()}
        if self.sources:
            written["from"] = self.sources[0] if len(self.sources) == 1 else f"[{', '.join(self.sources)}]"
        if self.repeat is not None:
            written["repeat"] = write(self.repeat)
        if self.when is not None:
            written["when"] = write(self.when)
        if self.frozen:
            written["frozen"] = "true"
        return written

    def act(self) -> str:
        """The activation's cell."""
        if self.activation is None:
            return "-"
        return self.activation.text if isinstance(self.activation, Name) else self.activation.text()

    def cells(self) -> list[str]:
        """The four cells, without the empty ones at the end."""
        sizes = [write(value, self.form) for value in self.size]
        options = [f"{name}={value}" for name, value in self.settings().items()]
        if self.form == "early":
            sizes, options = [*sizes, *options], []
        cells = [self.type, ", ".join(sizes) or "-", self.act(), ", ".join(options) or "-"]
        while cells[-1] == "-":
            cells.pop()
        return cells

    def lines(self) -> Iterator[str]:
        """The item of a list, without its dash."""
        if self.form not in ("flow", "nested", "mapping"):
            text = " | ".join(self.cells())
            yield f"{self.name}: {text}" if self.name else text
            return
        entries = {"type": self.type, **({"name": self.name} if self.name else {})}
        sizes = (write(value, self.form) for value in self.size)
        entries |= dict(zip(self.positional, sizes, strict=False))
        entries |= self.settings()
        if self.activation is not None:
            entries["activation"] = self.act()
        if self.form == "mapping":
            yield from (f"{key}: {quoted(text)}" for key, text in entries.items())
        else:
            yield flow(entries)


def flow(entries: Mapping[str, str]) -> str:
    """A mapping on one line."""
    return _flow_of({key: quoted(text) for key, text in entries.items()})


def quoted(text: str) -> str:
    """Text as the value of a mapping; a list of names and numbers stays one."""
    if PLAIN.fullmatch(text) or re.fullmatch(r"\[[\w, \[\]]+\]", text):
        return text
    return json.dumps(text)


@dataclass(frozen=True)
class Block:
    """Rows under a name. `required` are parameters without a default; `sample` are values for all of them, of which
    the others may use variables.
    """

    name: str
    rows: tuple[Row, ...]
    inputs: tuple[str, ...] = ("input",)
    sample: Mapping[str, Value] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    table: str = ""
    """The language of the header where the rows are a table: one of HEADERS."""

    def lines(self) -> Iterator[str]:
        """What stands under its name."""
        if self.inputs != ("input",):
            yield f"inputs: [{', '.join(self.inputs)}]"
        if self.sample:
            written = {
                name: _type(value) if name in self.required else write(value) for name, value in self.sample.items()
            }
            yield f"parameters: {flow(written)}"
        yield "layers: |" if self.table else "layers:"
        yield from ("  " + line for line in (_table(self.rows, self.table) if self.table else _list(self.rows)))


def _type(value: Value) -> str:
    kinds = ((bool, "bool"), (int, "int"), (float, "float"), (str, "word"), (tuple, "size"))
    return next(name for kind, name in kinds if isinstance(value, kind))


HEADERS: Mapping[str, Mapping[str, str]] = {
    "English": {"layer": "layer", "type": "type", "size": "size", "activation": "activation", "options": "options"},
    "Korean": {"type": "종류", "layer": "층", "size": "크기", "activation": "활성화 함수", "options": "옵션"},
    "German": {"layer": "Schicht", "activation": "Aktivierung", "type": "Typ", "size": "Größe", "options": "Optionen"},
}
"""The columns of tables, in one order or another, by the language of their names."""


def _table(rows: tuple[Row, ...], language: str) -> Iterator[str]:
    header = HEADERS[language]
    yield f"| {' | '.join(header.values())} |"
    if language != "English":
        yield f"|{'---|' * len(header)}"
    for row in rows:
        cells = dict(zip(("type", "size", "activation", "options"), row.cells(), strict=False))
        if row.name:
            cells["layer"] = row.name
        if row.note:
            yield NOTE
        yield f"| {' | '.join(cells.get(column, '') for column in header)} |"


def _list(rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        first, *others = row.lines()
        yield f"- {first}  {NOTE}" if row.note else f"- {first}"
        yield from (f"  {line}" for line in others)


@dataclass(frozen=True)
class Base:
    """The spec whose rows come first, the file that holds it (as all paths here from the folder of the first spec),
    and what the section says about it.
    """

    document: Document
    file: str
    output: str | None = None
    freeze: bool | tuple[str, ...] = False
    variant: str | None = None


Change = Value | Act | Row
"""What an override puts in the place of something: a value, an activation, a whole row, or YAML as text."""


@dataclass(frozen=True)
class Variant:
    """A named set of overrides by their paths."""

    name: str
    changes: Mapping[str, Change]

    def written(self) -> dict[str, str]:
        """By path, what stands there in YAML."""
        return {path: _changed(path, change) for path, change in self.changes.items()}


def _changed(path: str, change: Change) -> str:
    if isinstance(change, Act):
        return quoted(change.text())
    if isinstance(change, Row):
        return json.dumps(" | ".join(change.cells()))
    if path.partition(".")[0] in RAW:
        assert isinstance(change, str)
        return change
    return quoted(write(change))


NOTE = "# a note"
RAW = ("name", "base", "expect", "verify", "export", "about", "outputs", "input", "inputs")
"""The sections whose values are no notation of rows."""


@dataclass(frozen=True)
class Document:
    """A whole spec. `sections` are those that say nothing about rows, as YAML."""

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    """Nothing where they are those of the base."""
    rows: tuple[Row, ...]
    blocks: tuple[Block, ...] = ()
    variables: Mapping[str, Value] = field(default_factory=dict)
    """Each may use those above it."""
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The row of each output; nothing where the last row is the only one."""
    sections: Mapping[str, str] = field(default_factory=dict)
    table: str = ""
    """The language of the header where the rows are a table: one of HEADERS."""
    lists: bool = False
    """Whether shapes are written as lists, and outputs that have the names of their rows."""
    base: Base | None = None
    variants: tuple[Variant, ...] = ()
    chosen: str | None = None
    """The variant that the backends are asked about."""
    included: tuple[str, ...] = ()
    """What other files hold: sections, and blocks as `blocks.unit`."""
    beside: tuple[str, ...] = ()
    """Where `blocks` are included, those that stand beside `$include`, over others of the same names in the file."""

    def text(self) -> str:
        """The YAML text of the spec's own file."""
        return self.files()[FILE]

    def shown(self) -> str:
        """All files for people to read."""
        first, *others = self.files().items()
        return first[1] + "".join(f"# {name}\n{text}" for name, text in others)

    def overrides(self) -> dict[str, list[str]]:
        """What each variant says, as `--set` takes it."""
        return {each.name: [f"{path}={text}" for path, text in each.written().items()] for each in self.variants}

    @property
    def listed_outputs(self) -> bool:
        """Whether the outputs are a list of rows."""
        return self.lists and all(name == row for name, row in self.outputs.items())

    def files(self, file: str = FILE) -> dict[str, str]:
        """The texts of all files that the spec is written in, by their paths; its own is the first."""
        found = {file: ""}
        found[file] = "".join(f"{line}\n" for line in self._lines(file, found))
        if self.base is not None:
            found |= self.base.document.files(self.base.file)
        return found

    def _lines(self, file: str, files: dict[str, str]) -> Iterator[str]:
        yield f"name: {self.name}"
        shapes = {
            name: _list_of(shape) if self.lists else "x".join(map(str, shape)) for name, shape in self.inputs.items()
        }
        if list(shapes) == ["input"]:
            yield f"input: {shapes['input']}"
        elif shapes:
            yield f"inputs: {flow(shapes)}"
        if self.base is not None:
            yield f"base: {{{', '.join(_base(self.base, file))}}}"
        if self.outputs:
            yield f"outputs: {_list_of(self.outputs) if self.listed_outputs else flow(self.outputs)}"
        if self.variables:
            variables = [f"{name}: {quoted(write(value))}" for name, value in self.variables.items()]
            yield from self._section("variables", file, variables, files)
        if self.defaults:
            options = {
                kind: flow({name: write(value) for name, value in fields.items()})
                for kind, fields in self.defaults.items()
            }
            yield from self._section("defaults", file, [f"{kind}: {text}" for kind, text in options.items()], files)
        for name, text in self.sections.items():
            yield from self._section(name, file, [text], files)
        if self.variants:
            variants = [f"{each.name}: {_flow_of(each.written())}" for each in self.variants]
            yield from self._section("variants", file, variants, files)
        if self.blocks:
            yield from self._written_blocks(file, files)
        if self.table:
            yield "layers: |"
            yield from (f"  {line}" for line in _table(self.rows, self.table))
        elif self.rows:
            yield from self._section("layers", file, _list(self.rows), files)

    def _written_blocks(self, file: str, files: dict[str, str]) -> Iterator[str]:
        """The blocks: all of them here, or those in a file and some beside it."""
        if "blocks" not in self.included:
            yield "blocks:"
            for block in self.blocks:
                yield from (f"  {line}" for line in self._section(f"blocks.{block.name}", file, block.lines(), files))
            return
        part, inside = _part(file, "blocks"), list[str]()
        for block in self.blocks:
            if block.name in self.beside:
                inside.append(f"{block.name}: {{layers: [one that nobody reads | ]}}")
            else:
                inside += self._section(f"blocks.{block.name}", part, block.lines(), files)
        files[part] = "".join(f"{line}\n" for line in inside)
        yield "blocks:"
        yield f"  $include: {_from(file, part)}"
        for block in self.blocks:
            if block.name in self.beside:
                yield from (f"  {line}" for line in self._section(f"blocks.{block.name}", file, block.lines(), files))

    def _section(self, path: str, file: str, lines: Iterable[str], files: dict[str, str]) -> Iterator[str]:
        """A section or a block, here or in a file of its own."""
        key = path.rpartition(".")[2]
        if path not in self.included:
            yield f"{key}:"
            yield from (f"  {line}" for line in lines)
            return
        part = _part(file, path.replace(".", "/"))
        files[part] = "".join(f"{line}\n" for line in lines)
        yield f"{key}: {{$include: {_from(file, part)}}}"

    def with_rows(self, body: str, rows: tuple[Row, ...]) -> Document:
        """A copy with other rows: those of a block, by its name, or with no name the spec's own."""
        if not body:
            return replace(self, rows=rows)
        blocks = tuple(replace(block, rows=rows) if block.name == body else block for block in self.blocks)
        return replace(self, blocks=blocks)

    def bodies(self) -> dict[str, tuple[Row, ...]]:
        """The rows of the spec, under no name, and those of every block."""
        return {"": self.rows, **{block.name: block.rows for block in self.blocks}}


def _part(file: str, name: str) -> str:
    """The file that holds a part of one, in a folder beside it."""
    return f"{file.removesuffix('.yaml')}-parts/{name}.yaml"


def _from(file: str, other: str) -> str:
    """A path as it is written in a file."""
    return posixpath.relpath(other, posixpath.dirname(file) or ".")


def _list_of(items: Iterable[object]) -> str:
    """A list on one line."""
    return f"[{', '.join(map(str, items))}]"


def _flow_of(entries: Mapping[str, str]) -> str:
    """A mapping on one line, whose values are YAML already."""
    return "{" + ", ".join(f"{key}: {text}" for key, text in entries.items()) + "}"


def _base(base: Base, file: str) -> Iterator[str]:
    yield f"spec: {_from(file, base.file)}"
    if base.output is not None:
        yield f"output: {base.output}"
    if base.freeze:
        yield f"freeze: {frozen(base.freeze)}"
    if base.variant is not None:
        yield f"variant: {json.dumps(base.variant)}"


def frozen(freeze: bool | tuple[str, ...]) -> str:
    """What `base.freeze` says, as YAML."""
    if isinstance(freeze, bool):
        return "true" if freeze else "false"
    return json.dumps(freeze[0] if len(freeze) == 1 else freeze)
