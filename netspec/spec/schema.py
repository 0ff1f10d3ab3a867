"""The JSON Schema of a spec file, made from the models and the kinds of layers; editors complete and check with it."""

from __future__ import annotations

import re
from inspect import getdoc
from typing import Any, get_args

from netspec.layers import ALIASES, KINDS, NAMES, Layer
from netspec.layers.activation import FUNCTIONS
from netspec.layers.activation import SYNONYMS as FUNCTION_SYNONYMS
from netspec.layers.base import SYNONYMS
from netspec.layers.initializer import SYNONYMS as SCHEME_SYNONYMS
from netspec.layers.initializer import Scheme
from netspec.spec.describe import describe
from netspec.spec.graph import TYPES
from netspec.spec.model import BaseSettings
from netspec.spec.sections import MODELS, NAME, model_of

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"

SHAPE: Schema = {
    "anyOf": [
        {"type": "string", "pattern": r"^\(?\d+(\s*[x×,]\s*\d+){0,3}\)?$"},
        {"type": "integer", "minimum": 1},
        {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 4},
    ]
}
INCLUDE: Schema = {"type": "object", "properties": {"$include": {"type": "string"}}, "required": ["$include"]}
ANY: Schema = {"type": "object"}
ROW_OPTIONS: dict[str, Schema] = {
    "from": {
        "description": "The row that it reads, or several; the row above when not given.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    },
    "repeat": {
        "description": "How often it stands here, each time reading the one before.",
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 10_000}, {"type": "string"}],
    },
    "when": {"description": "Keeps the row only where this holds: `stride>1`.", "type": ["string", "boolean"]},
    "frozen": {"description": "Whether it is not trained.", "type": ["string", "boolean"]},
}
"""What every row may say, whatever its kind."""
USE: Schema = {
    "description": "A row that uses a block: the block's name as its type, and the values of its parameters.",
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"type": "string", "pattern": rf"^(?!({'|'.join(NAMES)})$)[a-z]\w*$"}, **ROW_OPTIONS},
}
CALL: Schema = {"type": "object", "minProperties": 1, "maxProperties": 1}
DEFINITIONS: dict[str, Schema] = {
    "notation": {
        "description": "Numbers as cells write them, and arithmetic with parameters: (3,3), 1/255, 4*growth.",
        "type": "string",
        "pattern": r"^([-+*/().,x×\[\] 0-9eE]+|.*[-+*/].*)$",
    },
    "expression": {
        "description": "The name of a parameter or a variable, or a size: input.channels.",
        "anyOf": [{"$ref": "#/$defs/notation"}, {"type": "string", "pattern": r"^[A-Za-z_][\w.]*$"}],
    },
    "activation": {
        "description": "A function applied to the row's result, with its argument in brackets: leaky_relu(0.2). "
        "Case and underscores do not matter.",
        "anyOf": [{"enum": [*FUNCTIONS, *FUNCTION_SYNONYMS, "prelu", "none"]}, {"type": ["string", "null"]}, CALL],
    },
    "initializer": {
        "description": "The distribution of initial values, with its argument in brackets: normal(0.02). A number is "
        "the value of all.",
        "anyOf": [
            {"enum": [*get_args(Scheme), *SCHEME_SYNONYMS]},
            {"type": "string", "pattern": r"^\w+\s*\(.*\)$"},
            {"type": "number"},
            CALL,
        ],
    },
}
CALLED = {"Initializer": "initializer"}
"""Models that a row writes as a word or a call."""


def json_schema() -> Schema:
    """The schema of a spec file, in the 2020-12 draft."""
    definitions = dict(DEFINITIONS)
    sections: dict[str, Schema] = {}
    for section in MODELS:
        schema = describe(model_of(section)).model_json_schema(ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs", {})
        name = MODELS[section][1]
        definitions[name] = schema
        sections[section] = {"$ref": f"#/$defs/{name}", "description": schema.get("description", name)}
    for kind, layer in KINDS.items():
        definitions[kind] = _kind_schema(layer)
        definitions[f"{kind}Defaults"] = _defaults_schema(kind)
    definitions["row"] = _row_schema()
    definitions["block"] = _block_schema()
    return {
        "$schema": DRAFT,
        "$id": "netspec.schema.json",
        "title": "A neural network as a table of layers (netspec)",
        "description": "What goes in, the rows of the table, and what is to be done with the network.",
        "type": "object",
        "anyOf": [{"required": ["input", "layers"]}, {"required": ["inputs", "layers"]}, {"required": ["base"]}],
        "additionalProperties": False,
        "properties": {**_own_sections(), **sections},
        "$defs": definitions,
    }


def _own_sections() -> dict[str, Schema]:
    defaults = {name: {"$ref": f"#/$defs/{kind}Defaults"} for kind in KINDS for name in _names(kind)}
    return {
        "name": {
            "description": "The network's name, also that of its files; the file's name when not given.",
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
        },
        "about": {"description": "What the network is and where it comes from.", "type": ["string", "null"]},
        "input": {"description": "The shape of one sample: height x width x channels, without the batch.", **SHAPE},
        "inputs": {
            "description": "Several inputs instead of one: the shape of each by its name.",
            "type": "object",
            "additionalProperties": SHAPE,
            "minProperties": 1,
        },
        "outputs": {
            "description": "The row that each output is, by the output's name; the last row when not given.",
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        },
        "variables": {
            "description": "Values that cells may name: `{width: 1.0}` for `64*width`; `--set variables.width=0.5`.",
            "type": "object",
        },
        "blocks": {
            "description": "Rows under a name with parameters, which other rows use as if it were a kind.",
            "type": "object",
            "additionalProperties": {"anyOf": [{"$ref": "#/$defs/block"}, INCLUDE]},
        },
        "uses": {"description": "Written by a build into the resolved spec: the blocks that its rows were.", **ANY},
        "base": {
            **describe(BaseSettings).model_json_schema(),
            "description": "Another spec whose rows join this network: cut at a row, trained before, frozen.",
        },
        "variants": {
            "description": "By name, what is said otherwise: `{small: {variables.width: 0.5, train.epochs: 3}}`.",
            "type": "object",
            "additionalProperties": {"type": "object"},
        },
        "layers": {
            "description": "The table, a row a layer; or a pasted table as a block of text below `layers: |`.",
            "anyOf": [
                {"type": "array", "items": {"$ref": "#/$defs/row"}, "minItems": 1},
                {"type": "string", "pattern": r"\|"},
            ],
        },
        "defaults": {
            "description": "Options that every row of a kind has unless it says otherwise.",
            "type": "object",
            "properties": defaults,
        },
        "classes": {
            "description": "The names of the classes, in the order of the outputs.",
            "type": "array",
            "items": {"type": ["string", "number", "boolean", "null"]},
            "minItems": 1,
            "uniqueItems": True,
        },
    }


def _block_schema() -> Schema:
    return {
        "description": "A block: its parameters, its inputs where there are several, and its rows.",
        "type": "object",
        "required": ["layers"],
        "additionalProperties": False,
        "properties": {
            "about": {"description": "What the block is.", "type": "string"},
            "parameters": {
                "description": f"A type ({', '.join(TYPES)}), which makes it required, or a default that gives it.",
                "type": ["object", "null"],
            },
            "inputs": {
                "description": "The names by which its rows read what it is given; `input` when not given.",
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
            },
            "layers": {
                "description": "The rows, where any value may be the name of a parameter; the last one is the result.",
                "anyOf": [
                    {"$ref": "#/properties/layers"},
                    {"type": "array", "items": {"type": ["string", "object"]}, "minItems": 1},
                ],
            },
        },
    }


def _row_schema() -> Schema:
    kinds = [{"$ref": f"#/$defs/{kind}"} for kind in KINDS]
    return {
        "description": "A row: `type | size | activation | options`, a mapping with `type`, or either under its name.",
        "anyOf": [
            {"type": "string"},
            *kinds,
            USE,
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "propertyNames": {"pattern": r"^(?!type$)[A-Za-z]\w*$"},
                "additionalProperties": {"anyOf": [{"type": "string"}, *kinds, USE]},
            },
        ],
    }


def _names(kind: str) -> list[str]:
    """The canonical name of a kind, then every alias as it is best written."""
    layer = KINDS[kind]
    return [kind, *(name for folded, name in NAMES.items() if ALIASES[folded].layer is layer and name != kind)]


def _type_schema(names: list[str]) -> Schema:
    """The names of a kind, which editors complete, in any case and with underscores or without."""
    spelled = ("[ _-]?".join(map(_any_case, re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name))) for name in names)
    return {
        "description": "The kind of layer; case and underscores do not matter.",
        "anyOf": [{"enum": names}, {"type": "string", "pattern": f"^({'|'.join(dict.fromkeys(spelled))})$"}],
    }


def _any_case(word: str) -> str:
    return "".join(f"[{sign.lower()}{sign.upper()}]" if sign.isalpha() else sign for sign in word)


def _kind_schema(layer: type[Layer]) -> Schema:
    """A mapping row of one kind."""
    written = {
        "type": _type_schema(_names(layer.kind)),
        "name": {
            "description": "The row's name, the same in every framework.",
            "type": "string",
            "pattern": r"^[A-Za-z]\w*$",
        },
        "activation": {"$ref": "#/$defs/activation", "description": DEFINITIONS["activation"]["description"]},
    }
    return {
        "description": getdoc(layer),
        "type": "object",
        "required": ["type"],
        "additionalProperties": False,
        "properties": {**written, **_field_schemas(layer), **ROW_OPTIONS},
    }


def _defaults_schema(kind: str) -> Schema:
    layer = KINDS[kind]
    return {
        "description": f"Options of every {kind}.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "activation": {"$ref": "#/$defs/activation", "description": DEFINITIONS["activation"]["description"]},
            **{name: {"$ref": f"#/$defs/{kind}/properties/{name}"} for name in _field_schemas(layer)},
        },
    }


def _field_schemas(layer: type[Layer]) -> dict[str, Schema]:
    """Every field of a kind as a row may write it, also under the names that frameworks have for it."""
    properties = describe(layer.form(), layer).model_json_schema(ref_template="#/$defs/{model}").get("properties", {})
    fields = {name: _field_schema(schema) for name, schema in properties.items()}
    synonyms = {
        other: {**fields[name], "description": f"The same as `{name}`."}
        for other, name in {**SYNONYMS, **layer.synonyms}.items()
        if name in fields and other not in fields
    }
    return fields | synonyms


def _field_schema(schema: Schema) -> Schema:
    """What a field accepts: beside the value itself, its notation as text."""
    kept = {key: schema[key] for key in ("description",) if key in schema}
    if isinstance(schema.get("default"), (int, float, str)):
        kept["default"] = schema["default"]
    options: list[Schema] = []
    members = schema.get("anyOf", [schema])
    # Where words mean something, another word is more likely a slip than a parameter.
    written = {"$ref": f"#/$defs/{'notation' if any('enum' in each for each in members) else 'expression'}"}
    for member in members:
        model = member.get("$ref", "").rpartition("/")[2]
        if model in CALLED:
            options.append({"$ref": f"#/$defs/{CALLED[model]}"})
        elif member.get("type") == "array":
            options += [{"type": "array"}, {"type": "number"}, written]
        elif member.get("type") in ("integer", "number"):
            bounds = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
            options += [{key: member[key] for key in bounds if key in member}, written]
        else:
            options.append(
                {key: value for key, value in member.items() if key not in ("title", "description", "default")}
            )
    unique = [option for at, option in enumerate(options) if option not in options[:at]]
    return {**kept, **(unique[0] if len(unique) == 1 else {"anyOf": unique})}
