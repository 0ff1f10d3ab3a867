"""The schemas of verdicts: the ones that are committed, described throughout, and those of what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netspec.compile import compile_spec
from netspec.spec.load import load_spec
from netspec.verify.result import AgainstVerdict, FileVerdict, FoundRow, GradientsVerdict, GradientVerdict, Share
from netspec.verify.schema import DRAFT, against_schema, verdict_schema
from tests.core.test_report import APART, lockstep_of, measure, verdict_of
from tests.core.test_report_cause import CAUSE, FAILURE, VERDICT
from tests.core.test_schema import accepts

ROOT = Path(__file__).parents[2]
SCHEMAS = {"verify": verdict_schema(), "against": against_schema()}
NET = compile_spec(load_spec(ROOT / "specs" / "fashion-mnist-cnn.yaml"))
SHARE = Share(error=float("inf"), granted=1e-9, ratio=None)
DERIVED = GradientsVerdict(
    backends=("torch", "keras"),
    samples=2,
    slopes=1,
    weights=(GradientVerdict(name="w", row="r", mode="training", apart={"keras": SHARE}, slopes={"torch": SHARE}),),
    notes=("left out",),
)
FOUND = FoundRow(row="r", whole=True, value="node 3", passed=False, measure=measure(0.1, 1e-6))
FILE = FileVerdict(
    file="m.onnx", runtime=None, passed=False, weights=None, samples=("ramp",), outputs=(), rows=(FOUND,),
    notes=("n",), failures=(FAILURE,), cause=CAUSE,
)  # fmt: skip
VERDICTS = {
    "equal": verdict_of(NET),
    "wrong": verdict_of(NET, {"keras": "conv_1"}),
    "lost": verdict_of(NET, lost="onnx"),
    "miscounted": verdict_of(NET, miscounted="torch"),
    "with a cause": VERDICT,
    "derived": VERDICT.model_copy(update={"gradients": DERIVED}),
    "trained": verdict_of(NET).trained(lockstep_of(APART)),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_committed_schema_is_current(name: str) -> None:
    written = json.dumps(SCHEMAS[name], indent=2, ensure_ascii=False) + "\n"
    committed = ROOT / "docs" / f"{name}.schema.json"
    assert committed.read_text(encoding="utf-8") == written, f"netspec schema {name} > docs/{committed.name}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_everything_is_described_always_there_and_nothing_else(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["$schema"] == DRAFT
    for model in (schema, *schema["$defs"].values()):
        assert model["description"]
        assert set(model["required"]) == set(model["properties"]), model["description"]
        assert model["additionalProperties"] is False
        for field, described in model["properties"].items():
            assert described.get("description"), f"{model['title']}.{field}"


@pytest.mark.parametrize("name", VERDICTS)
def test_what_is_written_is_valid(name: str) -> None:
    schema, document = SCHEMAS["verify"], json.loads(VERDICTS[name].to_json())
    assert accepts(schema, schema, document)
    # Were a field left out, or another one there, it would be seen.
    for key in document:
        assert not accepts(schema, schema, {other: value for other, value in document.items() if other != key}), key
    assert not accepts(schema, schema, {**document, "verdict": "EQUAL"})


def test_numbers_that_json_has_not_are_words() -> None:
    schema, document = SCHEMAS["verify"], json.loads(VERDICTS["derived"].to_json())
    share: dict[str, Any] = document["gradients"]["weights"][0]["slopes"]["torch"]
    assert share["error"] == "Infinity"
    share["error"] = "much"
    assert not accepts(schema, schema, document)


def test_a_verdict_on_a_file_is_valid() -> None:
    schema = SCHEMAS["against"]
    verdict = AgainstVerdict(network="net", passed=False, files=(FILE,))
    document = json.loads(verdict.model_dump_json())
    assert accepts(schema, schema, document)
    document["files"][0]["failures"][0]["symptom"] = "unlucky"
    assert not accepts(schema, schema, document)
