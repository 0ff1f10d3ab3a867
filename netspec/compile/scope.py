"""What the rows of one body may name, and what they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from netspec.compile.names import label_said
from netspec.compile.placed import UNKNOWN
from netspec.compile.shapes import Shapes
from netspec.errors import Problem, Used, did_you_mean, one_of
from netspec.notation import NotationError, Value, write_value
from netspec.spec.row import Row
from netspec.spec.shaped import NAMES, size_along


@dataclass(slots=True)
class Scope:
    """What the rows of one body may name: rows above them, what the block was given, parameters."""

    problems: list[Problem]
    shapes: Shapes
    rows: dict[str, str]
    """By the name that rows of this body write, the full name."""
    values: Mapping[str, Value]
    above: tuple[str, ...]
    """What a row reads that does not say it; nothing as long as there are only inputs, and several of them."""
    prefix: str = ""
    """What the full names of its rows begin with."""
    used: tuple[Used, ...] = ()
    blocks: tuple[str, ...] = ()
    """The blocks that the body stands in."""
    body: Sequence[Row] = ()
    """All rows of the body, to explain a name that is not above."""
    outside: Sequence[Row] = ()
    """The rows of the spec, to explain a name that is not in the block."""
    labels: dict[str, str] = field(default_factory=dict)
    """By the label that a table gives a row, the row's name."""
    gaps: set[str] = field(default_factory=set)
    """The rows that are left out and would have read several, so that they stand for none."""
    absent: dict[str, str] = field(default_factory=dict)
    """By the name of a row that is left out, what stands for it."""
    lost: bool = False
    """Whether a row cannot be read or named, so that a name which is not known may be its own."""
    names: Names = field(init=False)
    """What a word in a cell may stand for."""

    def __post_init__(self) -> None:
        self.names = Names(self, tuple(self.rows))

    def report(self, row: Row, cell: str, message: str, hint: str | None) -> None:
        """Something is wrong with a cell of a row."""
        self.add(Problem(message, hint, row.path, row.place(cell)))

    def add(self, problem: Problem) -> None:
        """Something is wrong with a row of this body."""
        self.problems.append(problem.used_at(self.used))

    def near(self, value: Value) -> str | None:
        """The parameter, variable or size that a word may have meant."""
        return did_you_mean(value, self.names) if isinstance(value, str) else None


class ShapeUnknownError(NotationError):
    """A cell computes with a shape that is not known, though nothing is wrong with the cell."""


class Names(Mapping[str, Value]):
    """What a word in a cell stands for: a parameter or a variable, or a size of a row above (`stem.channels`).

    Of the sizes it lists those of what goes in alone, for a word that is meant to be one.
    """

    def __init__(self, scope: Scope, inputs: Sequence[str]) -> None:
        self.scope, self.inputs = scope, inputs

    def __getitem__(self, word: str) -> Value:
        """Raises KeyError for another word, and NotationError for a size that there is not."""
        if word in self.scope.values:
            return self.scope.values[word]
        row, _, axis = word.rpartition(".")
        if not row or (axis not in NAMES and row not in self.scope.rows):
            raise KeyError(word)
        return _size(row, axis, self.scope)

    def __iter__(self) -> Iterator[str]:
        yield from self.scope.values
        for name in self.inputs:
            yield from (f"{name}.{axis}" for axis in NAMES)

    def __len__(self) -> int:
        return len(self.scope.values) + len(self.inputs) * len(NAMES)


def _size(row: str, axis: str, scope: Scope) -> int:
    """How long an axis of a row above is."""
    if row in scope.gaps:
        message, hint = left_out(row)
        raise ShapeUnknownError(message, 0, hint)
    if row not in scope.rows:
        kind = ShapeUnknownError if scope.lost else NotationError  # it may be the name of a row that cannot be read
        below = any(each.name == row for each in scope.body)
        outside = bool(scope.prefix) and any(each.name == row for each in scope.outside)
        where = "below" if below else "outside of the block" if outside else "that there is not"
        instead = "a parameter of the block can say it" if outside and not below else rows_near(row, scope)
        raise kind(f"{row}.{axis} is the size of a row {where}", 0, instead)
    given = scope.shapes.of(scope.rows[row])
    names = given.axes if given is not None else NAMES
    if axis not in NAMES:
        hint = did_you_mean(f"{row}.{axis}", [f"{row}.{name}" for name in names]) or one_of(names)
        raise NotationError(f"{row}.{axis} is no size of {row!r}", 0, hint)
    if given is None:
        raise ShapeUnknownError(f"the shape of {row!r} is not known here", 0, "it does not fit what it reads")
    size = size_along(axis, given)
    if size is None:
        raise NotationError(f"{row} is {given}, which has no {axis}", 0, f"it has {', '.join(names)}")
    return size


MAX_SHOWN = 8
"""How many rows a hint lists."""


def sources_of(row: Row, scope: Scope) -> tuple[str, ...]:
    """The full names of what a row reads."""
    if "from" not in row.options:
        if not scope.above:
            inputs = [name for name in scope.rows if name not in scope.gaps]
            message = f"the first row says which of the inputs it reads: {', '.join(inputs)}"
            scope.report(row, "type", message, f"for example from={inputs[0]}")
        return scope.above or (UNKNOWN,)
    written = row.options["from"]
    names = written if isinstance(written, (list, tuple)) else [written]
    if not names:
        scope.report(row, "from", "from names no row", "for example from=[left, right]")
    return tuple(_source(row, name, scope) for name in names) or (UNKNOWN,)


def stand_ins(row: Row, scope: Scope) -> tuple[tuple[str, str], ...]:
    """The rows that are left out among those a row names, each with the full name of what stands for it."""
    written = row.options.get("from")
    names = written if isinstance(written, (list, tuple)) else [written]
    return tuple((name, scope.absent[name]) for name in names if isinstance(name, str) and name in scope.absent)


def _source(row: Row, name: Value, scope: Scope) -> str:
    if not isinstance(name, str):
        scope.report(row, "from", f"from holds names of rows, not {write_value(name)}", "from=[left, right]")
        return UNKNOWN
    if name in scope.gaps:
        scope.report(row, "from", *left_out(name))
    elif name in scope.rows:
        return scope.rows[name]
    elif _is_above(row, name, scope):
        pass  # which can be none, as has been said there
    elif why := _why_unknown(row, name, scope):
        scope.report(row, "from", *why)
    elif not scope.lost:
        scope.report(row, "from", f"there is no row {name!r}", rows_near(name, scope))
    return UNKNOWN


def _is_above(row: Row, name: str, scope: Scope) -> bool:
    """Whether a row above was given this name."""
    above = takewhile(lambda each: each.path != row.path, scope.body)
    return any(each.name == name for each in above)


def left_out(name: str) -> tuple[str, str]:
    """That a row which is not there cannot be read by its name, and what to do about it."""
    message = f"the row {name!r} is left out, and reads several rows, so that it stands for none of them"
    return message, "name one of those; the row below it, without from=, reads the row above it"


def rows_near(name: str, scope: Scope) -> str | None:
    """A hint with the row that a name may have meant, or those that there are."""
    shown = [*["..."] * (len(scope.rows) > MAX_SHOWN), *list(scope.rows)[-MAX_SHOWN:]]
    return did_you_mean(name, scope.rows) or (f"there are {', '.join(shown)}" if shown else None)


def _why_unknown(row: Row, name: str, scope: Scope) -> tuple[str, str | None] | None:
    """Why a name is not that of a row above, where there is more to say."""
    if name == row.name:
        return f"the row {name!r} reads itself", None
    below = next((each for each in scope.body if each.name == name), None)
    if below is not None:
        written = next((each for each in scope.body if each.path == row.path), below)
        if chain := _circle(below, written, scope.body):
            names = " -> ".join(each.name or each.text or each.type for each in [written, *chain])
            return f"the rows read each other in a circle: {names}", "each row reads rows above it"
        return f"the row {name!r} stands below; a row reads rows above it", f"move the row {name!r} up"
    head = name.partition(".")[0]
    if head != name and head in scope.rows:
        hint = f"from={head} reads its result"
        return f"{name!r} is a row inside of the block {head!r}, which only its own rows can read", hint
    if scope.prefix and any(each.name == name for each in scope.outside):
        hint = "give the block another input: `inputs: [input, other]`, then from=[..., ...] where it is used"
        return f"{name!r} is a row outside of the block, whose rows read their inputs and each other", hint
    if name in scope.labels:
        return label_said(name, scope.labels[name])
    return None


def _circle(start: Row, end: Row, rows: Sequence[Row]) -> list[Row]:
    """The rows from one that stands below to the one that reads it, each reading the next; empty where none does."""
    named = {row.name: index for index, row in enumerate(rows) if row.name}

    def reads(row: Row, index: int) -> Iterator[int]:
        written = row.options.get("from")
        names = written if isinstance(written, (list, tuple)) else [written]
        sources = [named[name] for name in names if isinstance(name, str) and name in named]
        yield from sources if written is not None else [index - 1] if index else []

    first = rows.index(start)
    chains, seen = [[first]], {first}
    while chains:
        chain = chains.pop()
        for source in reads(rows[chain[-1]], chain[-1]):
            if rows[source] is end:
                return [*(rows[index] for index in chain), end]
            if source not in seen:
                seen.add(source)
                chains.append([*chain, source])
    return []
