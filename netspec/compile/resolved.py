"""A spec with every default filled in, as a spec again."""

from __future__ import annotations

from typing import Any

from netspec.compile.network import NamedRow, read_rows
from netspec.layers import Activation, Layer
from netspec.layers.activation import ARGUMENTS
from netspec.notation import Call, write_value
from netspec.spec.model import Spec
from netspec.spec.sections import model_of


def resolved_spec(spec: Spec) -> dict[str, Any]:
    """The spec as plain data: rows as mappings with every field, sections with every default.

    It reads back as the same network.
    """
    document: dict[str, Any] = {"name": spec.name}
    if spec.about:
        document["about"] = spec.about
    document["input"] = str(spec.input)
    document["layers"] = [_row(row) for row in read_rows(spec)]
    if spec.classes:
        document["classes"] = list(spec.classes)
    for section in ("expect", "data", "train", "verify", "export"):
        settings = getattr(spec, section)
        if settings is None and section in ("verify", "export"):
            settings = model_of(section)()  # what a build does without being told
        if settings is not None:
            plain = settings.model_dump(mode="json", exclude_none=True)
            if plain:
                document[section] = plain
    return document


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
