"""Rows as text: what each cell says in its author's own words, taken from one notation and written in another."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as Named
from dataclasses import dataclass, field

from netspec.errors import Position, Problem, SpecError
from netspec.layers import ALIASES, fold
from netspec.layers.activation import ARGUMENTS
from netspec.layers.base import field_named
from netspec.notation import NotationError, Quoted, Value, as_tuples, is_empty, parse_value, split_outside, write_value
from netspec.spec.reader import Mapping, Node, Scalar, Sequence, read
from netspec.spec.rows import COLUMNS, RowError, read_value

OPTION = re.compile(r"\s*([^\W\d][\w.]*)\s*=(.*)", re.DOTALL)
LINE_LENGTH = 100


Blocks = Named[str, tuple[str, ...]]
"""The blocks of the spec: the parameters of each, which a row that uses it may give by position."""


@dataclass(slots=True)
class WrittenRow:
    """The text of a row's cells by column, its name or label, and the comments that belong to it."""

    cells: dict[str, str]
    position: Position
    name: str | None = None
    label: str | None = None
    leading: list[str] = field(default_factory=list)
    """Comment lines and blank lines that stand above it."""
    trailing: str = ""
    """The comment on its own line."""
    aligned: int | None = None
    """The column of that comment, which those of other rows may share."""
    blocks: Blocks = field(default_factory=dict)
    path: str = "layers"
    """The section that it stands in."""

    def cell(self, column: str) -> str:
        """The text of a cell, empty where nothing stands."""
        text = self.cells.get(column, "").strip()
        return "" if is_empty(text) else text

    def options(self) -> str:
        """The text of the options, those that have a column of their own among them."""
        options = [self.cell("options")]
        for column in (column for column in self.cells if column not in COLUMNS):
            text = self.cell(column)
            several = len(split_outside(text, ",")) > 1
            options.append(f"{column}={f'({text})' if several else text}" if text else "")
        return ", ".join(filter(None, options))

    def refuse(self, message: str, hint: str | None = None) -> SpecError:
        """The error that this row cannot be written in another notation."""
        return SpecError([Problem(message, hint, self.path, self.position)])


def from_node(node: Node, blocks: Blocks, path: str = "layers") -> WrittenRow:
    """The text of a row that `read_row` accepts."""
    if isinstance(node, Mapping) and "type" not in node.entries:
        [(key, inside)] = node.entries.values()
        row = from_node(inside, blocks, path)
        row.name, row.position = key.text, key.position
        return row
    if isinstance(node, Mapping):
        return _from_mapping(node, blocks, path)
    assert isinstance(node, Scalar)
    parts = [part.strip() for part, _ in split_outside(node.text, "|")]
    return WrittenRow(dict(zip(COLUMNS, parts, strict=False)), node.position, blocks=blocks, path=path)


def _from_mapping(node: Mapping, blocks: Blocks, path: str) -> WrittenRow:
    """A mapping's values as cells: what the kind reads by position goes into the size cell."""
    values = {key: value for key, (_, value) in node.entries.items()}
    kind = values.pop("type")
    assert isinstance(kind, Scalar)
    row = WrittenRow({"type": kind.text}, node.position, blocks=blocks, path=path)
    name = values.pop("name", None)
    if isinstance(name, Scalar) and not name.empty:
        row.name = name.text
    activation = values.pop("activation", None)
    if activation is not None:
        row.cells["activation"] = "" if _is_null(activation) else notation_text(activation)
    size: list[str] = []
    for wanted in positional(kind.text, blocks):
        written = next((key for key in values if _field(kind.text, key) == wanted), None)
        if written is None:
            break
        size.append(notation_text(values.pop(written)))
    row.cells["size"] = ", ".join(size)
    row.cells["options"] = ", ".join(f"{key}={notation_text(value)}" for key, value in values.items())
    return row


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.style and node.value is None


def notation_text(node: Node) -> str:
    """A value of a mapping as a cell writes it: lists of numbers as tuples, one-key mappings as calls.

    >>> notation_text(read("[3, [0, 1]]", "")), notation_text(read("{normal: {std: 0.02}}", ""))
    ('(3,(0,1))', 'normal(std=0.02)')
    """
    if isinstance(node, Scalar):
        return "null" if _is_null(node) else node.text.strip()
    if isinstance(node, Sequence):
        items = [notation_text(item) for item in node.items]
        if items and _numeric(read_value(node, "")):
            return f"({items[0]},)" if len(items) == 1 else f"({','.join(items)})"
        return f"[{', '.join(items)}]"
    [(name, (_, inside))] = node.entries.items()
    if isinstance(inside, Mapping):
        return f"{name}({', '.join(f'{key}={notation_text(value)}' for key, (_, value) in inside.entries.items())})"
    return f"{name}()" if _is_null(inside) else f"{name}({notation_text(inside)})"


def _numeric(value: Value) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_numeric, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def positional(kind: str, blocks: Blocks) -> tuple[str, ...]:
    """The fields that the size cell of this kind or block fills, in order; none for a kind that is not known."""
    if kind in blocks:
        return blocks[kind]
    alias = ALIASES.get(fold(kind))
    if alias is None:
        return ()
    if "function" in alias.fields:
        own = ARGUMENTS.get(str(alias.fields["function"]))
        return (own,) if own else ()
    return alias.layer.positional


def _field(kind: str, option: str) -> str:
    """The field that an option of this kind means."""
    alias = ALIASES.get(fold(kind))
    return field_named(alias.layer, option) if alias else option


def to_pipes(row: WrittenRow) -> list[str]:
    """The cells of a pipe row, without the empty ones at its end."""
    cells = [(row.options() if column == "options" else row.cell(column)) or "-" for column in COLUMNS]
    while cells[-1] == "-":
        cells.pop()
    return cells


def to_mapping(row: WrittenRow) -> dict[str, str]:
    """The entries of a mapping row with YAML text for values; raises SpecError where a size has no name."""
    entries = {"type": yaml_text(row.cell("type"))}
    size: list[str] = []
    options: dict[str, str] = {}
    for column in ("size", "options", "activation"):
        for item, _ in split_outside(row.options() if column == "options" else row.cell(column), ","):
            option = OPTION.fullmatch(item)
            if option:
                options[option[1]] = option[2].strip()
            elif item.strip() and column == "activation":
                options["activation"] = item.strip()
            elif item.strip():
                size.append(item.strip())
    names = positional(row.cell("type"), row.blocks)
    for name in names[len(size) :]:
        alias = next((written for written in options if _field(row.cell("type"), written) == name), None)
        if alias is None:
            break
        size.append(options.pop(alias))
    if len(size) > len(names):
        what = f"reads {', '.join(names)} there" if names else "reads nothing there"
        hint = "write it as name=value, or keep the row in a pipe notation"
        raise row.refuse(f"the size cell holds {', '.join(size)}, but {row.cell('type')} {what}", hint)
    entries |= {name: yaml_value(text) for name, text in zip(names, size, strict=False)}
    for name, text in options.items():
        if name in entries:
            raise row.refuse(f"{name} is given twice in this row", "keep one of the two")
        entries[name] = yaml_text(text) if name == "name" else yaml_value(text)
    if "name" in entries and row.name is None:
        row.name = options["name"]
        del entries["name"]
    return entries


def yaml_text(text: str) -> str:
    """A text as a YAML scalar that reads back as this text, quoted where it must be."""
    return text if _reads_as_text(text) else json.dumps(text, ensure_ascii=False)


def _reads_as_text(text: str) -> bool:
    try:
        node = read(f"{{k: {text}}}", "")
    except SpecError:
        return False
    value = node.get("k") if isinstance(node, Mapping) and len(node.entries) == 1 else None
    return isinstance(value, Scalar) and not value.style and value.text == text


def yaml_value(text: str, *, inside: bool = False) -> str:
    """The notation of a value as YAML that means the same: `(3,3)` or `[3,3]` is written 3x3, `((1,1),(0,2))` as lists.

    `inside` of a list, sizes are lists too.
    """
    meant = parse_value(text)
    if isinstance(meant, (tuple, list)) and len(meant) > 1 and all(type(size) is int and size > 0 for size in meant):
        return f"[{', '.join(map(str, meant))}]" if inside else "x".join(map(str, meant))
    if isinstance(meant, Quoted):
        return json.dumps(text, ensure_ascii=False)  # a word in quotes is no name, which YAML's own do not say
    if isinstance(meant, str):
        text = write_value(meant)
    if isinstance(meant, (tuple, list)) and text[0] in "([":
        items = [item.strip() for item, _ in split_outside(text[1:-1], ",")]
        listed = f"[{', '.join(yaml_value(item, inside=True) for item in items if item)}]"
        if _means(listed, meant):
            return listed
    return text if _means(text, meant) else json.dumps(text, ensure_ascii=False)


def _means(text: str, meant: Value) -> bool:
    try:
        node = read(f"{{k: {text}}}", "")
        value = node.get("k") if isinstance(node, Mapping) and len(node.entries) == 1 else None
        return value is not None and as_tuples(read_value(value, "")) == as_tuples(meant)
    except (SpecError, RowError, NotationError):
        return False
