"""Annotations for GitHub Actions: at the spec's own lines, for what is wrong with it and for what differs."""

from __future__ import annotations

from netspec.compile import compile_spec
from netspec.errors import BackendError
from netspec.report.github import against_github, error_github, verdict_github
from netspec.spec.load import parse_spec
from netspec.verify.result import (
    AgainstVerdict,
    BackendVerdict,
    Blamed,
    Cause,
    Difference,
    Failure,
    FileVerdict,
    LockstepVerdict,
    Verdict,
)
from tests.core.test_cli import Run, run

__all__ = ["run"]  # the fixture
SPEC = "input: 6x5x3\nlayers:\n  - conv: CNN | 4, 3 | ReLU\n  - Flatten\n  - FNN | 3 | Softmax\n"


def test_check_annotates_every_problem_at_its_place(run: Run, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC.replace("CNN | 4, 3", "CNNN | 4").replace("FNN | 3", "FNN | 0"))
    status, out, err = run("check", path, "--format", "github")
    assert status == 2
    first, second = out.splitlines()
    what = "layers.0: unknown layer kind 'CNNN'%0Ahint: did you mean 'CNN'?"
    assert first == f"::error file={path},line=3,col=11,title=netspec::{what}"
    assert second.startswith(f"::error file={path},line=5,col=11,title=netspec::layers.2.units: ")
    assert err.count(str(path)) == 2, "people read the same as text"


def test_check_of_what_is_fine_has_no_annotation(run: Run, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC)
    status, out, _ = run("check", path, "--format", "github")
    assert (status, out) == (0, f"{path}: fine, 3 rows, 259 parameters, output 3\n")


def test_an_expectation_is_annotated_by_verify_too(run: Run, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(f"{SPEC}expect: {{parameters: 7}}\n")
    status, out, _ = run("verify", path, "--format", "github", "-o", tmp_path / "build")
    assert status == 1
    assert out.startswith(f"::error file={path},line=6,col=22,title=netspec::expect.parameters: parameters should be 7")


def test_a_difference_is_annotated_at_its_row():
    network = compile_spec(parse_spec(SPEC, "net.yaml"))
    failures = (
        Failure(stage="compare", symptom="value", message="float64 error 1e-3, 50% of it\nat [0]", row="conv"),
        Failure(stage="compare", symptom="file", message="net.py is not as it was written"),
    )
    torch = BackendVerdict(backend="torch", passed=False, rows=(), artefacts=(), failures=failures)
    verdict = Verdict(
        network="net", passed=False, parameters=259, trainable=259, non_trainable=0, samples=(), backends=(torch,)
    )
    said = "row 'conv': float64 error 1e-3, 50%25 of it%0Aat [0]"
    assert verdict_github(verdict, network, "net.yaml").splitlines() == [
        f"::error file=net.yaml,line=3,col=5,title=netspec%3A torch value::{said}",
        "::error file=net.yaml,line=1,col=1,title=netspec%3A torch file::net.py is not as it was written",
    ]


def test_a_training_that_differs_is_annotated_at_the_row_of_its_weight():
    network = compile_spec(parse_spec(SPEC, "net.yaml"))
    apart = Difference(
        step=2, precision="float64", quantity="slot", name="conv.kernel, mean", left="keras", right="torch",
        place=(0, 1), left_value=0.5, right_value=0.25, error=1.0, granted=1e-9,
    )  # fmt: skip
    ended = Failure(stage="run", symptom="crash", message="the worker died")
    lockstep = LockstepVerdict(
        passed=False, steps=9, agreed=1, backends=("torch", "keras"), loss="mse", optimizer="adam", schedule="constant",
        float64={}, float32={}, synchronised=(), differences=(apart,), failures=(ended,),
    )  # fmt: skip
    verdict = Verdict(
        network="net", passed=True, parameters=259, trainable=259, non_trainable=0, samples=(), backends=()
    ).trained(lockstep)
    first, second = verdict_github(verdict, network, "net.yaml").splitlines()
    said = "after update 2 in float64 the slot conv.kernel, mean at [0, 1] is 0.5 in keras, 0.25 in torch"
    assert first.startswith(f"::error file=net.yaml,line=3,col=5,title=netspec%3A training slot::{said}")
    assert second == "::error file=net.yaml,line=1,col=1,title=netspec%3A training crash::the worker died"


def test_files_of_others_are_annotated_in_the_spec():
    network = compile_spec(parse_spec(SPEC, "net.yaml"))
    cause = Cause(row="conv", name="n", says="s", spec="", found="", known=True, ratio=0.0, fields={})
    differs = Failure(stage="compare", symptom="value", message="its output is wrong")
    files = (
        FileVerdict(
            file="out/m.onnx", runtime=None, passed=False, weights=None, samples=(), outputs=(), rows=(), notes=(),
            failures=(differs,), first_row="conv", cause=cause, further=(Blamed(row="dense_1", cause=None),),
        ),
        FileVerdict(
            file="cut.onnx", runtime=None, passed=False, weights=None, samples=(), outputs=(), rows=(), notes=(),
            failures=(Failure(stage="build", symptom="file", message="it is cut off"),),
        ),
    )  # fmt: skip
    verdict = AgainstVerdict(network="net", passed=False, files=files)
    further = "row 'dense_1' is wrong as well, for what the file computed before it"
    assert against_github(verdict, network, "net.yaml").splitlines() == [
        "::error file=net.yaml,line=3,col=5,title=netspec%3A m.onnx value::its output is wrong%0An: s",
        f"::error file=net.yaml,line=5,col=5,title=netspec%3A m.onnx value::{further}",
        "::error file=net.yaml,line=1,col=1,title=netspec%3A cut.onnx file::it is cut off",
    ]


def test_an_error_without_a_place_has_none():
    assert error_github(BackendError("the worker died")) == "::error title=netspec::the worker died"
