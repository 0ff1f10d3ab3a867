"""The command line: arguments and exit codes, no logic."""

from __future__ import annotations

import gc
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

# A command that only reads a spec ends before there is much garbage, and starting is most of its work: collecting it
# while modules load, and looking for pydantic plugins in every installed distribution, would be a quarter of that.
gc.disable()
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer  # noqa: E402

from netspec.errors import NetspecError, Problem, SpecError  # noqa: E402

if TYPE_CHECKING:
    from netspec.build import Options, Outcome
    from netspec.spec.model import Spec

app = typer.Typer(
    help="A neural network as a table of layers in YAML: compiled to PyTorch, Keras and ONNX, and proven equal.",
    epilog="Start with `netspec check specs/digits-cnn.yaml`, then `netspec show` and `netspec build` on it. "
    "Exit status: 0 fine, 1 verification or expectation failed, 2 wrong spec or arguments, 3 a backend is missing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How a command prints its result."""

    text = "text"
    json = "json"


class Trainer(StrEnum):
    """The backends that train."""

    torch = "torch"
    keras = "keras"


class Notation(StrEnum):
    """The notations of a layer table."""

    pipes = "pipes"
    mapping = "mapping"
    table = "table"


SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec file.")]
SpecPaths = Annotated[list[Path], typer.Argument(metavar="SPEC...", help="The spec files.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value, e.g. train.epochs=3; may be given several times."
    ),
]
Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON document on standard output.")]
Targets = Annotated[
    str, typer.Option(metavar="NAMES", help="The backends to compile for, separated by commas.", show_default=True)
]
Folder = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The parent of the build folder.")]
Device = Annotated[str, typer.Option(help="Where to train: auto (a GPU where there is one), cpu, cuda:0, ...")]
TrainerOption = Annotated[Trainer, typer.Option("--backend", help="The backend that trains.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the initial weights; the spec's train.seed, or 0.", min=0)]


@app.command()
def check(specs: SpecPaths, set_: Sets = None, format_: Output = Format.text) -> None:
    """Is the spec valid? Shapes, counts and expectations; imports no framework."""
    from netspec.compile import compile_spec
    from netspec.spec.load import load_spec

    status, results = 0, []
    for path in specs:
        result: dict[str, Any] = {"spec": str(path), "valid": True, "problems": []}
        try:
            network = compile_spec(load_spec(path, set_ or []))
        except SpecError as error:
            status = max(status, error.exit_code)
            result |= {"valid": False, "problems": [_problem_json(problem) for problem in error.problems]}
            if format_ is Format.text:
                _show_error(error)
        else:
            result |= {
                "rows": len(network.rows),
                "parameters": network.parameters,
                "output": list(network.output_type.shape),
            }
            if format_ is Format.text:
                rows = f"{len(network.rows)} row{'s' * (len(network.rows) != 1)}"
                print(f"{path}: fine, {rows}, {network.parameters:,} parameters, output {network.output_type}")
        results.append(result)
    if format_ is Format.json:
        _print_json(results)
    raise typer.Exit(status)


@app.command()
def show(
    spec: SpecPath,
    batch: Annotated[int, typer.Option(help="Batch size that the memory figures are for.", min=1)] = 1,
    set_: Sets = None,
    format_: Output = Format.text,
) -> None:
    """The layer table: output shape, parameters, MACs and memory of every row, and the totals."""
    from netspec.compile import compile_spec
    from netspec.report.table import show_json, show_text
    from netspec.spec.load import load_spec

    network = compile_spec(load_spec(spec, set_ or []))
    if format_ is Format.json:
        _print_json(show_json(network))
    else:
        print(show_text(network, batch))


@app.command()
def build(
    spec: SpecPath,
    backend: TrainerOption = Trainer.torch,
    targets: Targets = "torch,keras,onnx",
    no_train: Annotated[bool, typer.Option("--no-train", help="Leave the weights as they are drawn.")] = False,
    device: Device = "auto",
    output: Folder = Path("build"),
    seed: Seed = None,
    set_: Sets = None,
    format_: Output = Format.text,
) -> None:
    """The main job: compile for every backend, train if the spec says so, export, and prove all of them equal.

    Writes build/<name>/ with the emitted sources, the exported models,
    verify.json and report.html. What is up to date is not done again.
    """
    options = _options(targets, output, seed, trainer=backend.value, train=not no_train, device=device)
    _run(spec, set_, options, format_)


@app.command()
def train(
    spec: SpecPath,
    backend: TrainerOption = Trainer.torch,
    device: Device = "auto",
    output: Folder = Path("build"),
    seed: Seed = None,
    set_: Sets = None,
    format_: Output = Format.text,
) -> None:
    """Train only: weights, history and plot in build/<name>/; `export` and `verify` take it from there."""
    options = _options("", output, seed, trainer=backend.value, device=device, until="train")
    loaded = _load(spec, set_)
    if loaded.train is None:
        hint = "add for example `data: digits` and `train: {epochs: 10}`"
        raise SpecError([Problem("it has no `train` section, so there is nothing to train", hint, str(spec))])
    _run(spec, set_, options, format_)


@app.command()
def export(
    spec: SpecPath,
    targets: Targets = "torch,keras,onnx",
    output: Folder = Path("build"),
    seed: Seed = None,
    set_: Sets = None,
    format_: Output = Format.text,
) -> None:
    """Write the artefacts of every backend, with the weights of the build folder, or freshly drawn ones."""
    options = _options(targets, output, seed, train=False, keep_weights=True, until="export")
    _run(spec, set_, options, format_)


@app.command()
def verify(
    spec: SpecPath,
    targets: Targets = "torch,keras,onnx",
    output: Folder = Path("build"),
    seed: Seed = None,
    set_: Sets = None,
    format_: Output = Format.text,
) -> None:
    """Prove that every backend computes what the spec means, row by row; exports first what is not up to date."""
    options = _options(targets, output, seed, train=False, keep_weights=True, until="verify")
    _run(spec, set_, options, format_)


@app.command()
def fmt(
    specs: SpecPaths,
    to: Annotated[Notation, typer.Option(help="The notation that rows are turned into.")] = Notation.pipes,
    check_: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if a file would change.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the result instead of writing the file.")] = False,
) -> None:
    """Turn the notations of the layer table into each other, aligned; comments and everything else stay."""
    from netspec.spec.format import format_spec
    from netspec.spec.load import read_text

    would_change = False
    for path in specs:
        text = read_text(path)
        formatted = format_spec(text, str(path), to.value)
        would_change |= formatted != text
        if stdout:
            print(formatted, end="")
        elif check_:
            if formatted != text:
                print(f"{path} would change")
        elif formatted != text:
            partial = path.with_name(f".{path.name}.partial")
            partial.write_text(formatted, encoding="utf-8", newline="")
            partial.replace(path)
            print(f"{path}: written as {to.value}")
    raise typer.Exit(1 if check_ and would_change else 0)


@app.command()
def schema() -> None:
    """Print the JSON Schema of spec files, for editors."""
    from netspec.spec.schema import json_schema

    _print_json(json_schema())


@app.command()
def doctor(format_: Output = Format.text) -> None:
    """Which backends, devices and versions are here."""
    from netspec.doctor import examine
    from netspec.report.doctor import doctor_text

    found = examine()
    if format_ is Format.json:
        _print_json(found)
    else:
        print(doctor_text(found))


def _options(targets: str, folder: Path, seed: int | None, **more: Any) -> Options:
    from netspec.backend import installed_backends
    from netspec.build import Options
    from netspec.errors import did_you_mean, one_of

    names = tuple(dict.fromkeys(name.strip() for name in targets.split(",") if name.strip()))
    known = installed_backends()
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or one_of(known)
            raise SpecError([Problem(f"there is no backend {name!r}", hint, "--targets")])
    return Options(targets=names, folder=folder, seed=seed, **more)


def _load(path: Path, sets: list[str] | None) -> Spec:
    from netspec.spec.load import load_spec

    return load_spec(path, sets or [])


def _run(path: Path, sets: list[str] | None, options: Options, format_: Format) -> None:
    from netspec.build import build as run_build
    from netspec.report.progress import build_progress

    gc.enable()
    spec = _load(path, sets)
    with build_progress(spec.name) as progress:
        outcome = run_build(spec, options, progress)
    if format_ is Format.json:
        _print_json(_outcome_json(outcome))
    else:
        from netspec.report.outcome import outcome_text

        print(outcome_text(outcome, options.until))
    raise typer.Exit(0 if outcome.verdict is None or outcome.verdict.passed else 1)


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    verdict = json.loads(outcome.verdict.to_json()) if outcome.verdict is not None else None
    return {"folder": str(outcome.folder), "ran": outcome.ran, "test": outcome.test, "verify": verdict}


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _problem_json(problem: Problem) -> dict[str, Any]:
    place = problem.position
    return {
        "message": problem.message,
        "hint": problem.hint,
        "path": problem.path,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
    }


def _show_error(error: NetspecError) -> None:
    if isinstance(error, SpecError):
        from netspec.report.problems import problems_text

        print(problems_text(error.problems, colour=sys.stderr.isatty()), file=sys.stderr)
    else:
        print(f"netspec: {error}", file=sys.stderr)


def main() -> None:
    """Run the command line; every netspec error becomes a message and its exit status."""
    try:
        app(prog_name="netspec")
    except NetspecError as error:
        _show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("netspec: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`netspec show x | head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
