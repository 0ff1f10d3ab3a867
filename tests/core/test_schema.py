"""The JSON Schema: complete, described, and the one that is committed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netspec.compile import compile_spec
from netspec.layers import ALIASES, KINDS, fold
from netspec.spec.format import format_spec
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.reader import plain, read
from netspec.spec.schema import DRAFT, json_schema
from netspec.spec.sections import SECTIONS

KEYWORDS = """
    $schema $id $ref $defs title description default examples type enum const anyOf allOf oneOf items prefixItems
    minItems maxItems uniqueItems properties required additionalProperties propertyNames minProperties maxProperties
    pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum
"""
SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))
COMMITTED = Path(__file__).parents[2] / "docs" / "netspec.schema.json"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


def walk(value: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, inside in value.items():
            yield from walk(inside, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from walk(inside, f"{path}/{index}")


def test_the_committed_schema_is_current(schema):
    written = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"  # as `netspec schema` prints it
    assert COMMITTED.read_text(encoding="utf-8") == written, f"netspec schema > docs/{COMMITTED.name}"


def test_every_section_is_there_and_unknown_ones_are_refused(schema):
    assert schema["$schema"] == DRAFT
    assert set(schema["properties"]) == set(SECTIONS)
    assert schema["additionalProperties"] is False


def test_every_kind_has_its_fields_described_and_its_aliases(schema):
    for kind, layer in KINDS.items():
        row = schema["$defs"][kind]
        assert set(layer.defaults) <= set(row["properties"])
        assert row["description"]
        assert all(field.get("description") for field in row["properties"].values()), kind
        assert row["properties"]["type"]["anyOf"][0]["enum"][0] == kind
    named = {fold(name) for kind in KINDS for name in schema["$defs"][kind]["properties"]["type"]["anyOf"][0]["enum"]}
    assert named == set(ALIASES)


def test_every_section_and_each_of_its_fields_is_described(schema):
    for name, section in schema["properties"].items():
        assert section.get("description"), name
    for path, value in walk(
        {
            name: schema["$defs"][name]
            for name in ("Expect", "DataSettings", "TrainSettings", "VerifySettings", "ExportSettings")
        }
    ):
        for model in (value, *value.get("anyOf", [])):
            for field, described in model.get("properties", {}).items():
                assert described.get("description"), f"{path}.{field}"


def test_every_reference_points_somewhere(schema):
    for path, value in walk(schema):
        if isinstance(value.get("$ref"), str):
            found = schema
            for part in value["$ref"].removeprefix("#/").split("/"):
                assert part in found, path
                found = found[part]


def test_every_keyword_is_one_of_the_draft(schema):
    def check(value: dict[str, Any], path: str) -> None:
        assert set(value) <= set(KEYWORDS.split()), path
        for named in ("properties", "$defs"):
            for key, inside in value.get(named, {}).items():
                check(inside, f"{path}/{named}/{key}")
        for several in ("anyOf", "allOf", "oneOf", "prefixItems"):
            for index, inside in enumerate(value.get(several, [])):
                check(inside, f"{path}/{several}/{index}")
        for one in ("items", "additionalProperties", "propertyNames"):
            if isinstance(value.get(one), dict):
                check(value[one], f"{path}/{one}")

    check(schema, "#")


TYPES: dict[str, Any] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}


def accepts(root: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    """Whether a value is valid, by the keywords that the schema uses."""
    if "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        if not accepts(root, found, value):
            return False
    kinds = schema.get("type", [])
    if kinds and not any(TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "anyOf" in schema and not any(accepts(root, member, value) for member in schema["anyOf"]):
        return False
    if TYPES["number"](value):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        short = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return short and all(accepts(root, schema.get("items", {}), item) for item in value)
    return accepts_object(root, schema, value) if isinstance(value, dict) else True


def accepts_object(root: dict[str, Any], schema: dict[str, Any], value: dict[str, Any]) -> bool:
    if not set(schema.get("required", [])) <= set(value):
        return False
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return False
    known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key, inside in value.items():
        if not accepts(root, schema.get("propertyNames", {}), key):
            return False
        member = known.get(key, other)
        if member is False or (isinstance(member, dict) and not accepts(root, member, inside)):
            return False
    return True


@pytest.mark.parametrize("style", ["pipes", "mapping", "table"])
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_schema_accepts_the_published_specs_in_every_notation(schema, path, style):
    text = format_spec(path.read_text(encoding="utf-8"), str(path), style)
    assert accepts(schema, schema, plain(read(text, path.name)))
    assert compile_spec(parse_spec(text, str(path))).digest == compile_spec(load_spec(path)).digest


def test_the_schema_accepts_what_its_documents_show(schema):
    rows = [
        {
            "type": "Conv",
            "filters": 32,
            "kernel": "(3,3)",
            "padding": "same",
            "init": "he_normal",
            "activation": "ReLU",
        },
        {"conv1": {"type": "CNN", "filters": 8, "kernel_size": [3, 3], "padding": [[0, 1], [0, 1]], "bias": False}},
        {"type": "Dense", "units": 10, "init": {"normal": {"std": 0.02}}, "activation": "leaky_relu(0.2)"},
        {"type": "Rescale", "scale": "1/255"},
        {"conv2": "CNN | 64, (3,3) | ReLU | stride=2"},
        {"type": "max_pooling_2d", "size": 2},
        {"type": "ReLu"},
        {"type": "Batch Normalization"},
        "Flatten",
    ]
    for row in rows:
        assert accepts(schema, schema["$defs"]["row"], row), row
    assert accepts(schema, schema, {"input": "8x8x1", "layers": rows, "defaults": {"Conv2D": {"padding": "same"}}})


@pytest.mark.parametrize(
    "document",
    [
        {"layers": ["Flatten"]},
        {"input": "8x8x1", "layers": []},
        {"input": "8xx1", "layers": ["Flatten"]},
        {"input": "8x8x1", "layers": ["Flatten"], "trian": {}},
        {"input": "8x8x1", "layers": [{"type": "Flaten"}]},
        {"input": "8x8x1", "layers": [{"type": "Conv", "filters": 0}]},
        {"input": "8x8x1", "layers": [{"type": "Conv", "filtres": 3}]},
        {"input": "8x8x1", "layers": [{"type": "Conv", "padding": "sam"}]},
        {"input": "8x8x1", "layers": [{"filters": 3, "kernel": 3}]},
        {"input": "8x8x1", "layers": ["Flatten"], "defaults": {"Conv": {"filtres": 3}}},
        {"input": "8x8x1", "layers": ["Flatten"], "expect": {"parameters": -1}},
        {"input": "8x8x1", "layers": ["Flatten"], "train": {"epoch": 1}},
    ],
    ids=repr,
)
def test_the_schema_refuses_what_is_wrong(schema, document):
    assert not accepts(schema, schema, document)
