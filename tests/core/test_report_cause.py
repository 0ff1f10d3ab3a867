"""The reason of a difference in the terminal, on the page and in annotations."""

from __future__ import annotations

from netspec.layers import BatchNorm
from netspec.report.cause import set_lines
from netspec.report.github import verdict_github
from netspec.report.page_verdict import verdict_section
from netspec.report.verdict import ADVICE, failure_lines
from netspec.verify.result import BackendVerdict, Cause, Failure, Verdict
from tests.cases import chain

CAUSE = Cause(
    row="batch_norm_1", name="another epsilon", says="epsilon is 1e-05, not 0.001", spec="x / sqrt(v + 0.001)",
    found="x / sqrt(v + 1e-05)", known=True, ratio=0.02, fields={"epsilon": "1e-05"},
)  # fmt: skip
FAILURE = Failure(stage="compare", symptom="value", message="float64 error 0.1", row="batch_norm_1")
BACKEND = BackendVerdict(
    backend="keras", passed=False, rows=(), artefacts=(), failures=(FAILURE,), first_row="batch_norm_1", alone=True,
    cause=CAUSE,
)  # fmt: skip
VERDICT = Verdict(
    network="net", passed=False, parameters=12, trainable=6, non_trainable=6, samples=("ramp",), backends=(BACKEND,)
)


def test_the_cause_stands_under_the_failure():
    assert list(failure_lines(BACKEND, "netspec verify net.yaml --variant a")) == [
        "keras differs, first at row 'batch_norm_1'",
        "  value at row 'batch_norm_1' (compare): float64 error 0.1",
        "  row 'batch_norm_1' differs even when it is given the reference's own input, so the fault is in that row",
        "  cause: another epsilon at row 'batch_norm_1': epsilon is 1e-05, not 0.001",
        "    the spec means  x / sqrt(v + 0.001)",
        "    what came out   x / sqrt(v + 1e-05)",
        "    which gives the measured values within rounding: 2% of what that may cost is left",
        "  again: netspec verify net.yaml --variant a --targets keras",
    ]


def test_what_is_only_seen_is_no_cause_and_leaves_the_advice():
    seen = CAUSE.model_copy(update={"known": False, "ratio": None, "fields": {}})
    lines = list(failure_lines(BACKEND.model_copy(update={"cause": seen})))
    assert "  seen at row 'batch_norm_1': another epsilon: epsilon is 1e-05, not 0.001" in lines
    assert lines[-1] == f"  hint: {ADVICE['value']}"
    assert "  again: netspec verify SPEC --targets keras" in lines
    without = list(failure_lines(BACKEND.model_copy(update={"cause": None})))
    assert "  again: netspec verify SPEC --targets keras" in without


def test_page_and_annotations_say_it():
    assert "cause: another epsilon" in verdict_section(VERDICT)
    said = verdict_github(VERDICT, chain("net", (4, 4, 3), BatchNorm()), "net.yaml")
    assert said.endswith("row 'batch_norm_1': float64 error 0.1%0Aanother epsilon: epsilon is 1e-05, not 0.001")


def test_a_row_of_a_block_is_not_set_alone():
    assert list(set_lines([CAUSE.model_copy(update={"row": "block.norm"})], "netspec verify")) == []
    [line] = set_lines([CAUSE], "netspec verify net.yaml --against m.onnx")
    assert line.endswith("netspec verify net.yaml --against m.onnx --set 'layers.batch_norm_1.epsilon=1e-05'")


def test_a_verdict_with_a_cause_is_read_back():
    assert Verdict.from_json(VERDICT.to_json()) == VERDICT
