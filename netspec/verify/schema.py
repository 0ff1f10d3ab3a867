"""The JSON Schema of verdicts: of verify.json, and of what `netspec verify --against --format json` prints."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import FloatSchema

from netspec.verify.result import AgainstVerdict, Verdict

DRAFT = "https://json-schema.org/draft/2020-12/schema"
LOST = ("NaN", "Infinity", "-Infinity")
"""How numbers are written that JSON has not."""


class _Written(GenerateJsonSchema):
    """Numbers as they are written, which may be words."""

    def float_schema(self, schema: FloatSchema) -> dict[str, Any]:
        number = super().float_schema(schema)
        worded = self._config.ser_json_inf_nan == "strings"
        return {"anyOf": [number, {"enum": list(LOST)}]} if worded else number


def verdict_schema() -> dict[str, Any]:
    """The schema of verify.json."""
    return _schema(Verdict, "What netspec verify found out of every backend: verify.json")


def against_schema() -> dict[str, Any]:
    """The schema of the verdict on files that others made."""
    return _schema(AgainstVerdict, "What netspec verify --against found out of every file")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    made = model.model_json_schema(mode="serialization", schema_generator=_Written)
    return {"$schema": DRAFT, **made, "title": title}
