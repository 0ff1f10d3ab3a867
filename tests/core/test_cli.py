"""The command line: exit status, what stands on standard output and what on standard error, JSON that parses."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec import cli
from netspec.building.options import Options
from netspec.errors import BackendError, NetspecError, SpecError
from netspec.interrupt import SIGNALS
from netspec.outcome import Outcome
from netspec.report.problems import RED
from netspec.verify.result import BackendVerdict, Failure, Symptom, Verdict
from netspec.weights import save

SPECS = Path(__file__).parents[2] / "specs"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: its exit status, standard output and standard error."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["netspec", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return command


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text("input: 8x8x1\nlayers:\n  - CNN | 4, 3 | ReLU\n  - Flatten\n  - FNN | 3 | Softmax\n")
    return path


def test_check_of_every_model_in_the_zoo(run: Run) -> None:
    paths = sorted(SPECS.glob("*.yaml"))
    status, out, err = run("check", *paths)
    assert (status, err) == (0, "")
    checked = [line.split(":")[0].partition(" (variant ") for line in out.splitlines()]
    assert [path for path, _, variant in checked if not variant] == [str(path) for path in paths]
    assert (str(SPECS / "squeezenet-1.1.yaml"), " (variant ", "torchvision)") in checked


def test_check_reports_every_file_and_the_worst_status(run: Run, tmp_path: Path, spec: Path) -> None:
    unmet = tmp_path / "unmet.yaml"
    unmet.write_text(spec.read_text() + "expect: {parameters: 1}\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("input: 8x8x1\nlayers:\n  - Flaten\n")
    assert run("check", spec, unmet)[0] == 1
    status, out, err = run("check", spec, unmet, wrong)
    assert status == 2
    assert "tiny.yaml: fine" in out
    assert "unmet.yaml:6:22: expect.parameters: parameters should be 1" in err
    assert "wrong.yaml:3:5: layers.0: unknown layer kind 'Flaten'" in err
    assert "hint: did you mean 'Flatten'?" in err


def test_check_says_how_many_are_trained_where_not_all_are(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("input: 4\nlayers:\n  - FNN | 5\n  - BatchNorm\n")
    status, out, _ = run("check", path)
    assert (status, out) == (0, f"{path}: fine, 2 rows, 45 parameters (35 trained), output 5\n")
    [found] = json.loads(run("check", path, "--format", "json")[1])
    assert (found["parameters"], found["trainable"]) == (45, 35)


def test_check_as_json_is_one_document(run: Run, tmp_path: Path, spec: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("input: 8x8x1\nlayers:\n  - Flaten\n")
    status, out, _ = run("check", spec, wrong, "--format", "json")
    fine, bad = json.loads(out)
    assert status == 2
    assert fine["valid"]
    assert fine["parameters"] == 475
    [problem] = bad["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (3, 5, "layers.0")


@pytest.fixture
def varied(tmp_path: Path, spec: Path) -> Path:
    path = tmp_path / "varied.yaml"
    variants = "variants:\n  small: {input: 6x6x1}\n  wrong: {input: 2x2x1}\n  unmet: {layers.2.units: 5}\n"
    path.write_text(f"{spec.read_text()}expect: {{output: 3}}\n{variants}")
    return path


def test_check_looks_at_every_variant(run: Run, varied: Path) -> None:
    status, out, err = run("check", varied)
    assert status == 2
    assert out.splitlines() == [
        f"{varied}: fine, 3 rows, 475 parameters, output 3",
        f"{varied} (variant small): fine, 3 rows, 235 parameters, output 3",
    ]
    assert "kernel 3x3 is larger than its input 2x2x1" in err
    assert f"used at {varied}:9:10: variants.wrong" in err
    assert "output should be 3, but it is 5" in err
    assert f"used at {varied}:10:10: variants.unmet" in err
    found = json.loads(run("check", varied, "--format", "json")[1])
    assert [(each["variant"], each["valid"]) for each in found] == [
        (None, True),
        ("small", True),
        ("wrong", False),
        ("unmet", False),
    ]


def test_check_of_one_variant(run: Run, varied: Path) -> None:
    assert run("check", varied, "--variant", "small")[0] == 0
    assert run("check", varied, "--variant", "unmet")[0] == 1
    status, _, err = run("check", varied, "--variant", "smal")
    assert status == 2
    assert "there is no variant 'smal'" in err
    assert "did you mean 'small'?" in err


@pytest.mark.parametrize("command", ["show", "build", "train", "export", "verify"])
def test_every_command_that_reads_a_spec_takes_a_variant(run: Run, varied: Path, command: str) -> None:
    status, _, err = run(command, varied, "--variant", "smal")
    assert status == 2
    assert "did you mean 'small'?" in err


def test_show_of_a_variant(run: Run, varied: Path) -> None:
    found = json.loads(run("show", varied, "--variant", "small", "--format", "json")[1])
    assert found["name"] == "varied-small"
    assert found["rows"][0]["output"] == [4, 4, 4]


def test_show_json_has_rows_and_totals(run: Run) -> None:
    status, out, _ = run("show", SPECS / "cifar10-cnn.yaml", "--format", "json")
    found = json.loads(out)
    assert status == 0
    assert set(found) == {"name", "inputs", "outputs", "rows", "blocks", "totals"}
    row = {"name", "kind", "reads", "output", "parameters", "trainable", "non_trainable", "macs"}
    assert all(set(each) == row for each in found["rows"])
    assert found["totals"]["parameters"] == 91_146
    for total in ("parameters", "trainable", "non_trainable", "macs"):
        assert sum(each[total] for each in found["rows"]) == found["totals"][total]


def test_show_draws_a_flowchart(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("show", SPECS / "unet.yaml", "--format", "mermaid")
    assert status == 0
    assert out.startswith('---\ntitle: "unet"\n---\nflowchart TD\n')
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("input: 8\nlayers: [Flaten]\n")
    status, out, err = run("show", wrong, "--format", "mermaid")
    assert (status, out) == (2, "")
    assert "Flaten" in err


def test_set_overrides_a_row_and_a_section(run: Run, spec: Path) -> None:
    _, out, _ = run("show", spec, "--format", "json", "--set", "layers.2.units=5", "--set", "name=other")
    found = json.loads(out)
    assert found["name"] == "other"
    assert found["rows"][-1]["output"] == [5]


@pytest.mark.parametrize("command", ["check", "show", "build", "train", "export", "verify", "fmt"])
def test_a_missing_file_is_said_in_one_message(run: Run, tmp_path: Path, command: str) -> None:
    status, out, err = run(command, tmp_path / "tinny.yaml")
    assert status == 2
    assert "tinny.yaml" in err
    assert "Traceback" not in out + err


# Errors as JSON


PROBLEM = {"message", "hint", "path", "file", "line", "column"}


@pytest.mark.parametrize("command", ["show", "build", "train", "export", "verify"])
def test_an_error_as_json_is_one_document(run: Run, tmp_path: Path, command: str) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("input: 8x8x1\nlayers:\n  - Flaten\ndata: digits\ntrain: {epochs: 1}\n")
    status, out, err = run(command, wrong, "--format", "json")
    assert (status, err) == (2, "")
    found = json.loads(out)
    assert list(found) == ["problems"]
    [problem] = found["problems"]
    assert set(problem) == PROBLEM
    assert (problem["line"], problem["column"], problem["path"]) == (3, 5, "layers.0")
    assert run("check", wrong, "--format", "json")[1].count(json.dumps(problem["message"])) == 1


@pytest.mark.parametrize("command", ["build", "export", "verify"])
def test_wrong_targets_as_json(run: Run, spec: Path, command: str) -> None:
    status, out, _ = run(command, spec, "--targets", "torhc,kears", "--format", "json")
    assert status == 2
    assert [problem["hint"] for problem in json.loads(out)["problems"]] == [
        "did you mean 'torch'?",
        "did you mean 'keras'?",
    ]


def test_an_error_without_problems_is_one_as_json(run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BackendError("the torch backend needs torch\n  hint: pip install it")

    monkeypatch.setattr("netspec.building.build.build", fail)
    status, out, err = run("build", spec, "--format", "json")
    assert (status, err) == (3, "")
    [problem] = json.loads(out)["problems"]
    assert set(problem) == PROBLEM
    assert (problem["message"], problem["hint"]) == ("the torch backend needs torch", "pip install it")


def test_doctor_prints_its_error_as_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise NetspecError("nothing can be asked")

    monkeypatch.setattr("netspec.backend.doctor.examine", fail)
    status, out, err = run("doctor", "--format", "json")
    assert (status, err) == (2, "")
    assert [problem["message"] for problem in json.loads(out)["problems"]] == ["nothing can be asked"]


# fmt


def test_fmt_writes_checks_and_prints(run: Run, spec: Path) -> None:
    assert run("fmt", spec, "--check", "--to", "mapping")[0] == 1
    status, out, _ = run("fmt", spec, "--stdout", "--to", "mapping")
    assert status == 0
    assert "type: Conv" in out or "type: CNN" in out
    assert run("fmt", spec, "--to", "mapping")[0] == 0
    assert spec.read_text() == out
    assert run("fmt", spec, "--check", "--to", "mapping")[0] == 0


def test_fmt_goes_on_after_a_file_that_is_wrong(run: Run, spec: Path, tmp_path: Path) -> None:
    wrong, missing = tmp_path / "wrong.yaml", tmp_path / "missing.yaml"
    wrong.write_text("input: 8x8x1\nlayers: [\n")
    status, out, err = run("fmt", wrong, missing, spec, "--to", "mapping")
    assert status == 2
    assert out == f"{spec}: written as mapping\n"
    assert "wrong.yaml" in err
    assert "missing.yaml" in err
    assert run("fmt", spec, "--check", "--to", "pipes")[0] == 1
    assert run("fmt", spec, wrong, "--check", "--to", "pipes")[0] == 2


def test_fmt_keeps_links_modes_and_line_ends(run: Run, spec: Path, tmp_path: Path) -> None:
    spec.write_bytes(spec.read_bytes().replace(b"\n", b"\r\n"))
    spec.chmod(0o640)
    folder = tmp_path / "links"
    folder.mkdir()
    link = folder / "link.yaml"
    link.symlink_to(Path("..") / spec.name)
    assert run("fmt", link, "--to", "mapping")[0] == 0
    assert link.is_symlink()
    assert b"type: CNN" in spec.read_bytes()
    assert spec.stat().st_mode & 0o7777 == 0o640
    assert spec.read_bytes().count(b"\n") == spec.read_bytes().count(b"\r\n") > 2
    assert sorted(tmp_path.rglob("*")) == sorted([folder, link, spec])


def test_fmt_names_the_file_that_cannot_be_written(
    run: Run, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = spec.read_text()
    other = tmp_path / "other.yaml"
    other.write_text(before)
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == spec.name:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    status, out, err = run("fmt", spec, other, "--to", "mapping")
    assert status == 2
    assert out == f"{other}: written as mapping\n"
    assert err == f"{spec}: cannot be written: No space left on device\n1 problem\n"
    assert spec.read_text() == before
    assert sorted(tmp_path.iterdir()) == [other, spec]


def test_schema_is_json(run: Run) -> None:
    status, out, _ = run("schema")
    assert status == 0
    assert json.loads(out)["properties"]["layers"]
    for document, field in (("spec", "layers"), ("verify", "backends"), ("against", "files")):
        status, out, _ = run("schema", document)
        assert status == 0
        assert json.loads(out)["properties"][field]


def test_train_without_a_train_section_is_refused(run: Run, spec: Path) -> None:
    status, _, err = run("train", spec)
    assert status == 2
    assert "no `train` section" in err


def test_an_unknown_target_is_refused_with_a_near_name(run: Run, spec: Path) -> None:
    for named, hint in (("torhc", "did you mean 'torch'"), ("tensorflow", "that computes with it is 'keras'")):
        status, _, err = run("export", spec, "--targets", named)
        assert status == 2
        assert hint in err


@pytest.mark.parametrize("command", ["build", "export", "verify"])
@pytest.mark.parametrize("targets", ["", " , "])
def test_no_target_at_all_is_refused(run: Run, spec: Path, tmp_path: Path, command: str, targets: str) -> None:
    status, out, err = run(command, spec, "--targets", targets, "-o", tmp_path / "out")
    assert (status, out) == (2, "")
    assert f"--targets: {targets!r} names no backend" in err
    assert "'torch'" in err
    assert not (tmp_path / "out").exists()


def test_train_reads_its_spec_once_and_needs_the_trainer_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from netspec.spec import load

    read, asked = [], []
    read_text = load.read_text
    monkeypatch.setattr(load, "read_text", lambda path: read.append(path) or read_text(path))
    monkeypatch.setattr(
        "netspec.building.build.build", lambda _, options, __: asked.append(options) or Outcome(Path("x"))
    )
    assert run("train", SPECS / "digits-cnn.yaml", "--backend", "keras")[0] == 0
    assert len(read) == 1
    assert asked == [Options(("keras",), "keras", until="train")]


# How it ends


@pytest.mark.parametrize(
    ("symptoms", "status"),
    [
        ({}, 0),
        ({"torch": "value"}, 1),
        ({"torch": "crash"}, 3),
        ({"torch": "unsupported", "keras": "crash"}, 3),
        ({"torch": "crash", "keras": "value"}, 1),
    ],
)
def test_the_verdict_is_the_exit_status(
    run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch, symptoms: dict[str, Symptom], status: int
) -> None:
    backends = tuple(
        BackendVerdict(
            backend=name,
            passed=name not in symptoms,
            rows=(),
            artefacts=(),
            failures=tuple(
                Failure(stage="run", symptom=symptom, message="it is so")
                for each, symptom in symptoms.items()
                if each == name
            ),
        )
        for name in ("torch", "keras", "onnx")
    )
    numbers = {"parameters": 1, "trainable": 1, "non_trainable": 0}
    verdict = Verdict(network="tiny", passed=not symptoms, samples=("ramp",), backends=backends, **numbers)
    monkeypatch.setattr("netspec.building.build.build", lambda *_: Outcome(Path("x"), verdict))
    assert run("build", spec)[0] == status
    assert run("verify", spec, "--format", "json")[0] == status


def test_an_interrupt_is_one_line(run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("netspec.building.build.build", interrupt)
    assert run("build", spec) == (130, "", "netspec: interrupted\n")


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [(signal.SIGINT, 130, "netspec: interrupted\n"), (signal.SIGTERM, 143, "netspec: terminated\n")],
)
def test_a_signal_ends_a_command_with_one_line_and_its_status(
    run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, status: int, said: str
) -> None:
    def wait(*_: object) -> None:
        signal.raise_signal(sent)
        time.sleep(60)

    before = [signal.getsignal(each) for each in SIGNALS]
    monkeypatch.setattr("netspec.compile.compile_spec", wait)
    assert run("show", spec) == (status, "", said)
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize(("sent", "status", "how"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_build_that_a_signal_ends_says_that_it_may_go_on(
    run: Run, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str, status: int, how: str
) -> None:
    def wait(*_: object) -> None:
        signal.raise_signal(signal.Signals[sent])

    monkeypatch.setattr("netspec.building.build.know_weights", wait)
    found = run("export", spec, "-o", tmp_path)
    assert found[:2] == (status, "")
    assert found[2].endswith(f"netspec: {how}; what is done is kept, and the same command goes on from there\n")


@pytest.mark.parametrize("arguments", [["chek"], ["show"], ["check", "--wrong"], ["show", "x", "--format", "xml"]])
def test_wrong_arguments_are_said_with_the_usage(run: Run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("Usage: netspec")
    assert "Error: " in err


def ended(*arguments: str | Path, **streams: int) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with these streams."""
    command = [sys.executable, "-c", "from netspec.cli import main; main()", *map(str, arguments)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(command, text=True, check=False, **{**piped, **streams})


@pytest.fixture
def unread() -> int:
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("arguments", [["show", SPECS / "digits-cnn.yaml", "--format", "json"], ["schema"]])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str | Path], unread: int) -> None:
    done = ended(*arguments, stdout=unread)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_status_stays_where_nobody_reads(unread: int, tmp_path: Path) -> None:
    assert ended("check", tmp_path / "none.yaml", "--format", "json", stdout=unread).returncode == 2
    assert ended("show", tmp_path / "none.yaml", stderr=unread).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["schema"], ["check", SPECS / "digits-cnn.yaml"], ["show", "--help"]])
def test_a_full_disk_is_said(arguments: list[str | Path]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = ended(*arguments, stdout=full)
    os.close(full)
    assert done.returncode == 2
    assert done.stderr.startswith("netspec: ")
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("refused", [True, False])
def test_colour_is_for_terminals_and_can_be_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if refused:
        monkeypatch.setenv("NO_COLOR", "1")
    _, _, err = run("show", tmp_path / "none.yaml")
    assert (RED not in err) == refused


# From Python


def test_a_model_takes_the_weights_of_a_build_folder(spec: Path, tmp_path: Path) -> None:
    drawn = netspec.load(spec)
    trained = {name: value + 1 for name, value in drawn.weights.items()}
    path = tmp_path / "weights.safetensors"
    save(path, trained, drawn.network)
    loaded = netspec.load(spec, weights=path)
    assert loaded.weights.keys() == trained.keys()
    assert all(np.array_equal(loaded.weights[name], value) for name, value in trained.items())
    with pytest.raises(SpecError, match="is missing"):
        netspec.load(SPECS / "digits-cnn.yaml", weights=path)
    with pytest.raises(SpecError, match="there is no file"):
        netspec.load(spec, weights=tmp_path / "none.safetensors")


def test_weights_beyond_memory_are_refused_before_they_are_made(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_text("input: 100000\nlayers:\n  - FNN | 100000000\n  - FNN | 100000000\n")
    assert run("check", path)[0] == 0
    status, _, err = run("build", path, "-o", tmp_path / "out")
    assert status == 2
    assert "memory" in err
    assert not (tmp_path / "out").exists()


def test_a_build_folder_that_cannot_be_made_is_named(run: Run, spec: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = run("build", spec, "-o", tmp_path / "file")
    assert status == 2
    assert "cannot be written" in err


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (
            "keras",
            (
                "the keras backend needs keras, which is not installed\n"
                "  hint: pip install 'netspec[keras]'; or what is here: --targets torch,onnx"
            ),
        ),
        (
            "tensorflow",
            (
                "the keras backend needs tensorflow, which is not installed\n"
                "  hint: pip install 'netspec[keras]'; or what is here: --keras-backend torch, or --targets torch,onnx"
            ),
        ),
        (
            "keras onnx",
            (
                "the keras backend needs keras, which is not installed; "
                "the onnx backend needs onnx, which is not installed\n"
                "  hint: pip install 'netspec[keras]' 'netspec[onnx]'; or what is here: --targets torch"
            ),
        ),
        (
            "keras torch onnx",
            (
                "the torch backend needs torch, which is not installed; the keras backend needs keras, which is not "
                "installed; the onnx backend needs onnx, which is not installed\n"
                "  hint: pip install 'netspec[torch]' 'netspec[keras]' 'netspec[onnx]'"
            ),
        ),
    ],
)
def test_missing_backends_say_what_to_install_and_what_is_here(
    run: Run, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, said: str
) -> None:
    find = importlib.util.find_spec

    def hidden(name: str, *more: Any) -> Any:
        if name in ("keras", "tensorflow", "jax", "torch", "safetensors", "onnx", "onnx_ir", "onnxruntime"):
            return None if name in (*missing.split(), "jax") else object()
        return find(name, *more)

    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    assert run("build", spec, "-o", tmp_path / "out") == (3, "", f"netspec: {said}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["check", "show", "schema"])
def test_no_framework_and_no_numpy_is_imported(command: str) -> None:
    arguments = [] if command == "schema" else [str(SPECS / "digits-cnn.yaml")]
    script = (
        "import sys\nfrom netspec.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'keras', 'tensorflow', 'jax', 'onnx', 'onnx_ir', 'onnxruntime', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_help_teaches(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for command in ("check", "show", "build", "train", "export", "verify", "fmt", "schema", "doctor"):
        assert command in out
        assert run(command, "--help")[0] == 0
