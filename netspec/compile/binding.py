"""The parameters of a block and the values that a row gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netspec.compile.fields import ROUNDS_DOWN
from netspec.compile.scope import Scope
from netspec.errors import did_you_mean, one_of
from netspec.notation import Value, parts, write_value
from netspec.spec.graph import MAX_SIZE, TYPES
from netspec.spec.model import Block, Parameter
from netspec.spec.row import Row

FITS: Mapping[str, Any] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "word": str,
    "size": (int, tuple, list),
}
"""What a value of each type is."""


def bind(block: Block, row: Row, scope: Scope) -> dict[str, Value]:
    """The value that a row gives each parameter of a block, or its default."""
    names = list(block.parameters)
    given: dict[str, Value] = dict(zip(names, row.size, strict=False))
    if len(row.size) > len(names):
        values = ", ".join(map(write_value, row.size))
        has = f"has {', '.join(names)}" if names else "has no parameters"
        scope.report(row, "size", f"the block {block.name} {has}, but the row gives {values}", None)
    for name, value in row.options.items():
        if name not in block.parameters:
            hint = did_you_mean(name, names) or (one_of(names) if names else None)
            scope.report(row, name, f"the block {block.name} has no parameter {name!r}", hint)
        elif name in given:
            scope.report(row, name, f"{name} is given twice, in the size cell and by name", None)
        else:
            given[name] = value
    found: dict[str, Value] = {}
    for name, parameter in block.parameters.items():
        if name in given:
            found[name] = _typed(name, parameter, given[name], block, row, scope)
        elif parameter.required:
            hint = f"{name} is {TYPES[parameter.type]}"
            scope.report(row, "type", f"the block {block.name} needs {name}", hint)
        else:
            found[name] = parameter.default
    return found


def _typed(name: str, parameter: Parameter, value: Value, block: Block, row: Row, scope: Scope) -> Value:
    if not isinstance(value, FITS[parameter.type]) or (isinstance(value, bool) and parameter.type != "bool"):
        message = f"{name} of the block {block.name} must be {TYPES[parameter.type]}, got {write_value(value)}"
        cell = name if name in row.options else "size"
        divided = parameter.type == "int" and isinstance(value, float) and "/" in row.text
        scope.report(row, cell, message, ROUNDS_DOWN if divided else scope.near(value))
    elif parts(value, MAX_SIZE) > MAX_SIZE:
        message = f"{name} of the block {block.name} must be {TYPES['size']}, got more than {MAX_SIZE} numbers"
        scope.report(row, name if name in row.options else "size", message, None)
    return value
