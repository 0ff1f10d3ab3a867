"""The rows that a spec has from its base: where it is cut, and which of them are frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from netspec.compile.placed import UNKNOWN, Placed, Unrolled
from netspec.errors import Problem, did_you_mean, one_of
from netspec.spec.model import Spec
from netspec.spec.names import BASE


def cut(spec: Spec, found: Unrolled, names: Mapping[str, str], problems: list[Problem]) -> str:
    """The full name of the row at which the base is cut; `names` are those of its rows and uses, with their results."""
    assert spec.base is not None
    base, wanted = spec.base.spec, spec.base.settings.output
    if wanted is not None:
        if wanted in names or wanted in found.outputs:
            return names.get(wanted) or found.outputs[wanted]
        near = did_you_mean(wanted, names) or "`netspec show` on it prints the names of its rows"
        message = f"{base.name} has no row {wanted!r}"
    elif len(found.outputs) == 1:
        return next(iter(found.outputs.values()))
    else:
        message, near = f"{base.name} has {len(found.outputs)} outputs", one_of(list(found.outputs))
    place = spec.place("base.output") or spec.place(BASE)
    problems.append(Problem(message, near, "base.output", place))
    return UNKNOWN


def frozen_rows(spec: Spec, rows: Sequence[Placed], problems: list[Problem]) -> list[Placed]:
    """The rows of the base, frozen as the section says."""
    patterns = _patterns(spec)
    for pattern in patterns:
        if not any(_matches(placed.name, pattern) for placed in rows):
            names = dict.fromkeys(placed.name.partition(".")[0] for placed in rows)
            hint = did_you_mean(pattern, names) or f"its rows are {', '.join(list(names)[:8])}, ..."
            place = spec.place("base.freeze")
            problems.append(Problem(f"no row of the base matches {pattern!r}", hint, "base.freeze", place))
    chosen = [any(_matches(placed.name, pattern) for pattern in patterns) for placed in rows]
    return [replace(placed, frozen=placed.frozen or own) for placed, own in zip(rows, chosen, strict=True)]


def frozen_beyond(spec: Spec, rows: Sequence[Placed], kept: frozenset[str]) -> Iterator[Problem]:
    """A problem for every pattern that names rows of the base, but none of those that are left of it."""
    for pattern in _patterns(spec):
        named = [placed.name for placed in rows if placed.spec is not spec and _matches(placed.name, pattern)]
        if named and not kept & set(named):
            message = f"the rows that {pattern!r} names lie beyond the cut, such as {named[0]!r}, so none is frozen"
            hint = "a pattern for rows before it, or another `output`"
            yield Problem(message, hint, "base.freeze", spec.place("base.freeze"))


def _patterns(spec: Spec) -> Sequence[str]:
    """The names of the rows of the base that are frozen."""
    if spec.base is None:
        return ()
    freeze = spec.base.settings.freeze
    return ("*",) if freeze is True else (freeze,) if isinstance(freeze, str) else freeze or ()


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern names a row, or a block that it stands in."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))
