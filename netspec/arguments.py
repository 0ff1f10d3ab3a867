"""The arguments and options of the command line that several commands have, and the words that options take."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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
Known = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Take the weights from this file, as `import-weights` reads it, not from the build folder; looked for "
        "here and in $NETSPEC_DATA and $NETSPEC_DATA/weights.",
    ),
]
Built = Annotated[Path, typer.Option("--build", metavar="FOLDER", help="The parent of the build folder.")]
