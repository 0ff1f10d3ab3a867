"""The command line: exit status, what stands on standard output and what on standard error, JSON that parses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netspec import cli

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
    assert [line.split(":")[0] for line in out.splitlines()] == [str(path) for path in paths]


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


def test_show_json_has_rows_and_totals(run: Run) -> None:
    status, out, _ = run("show", SPECS / "cifar10-cnn.yaml", "--format", "json")
    found = json.loads(out)
    assert status == 0
    assert set(found) == {"name", "rows", "totals"}
    row = {"name", "kind", "output", "parameters", "trainable", "non_trainable", "macs"}
    assert all(set(each) == row for each in found["rows"])
    assert found["totals"]["parameters"] == 91_146
    for total in ("parameters", "trainable", "non_trainable", "macs"):
        assert sum(each[total] for each in found["rows"]) == found["totals"][total]


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


def test_fmt_writes_checks_and_prints(run: Run, spec: Path) -> None:
    assert run("fmt", spec, "--check", "--to", "mapping")[0] == 1
    status, out, _ = run("fmt", spec, "--stdout", "--to", "mapping")
    assert status == 0
    assert "type: Conv" in out or "type: CNN" in out
    assert run("fmt", spec, "--to", "mapping")[0] == 0
    assert spec.read_text() == out
    assert run("fmt", spec, "--check", "--to", "mapping")[0] == 0


def test_schema_is_json(run: Run) -> None:
    status, out, _ = run("schema")
    assert status == 0
    assert json.loads(out)["properties"]["layers"]


def test_train_without_a_train_section_is_refused(run: Run, spec: Path) -> None:
    status, _, err = run("train", spec)
    assert status == 2
    assert "no `train` section" in err


def test_an_unknown_target_is_refused_with_a_near_name(run: Run, spec: Path) -> None:
    status, _, err = run("export", spec, "--targets", "torhc")
    assert status == 2
    assert "did you mean 'torch'" in err


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


def test_a_missing_backend_says_what_to_install(spec: Path, tmp_path: Path) -> None:
    hide = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'keras' else find(name, *a)\n"
        "from netspec.cli import main; main()"
    )
    command = [sys.executable, "-c", hide, "build", str(spec), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install 'netspec[keras]'" in done.stderr
    assert "Traceback" not in done.stderr
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
