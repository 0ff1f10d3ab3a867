"""A spec as data that can be written, walked and made smaller: rows, blocks and the sections around them."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Union

PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*|\d+(\.\d+)?")
SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    ">": operator.gt,
    "<=": operator.le,
    "==": operator.eq,
}
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
        return SIGNS[value.sign](compute(value.left, names), compute(value.right, names))
    if isinstance(value, tuple):
        return tuple(compute(item, names) for item in value)
    return value


def write(value: Value) -> str:
    """The value as a cell has it."""
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Formula):
        return f"{write(value.left)}{value.sign}{write(value.right)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        inside = ",".join(map(write, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return value if isinstance(value, str) else repr(value)


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


@dataclass(frozen=True)
class Row:
    """A row as a person writes it; `form` is its notation, `pipes` or `mapping`."""

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

    def settings(self) -> dict[str, str]:
        """The options as they are written, those that every row has among them."""
        written = {name: write(value) for name, value in self.options.items()}
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
        options = ", ".join(f"{name}={value}" for name, value in self.settings().items())
        cells = [self.type, ", ".join(map(write, self.size)) or "-", self.act(), options or "-"]
        while cells[-1] == "-":
            cells.pop()
        return cells

    def lines(self) -> Iterator[str]:
        """The item of a list, without its dash."""
        if self.form == "pipes":
            text = " | ".join(self.cells())
            yield f"{self.name}: {text}" if self.name else text
            return
        entries = {"type": self.type, **({"name": self.name} if self.name else {})}
        entries |= dict(zip(self.positional, map(write, self.size), strict=False))
        entries |= self.settings()
        if self.activation is not None:
            entries["activation"] = self.act()
        if self.form == "flow":
            yield "{" + ", ".join(f"{key}: {_quoted(text)}" for key, text in entries.items()) + "}"
        else:
            yield from (f"{key}: {_quoted(text)}" for key, text in entries.items())


def _quoted(text: str) -> str:
    """Text as the value of a mapping; a list of names stays one."""
    if PLAIN.fullmatch(text) or re.fullmatch(r"\[\w+(, \w+)*\]", text):
        return text
    return json.dumps(text)


@dataclass(frozen=True)
class Block:
    """Rows under a name. `required` are parameters without a default; `sample` are values for all of them."""

    name: str
    rows: tuple[Row, ...]
    inputs: tuple[str, ...] = ("input",)
    sample: Mapping[str, Value] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    table: bool = False

    def lines(self) -> Iterator[str]:
        yield f"{self.name}:"
        if self.inputs != ("input",):
            yield f"  inputs: [{', '.join(self.inputs)}]"
        if self.sample:
            written = {
                name: _type(value) if name in self.required else write(value) for name, value in self.sample.items()
            }
            yield "  parameters: {" + ", ".join(f"{name}: {_quoted(text)}" for name, text in written.items()) + "}"
        yield from ("  " + line for line in _layers(self.rows, table=self.table))


def _type(value: Value) -> str:
    kinds = ((bool, "bool"), (int, "int"), (float, "float"), (str, "word"), (tuple, "size"))
    return next(name for kind, name in kinds if isinstance(value, kind))


def _layers(rows: tuple[Row, ...], *, table: bool) -> Iterator[str]:
    if table:
        yield "layers: |"
        lines = [["layer", "type", "size", "activation", "options"]]
        for row in rows:
            cells = row.cells()
            lines.append([row.name or "", *cells, *[""] * (4 - len(cells))])
        yield from (f"  | {' | '.join(cells)} |" for cells in lines)
        return
    yield "layers:"
    for row in rows:
        first, *others = row.lines()
        yield f"  - {first}"
        yield from (f"    {line}" for line in others)


@dataclass(frozen=True)
class Document:
    """A whole spec. `sections` are lines of their own for the sections that say nothing about rows."""

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    rows: tuple[Row, ...]
    blocks: tuple[Block, ...] = ()
    variables: Mapping[str, Value] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The row of each output; nothing where the last row is the only one."""
    sections: tuple[str, ...] = ()
    table: bool = False

    def text(self) -> str:
        """The YAML text."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"name: {self.name}"
        shapes = {name: "x".join(map(str, shape)) for name, shape in self.inputs.items()}
        if list(shapes) == ["input"]:
            yield f"input: {shapes['input']}"
        else:
            yield "inputs: {" + ", ".join(f"{name}: {shape}" for name, shape in shapes.items()) + "}"
        if self.outputs:
            yield "outputs: {" + ", ".join(f"{name}: {row}" for name, row in self.outputs.items()) + "}"
        if self.variables:
            yield "variables: {" + ", ".join(f"{name}: {write(value)}" for name, value in self.variables.items()) + "}"
        if self.defaults:
            yield "defaults:"
            for kind, fields in self.defaults.items():
                written = ", ".join(f"{name}: {_quoted(write(value))}" for name, value in fields.items())
                yield f"  {kind}: {{{written}}}"
        yield from self.sections
        if self.blocks:
            yield "blocks:"
            yield from (f"  {line}" for block in self.blocks for line in block.lines())
        yield from _layers(self.rows, table=self.table)

    def with_rows(self, body: str, rows: tuple[Row, ...]) -> Document:
        """A copy with other rows: those of a block, by its name, or with no name the spec's own."""
        if not body:
            return replace(self, rows=rows)
        blocks = tuple(replace(block, rows=rows) if block.name == body else block for block in self.blocks)
        return replace(self, blocks=blocks)

    def bodies(self) -> dict[str, tuple[Row, ...]]:
        """The rows of the spec, under no name, and those of every block."""
        return {"": self.rows, **{block.name: block.rows for block in self.blocks}}
