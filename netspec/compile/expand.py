"""Blocks, repeats and conditions unrolled: the rows that a network really has, each with its full name and sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netspec.compile.fields import ROUNDS_DOWN
from netspec.compile.names import name_problem
from netspec.errors import Problem, Used, did_you_mean, one_of
from netspec.notation import NotationError, Value, evaluate, write_value
from netspec.spec.graph import TYPES
from netspec.spec.model import Block, Grouped, Parameter, Spec
from netspec.spec.names import Namer, base_name
from netspec.spec.row import Row

INPUT, OUTPUT = "input", "output"
BASE = "base"
UNKNOWN = ""
"""The name of a row that could not be read: what reads it is checked by itself, but has no shape."""
MAX_REPEAT = 10_000
MAX_ROWS = 100_000
MAX_DEPTH = 32
OWN_OPTIONS = ("from", "repeat", "when", "frozen")
"""The options that every row has, whatever its kind."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A row in its place: its full name, the rows or inputs that it reads, and nothing left to be computed."""

    name: str
    row: Row
    sources: tuple[str, ...]
    spec: Spec
    """The spec whose defaults it has."""
    frozen: bool = False
    used: tuple[Used, ...] = ()
    """The rows that used the blocks it stands in, the innermost first."""
    known: Mapping[str, Value] = field(default_factory=dict)
    """The parameters and variables that it could name."""


@dataclass(frozen=True, slots=True)
class Unrolled:
    """All rows of a spec, the blocks that they were, and the row that each output is."""

    rows: tuple[Placed, ...]
    uses: Mapping[str, Grouped]
    outputs: Mapping[str, str]


@dataclass(slots=True)
class _Scope:
    """What the rows of one body may name: rows above them, what the block was given, parameters."""

    prefix: str
    path: str
    rows: dict[str, str]
    """By the name that rows of this body write, the full name."""
    values: Mapping[str, Value]
    above: tuple[str, ...]
    """What a row reads that does not say it."""
    used: tuple[Used, ...] = ()
    blocks: tuple[str, ...] = ()
    """The blocks that the body stands in."""
    body: Sequence[Row] = ()
    """All rows of the body, to explain a name that is not above."""


class _TooManyRows(Exception):
    """The walk ends here."""


def unroll(spec: Spec, problems: list[Problem]) -> Unrolled:
    """Every row that the network has; what is wrong is added to `problems`, and left out."""
    try:
        return _Unroller(spec, problems).network()
    except _TooManyRows:
        return Unrolled((), {}, {})


class _Unroller:
    """The walk over one spec; a base is a walk of its own that gives its rows to this one."""

    def __init__(
        self, spec: Spec, problems: list[Problem], sources: Sequence[str] | None = None, used: tuple[Used, ...] = ()
    ) -> None:
        self.spec, self.problems, self.used = spec, problems, used
        self.inputs = tuple(spec.inputs) if sources is None else tuple(sources)
        self.rows: list[Placed] = []
        self.uses: dict[str, Grouped] = {}
        self.count = 0
        self.frozen = False

    def network(self) -> Unrolled:
        spec = self.spec
        given = dict(zip(spec.inputs, self.inputs, strict=True))
        above = (self.inputs[0] if len(self.inputs) == 1 else UNKNOWN,)
        scope = _Scope("", "layers", dict(given), spec.variables, above, self.used)
        rows = spec.rows
        if spec.base is not None and not any(_is_base(row) for row in rows):
            rows = (Row(BASE, position=spec.place(BASE), path=BASE), *rows)
        first = rows[0] if rows else None
        if above == (UNKNOWN,) and first is not None and "from" not in first.options and first.problem is None:
            names = ", ".join(self.inputs)
            hint = f"for example from={self.inputs[0]}"
            self._report(first, "type", f"the first row says which of the inputs it reads: {names}", hint)
        self.uses.update(spec.uses)
        result = self._body(rows, scope)
        outputs = self._outputs(scope, result)
        return Unrolled(tuple(self.rows), self.uses, outputs)

    def _outputs(self, scope: _Scope, result: str) -> dict[str, str]:
        if self.spec.outputs is None:
            return {OUTPUT: result}
        found: dict[str, str] = {}
        for name, row in self.spec.outputs.items():
            path = f"outputs.{name}"
            place = self.spec.place(path) or self.spec.place("outputs")
            if name in self.spec.inputs:
                self.problems.append(Problem(f"{name!r} is an input already", "another name", path, place))
            elif row not in scope.rows:
                hint = did_you_mean(row, scope.rows)
                self.problems.append(Problem(f"there is no row {row!r}", hint, path, place))
            else:
                found[name] = scope.rows[row]
        return found

    def _body(self, rows: Sequence[Row], scope: _Scope) -> str:
        """The rows of a body, in order; the full name of the result."""
        namer = Namer(row.name for row in rows if row.name)
        namer.taken |= set(scope.rows)
        scope.body = rows
        written: dict[str, Row] = {}
        for row in rows:
            if row.problem is not None:
                self._problem(row.problem, scope)
                scope.above = (UNKNOWN,)
                continue
            if row.name is not None and not self._named(row, scope, written):
                row = replace(row, name=None)  # to see what else is wrong with it
            self._row(row, scope, namer)
        return scope.above[0]

    def _named(self, row: Row, scope: _Scope, written: dict[str, Row]) -> bool:
        """Whether the written name of a row can be its name."""
        assert row.name is not None
        grouped = not scope.prefix and row.name.rpartition(".")[0] in self.spec.uses
        problem = name_problem(row.name.rpartition(".")[2] if grouped else row.name)
        if problem is None and row.name in written:
            earlier = written[row.name]
            place = earlier.place("name")
            where = f" (line {place.line})" if place else ""
            problem = Problem(f"the name {row.name!r} is already taken by {earlier.path}{where}")
        elif problem is None and row.name in scope.rows:
            taken = scope.rows[row.name]
            base = self.spec.base is not None and any(
                placed.name == taken and placed.spec is self.spec.base.spec for placed in self.rows
            )
            given = scope.blocks and row.name in self.spec.blocks[scope.blocks[-1]].inputs
            what = (
                "an input of the block"
                if given
                else "a row of the base"
                if base
                else "an input"
                if taken in self.inputs
                else "a repeated row"
            )
            problem = Problem(f"the name {row.name!r} is already taken by {what}", f"for example '{row.name}_1'")
        written.setdefault(row.name, row)
        if problem is not None:
            self._problem(problem.at(row.place("name"), row.path), scope)
        return problem is None

    def _row(self, row: Row, scope: _Scope, namer: Namer) -> None:
        """One row as it was written: left out, kept, repeated, or the rows of a block or of the base."""
        before = len(self.problems)
        row = self._evaluated(row, scope)
        legible = len(self.problems) == before
        sources = self._sources(row, scope)
        kept, frozen = self._flag(row, "when", scope, default=True), self._flag(row, "frozen", scope, default=False)
        # A row that is left out takes its name too, so that a row has the same one wherever its block is used.
        names = self._names(row, scope, namer)
        row = replace(row, options={name: value for name, value in row.options.items() if name not in OWN_OPTIONS})
        result = sources
        for name in names if kept else ():
            result = (self._place(row, name, result, scope, frozen=frozen) if legible else UNKNOWN,)
            scope.rows[name] = result[0]
        if _is_base(row):
            namer.taken.update(scope.rows)  # its rows keep their names, so that its weights fit
        # A row that is left out stands for what it would have read, where that is one thing.
        scope.rows[row.name or names[-1]] = result[0] if len(result) == 1 else UNKNOWN
        if len(result) == 1:
            scope.above = result

    def _names(self, row: Row, scope: _Scope, namer: Namer) -> list[str]:
        """The name of the row, or of each of its repetitions."""
        times = self._times(row, scope)
        if row.name is None:
            return [namer.name(base_name(row, self.spec.blocks)) for _ in range(times or 1)]
        if times is None:
            return [row.name]
        names = [f"{row.name}_{number}" for number in range(1, times + 1)]
        for name in names:
            if name in namer.taken:
                hint = "give one of the two rows another name"
                self._report(row, "name", f"repeating it needs the name {name!r}, which is taken", hint, scope)
        namer.taken.update(names)
        return names

    def _place(self, row: Row, name: str, sources: tuple[str, ...], scope: _Scope, *, frozen: bool) -> str:
        """The rows that a kept row stands for; the full name of their result."""
        if _is_base(row):
            return self._base(row, sources, scope)
        block = self.spec.blocks.get(row.type)
        full = f"{scope.prefix}{name}"
        if block is not None:
            return self._use(block, row, name, sources, scope, frozen=frozen)
        self.count += 1
        if self.count > MAX_ROWS:
            outer = scope.used[-1].position if scope.used else row.position
            message = f"the spec unrolls to more than {MAX_ROWS:,} rows"
            self.problems.append(Problem(message, "fewer repeats", row.path, outer))
            raise _TooManyRows
        frozen = frozen or self.frozen
        self.rows.append(Placed(full, row, sources, self.spec, frozen, scope.used, scope.values))
        return full

    def _use(self, block: Block, row: Row, name: str, sources: tuple[str, ...], scope: _Scope, *, frozen: bool) -> str:
        """The rows of a block, with the values that a row gives its parameters."""
        if block.name in scope.blocks or len(scope.blocks) >= MAX_DEPTH:
            chain = " -> ".join([*scope.blocks, block.name])
            self._report(row, "type", f"the block {block.name!r} uses itself: {chain}", None, scope)
            return UNKNOWN
        if len(sources) != len(block.inputs):
            takes = f"{len(block.inputs)} input{'s' * (len(block.inputs) > 1)} ({', '.join(block.inputs)})"
            hint = f"from=[{', '.join(block.inputs)}]" if len(block.inputs) > 1 else None
            self._report(row, "from", f"the block {block.name} takes {takes}, but reads {len(sources)}", hint, scope)
            return UNKNOWN
        before = len(self.problems)
        if row.activation is not None:
            hint = "an activation belongs to a row inside of the block"
            self._report(row, "activation", f"{block.name} is a block, which has no activation", hint, scope)
        values = self._bind(block, row, scope)
        if len(self.problems) > before:
            return UNKNOWN
        said = ", ".join(f"{key}={write_value(value)}" for key, value in values.items())
        full = f"{scope.prefix}{name}"
        used = Used(row.position, f"{row.path}.{name}", f"{block.name}({said})")
        inner = _Scope(
            prefix=f"{full}.",
            path=f"blocks.{block.name}.layers",
            rows=dict(zip(block.inputs, sources, strict=True)),
            values={**self.spec.variables, **values},
            above=sources[:1],
            used=(used, *scope.used),
            blocks=(*scope.blocks, block.name),
        )
        at, outer = len(self.rows), self.frozen
        self.uses[full] = Grouped(block.name, values, sources, block.inputs, "")  # outer ones stand before those inside
        self.frozen = outer or frozen
        result = self._body(block.rows, inner)
        self.frozen = outer
        if len(self.rows) == at:
            del self.uses[full]  # every row was left out: it stands for what it reads
        else:
            self.uses[full] = replace(self.uses[full], result=result)
        return result

    def _bind(self, block: Block, row: Row, scope: _Scope) -> dict[str, Value]:
        """The value of every parameter."""
        names = list(block.parameters)
        given: dict[str, Value] = dict(zip(names, row.size, strict=False))
        if len(row.size) > len(names):
            values = ", ".join(map(write_value, row.size))
            has = f"has {', '.join(names)}" if names else "has no parameters"
            self._report(row, "size", f"the block {block.name} {has}, but the row gives {values}", None, scope)
        for name, value in row.options.items():
            if name not in block.parameters:
                hint = did_you_mean(name, names) or (one_of(names) if names else None)
                self._report(row, name, f"the block {block.name} has no parameter {name!r}", hint, scope)
            elif name in given:
                self._report(row, name, f"{name} is given twice, in the size cell and by name", None, scope)
            else:
                given[name] = value
        found: dict[str, Value] = {}
        for name, parameter in block.parameters.items():
            if name in given:
                found[name] = self._typed(name, parameter, given[name], block, row, scope)
            elif parameter.required:
                hint = f"{name} is {TYPES[parameter.type]}"
                self._report(row, "type", f"the block {block.name} needs {name}", hint, scope)
            else:
                found[name] = parameter.default
        return found

    def _typed(self, name: str, parameter: Parameter, value: Value, block: Block, row: Row, scope: _Scope) -> Value:
        fits: dict[str, Any] = {
            "int": int,
            "float": (int, float),
            "bool": bool,
            "word": str,
            "size": (int, tuple, list),
        }
        if not isinstance(value, fits[parameter.type]) or (isinstance(value, bool) and parameter.type != "bool"):
            message = f"{name} of the block {block.name} must be {TYPES[parameter.type]}, got {write_value(value)}"
            cell = name if name in row.options else "size"
            divided = parameter.type == "int" and isinstance(value, float) and "/" in row.text
            self._report(row, cell, message, ROUNDS_DOWN if divided else self._near(value, scope), scope)
        return value

    def _evaluated(self, row: Row, scope: _Scope) -> Row:
        """The row with the values of names in their places; what `from` says are rows, not values."""
        options: dict[str, Value] = {}
        for name, value in row.options.items():
            before = len(self.problems)
            found = value if name == "from" else self._value(row, name, value, scope)
            if len(self.problems) == before:
                options[name] = found
        size = tuple([self._value(row, "size", value, scope) for value in row.size])
        activation: Any = row.activation
        if activation is not None:
            activation = self._value(row, "activation", activation, scope)
        return replace(row, options=options, size=size, activation=activation)

    def _value(self, row: Row, cell: str, value: Value, scope: _Scope) -> Value:
        try:
            return evaluate(value, scope.values)
        except NotationError as error:
            self._report(row, cell, error.message, error.hint, scope)
            return None

    def _times(self, row: Row, scope: _Scope) -> int | None:
        if "repeat" not in row.options:
            return None
        times = row.options["repeat"]
        if isinstance(times, float) and times.is_integer():
            times = int(times)
        if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= MAX_REPEAT:
            message = f"repeat must be a whole number from 1 to {MAX_REPEAT:,}, got {write_value(times)}"
            hint = "when=... leaves a row out" if times == 0 else self._near(times, scope)
            self._report(row, "repeat", message, hint, scope)
            return 1
        return times

    def _near(self, value: Value, scope: _Scope) -> str | None:
        """The parameter or variable that a word may have meant."""
        return did_you_mean(value, scope.values) if isinstance(value, str) else None

    def _flag(self, row: Row, name: str, scope: _Scope, *, default: bool) -> bool:
        value = row.options.get(name, default)
        if not isinstance(value, bool):
            hint = "a condition such as when=stride>1" if name == "when" else None
            hint = self._near(value, scope) or hint
            self._report(row, name, f"{name} must be true or false, got {write_value(value)}", hint, scope)
            return default
        return value

    def _sources(self, row: Row, scope: _Scope) -> tuple[str, ...]:
        """The full names of what a row reads."""
        if "from" not in row.options:
            return scope.above
        written = row.options["from"]
        names = written if isinstance(written, (list, tuple)) else [written]
        if not names:
            self._report(row, "from", "from names no row", "for example from=[left, right]", scope)
        return tuple(self._source(row, name, scope) for name in names) or (UNKNOWN,)

    def _source(self, row: Row, name: Value, scope: _Scope) -> str:
        if not isinstance(name, str):
            self._report(row, "from", f"from holds names of rows, not {write_value(name)}", "from=[left, right]", scope)
            return UNKNOWN
        if name in scope.rows:
            return scope.rows[name]
        self._report(row, "from", *self._why_unknown(row, name, scope), scope)
        return UNKNOWN

    def _why_unknown(self, row: Row, name: str, scope: _Scope) -> tuple[str, str | None]:
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
        if scope.prefix and any(each.name == name for each in self.spec.rows):
            hint = "give the block another input: `inputs: [input, other]`, then from=[..., ...] where it is used"
            return f"{name!r} is a row outside of the block, whose rows read their inputs and each other", hint
        return f"there is no row {name!r}", did_you_mean(name, scope.rows)

    def _base(self, row: Row, sources: tuple[str, ...], scope: _Scope) -> str:
        """The rows of the base in the place of the row that names it."""
        base = self.spec.base
        if base is None:
            hint = "for example `base: {spec: squeezenet-1.1.yaml, output: pool10}`"
            self._report(row, "type", "there is no section `base` whose rows could stand here", hint, scope)
            return UNKNOWN
        if scope.prefix or any(placed.spec is base.spec for placed in self.rows):
            what = "inside of a block" if scope.prefix else "a second time"
            self._report(row, "type", f"the rows of the base cannot stand here {what}", None, scope)
            return UNKNOWN
        if len(sources) != len(base.spec.inputs):
            message = f"the base has {len(base.spec.inputs)} inputs, but reads {len(sources)}"
            self._report(row, "from", message, f"from=[{', '.join(base.spec.inputs)}]", scope)
            return UNKNOWN
        used = Used(row.position, row.path, base.spec.name)
        walk = _Unroller(base.spec, self.problems, sources, (used, *scope.used))
        found = walk.network()
        self._freeze(found)
        self.count += walk.count
        self.uses.update(found.uses)
        names = {placed.name: placed.name for placed in found.rows} | {
            use: group.result for use, group in found.uses.items()
        }
        top = {name: full for name, full in names.items() if "." not in name}
        for name in top.keys() & scope.rows.keys():
            what = "an input" if name in self.inputs else "a row above it"
            message = f"the base has a row {name!r}, but {what} has that name"
            self._report(row, "type", message, f"another name for {what}", scope)
        scope.rows.update(top)
        return self._base_result(found, names)

    def _base_result(self, found: Unrolled, names: Mapping[str, str]) -> str:
        assert self.spec.base is not None
        wanted = self.spec.base.settings.output
        if wanted is not None:
            if wanted in names or wanted in found.outputs:
                return names.get(wanted) or found.outputs[wanted]
            near = did_you_mean(wanted, names) or "`netspec show` on it prints the names of its rows"
            message = f"{self.spec.base.spec.name} has no row {wanted!r}"
        elif len(found.outputs) == 1:
            return next(iter(found.outputs.values()))
        else:
            message, near = f"{self.spec.base.spec.name} has {len(found.outputs)} outputs", one_of(list(found.outputs))
        place = self.spec.place("base.output") or self.spec.place("base")
        self.problems.append(Problem(message, near, "base.output", place))
        return UNKNOWN

    def _freeze(self, found: Unrolled) -> None:
        """Take the rows of the base, frozen as the section says."""
        from fnmatch import fnmatchcase

        assert self.spec.base is not None
        freeze = self.spec.base.settings.freeze
        patterns = ("*",) if freeze is True else (freeze,) if isinstance(freeze, str) else freeze or ()
        for pattern in patterns:
            if not any(fnmatchcase(placed.name, pattern) or _inside(placed.name, pattern) for placed in found.rows):
                names = dict.fromkeys(placed.name.partition(".")[0] for placed in found.rows)
                hint = did_you_mean(pattern, names) or f"its rows are {', '.join(list(names)[:8])}, ..."
                place = self.spec.place("base.freeze")
                self.problems.append(Problem(f"no row of the base matches {pattern!r}", hint, "base.freeze", place))
        for placed in found.rows:
            chosen = any(fnmatchcase(placed.name, pattern) or _inside(placed.name, pattern) for pattern in patterns)
            self.rows.append(replace(placed, frozen=placed.frozen or chosen))

    def _report(self, row: Row, cell: str, message: str, hint: str | None, scope: _Scope | None = None) -> None:
        self._problem(Problem(message, hint, row.path, row.place(cell)), scope)

    def _problem(self, problem: Problem, scope: _Scope | None) -> None:
        self.problems.append(problem.used_at(scope.used if scope else self.used))


def _is_base(row: Row) -> bool:
    return row.type.casefold() == BASE


def _inside(name: str, pattern: str) -> bool:
    """Whether a pattern names a block that a row stands in."""
    parts = name.split(".")
    return any(".".join(parts[:count]) == pattern for count in range(1, len(parts)))


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
