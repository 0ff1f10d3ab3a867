"""The notations of a row: `CNN | 32, (3,3) | ReLU | stride=2`, or a mapping with a key for everything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from netspec.errors import Position, Problem, SpecError, did_you_mean
from netspec.notation import (
    Call,
    Cell,
    NotationError,
    Value,
    is_empty,
    parse_cell,
    parse_value,
    split_outside,
    write_value,
)
from netspec.spec.reader import MAX_PROBLEMS, Mapping, Node, Scalar, Sequence
from netspec.spec.row import Row

MAX_LENGTH = 10_000
COLUMNS = ("type", "size", "activation", "options")
TYPE = re.compile(r"[^\W\d][\w .-]*(\(.*\))?", re.DOTALL)
EXAMPLE = "a row reads `type | size | activation | options`, for example `CNN | 32, (3,3) | ReLU | stride=2`"
SUMMARY = re.compile(r"layer\s*\(type\b", re.IGNORECASE)
TABLE = re.compile("[|│┃║]")
Place = Callable[[int], Position]
T = TypeVar("T")


class RowError(Exception):
    """A row that cannot be read; carries the problem, complete with its place."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_rows(node: Node | None, where: Position, path: str = "layers") -> tuple[Row, ...]:
    """The rows of a `layers` section in any notation; a row that cannot be read is there with its problem.

    Raises SpecError where there are no rows, or more than MAX_PROBLEMS that cannot be read.
    """
    if isinstance(node, Scalar) and SUMMARY.search(node.text):
        message = "this is a model's summary, which lists what its layers give, but not their kernel sizes and strides"
        hint = "write what the layers are, `- CNN | 32, (3,3) | ReLU` for one; the counts can stand under `expect:`"
        raise SpecError([Problem(message, hint, path, node.position)])
    if isinstance(node, Scalar) and node.style == "|" and TABLE.search(node.text):
        from netspec.spec.table import read_table

        return read_table(node, path)
    hint = "one row a line, each beginning with '- ', or a pasted table below `layers: |`"
    if node is None:
        raise SpecError([Problem("layers is missing", hint, path, where)])
    if (isinstance(node, Scalar) and node.value is None) or (isinstance(node, Sequence) and not node.items):
        raise SpecError([Problem("layers has no rows", hint, path, node.position)])
    if not isinstance(node, Sequence):
        raise SpecError([Problem("layers is not a list of rows", hint, path, node.position)])
    return gather(node.items, read_row, path)


def gather(items: Iterable[T], read: Callable[[T, str], Row], path: str) -> tuple[Row, ...]:
    """The row that each item is, or a row with the problem of one that cannot be read.

    Raises SpecError when MAX_PROBLEMS of them cannot.
    """
    rows: list[Row] = []
    broken: list[Problem] = []
    for index, item in enumerate(items):
        here = f"{path}.{index}"
        try:
            rows.append(read(item, here))
        except RowError as error:
            broken.append(error.problem)
            rows.append(Row("", path=here, position=error.problem.position, problem=error.problem))
            if len(broken) == MAX_PROBLEMS:
                raise SpecError(broken) from None
    return tuple(rows)


def row_problems(rows: Iterable[Row]) -> list[Problem]:
    """Why each of the rows that cannot be read cannot."""
    return [row.problem for row in rows if row.problem is not None]


def read_row(node: Node, path: str) -> Row:
    """One row in pipe, mapping or named form; raises RowError."""
    if isinstance(node, Scalar):
        return read_pipes(node.text, node.place, path)
    if isinstance(node, Sequence):
        raise RowError(Problem("a row is a text or a mapping, not a list", EXAMPLE, path, node.position))
    if "type" in node.entries:
        return _read_mapping(node, path)
    if len(node.entries) == 1:
        [(key, value)] = node.entries.values()
        return _named(key, value, path)
    hint = next((found for key in node.entries if (found := did_you_mean(key, ["type"]))), "for example `type: Conv`")
    raise RowError(Problem("a row that is written as a mapping needs `type`", hint, path, node.position))


def check_length(text: str, place: Place, path: str) -> None:
    """Raise RowError for a row that is too long to be one."""
    if len(text) > MAX_LENGTH:
        message = f"{len(text):,} characters are too many for a row; it has at most {MAX_LENGTH:,}"
        raise RowError(Problem(message, None, path, place(0)))


def _named(key: Scalar, value: Node, path: str) -> Row:
    """`- conv1: CNN | 64` or `- conv1: {type: Conv, filters: 64}`."""
    if isinstance(value, Scalar):
        if value.empty:
            hint = f"write `- {key.text}` for a row of the kind {key.text}, or its cells behind the ':'"
            raise RowError(Problem(f"the row {key.text!r} is empty", hint, path, key.position))
        return read_pipes(value.text, value.place, path, key)
    if isinstance(value, Mapping):
        if "type" not in value.entries:
            message, hint = f"the row {key.text!r} needs `type`", f"for example `- {key.text}: {{type: Conv}}`"
            raise RowError(Problem(message, hint, path, value.position))
        return _read_mapping(value, path, key)
    raise RowError(Problem("a row is a text or a mapping, not a list", EXAMPLE, path, value.position))


def read_pipes(text: str, place: Place, path: str, name: Scalar | None = None) -> Row:
    """A row of cells between pipes; `place` says where each character of the text stands."""
    check_length(text, place, path)
    try:
        parts = split_outside(text, "|")
    except NotationError as error:
        raise RowError(Problem(error.message, error.hint, path, place(error.offset))) from None
    for part, at in parts[len(COLUMNS) :]:
        if not is_empty(part):
            message = f"the row has {len(parts)} cells, but there are {len(COLUMNS)} columns"
            raise RowError(Problem(message, EXAMPLE, path, place(at + _blanks(part))))
    cells = dict(zip(COLUMNS, parts, strict=False))
    return read_cells(
        cells, text, place, path, name=name.text if name else None, name_at=name.position if name else None
    )


def read_cells(
    cells: dict[str, tuple[str, int]],
    text: str,
    place: Place,
    path: str,
    *,
    name: str | None = None,
    name_at: Position | None = None,
    label: str | None = None,
) -> Row:
    """A row from the text of its cells and the offset at which each one begins, by the columns they stand in."""
    written, at = cells["type"]
    kind = written.strip()
    begin = place(at + _blanks(written))
    if not TYPE.fullmatch(kind):
        message = "the type cell is empty" if is_empty(kind) else f"{kind!r} is not the name of a kind of layer"
        hint = "what stands before a ':' is the row's name; " + EXAMPLE if name_at and name is not None else EXAMPLE
        raise RowError(Problem(message, hint, path, begin))
    places = {"type": begin}
    options: dict[str, Value] = {}
    arguments: dict[str, tuple[Value, ...]] = {}
    for column in COLUMNS[1:]:
        if column in cells:
            arguments[column] = _read_cell(*cells[column], column, place, path, options, places)
    for column in (column for column in cells if column not in COLUMNS):
        _read_option(*cells[column], column, place, path, options, places)
    activation = _activation(arguments.get("activation", ()), options, places, path)
    name = _name(name, options, places, path)
    if name_at:
        places["name"] = name_at
    position = name_at or begin
    size = arguments.get("size", ())
    return Row(kind, name, label, size, options, activation, text.strip(), path, position, places)


def _read_cell(
    text: str,
    at: int,
    column: str,
    place: Place,
    path: str,
    options: dict[str, Value],
    places: dict[str, Position],
) -> tuple[Value, ...]:
    """The positional values of a cell; its options join those of the row."""
    try:
        cell: Cell = parse_cell(text)
    except NotationError as error:
        raise RowError(Problem(error.message, error.hint, path, place(at + error.offset))) from None
    for name, value in cell.options.items():
        here = place(at + cell.option_offsets[name])
        if name in options:
            raise RowError(Problem(f"{name} is given twice in this row", "keep one of the two", path, here))
        options[name], places[name] = value, here
    if cell.arguments:
        begin = place(at + cell.offsets[0])
        if column == "options":
            shown = write_value(cell.arguments[0])
            hint = "options are written name=value; the activation is the third cell, before the options"
            raise RowError(Problem(f"{shown} is not an option", hint, path, begin))
        if column == "activation" and (
            len(cell.arguments) > 1 or not isinstance(cell.arguments[0], (str, Call, type(None)))
        ):
            shown = ", ".join(map(write_value, cell.arguments))
            hint = "one word such as ReLU or leaky_relu(0.1), or `-` for none; sizes stand in the second cell"
            raise RowError(Problem(f"{shown} is not an activation", hint, path, begin))
        places[column] = begin
    return cell.arguments


def _read_option(
    text: str,
    at: int,
    option: str,
    place: Place,
    path: str,
    options: dict[str, Value],
    places: dict[str, Position],
) -> None:
    """A cell of a column that an option heads: one value, or several that are the entries of one."""
    values = _read_cell(text, at, option, place, path, options, places)
    if not values:
        return
    if option in options:
        hint = "it has a column of its own"
        raise RowError(Problem(f"{option} is given twice in this row", hint, path, places[option]))
    options[option] = values[0] if len(values) == 1 else values


def _activation(
    written: tuple[Value, ...], options: dict[str, Value], places: dict[str, Position], path: str
) -> str | Call | None:
    """The activation of the third cell, or of an option of that name."""
    if "activation" not in options:
        return written[0] if written else None  # type: ignore[return-value]  # _read_cell has checked its type
    value = options.pop("activation")
    if written:
        raise RowError(
            Problem("the activation is given twice in this row", "keep one of the two", path, places["activation"])
        )
    if not isinstance(value, (str, Call, type(None))):
        hint = "one word such as relu, or leaky_relu(0.1)"
        raise RowError(Problem(f"{write_value(value)} is not an activation", hint, path, places["activation"]))
    return value


def _name(key: str | None, options: dict[str, Value], places: dict[str, Position], path: str) -> str | None:
    """The row's name: its key, or its option `name`."""
    if "name" not in options:
        return key
    value = options.pop("name")
    if key is not None:
        raise RowError(
            Problem(f"the row has two names, {key!r} and {_shown(value)}", "keep one of the two", path, places["name"])
        )
    if not isinstance(value, str):
        raise RowError(Problem(f"the name of a row is a word, not {_shown(value)}", None, path, places["name"]))
    return value


def _read_mapping(node: Mapping, path: str, key: Scalar | None = None) -> Row:
    """`{type: Conv, filters: 32, kernel: (3,3), activation: ReLU}`: values read as those of cells are."""
    options: dict[str, Value] = {}
    places: dict[str, Position] = {}
    kind = node.entries["type"][1]
    if not isinstance(kind, Scalar) or not TYPE.fullmatch(kind.text):
        shown = f"{kind.text!r}" if isinstance(kind, Scalar) else "this"
        raise RowError(
            Problem(f"{shown} is not the name of a kind of layer", "for example `type: Conv`", path, kind.position)
        )
    places["type"] = kind.position
    for option, (_, value) in node.entries.items():
        if option == "type":
            continue
        if option == "name" and isinstance(value, Scalar):
            options[option] = value.text if not value.empty else None
        else:
            options[option] = read_value(value, path)
        places[option] = value.position
    activation = _activation((), options, places, path)
    name = _name(key.text if key else None, options, places, path)
    if key is not None:
        places["name"] = key.position
    text = f"{name}: {write_node(node)}" if key else write_node(node)
    position = key.position if key else node.position
    return Row(kind.text, name, None, (), options, activation, text, path, position, places)


def read_value(node: Node, path: str) -> Value:
    """A value of a mapping as a cell would have it: text is read by the notation, a one-key mapping is a call."""
    if isinstance(node, Scalar):
        if not node.style and node.value is None:
            return None
        check_length(node.text, node.place, path)
        try:
            return parse_value(node.text)
        except NotationError as error:
            raise RowError(Problem(error.message, error.hint, path, node.place(error.offset))) from None
    if isinstance(node, Sequence):
        return [read_value(item, path) for item in node.items]
    if len(node.entries) != 1:
        hint = "for example `init: {normal: 0.02}` or `init: normal(std=0.02)`"
        raise RowError(Problem("a value that is a mapping has one key, which names it", hint, path, node.position))
    [(name, (_, inside))] = node.entries.items()
    if isinstance(inside, Mapping):
        return Call(name, (), {option: read_value(value, path) for option, (_, value) in inside.entries.items()})
    value = read_value(inside, path)
    return Call(name) if value is None else Call(name, (value,))


def write_node(node: Node) -> str:
    """A value on one line, as its author wrote its words."""
    if isinstance(node, Scalar):
        return f"{node.style}{node.text}{node.style}" if node.style in ("'", '"') else " ".join(node.text.split())
    if isinstance(node, Sequence):
        return f"[{', '.join(map(write_node, node.items))}]"
    return "{" + ", ".join(f"{key}: {write_node(value)}" for key, (_, value) in node.entries.items()) + "}"


def _shown(value: Value) -> str:
    text = write_value(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _blanks(text: str) -> int:
    return len(text) - len(text.lstrip())
