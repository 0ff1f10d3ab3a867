"""The commands about files that others made: exit statuses, what is printed, arguments that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netspec.report.against import against_text
from netspec.verify.result import (
    AgainstVerdict,
    Cause,
    Failure,
    FileVerdict,
    FoundRow,
    Measure,
    OutputVerdict,
    Symptom,
)
from tests.core.test_cli import Run, run

__all__ = ["run"]  # the fixture

SPEC = "name: tiny\ninput: 8x8x1\nlayers:\n  - conv1: CNN | 4, 3 | ReLU\n  - Flatten\n  - FNN | 3 | Softmax\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC)
    return path


def test_diff_of_equal_specs(run: Run, spec: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    other.write_text(SPEC.replace("4, 3", "4, (3,3)"))
    status, out, err = run("diff", spec, other)
    assert (status, out, err) == (0, f"{spec} and {other} mean the same\n", "")


def test_diff_of_specs_that_differ(run: Run, spec: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SPEC.replace("4, 3", "5, 3"))
    status, out, _ = run("diff", spec, other)
    assert status == 1
    assert "  ~ conv1  Conv: filters 4 -> 5; result 6x6x4 -> 6x6x5; parameters 40 -> 50" in out.splitlines()
    status, out, _ = run("diff", spec, other, "--format", "json")
    found = json.loads(out)
    assert (status, found["equal"]) == (1, False)
    assert found["rows"][0]["changes"][0] == {"path": "filters", "left": 4, "right": 5}


def test_diff_of_variants(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        "input: 4\nlayers:\n  - one: FNN | 5\nvariants: {wide: {layers.one.units: 9}, narrow: {layers.one.units: 2}}\n"
    )
    status, out, _ = run("diff", path, path, "--variant", "wide")
    assert (status, "units 5 -> 9" in out) == (1, True)
    status, out, _ = run("diff", path, path, "--variant", "narrow", "--variant", "wide")
    assert (status, "units 2 -> 9" in out) == (1, True)
    status, _, err = run("diff", path, path, *["--variant", "wide"] * 3)
    assert (status, "there are 2 specs" in err) == (2, True)
    status, _, err = run("diff", tmp_path / "a.onnx", tmp_path / "b.onnx", "--variant", "wide")
    assert (status, "files have none" in err) == (2, True)


def test_diff_of_what_is_not_there(run: Run, spec: Path, tmp_path: Path) -> None:
    status, out, err = run("diff", spec, tmp_path / "missing.yaml")
    assert (status, out) == (2, "")
    assert "missing.yaml" in err
    status, _, err = run("diff", tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert status == 2
    assert "a.onnx: there is no such file" in err


def test_diff_of_a_spec_and_a_file_is_against(run: Run, spec: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"TFL3")
    status, _, err = run("diff", spec, file)
    assert status == 2
    assert f"a spec and a file: this is `netspec verify {spec} --against {file}`" in err
    assert "files ending in '.tflite' are not known" in err


def test_against_a_file_of_no_known_kind(run: Run, spec: Path, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    status, _, err = run("verify", spec, "--against", tmp_path / "model.tflite")
    assert status == 2
    assert "one of '.bin'" in err


@pytest.mark.parametrize(
    ("symptom", "status"), [(None, 0), ("value", 1), ("file", 3), ("weights", 3), ("crash", 3), ("unsupported", 3)]
)
def test_the_status_says_what_came_out(
    run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch, symptom: Symptom | None, status: int
) -> None:
    failures = (Failure(stage="run", symptom=symptom, message="so it is"),) if symptom else ()
    file = FileVerdict(
        file="m.onnx", runtime=None, passed=not failures, weights=None, samples=(), outputs=(), rows=(), notes=(),
        failures=failures,
    )  # fmt: skip
    verdict = AgainstVerdict(network="tiny", passed=file.passed, files=(file,))
    monkeypatch.setattr("netspec.verify.against.files.verify_against", lambda *_, **__: verdict)
    found, out, _ = run("verify", spec, "--against", "m.onnx")
    assert found == status
    assert out.startswith({0: "EQUAL. ", 1: "NOT EQUAL. ", 3: "NOT PROVEN. "}[status])
    found, out, _ = run("verify", spec, "--against", "m.onnx", "--format", "json")
    assert (found, json.loads(out)["passed"]) == (status, symptom is None)


def measure(ratio: float) -> Measure:
    return Measure(error=ratio * 1e-6, granted=1e-6, ratio=ratio, sample="ramp")


def test_a_verdict_on_a_file_is_printed() -> None:
    cause = Cause(
        row="bn", name="another epsilon", says="epsilon is 0.001, not 1e-05", spec="x / sqrt(v + 1e-05)",
        found="x / sqrt(v + 0.001)", known=True, ratio=0.03, fields={"epsilon": "0.001"},
    )  # fmt: skip
    rows = (
        FoundRow(row="conv", whole=True, value="Conv_0", passed=True, measure=measure(0.05)),
        FoundRow(row="bn", whole=False, value="Bn_1", passed=False, measure=measure(86)),
    )
    file = FileVerdict(
        file="there/m.onnx", runtime="ONNX Runtime 1", passed=False, weights="its own, matched by name",
        samples=("ramp", "zeros"), outputs=(OutputVerdict(output="output", port="y", measure=measure(12)),), rows=rows,
        notes=("input x: channels first",),
        failures=(Failure(stage="compare", symptom="value", message="a\nb", row="bn"),),
        first_row="bn", alone=True, cause=cause,
    )  # fmt: skip
    text = against_text(AgainstVerdict(network="net", passed=False, files=(file,)), "net.yaml")
    assert text.splitlines() == [
        "NOT EQUAL. m.onnx does not compute net: another epsilon at row 'bn'",
        "  run by   ONNX Runtime 1",
        "  weights  its own, matched by name",
        "  note     input x: channels first",
        "",
        "Outputs, the worst of 2 inputs, as a share of what rounding may cost",
        "  output  in the file    error    share",
        "  output  y            1.2e-05  1,200%!",
        "",
        "Rows whose values were found in it (2)",
        "  row                        in the file    share",
        "  conv                       Conv_0            5%",
        "  bn, before its activation  Bn_1         8,600%!",
        "",
        "value at row 'bn' (compare): a",
        "  b",
        "cause: another epsilon at row 'bn': epsilon is 0.001, not 1e-05",
        "  the spec means  x / sqrt(v + 1e-05)",
        "  what came out   x / sqrt(v + 0.001)",
        "  which gives the measured values within rounding: 3% of what that may cost is left",
        "  the spec would mean it with: netspec verify net.yaml --against there/m.onnx --set 'layers.bn.epsilon=0.001'",
        "again: netspec verify net.yaml --against there/m.onnx",
    ]


def test_several_files_have_a_line_each_at_the_end() -> None:
    cause = Cause(row="bn", name="another epsilon", says="x", spec="x", found="y", known=True, ratio=0.0, fields={})
    fine = FileVerdict(
        file="good.onnx",
        runtime=None,
        passed=True,
        weights=None,
        samples=(),
        outputs=(),
        rows=(),
        notes=(),
        failures=(),
    )
    wrong = (Failure(stage="compare", symptom="value", message="a"),)
    files = (
        fine,
        fine.model_copy(update={"file": "eps.onnx", "passed": False, "failures": wrong, "cause": cause}),
        fine.model_copy(update={"file": "odd.onnx", "passed": False, "failures": wrong, "first_row": "conv"}),
    )
    assert against_text(AgainstVerdict(network="net", passed=False, files=files), "net.yaml").splitlines()[-5:] == [
        "All files",
        "             file       what it does instead",
        "  EQUAL      good.onnx  -",
        "  NOT EQUAL  eps.onnx   another epsilon at row 'bn'",
        "  NOT EQUAL  odd.onnx   first at row 'conv'",
    ]


def test_the_commands_of_a_verdict_keep_the_options() -> None:
    cause = Cause(
        row="bn", name="another epsilon", says="epsilon is 0.001", spec="x", found="y", known=True, ratio=0.0,
        fields={"epsilon": "0.001"},
    )  # fmt: skip
    file = FileVerdict(
        file="m.onnx", runtime=None, passed=False, weights=None, samples=(), outputs=(), rows=(), notes=(),
        failures=(Failure(stage="compare", symptom="value", message="a"),), cause=cause,
    )  # fmt: skip
    options = ["--weights", "m.pth", "--ignore", "Aux.*"]
    *_, meant, again = against_text(
        AgainstVerdict(network="net", passed=False, files=(file,)), "net.yaml", options
    ).splitlines()
    command = "netspec verify net.yaml --against m.onnx --weights m.pth --ignore 'Aux.*'"
    assert meant == f"  the spec would mean it with: {command} --set 'layers.bn.epsilon=0.001'"
    assert again == f"again: {command}"


@pytest.mark.parametrize("symptom", ["file", "weights"])
def test_a_file_that_was_not_run_is_not_proven(symptom: Symptom) -> None:
    file = FileVerdict(
        file="m.onnx", runtime=None, passed=False, weights=None, samples=(), outputs=(), rows=(), notes=(),
        failures=(Failure(stage="build", symptom=symptom, message="a"),),
    )  # fmt: skip
    assert not file.differs
    text = against_text(AgainstVerdict(network="net", passed=False, files=(file,)), "net.yaml")
    assert text.startswith("NOT PROVEN")
    told = " --weights FILE" if symptom == "weights" else ""
    assert text.endswith(f"\nagain: netspec verify net.yaml --against m.onnx{told}"), "the same again says the same"


def test_rows_that_agree_are_counted() -> None:
    rows = tuple(
        FoundRow(row=name, whole=True, value=name, passed=True, measure=measure(ratio))
        for name, ratio in (("a", 0.05), ("b", 0.11))
    )
    file = FileVerdict(
        file="m.onnx", runtime="ONNX Runtime 1", passed=True, weights=None, samples=("ramp",), outputs=(), rows=rows,
        notes=(), failures=(),
    )  # fmt: skip
    text = against_text(AgainstVerdict(network="net", passed=True, files=(file,)), "net.yaml")
    assert text.splitlines() == [
        "EQUAL. m.onnx computes net",
        "  run by   ONNX Runtime 1",
        "  2 rows whose values it shows agree too, at most 11%",
    ]
