"""What every row may say, whatever its kind: its values computed, how often it stands there, and whether at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netspec.compile.scope import Scope, ShapeUnknownError
from netspec.errors import Problem
from netspec.notation import MAX_PARTS, NotationError, Value, evaluate, parts, write_value
from netspec.spec.names import MAX_REPEAT
from netspec.spec.row import Row


def evaluated(row: Row, scope: Scope) -> tuple[Row, Problem | None]:
    """The row with the values of names in their places, and why one of them is not known yet; what `from` says are
    rows, not values.
    """
    waits: list[Problem] = []
    options: dict[str, Value] = {}
    for name, value in row.options.items():
        before = len(scope.problems) + len(waits)
        found = value if name == "from" else _value(row, name, value, scope, waits)
        if len(scope.problems) + len(waits) == before:
            options[name] = found
    size = tuple([_value(row, "size", value, scope, waits) for value in row.size])
    activation: Any = row.activation
    if activation is not None:
        activation = _value(row, "activation", activation, scope, waits)
    return replace(row, options=options, size=size, activation=activation), waits[0] if waits else None


def _value(row: Row, cell: str, value: Value, scope: Scope, waits: list[Problem]) -> Value:
    try:
        return evaluate(value, scope.names)
    except ShapeUnknownError as error:
        waits.append(Problem(error.message, error.hint, row.path, row.place(cell)).used_at(scope.used))
        return None
    except NotationError as error:
        scope.report(row, cell, error.message, error.hint)
        return None


def size_of(row: Row) -> int:
    """How many parts the lists in a row have, in all."""
    lists = [value for value in (*row.size, *row.options.values()) if isinstance(value, (tuple, list))]
    return sum(parts(value, MAX_PARTS) for value in lists)


def times_of(row: Row, scope: Scope, *, kept: bool) -> int | None:
    """How often a row stands there, or None where it says nothing; that of a row which is not kept is not judged."""
    if "repeat" not in row.options:
        return None
    times = row.options["repeat"]
    if isinstance(times, float) and times.is_integer():
        times = int(times)
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= MAX_REPEAT:
        if not kept:
            return 1
        message = f"repeat must be a whole number from 1 to {MAX_REPEAT:,}, got {write_value(times)}"
        hint = "when=... leaves a row out" if times == 0 else scope.near(times)
        scope.report(row, "repeat", message, hint)
        return 1
    return times


def flag_of(row: Row, name: str, scope: Scope, *, default: bool) -> bool:
    """What a row says for `when` or `frozen`."""
    value = row.options.get(name, default)
    if not isinstance(value, bool):
        hint = "a condition such as when=stride>1" if name == "when" else None
        hint = scope.near(value) or hint
        scope.report(row, name, f"{name} must be true or false, got {write_value(value)}", hint)
        return default
    return value
