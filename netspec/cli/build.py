"""The commands that build: their arguments and exit codes, no logic."""

from __future__ import annotations

import gc
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netspec.cli import arguments
from netspec.cli.app import command
from netspec.cli.arguments import (
    Against,
    Device,
    Findings,
    FlattenedOption,
    Folder,
    Format,
    Ignored,
    KerasOn,
    MappingFile,
    Output,
    Report,
    Seed,
    Sets,
    SpecPath,
    Targets,
    TensorBoard,
    Timeout,
    Trainer,
    TrainerOption,
    Variant,
    WeightsFile,
    chosen_backends,
    load_chosen,
    words_of,
)
from netspec.cli.console import say, say_json
from netspec.cli.foreign import prove_against
from netspec.cli.pages import MAKE, WEIGHTS
from netspec.errors import BackendError, Problem, SpecError

if TYPE_CHECKING:
    from netspec.building.options import Options
    from netspec.spec.model import Spec


@command(
    MAKE,
    "# The demo, which needs no download; then open build/digits-cnn/report.html",
    "netspec build specs/digits-cnn.yaml",
    "# Shorter, and elsewhere",
    "netspec build specs/digits-cnn.yaml --set train.epochs=3 -o /tmp/trial",
    "# Weights that others trained, for every backend, and proven",
    "netspec build specs/resnet18.yaml --weights resnet18.pth",
)
def build(
    spec: SpecPath,
    backend: TrainerOption = Trainer.torch,
    targets: Targets = "torch,keras,onnx",
    no_train: Annotated[
        bool,
        typer.Option(
            "--no-train",
            help="Do not train: take the weights that are there, or initial ones.",
            rich_help_panel=WEIGHTS,
        ),
    ] = False,
    device: Device = "auto",
    output: Folder = Path("build"),
    seed: Seed = None,
    weights: WeightsFile = None,
    keras_backend: KerasOn = None,
    tensorboard: TensorBoard = False,
    force: Annotated[bool, arguments.force("Do all of it again, the training too")] = False,
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """The main job: compile for every backend, train if the spec says so, export, and prove all of them equal.

    Writes build/<name>/ with the emitted sources, the exported models,
    verify.json and report.html. What is up to date is not done again.
    """
    from netspec.building.options import Options

    names = chosen_backends(targets)
    options = Options(
        names,
        backend.value,
        not no_train,
        device=device,
        folder=output,
        seed=seed,
        weights=weights,
        force=force,
        tensorboard=tensorboard,
    )
    _run(load_chosen(spec, set_, variant), options, format_, words_of(set_, variant, keras_backend))


@command(
    MAKE,
    "# With Keras, on JAX",
    "netspec train specs/digits-cnn.yaml --backend keras --keras-backend jax",
    "# With PyTorch, on two GPUs",
    "torchrun --nproc-per-node 2 -m netspec train specs/mnist-deep-cnn.yaml",
)
def train(
    spec: SpecPath,
    backend: TrainerOption = Trainer.torch,
    device: Device = "auto",
    output: Folder = Path("build"),
    seed: Seed = None,
    weights: WeightsFile = None,
    keras_backend: KerasOn = None,
    tensorboard: TensorBoard = False,
    force: Annotated[bool, arguments.force("Train again")] = False,
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """Train only: weights, history and plot in build/<name>/; `export` and `verify` take it from there."""
    from netspec.building.options import Options

    loaded = load_chosen(spec, set_, variant)
    if loaded.train is None:
        hint = "add for example `data: digits` and `train: {epochs: 10}`"
        raise SpecError([Problem("it has no `train` section, so there is nothing to train", hint, str(spec))])
    # Nothing is exported, so no backend is needed but the one that trains.
    trainer = backend.value
    options = Options(
        (trainer,),
        trainer,
        device=device,
        folder=output,
        seed=seed,
        weights=weights,
        force=force,
        tensorboard=tensorboard,
        until="train",
    )
    _run(loaded, options, format_, words_of(set_, variant, keras_backend))


@command(MAKE, "# The ONNX file alone", "netspec export specs/digits-cnn.yaml --targets onnx")
def export(
    spec: SpecPath,
    targets: Targets = "torch,keras,onnx",
    output: Folder = Path("build"),
    seed: Seed = None,
    weights: WeightsFile = None,
    keras_backend: KerasOn = None,
    force: Annotated[bool, arguments.force("Write the files again")] = False,
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """Write the artefacts of every backend, with the weights of the build folder, or freshly drawn ones."""
    from netspec.building.options import Options

    names = chosen_backends(targets)
    options = Options(names, train=False, folder=output, seed=seed, weights=weights, force=force, until="export")
    _run(load_chosen(spec, set_, variant), options, format_, words_of(set_, variant, keras_backend))


@command(
    MAKE,
    "# Do PyTorch and Keras also train alike, for 50 steps?",
    "netspec verify specs/digits-cnn.yaml --targets torch,keras --train-steps 50",
    "# Is a file that somebody exported this network?",
    "netspec verify specs/resnet18.yaml --against resnet18.onnx",
)
def verify(
    spec: SpecPath,
    targets: Targets = "torch,keras,onnx",
    output: Folder = Path("build"),
    seed: Seed = None,
    weights: WeightsFile = None,
    train_steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Let all that train take N updates in lock-step. Not given: the spec's verify.train_steps.",
            min=0,
        ),
    ] = None,
    against: Against = None,
    mapping: MappingFile = None,
    ignore: Ignored = None,
    flattened: FlattenedOption = None,
    timeout: Timeout = 300.0,
    keras_backend: KerasOn = None,
    force: Annotated[bool, arguments.force("Prove it anew")] = False,
    set_: Sets = None,
    variant: Variant = None,
    format_: Findings = Report.text,
) -> None:
    """Prove that every backend computes what the spec means, row by row; exports first what is not up to date.

    With --against, files that others made are proven instead, and nothing is
    exported: their weights are read (or --weights says what they should be),
    and their own runtimes run them.
    """
    if against:
        loaded = load_chosen(spec, set_, variant)
        changed = words_of(set_, variant, keras_backend)
        prove_against(loaded, against, weights, mapping, ignore or (), flattened, timeout, format_, changed)
    from netspec.building.options import Options

    names = chosen_backends(targets)
    options = Options(
        names,
        train=False,
        judge=True,
        folder=output,
        seed=seed,
        train_steps=train_steps,
        weights=weights,
        force=force,
    )
    _run(load_chosen(spec, set_, variant), options, format_, words_of(set_, variant, keras_backend))


def _run(spec: Spec, options: Options, format_: Format | Report, words: Sequence[str]) -> None:
    """Build, and print what came of it; `words` are the options that change the spec, for commands that repeat it."""
    from netspec.building.build import build as run_build
    from netspec.report.outcome import outcome_json, outcome_text
    from netspec.report.progress import build_progress

    gc.enable()
    with build_progress(spec.name) as progress:
        outcome = run_build(spec, options, progress)
    if outcome.joined:
        raise typer.Exit(0)
    verdict = outcome.verdict
    if format_ in (Format.json, Report.json):
        say_json(outcome_json(outcome))
    else:
        again = ["netspec", "verify", spec.file, *words]
        again += ["-o", str(options.folder)] if options.folder != Path("build") else []
        again += ["--seed", str(options.seed)] if options.seed is not None else []
        again += ["--weights", str(options.weights)] if options.weights is not None else []
        say(outcome_text(outcome, options.until, shlex.join(again), shutil.get_terminal_size().columns))
    if format_ is Report.github and verdict is not None and not verdict.passed:
        from netspec.compile import compile_spec
        from netspec.report.github import verdict_github

        say(verdict_github(verdict, compile_spec(spec), spec.file))
    raise typer.Exit(0 if verdict is None or verdict.passed else 1 if verdict.differs else BackendError.exit_code)
