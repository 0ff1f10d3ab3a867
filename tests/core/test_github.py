"""Annotations for GitHub Actions: at the spec's own lines, for what is wrong with it and for what differs."""

from __future__ import annotations

from netspec.compile import compile_spec
from netspec.errors import BackendError
from netspec.report.github import error_github, verdict_github
from netspec.spec.load import parse_spec
from netspec.verify.result import BackendVerdict, Failure, Verdict
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


def test_an_error_without_a_place_has_none():
    assert error_github(BackendError("the worker died")) == "::error title=netspec::the worker died"
