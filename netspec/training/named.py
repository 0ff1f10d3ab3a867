"""A choice by name with the options that this name has: how optimisers, schedules and losses are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from netspec.errors import did_you_mean, one_of

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def folded(text: str) -> str:
    """A name without what spellings differ in.

    >>> folded("Binary_Crossentropy")
    'binarycrossentropy'
    """
    return text.replace("_", "").replace("-", "").replace(" ", "").casefold()


class Named(BaseModel):
    """Written as `adam`, as `{adam: {...}}` or as `{name: adam, ...}`; only this name's options are taken and shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    # What it is, for messages: `optimizer`; the names, each with the defaults of its options; other names, folded; and
    # other names of options.
    what: ClassVar[str]
    choices: ClassVar[Mapping[str, Mapping[str, Any]]]
    synonyms: ClassVar[Mapping[str, str]] = {}
    field_synonyms: ClassVar[Mapping[str, str]] = {}

    name: str

    @classmethod
    def chosen(cls, written: Any) -> Any:
        """The name that was meant; what it is no name of is given back."""
        if not isinstance(written, str):
            return written
        names = {folded(name): name for name in cls.choices}
        return cls.synonyms.get(folded(written)) or names.get(folded(written)) or written.casefold()

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and "name" not in value and len(value) == 1:
            [(name, options)] = value.items()
            if not isinstance(options, dict | None):
                raise ValueError(f"the options of {name} are a mapping, not {options!r}")
            value = {"name": name, **(options or {})}
        if not isinstance(value, dict) or "name" not in value:
            raise ValueError(f"{cls.what} needs a name, such as {next(iter(cls.choices))}, got {value!r}")
        name, known = cls.chosen(value["name"]), list(cls.choices)
        if name not in cls.choices:
            raise ValueError(f"unknown {cls.what} {name!r}; {did_you_mean(str(name), known) or one_of(known)}")
        defaults = cls.choices[name]
        given = {cls.field_synonyms.get(key, key): item for key, item in value.items() if key != "name"}
        for key in given:
            if key not in defaults:
                hint = did_you_mean(str(key), defaults)
                raise ValueError(f"{name} has no {key}; {hint or 'it has ' + (', '.join(defaults) or 'no options')}")
        return {"name": name, **defaults, **given}

    @model_serializer(mode="wrap")
    def _own_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own = {"name", *self.choices[self.name]}
        return {key: value for key, value in handler(self).items() if key in own}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Each of the three ways to write it; every name with its own options alone."""
        section = handler.resolve_ref_schema(handler(schema))
        described = section["properties"]

        def options(name: str) -> dict[str, Any]:
            return {key: described[key] | {"default": _plain(value)} for key, value in cls.choices[name].items()}

        def inner(name: str) -> dict[str, Any]:
            return {"type": ["object", "null"], "properties": options(name), "additionalProperties": False}

        short = {"enum": list(cls.choices), "type": "string"}
        long = {
            "type": "object",
            "properties": {name: inner(name) for name in cls.choices},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        return {"description": section.get("description", ""), "anyOf": [short, long, section]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
