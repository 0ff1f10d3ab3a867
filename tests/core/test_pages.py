"""The pages of `--help`: they fit, name every option's value, and their examples are understood."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import netspec
from netspec import cli
from netspec.cli import pages
from tests.core.test_cli import Run, run

__all__ = ["run"]  # the fixture

SPECS = Path(__file__).parents[2] / "specs"
CONTENTS: Any = typer.main.get_command(cli.app)
COMMANDS = sorted(CONTENTS.commands)
GROUPS = {pages.LOOK, pages.MAKE, pages.ASK, pages.EXCHANGE, pages.TOOL}


def page(run: Run, monkeypatch: pytest.MonkeyPatch, *command: str) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = run(*command, "--help")
    assert (status, err) == (0, "")
    return out


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_a_page_fits_into_a_terminal_and_shows_no_types_of_python(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = page(run, monkeypatch, *name.split())
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert not re.search(r"[a-z]-\n|\[default:\n", text)
    for noise in ("<bool>", "<str>", "<path>", "<int", "INTEGER", "TEXT", "PATH", "RANGE", "None", "{SPEC", "Path("):
        assert noise not in text


def test_the_contents_have_every_command_in_a_group(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(run, monkeypatch)
    for name in COMMANDS:
        assert CONTENTS.commands[name].rich_help_panel in GROUPS
        assert f"\n  {name} " in text
        assert "..." not in CONTENTS.commands[name].help.split("\n\n")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_on_its_page_with_what_it_takes(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = page(run, monkeypatch, name)
    for param in CONTENTS.commands[name].params:
        assert param.help
        assert " ".join(param.help.split()[:3]) in " ".join(text.split())
        if param.param_type_name == "argument":
            assert f"\n  {param.metavar} " in text
        elif not param.is_flag:
            assert f"{max(param.opts, key=len)} {param.metavar}" in text


def test_what_must_be_given_stands_in_the_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = page(run, monkeypatch, "activations").splitlines()[0]
    assert usage == "Usage: netspec activations [OPTIONS] SPEC --image FILE --row NAME"
    assert "[required]" in page(run, monkeypatch, "activations")
    assert page(run, monkeypatch, "check").startswith("Usage: netspec check [OPTIONS] SPEC...\n")


def test_defaults_are_shown_as_they_are_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(page(run, monkeypatch, "verify").split())
    for default in ("[default: torch,keras,onnx]", "[default: build]", "[default: 300]", "[default: text]"):
        assert default in text
    assert "[default: torch]" in " ".join(page(run, monkeypatch, "build").split())


def test_groups_stand_in_one_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [line[:-1] for line in page(run, monkeypatch, "verify").splitlines() if line[:1] > " " and line[-1] == ":"]
    assert titles == [
        pages.ARGUMENTS, pages.OPTIONS, pages.WEIGHTS, pages.OTHERS, pages.CHANGES, pages.PRINTING, "Examples",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch", "x"), "it must be a whole number, got 'x'"),
        (("--batch=0",), "it must be at least 1, got '0'"),
        (("--batch", "2", "--batch", "-1"), "it must be at least 1, got '-1'"),
        (("--format", "jsn"), "'jsn' is not one of 'text', 'json', 'mermaid'"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_needed(run: Run, words: tuple[str, ...], said: str) -> None:
    status, out, err = run("show", SPECS / "digits-cnn.yaml", *words)
    assert (status, out) == (2, "")
    assert err.rstrip(".\n").endswith(f": {said}")


@pytest.mark.parametrize("words", [("--bach", "3"), ("--batch", "x"), ()])
def test_a_wrong_command_line_is_one_document_where_json_is_asked_for(run: Run, words: tuple[str, ...]) -> None:
    spec = [str(SPECS / "digits-cnn.yaml")] if words else []
    status, out, err = run("show", *spec, "--format", "json", *words)
    assert (status, err) == (2, "")
    [problem] = json.loads(out)["problems"]
    assert (words or ("SPEC",))[0] in problem["message"]
    assert problem["hint"] == "see `netspec show --help`"


def test_the_version_is_said(run: Run) -> None:
    assert run("--version") == (0, f"netspec {netspec.__version__}\n", "")


@pytest.mark.parametrize("command", ["golden", "import-weights"])
def test_a_file_that_could_not_be_read_again_is_not_written(run: Run, tmp_path: Path, command: str) -> None:
    more = ["weights.pt"] if command == "import-weights" else []
    for name, hint in (("w.txt", "w.safetensors"), ("none/w.safetensors", "no folder")):
        status, out, err = run(command, SPECS / "digits-cnn.yaml", *more, "-o", tmp_path / name)
        assert (status, out) == (2, "")
        assert hint in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--help"], ["build", "--help"], ["chek"]])
def test_a_page_needs_next_to_nothing(words: list[str]) -> None:
    script = (
        "import sys\nfrom netspec.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'rich', 'numpy', 'netspec.spec.model', 'netspec.training'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_understood(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # which the callback of --keras-backend changes
    lines = CONTENTS.commands[name].epilog.replace("\\\n", "").splitlines()
    assert [line[:2] == "# " for line in lines] == [True, False] * (len(lines) // 2)
    assert lines
    for line in lines[1::2]:
        words = shlex.split(line.partition(" > ")[0])
        words = words[words.index("netspec") + 1 :]
        assert words[0] == name
        context = CONTENTS.commands[name].make_context(name, words[1:], obj={})
        given = [context.params.get("spec"), *(context.params.get("specs") or ())]
        for spec in filter(None, given):
            assert SPECS.parent.joinpath(spec).is_file() or "*" in str(spec), spec
