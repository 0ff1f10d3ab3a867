"""A spec with every default filled in, as a spec again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netspec.compile.network import NamedRow, Rows, read_rows
from netspec.compile.placed import INPUT, OUTPUT
from netspec.layers import Activation, Layer
from netspec.layers.activation import ARGUMENTS
from netspec.notation import Call, write_value
from netspec.spec.model import Grouped, Spec
from netspec.spec.sections import model_of


def resolved_spec(spec: Spec) -> dict[str, Any]:
    """The spec as plain data: rows as mappings with every field, sections with every default.

    It reads back as the same network.
    """
    document: dict[str, Any] = {"name": spec.name}
    if spec.about:
        document["about"] = spec.about
    if list(spec.inputs) == [INPUT]:
        document["input"] = str(spec.inputs[INPUT])
    else:
        document["inputs"] = {name: str(shape) for name, shape in spec.inputs.items()}
    rows = read_rows(spec)
    document["layers"] = list(_rows(spec, rows))
    if rows.unrolled.outputs != {OUTPUT: rows.rows[-1].name}:
        document["outputs"] = dict(rows.unrolled.outputs)
    if rows.unrolled.uses:
        document["uses"] = {name: _use(group) for name, group in rows.unrolled.uses.items()}
    if spec.classes:
        document["classes"] = list(spec.classes)
    for section in ("expect", "data", "preprocess", "train", "verify", "export"):
        settings = getattr(spec, section)
        if settings is None and section in ("verify", "export"):
            settings = model_of(section)()  # what a build does without being told
        if settings is not None:
            # The bundle lies beside the spec that was written, and not beside what a build makes of it.
            plain = settings.model_dump(mode="json", exclude_none=True, exclude={"golden"})
            if section == "verify" and "inputs" not in settings.model_fields_set:
                del plain["inputs"]  # how many depends on what they cost, unless a number is asked for
            if plain:
                document[section] = plain
    return document


def _rows(spec: Spec, rows: Rows) -> Iterator[dict[str, Any]]:
    """Every row; what it reads is said where that is not the row above."""
    above = next(iter(spec.inputs)) if len(spec.inputs) == 1 else ""
    for row in rows.rows:
        sources = row.placed.sources
        written = _row(row)
        if sources != (above,):
            written["from"] = list(sources) if len(sources) > 1 else sources[0]
        if row.placed.frozen:
            written["frozen"] = True
        above = row.name
        yield written


def _use(group: Grouped) -> dict[str, Any]:
    return {
        "block": group.block,
        "parameters": {name: _plain(value) for name, value in group.parameters.items()},
        "inputs": list(group.inputs),
        "names": list(group.names),
        "result": group.result,
        **({"about": group.about} if group.about else {}),
    }


def _row(row: NamedRow) -> dict[str, Any]:
    layer, activation = row.written.layer, row.written.activation
    written: dict[str, Any] = {"name": row.name, "type": layer.kind, **_fields(layer)}
    if activation is not None:
        written["activation"] = _activation(activation)
    return written


def _fields(layer: Layer) -> dict[str, Any]:
    return {name: _plain(value) for name, value in layer.plain().items() if value is not None}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _activation(layer: Layer) -> str:
    if not isinstance(layer, Activation):
        return layer.kind
    argument = ARGUMENTS.get(layer.function)
    value = getattr(layer, argument) if argument else None
    return (
        layer.function
        if value is None or argument is None
        else write_value(Call(layer.function, options={argument: value}))
    )
