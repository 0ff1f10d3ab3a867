"""The arguments and options of the command line that several commands have, and the words that options take."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netspec.cli.pages import CHANGES, OTHERS, PRINTING, WEIGHTS
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


class Document(StrEnum):
    """What netspec reads or writes that has a schema."""

    spec = "spec"
    verify = "verify"
    against = "against"


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


def _words(kind: type[StrEnum]) -> str:
    return "|".join(kind)


SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec file.")]
SpecPaths = Annotated[list[Path], typer.Argument(metavar="SPEC...", help="The spec files.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Take this value instead of the spec's: train.epochs=3. May be given several times.",
        rich_help_panel=CHANGES,
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Take this one of the spec's variants; `netspec check` names them.",
        rich_help_panel=CHANGES,
    ),
]
Output = Annotated[
    Format,
    typer.Option(
        "--format",
        metavar=_words(Format),
        callback=_remember,
        help="Text for people, or one JSON document on standard output, for errors too.",
        rich_help_panel=PRINTING,
    ),
]
Findings = Annotated[
    Report,
    typer.Option(
        "--format",
        metavar=_words(Report),
        callback=_remember,
        help="Text for people, one JSON document, or text with annotations for GitHub Actions.",
        rich_help_panel=PRINTING,
    ),
]
Drawn = Annotated[
    Drawing,
    typer.Option(
        "--format",
        metavar=_words(Drawing),
        callback=_remember,
        help="A table for people, one JSON document, or a Mermaid flowchart.",
        rich_help_panel=PRINTING,
    ),
]
Targets = Annotated[
    str, typer.Option(metavar="NAMES", help="The backends to compile for, separated by commas.", show_default=True)
]
Folder = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Where the build folder lies, which has the spec's name: FOLDER/<name>/.",
    ),
]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", help="Where to train: auto (a GPU where there is one), cpu, cuda:0, ...")
]
KerasOn = Annotated[
    Runtime | None,
    typer.Option(
        "--keras-backend",
        metavar=_words(Runtime),
        callback=_run_keras_on,
        help="What Keras runs on. Not given: what KERAS_BACKEND says in the environment, or tensorflow.",
    ),
]
TrainerOption = Annotated[
    Trainer,
    typer.Option("--backend", metavar=_words(Trainer), help="The backend that trains; all others get its weights."),
]
TensorBoard = Annotated[
    bool,
    typer.Option("--tensorboard", help="Log every epoch for TensorBoard too, in the build folder's tensorboard/."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Draw the initial weights from this seed. Not given: the spec's train.seed, or 0.",
        min=0,
        rich_help_panel=WEIGHTS,
    ),
]

WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Take the initial weights from this file, of any kind that `import-weights` reads; looked for here, in "
        "$NETSPEC_DATA and in $NETSPEC_DATA/weights.",
        rich_help_panel=WEIGHTS,
    ),
]
Runner = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="The backend that computes: torch, keras or onnx.")
]
OwnRunner = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="The backend that computes: torch, keras or onnx. Not given: torch, or the one that runs --artefact.",
    ),
]
Known = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Take the weights from this file, of any kind that `import-weights` reads, not from the build folder; "
        "looked for here, in $NETSPEC_DATA and in $NETSPEC_DATA/weights.",
        rich_help_panel=WEIGHTS,
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
    typer.Option(
        "--split",
        metavar=_words(SplitName),
        help="Which part of the data. Not given: the test images, where there are some.",
    ),
]
ArtefactFile = Annotated[
    Path | None,
    typer.Option(
        "--artefact",
        metavar="FILE",
        help="Run this exported .py, .keras or .onnx file, with the weights that it has.",
        rich_help_panel=WEIGHTS,
    ),
]
Built = Annotated[
    Path,
    typer.Option(
        "--build",
        metavar="FOLDER",
        help="Where the build folder lies, from which the weights are: FOLDER/<name>/.",
        rich_help_panel=WEIGHTS,
    ),
]

Against = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Prove this file instead of the backends: .onnx, .keras, .h5, .pt2, or weights alone. May be given "
        "several times.",
        rich_help_panel=OTHERS,
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        help="YAML that says what is what: a row or a weight, a colon, its layer or tensor in the file.",
        rich_help_panel=OTHERS,
    ),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="PATTERN",
        help="Leave out the file's layers or tensors of such names: 'AuxLogits.*'. May be given several times.",
        rich_help_panel=OTHERS,
    ),
]
FlattenedOption = Annotated[
    Flattened | None,
    typer.Option(
        "--flattened",
        metavar=_words(Flattened),
        help="Where the file's network has the channels when it flattens an image, if the file does not say.",
        rich_help_panel=OTHERS,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="How long a file may take to be read, or run.", min=1, rich_help_panel=OTHERS),
]


def force(what: str) -> Any:
    """The option that does again what nothing has changed for; `what` it is."""
    return typer.Option("--force", help=f"{what}, though nothing has changed since the last time.")


def chosen_backends(written: str, option: str = "--targets", most: int | None = None) -> tuple[str, ...]:
    """The backends that an option names, each once; raises SpecError for one that is unknown, none, or too many."""
    from netspec.backend.registry import installed_backends, meant_backend
    from netspec.errors import did_you_mean, one_of

    names = tuple(dict.fromkeys(name.strip() for name in written.split(",") if name.strip()))
    known = installed_backends()
    problems = [
        Problem(
            f"there is no backend {name!r}", meant_backend(name) or did_you_mean(name, known) or one_of(known), option
        )
        for name in names
        if name not in known
    ]
    if not names or (most is not None and len(names) > most):
        named = "no backend" if not names else f"{len(names)} backends, of which one can be chosen"
        problems = [Problem(f"{written!r} names {named}", one_of(known), option)]
    if problems:
        raise SpecError(problems)
    return names


def check_safetensors(path: Path) -> None:
    """Raise SpecError, before there is anything to write, for a file that would not be read by its ending again."""
    from netspec.storage.atomic import unwritable

    if path.suffix != ".safetensors":
        hint = f"--output {path.with_suffix('.safetensors')}"
        raise SpecError([Problem(f"{path}: what is written is a .safetensors file", hint, "--output")])
    why = unwritable(path)
    if why is not None:
        raise SpecError([Problem(f"{path} cannot be written: {why}", None, "--output")])


def load_chosen(path: Path, sets: list[str] | None, variant: str | None) -> Spec:
    """The spec in a file, with what the command line says in the place of what it says."""
    from netspec.spec.load import load_spec

    return load_spec(path, sets or [], variant)


def words_of(set_: list[str] | None, variant: str | None, keras_backend: Runtime | None) -> list[str]:
    """The options that change what a spec means or who computes it, as they were given, for commands that repeat it.

    >>> words_of(["train.epochs=3"], "small", None)
    ['--set', 'train.epochs=3', '--variant', 'small']
    """
    words = [word for each in set_ or () for word in ("--set", each)]
    words += ["--variant", variant] if variant else []
    return [*words, *(["--keras-backend", keras_backend.value] if keras_backend is not None else [])]
