"""The arguments and options of the command line that several commands have, and the words that options take."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netspec.errors import Problem, SpecError

if TYPE_CHECKING:
    from netspec.spec.model import Spec


class Format(StrEnum):
    """How a command prints its result."""

    text = "text"
    json = "json"


class Report(StrEnum):
    """How what is wrong with a spec is printed."""

    text = "text"
    json = "json"
    github = "github"


class Drawing(StrEnum):
    """How `show` prints a network."""

    text = "text"
    json = "json"
    mermaid = "mermaid"


def _remember(context: typer.Context, format_: str) -> str:
    context.obj["format"] = format_  # errors are printed in it too, once the command has ended
    return format_


class Trainer(StrEnum):
    """The backends that train."""

    torch = "torch"
    keras = "keras"


class Runtime(StrEnum):
    """What Keras runs on."""

    tensorflow = "tensorflow"
    jax = "jax"
    torch = "torch"


def _run_keras_on(runtime: Runtime | None) -> Runtime | None:
    if runtime is not None:
        os.environ["KERAS_BACKEND"] = runtime.value  # which Keras reads, in the processes that are started from here
    return runtime


class SplitName(StrEnum):
    """The parts of a data set."""

    train = "train"
    validation = "validation"
    test = "test"
    all = "all"


class Notation(StrEnum):
    """The notations of a layer table."""

    pipes = "pipes"
    mapping = "mapping"
    table = "table"


class Flattened(StrEnum):
    """Where the channels stand while a network flattens an image."""

    first = "first"
    last = "last"


SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec file.")]
SpecPaths = Annotated[list[Path], typer.Argument(metavar="SPEC...", help="The spec files.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value, e.g. train.epochs=3; may be given several times."
    ),
]
Variant = Annotated[str | None, typer.Option(metavar="NAME", help="Take this one of the spec's variants.")]
Output = Annotated[
    Format,
    typer.Option("--format", callback=_remember, help="Text for people, or one JSON document on standard output."),
]
Findings = Annotated[
    Report,
    typer.Option(
        "--format",
        callback=_remember,
        help="Text for people, one JSON document, or text with annotations for GitHub Actions.",
    ),
]
Drawn = Annotated[
    Drawing,
    typer.Option("--format", callback=_remember, help="A table for people, one JSON document, or a Mermaid flowchart."),
]
Targets = Annotated[
    str, typer.Option(metavar="NAMES", help="The backends to compile for, separated by commas.", show_default=True)
]
Folder = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The parent of the build folder.")]
Device = Annotated[str, typer.Option(help="Where to train: auto (a GPU where there is one), cpu, cuda:0, ...")]
KerasOn = Annotated[
    Runtime | None,
    typer.Option(
        "--keras-backend",
        callback=_run_keras_on,
        help="What Keras runs on; what KERAS_BACKEND says when not given, or TensorFlow.",
    ),
]
TrainerOption = Annotated[Trainer, typer.Option("--backend", help="The backend that trains.")]
TensorBoard = Annotated[
    bool,
    typer.Option("--tensorboard", help="Log every epoch for TensorBoard too, in build/<name>/tensorboard/."),
]
Force = Annotated[bool, typer.Option("--force", help="Do it again, even where nothing has changed.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the initial weights; the spec's train.seed, or 0.", min=0)]

WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Take the initial weights from this file, as `import-weights` reads it; looked for here and in "
        "$NETSPEC_DATA and $NETSPEC_DATA/weights.",
    ),
]
Runner = Annotated[str, typer.Option("--backend", metavar="NAME", help="The backend that computes.")]
OwnRunner = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="NAME", help="The backend that computes; torch when not given, or what runs --artefact."
    ),
]
Known = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Take the weights from this file, as `import-weights` reads it, not from the build folder; looked for "
        "here and in $NETSPEC_DATA and $NETSPEC_DATA/weights.",
    ),
]
DataSource = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="Other data than the spec's: mnist, a folder of images, an .npz, a .csv, hf:NAME, or as the section "
        "`data` says it: '{file: x.csv, labels: species}'.",
    ),
]
SplitOption = Annotated[
    SplitName | None,
    typer.Option("--split", help="Which part of the data; the test images where there are some, when not given."),
]
ArtefactFile = Annotated[
    Path | None,
    typer.Option("--artefact", metavar="FILE", help="Run this exported .py, .keras or .onnx file; it has its weights."),
]
Built = Annotated[Path, typer.Option("--build", metavar="FOLDER", help="The parent of the build folder.")]

Against = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Prove this file instead of the backends: .onnx, .keras, .h5, .pt2, or weights alone; several times.",
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        "--mapping", metavar="FILE", help="YAML: a row or a weight, a colon, its layer or tensor in the file."
    ),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option("--ignore", metavar="PATTERN", help="Leave out layers or tensors, e.g. 'AuxLogits.*'; several times."),
]
FlattenedOption = Annotated[
    Flattened | None,
    typer.Option(
        "--flattened", help="Where the file's network has channels when it flattens, if the file does not say."
    ),
]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", help="How long each file of --against may take to be read, or run.", min=1)
]


def chosen_backends(written: str, option: str = "--targets", most: int | None = None) -> tuple[str, ...]:
    """The backends that an option names, each once; raises SpecError for one that is unknown, none, or too many."""
    from netspec.backend import installed_backends
    from netspec.errors import did_you_mean, one_of

    names = tuple(dict.fromkeys(name.strip() for name in written.split(",") if name.strip()))
    known = installed_backends()
    problems = [
        Problem(f"there is no backend {name!r}", did_you_mean(name, known) or one_of(known), option)
        for name in names
        if name not in known
    ]
    if not names or (most is not None and len(names) > most):
        named = "no backend" if not names else f"{len(names)} backends, of which one can be chosen"
        problems = [Problem(f"{written!r} names {named}", one_of(known), option)]
    if problems:
        raise SpecError(problems)
    return names


def load_chosen(path: Path, sets: list[str] | None, variant: str | None) -> Spec:
    """The spec in a file, with what the command line says in the place of what it says."""
    from netspec.spec.load import load_spec

    return load_spec(path, sets or [], variant)
