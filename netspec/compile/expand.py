"""Blocks, repeats and conditions unrolled: the rows that a network really has, each with its full name and sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netspec.compile.base import cut, frozen_rows
from netspec.compile.binding import bind
from netspec.compile.names import name_problem
from netspec.compile.placed import OUTPUT, UNKNOWN, Placed, Unrolled
from netspec.compile.rows import evaluated, flag_of, size_of, times_of
from netspec.compile.scope import Scope, left_out, rows_near, sources_of, stand_ins
from netspec.compile.shapes import Defaults, Shapes
from netspec.errors import Problem, Used
from netspec.notation import Value, write_value
from netspec.spec.model import Block, Grouped, Spec
from netspec.spec.names import BASE, Namer, base_name, is_base
from netspec.spec.row import OWN_OPTIONS, Row

MAX_ROWS = 100_000
MAX_WALKED = 2 * MAX_ROWS
"""How many rows may be looked at, those that are left out among them; a long value counts as several."""
PARTS_OF_A_ROW = 10
MAX_DEPTH = 32


class _TooManyRows(Exception):
    """The walk ends here."""


def unroll(spec: Spec, defaults: Defaults, problems: list[Problem]) -> Unrolled:
    """Every row that the network has; what is wrong is added to `problems`, and left out.

    Cells may compute with the shapes of rows above, for which the spec's `defaults` are needed.
    """
    try:
        return _Unroller(spec, Shapes(spec.inputs, defaults), problems).network()
    except _TooManyRows:
        return Unrolled((), {}, {})


class _Unroller:
    """The walk over one spec; a base is a walk of its own that gives its rows to this one."""

    def __init__(
        self,
        spec: Spec,
        shapes: Shapes,
        problems: list[Problem],
        sources: Sequence[str] | None = None,
        used: tuple[Used, ...] = (),
    ) -> None:
        self.spec, self.shapes, self.problems, self.used = spec, shapes, problems, used
        self.inputs = tuple(spec.inputs) if sources is None else tuple(sources)
        self.rows: list[Placed] = []
        self.uses: dict[str, Grouped] = {}
        self.count = self.walked = 0
        self.frozen = False

    def network(self) -> Unrolled:
        spec = self.spec
        given = dict(zip(spec.inputs, self.inputs, strict=True))
        above = self.inputs if len(self.inputs) == 1 else ()
        scope = Scope(self.problems, self.shapes, dict(given), spec.variables, above, used=self.used)
        rows = spec.rows
        if spec.base is not None and not any(is_base(row) for row in rows):
            # As many inputs as the base has are the base's.
            several = len(spec.inputs) > 1 and len(spec.inputs) == len(spec.base.spec.inputs)
            reads: dict[str, Value] = {"from": [*spec.inputs]} if several else {}
            rows = (Row(BASE, options=reads, position=spec.place(BASE), path=BASE), *rows)
        self.uses.update(spec.uses)
        result = self._body(rows, scope)
        outputs = self._outputs(scope, result)
        return Unrolled(tuple(self.rows), self.uses, outputs)

    def _outputs(self, scope: Scope, result: str) -> dict[str, str]:
        if self.spec.outputs is None:
            return {OUTPUT: result}
        found: dict[str, str] = {}
        for name, row in self.spec.outputs.items():
            path = f"outputs.{name}"
            place = self.spec.place(path) or self.spec.place("outputs")
            if name in self.spec.inputs:
                self.problems.append(Problem(f"{name!r} is an input already", "another name", path, place))
            elif row in scope.gaps:
                self.problems.append(Problem(*left_out(row), path, place))
            elif row not in scope.rows:
                if not scope.lost:  # it may be the name of a row that cannot be read
                    self.problems.append(Problem(f"there is no row {row!r}", rows_near(row, scope), path, place))
            elif scope.rows[row] in self.inputs:
                what = "an input" if row in self.spec.inputs else "left out, and stands for an input"
                message = f"an output is a row, but {row!r} is {what}"
                self.problems.append(Problem(message, "a row that computes something", path, place))
            else:
                found[name] = scope.rows[row]
        return found

    def _body(self, rows: Sequence[Row], scope: Scope) -> str:
        """The rows of a body, in order; the full name of the result."""
        namer = Namer(row.name for row in rows if row.name)
        namer.taken |= set(scope.rows)
        scope.body = rows
        written: dict[str, Row] = {}
        for row in rows:
            if row.problem is not None:
                scope.add(row.problem)
                scope.above, scope.lost = (UNKNOWN,), True
                continue
            if row.name is not None and not self._named(row, scope, written):
                row = replace(row, name=None)  # to see what else is wrong with it
                scope.lost = True
            self._row(row, scope, namer)
        return scope.above[0] if scope.above else UNKNOWN

    def _named(self, row: Row, scope: Scope, written: dict[str, Row]) -> bool:
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
            taken = f"the name {row.name!r} is already taken by {self._holder(row.name, scope)}"
            problem = Problem(taken, f"for example '{row.name}_1'")
        written.setdefault(row.name, row)
        if problem is not None:
            scope.add(problem.at(row.place("name"), row.path))
        return problem is None

    def _holder(self, name: str, scope: Scope) -> str:
        """What has a name that no row of the body was given."""
        full = scope.rows[name]
        if scope.blocks and name in self.spec.blocks[scope.blocks[-1]].inputs:
            return "an input of the block"
        if self.spec.base and any(row.name == full and row.spec is self.spec.base.spec for row in self.rows):
            return "a row of the base"
        return "an input" if full in self.inputs else "a repeated row"

    def _row(self, row: Row, scope: Scope, namer: Namer) -> None:
        """One row as it was written: left out, kept, repeated, or the rows of a block or of the base."""
        before, repeated = len(self.problems), "repeat" in row.options
        row, waits = evaluated(row, scope)
        if waits is not None and (is_base(row) or (repeated and "repeat" not in row.options)):
            self.problems.append(waits)  # not even the names of its rows are known
            scope.lost = True
        legible = len(self.problems) == before
        sources, absent = sources_of(row, scope), stand_ins(row, scope)
        kept, frozen = flag_of(row, "when", scope, default=True), flag_of(row, "frozen", scope, default=False)
        # A row that is left out takes its name too, so that a row has the same one wherever its block is used.
        names = self._names(row, scope, namer, kept=kept)
        name = row.name or names[-1]
        if row.label is not None:
            scope.labels[row.label] = name
        self.walked += len(names) + size_of(row) // PARTS_OF_A_ROW
        if self.walked > MAX_WALKED:
            raise self._too_many(f"{MAX_WALKED:,} rows, counting those that are left out", row, scope)
        row = replace(row, options={name: value for name, value in row.options.items() if name not in OWN_OPTIONS})
        result = sources
        for each in names if kept else ():
            result = (self._place(row, each, result, scope, absent, waits, frozen=frozen) if legible else UNKNOWN,)
            scope.rows[each] = result[0]
        if is_base(row):
            namer.taken.update(scope.rows)  # its rows keep their names, so that its weights fit
        # A row that is left out stands for the one thing that it would have read. Of several it stands for none: it is
        # as if it were not written, so that what follows reads the row above it.
        scope.rows[name] = result[0] if len(result) == 1 else UNKNOWN
        if not kept and len(result) == 1:
            scope.absent[name] = result[0]
        if len(result) == 1:
            scope.above = result
        elif UNKNOWN not in result:
            scope.gaps.add(name)

    def _add(self, placed: Placed, row: Row, scope: Scope) -> None:
        self.count += 1
        if self.count > MAX_ROWS:
            raise self._too_many(f"{MAX_ROWS:,} rows", row, scope)
        self.rows.append(placed)
        self.shapes.add(placed)

    def _too_many(self, what: str, row: Row, scope: Scope) -> _TooManyRows:
        outer = scope.used[-1].position if scope.used else row.position
        self.problems.append(Problem(f"the spec unrolls to more than {what}", "fewer repeats", row.path, outer))
        return _TooManyRows()

    def _names(self, row: Row, scope: Scope, namer: Namer, *, kept: bool) -> list[str]:
        """The name of the row, or of each of its repetitions."""
        times = times_of(row, scope, kept=kept)
        if row.name is None:
            return [namer.name(base_name(row, self.spec.blocks)) for _ in range(times or 1)]
        if times is None:
            return [row.name]
        names = [f"{row.name}_{number}" for number in range(1, times + 1)]
        for name in names:
            if name in namer.taken:
                hint = "give one of the two rows another name"
                scope.report(row, "name", f"repeating it needs the name {name!r}, which is taken", hint)
        namer.taken.update(names)
        return names

    def _place(
        self,
        row: Row,
        name: str,
        sources: tuple[str, ...],
        scope: Scope,
        absent: tuple[tuple[str, str], ...],
        waits: Problem | None,
        *,
        frozen: bool,
    ) -> str:
        """The rows that a kept row stands for; the full name of their result. One whose cells are not known is only
        placed, so that it goes where no output needs it.
        """
        if is_base(row):
            return self._base(row, sources, scope, frozen=frozen)
        block = self.spec.blocks.get(row.type)
        if block is not None and waits is None:
            return self._use(block, row, name, sources, scope, frozen=frozen)
        full, frozen = f"{scope.prefix}{name}", frozen or self.frozen
        self._add(Placed(full, row, sources, self.spec, frozen, scope.used, absent, scope.names, waits), row, scope)
        return full

    def _use(self, block: Block, row: Row, name: str, sources: tuple[str, ...], scope: Scope, *, frozen: bool) -> str:
        """The rows of a block, with the values that a row gives its parameters."""
        if block.name in scope.blocks or len(scope.blocks) >= MAX_DEPTH:
            chain = " -> ".join([*scope.blocks, block.name])
            scope.report(row, "type", f"the block {block.name!r} uses itself: {chain}", None)
            return UNKNOWN
        if len(sources) != len(block.inputs):
            takes = f"{len(block.inputs)} input{'s' * (len(block.inputs) > 1)} ({', '.join(block.inputs)})"
            hint = f"from=[{', '.join(block.inputs)}]" if len(block.inputs) > 1 else None
            scope.report(row, "from", f"the block {block.name} takes {takes}, but reads {len(sources)}", hint)
            return UNKNOWN
        before = len(self.problems)
        if row.activation is not None:
            hint = "an activation belongs to a row inside of the block"
            scope.report(row, "activation", f"{block.name} is a block, which has no activation", hint)
        values = bind(block, row, scope)
        if len(self.problems) > before:
            return UNKNOWN
        said = ", ".join(f"{key}={write_value(value)}" for key, value in values.items())
        full = f"{scope.prefix}{name}"
        used = Used(row.position, f"{row.path}.{name}", f"{block.name}({said})")
        inner = Scope(
            problems=self.problems,
            shapes=self.shapes,
            prefix=f"{full}.",
            rows=dict(zip(block.inputs, sources, strict=True)),
            values={**self.spec.variables, **values},
            above=sources[:1],
            used=(used, *scope.used),
            blocks=(*scope.blocks, block.name),
            outside=self.spec.rows,
        )
        at, outer = len(self.rows), self.frozen
        # Outer ones stand before those inside.
        self.uses[full] = Grouped(block.name, values, sources, block.inputs, "", block.about)
        self.frozen = outer or frozen
        result = self._body(block.rows, inner)
        self.frozen = outer
        if len(self.rows) == at:
            del self.uses[full]  # every row was left out: it stands for what it reads
        else:
            self.uses[full] = replace(self.uses[full], result=result)
        return result

    def _base(self, row: Row, sources: tuple[str, ...], scope: Scope, *, frozen: bool) -> str:
        """The rows of the base in the place of the row that names it."""
        base = self.spec.base
        if base is None:
            hint = "for example `base: {spec: squeezenet-1.1.yaml, output: pool10}`"
            scope.report(row, "type", "there is no section `base` whose rows could stand here", hint)
            return UNKNOWN
        if scope.prefix or any(placed.spec is base.spec for placed in self.rows):
            what = "inside of a block" if scope.prefix else "a second time"
            scope.report(row, "type", f"the rows of the base cannot stand here {what}", None)
            return UNKNOWN
        if len(sources) != len(base.spec.inputs):
            message = f"the base has {len(base.spec.inputs)} inputs, but reads {len(sources)}"
            scope.report(row, "from", message, f"from=[{', '.join(base.spec.inputs)}]")
            return UNKNOWN
        said = ["size"] * bool(row.size) + ["activation"] * (row.activation is not None) + list(row.options)
        for cell in said:
            hint = "its variant, cut and weights stand in the section `base`"
            scope.report(row, cell, f"the row of the base says from, when and frozen, but no {cell}", hint)
        used = Used(row.position, row.path, base.spec.name)
        walk = _Unroller(base.spec, self.shapes, self.problems, sources, (used, *scope.used))
        walk.frozen = frozen or self.frozen
        found = walk.network()
        self.rows += frozen_rows(self.spec, found.rows, self.problems)
        self.count += walk.count
        self.walked += walk.walked
        self.uses.update(found.uses)
        names = {placed.name: placed.name for placed in found.rows} | {
            use: group.result for use, group in found.uses.items()
        }
        top = {name: full for name, full in names.items() if "." not in name}
        for name in top.keys() & scope.rows.keys():
            what = "an input" if name in self.inputs else "a row above it"
            message = f"the base has a row {name!r}, but {what} has that name"
            scope.report(row, "type", message, f"another name for {what}")
        scope.rows.update(top)
        return cut(self.spec, found, names, self.problems)
