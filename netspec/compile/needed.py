"""What the outputs need: the rows of a base beyond the cut go, a row of the spec that nothing reads is a mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from netspec.compile.base import frozen_beyond
from netspec.compile.placed import Placed, Unrolled
from netspec.errors import Problem
from netspec.spec.model import Grouped, Spec


def needed(spec: Spec, unrolled: Unrolled, problems: list[Problem]) -> Unrolled:
    """The rows that an output is computed from, and the uses that are left; what else there is becomes a problem."""
    wanted = set(unrolled.outputs.values())
    read = {source for placed in unrolled.rows for source in placed.sources}
    kept: list[Placed] = []
    for placed in reversed(unrolled.rows):
        if placed.name in wanted:
            kept.append(placed)
            wanted.update(placed.sources)
        elif placed.spec is spec and placed.name not in read:
            own = placed.name.rpartition(".")[2]  # the same in every use of a block, so that it is said once
            message = f"nothing reads the row {own!r}, and it is no output"
            hint = "read it with from=, list it under `outputs:`, or remove it"
            place = placed.row.place("name")
            problems.append(Problem(message, hint, placed.row.path, place).used_at(placed.used))
    for name in spec.inputs:
        if name not in wanted:
            hint = f"read it with from={name}, or remove it"
            place = spec.place(f"inputs.{name}") or spec.place(name)
            problems.append(Problem(f"nothing reads the input {name!r}", hint, "inputs", place))
    kept.reverse()
    problems.extend(frozen_beyond(spec, unrolled.rows, frozenset(placed.name for placed in kept)))
    return replace(unrolled, rows=tuple(kept), uses=_uses(spec, unrolled, kept, problems))


def _uses(spec: Spec, unrolled: Unrolled, kept: Sequence[Placed], problems: list[Problem]) -> Mapping[str, Grouped]:
    """The uses that have rows left, each with what it still reads and the one row that is read outside of it."""
    inside: dict[str, list[Placed]] = {}
    last: dict[str, int] = {}
    apart: set[str] = set()
    for index, placed in enumerate(kept):
        parts = placed.name.split(".")
        for name in (".".join(parts[:count]) for count in range(1, len(parts))):
            inside.setdefault(name, []).append(placed)
            if last.get(name, index - 1) != index - 1:
                apart.add(name)
            last[name] = index
    readers: dict[str, set[str]] = {name: {""} for name in unrolled.outputs.values()}
    for placed in kept:
        for source in placed.sources:
            readers.setdefault(source, set()).add(placed.name)
    found: dict[str, Grouped] = {}
    for name, group in unrolled.uses.items():
        rows = inside.get(name, [])
        prefix, path = f"{name}.", f"uses.{name}"
        results = [
            row.name for row in rows if any(not reader.startswith(prefix) for reader in readers.get(row.name, ()))
        ]
        if len(results) > 1:
            message = f"{', '.join(results)} are all read outside of {name}, of which one can be the result"
            problems.append(Problem(message, None, path, spec.place(path)))
        elif rows:
            read = {source for row in rows for source in row.sources if not source.startswith(prefix)}
            # What follows can be wrong only where a person wrote the section `uses`.
            if name in apart:
                problems.append(Problem(f"other rows stand between those of {name}", None, path, spec.place(path)))
            if unknown := sorted(read - set(group.inputs)):
                message = f"rows of {name} read {', '.join(unknown)}, which is not among its inputs"
                problems.append(Problem(message, None, path, spec.place(path)))
            pairs = {source: called for source, called in zip(group.inputs, group.names, strict=True) if source in read}
            inputs, names = tuple(pairs), tuple(pairs.values())
            found[name] = replace(group, inputs=inputs, names=names, result=results[0])
    return found
