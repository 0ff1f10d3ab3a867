"""The command line: arguments and exit codes, no logic."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

# A command that only reads a spec ends before there is much garbage, and starting is most of its work: collecting it
# while modules load, and looking for pydantic plugins in every installed distribution, would be a quarter of that.
gc.disable()
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer  # noqa: E402

from netspec.cli import arguments  # noqa: E402
from netspec.cli.arguments import (  # noqa: E402
    Against,
    Device,
    Drawing,
    Drawn,
    Findings,
    FlattenedOption,
    Folder,
    Format,
    Ignored,
    KerasOn,
    MappingFile,
    Notation,
    Output,
    Report,
    Seed,
    Sets,
    SpecPath,
    SpecPaths,
    Targets,
    TensorBoard,
    Timeout,
    Trainer,
    TrainerOption,
    Variant,
    WeightsFile,
    chosen_backends,
    load_chosen,
)
from netspec.cli.console import complain, hush, say, say_json  # noqa: E402
from netspec.cli.foreign import diff, import_weights, prove_against  # noqa: E402
from netspec.cli.inference import activations, evaluate, predict  # noqa: E402
from netspec.cli.pages import ASK, EXCHANGE, LOOK, MAKE, TOOL, WEIGHTS, CommandPage, Contents  # noqa: E402
from netspec.errors import BackendError, NetspecError, Problem, SpecError  # noqa: E402
from netspec.training.interrupt import Terminated, ended_by, on_signals, status_of  # noqa: E402

if TYPE_CHECKING:
    from netspec.building.options import Options
    from netspec.spec.model import Spec

# What typer raises for wrong arguments: it exports no name for it, and its home differs between typer's versions.
UsageError: Any = typer.BadParameter.__base__

F = TypeVar("F", bound=Callable[..., Any])

app = typer.Typer(
    help="A neural network as a table of layers in YAML: compiled to PyTorch, Keras and ONNX, and proven equal.",
    epilog="Begin with `netspec check specs/digits-cnn.yaml`, then `netspec show` and `netspec build` it; "
    "`netspec COMMAND --help` has examples.\n\n"
    "Exit status: 0 fine; 1 verification or an expectation failed, or there are differences; 2 the spec or the "
    "arguments are wrong, or a file cannot be read or written; 3 a backend is missing or did not answer; 130 or 143 "
    "interrupted.",
    cls=Contents,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(group: str, *lines: str, name: str | None = None) -> Callable[[F], F]:
    """A function as a command of a group; the lines are examples of it, each below what it is for."""
    return app.command(name, cls=CommandPage, rich_help_panel=group, epilog="\n".join(lines))


@command(
    LOOK,
    "# Every spec of a folder, in all of its variants",
    "netspec check specs/*.yaml",
    "# What is wrong as annotations of a pull request, in GitHub Actions",
    "netspec check specs/*.yaml --format github",
)
def check(specs: SpecPaths, set_: Sets = None, variant: Variant = None, format_: Findings = Report.text) -> None:
    """Is the spec valid, in each of its variants? Shapes, counts and expectations; imports no framework."""
    from netspec.compile.checked import checked
    from netspec.report.checked import checked_json, checked_text, refused_json

    status, results = 0, []
    for path in specs:
        for name, found in checked(path, set_ or [], variant):
            if isinstance(found, SpecError):
                status = max(status, found.exit_code)
                results.append(refused_json(path, found, name))
                if format_ is not Report.json:
                    _show_error(found, format_)
            else:
                results.append(checked_json(path, found, name))
                if format_ is not Report.json:
                    say(checked_text(path, found, name))
    if format_ is Report.json:
        say_json(results)
    raise typer.Exit(status)


@command(
    LOOK,
    "# What a batch of 64 takes",
    "netspec show specs/unet.yaml --batch 64",
    "# The graph, for a README",
    "netspec show specs/unet.yaml --format mermaid",
)
def show(
    spec: SpecPath,
    batch: Annotated[
        int, typer.Option(metavar="N", help="The size of the batch that the memory is given for.", min=1)
    ] = 1,
    set_: Sets = None,
    variant: Variant = None,
    format_: Drawn = Drawing.text,
) -> None:
    """The layer table: output shape, parameters, MACs and memory of every row, and the totals."""
    from netspec.compile import compile_spec
    from netspec.report.table import show_json, show_text

    network = compile_spec(load_chosen(spec, set_, variant))
    if format_ is Drawing.json:
        say_json(show_json(network))
    elif format_ is Drawing.mermaid:
        from netspec.report.mermaid import show_mermaid

        say(show_mermaid(network))
    else:
        say(show_text(network, batch))


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
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
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
    _run(load_chosen(spec, set_, variant), options, format_)


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
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
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
    _run(loaded, options, format_)


@command(MAKE, "# The ONNX file alone", "netspec export specs/digits-cnn.yaml --targets onnx")
def export(
    spec: SpecPath,
    targets: Targets = "torch,keras,onnx",
    output: Folder = Path("build"),
    seed: Seed = None,
    weights: WeightsFile = None,
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
    force: Annotated[bool, arguments.force("Write the files again")] = False,
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """Write the artefacts of every backend, with the weights of the build folder, or freshly drawn ones."""
    from netspec.building.options import Options

    names = chosen_backends(targets)
    options = Options(names, train=False, folder=output, seed=seed, weights=weights, force=force, until="export")
    _run(load_chosen(spec, set_, variant), options, format_)


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
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
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
        changed = [word for each in set_ or () for word in ("--set", each)] + (
            ["--variant", variant] if variant else []
        )
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
    _run(load_chosen(spec, set_, variant), options, format_)


command(
    ASK,
    "# The likeliest class of every test image",
    "netspec predict specs/digits-cnn.yaml --split test --top 1",
    "# All pictures of a folder, with what was exported as ONNX",
    "netspec predict specs/squeezenet-transfer.yaml --input photos/ --backend onnx",
    "# Numbers in, numbers out",
    "netspec predict specs/digits-cnn.yaml --input x.npy --output y.npy",
)(predict)
command(
    ASK,
    "# On the test images, with a picture of what is taken for what",
    "netspec evaluate specs/digits-cnn.yaml -o confusion.png",
    "# On other data, the file that was deployed",
    "netspec evaluate specs/digits-cnn.yaml --data new.npz --artefact digits.onnx",
)(evaluate)
command(
    ASK,
    "# What the first convolution makes of a picture",
    "netspec activations specs/digits-cnn.yaml --image three.png --row conv_1",
)(activations)


@command(
    LOOK, "# The first 30 images of the second epoch", "netspec data specs/digits-cnn.yaml --epoch 2 -o digits.png"
)
def data(
    spec: SpecPath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The picture. Not given: <name>-data.png, here."),
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="N", help="How many images of the batch to draw, at most 1000.", min=1, max=1000)
    ] = 30,
    epoch: Annotated[int, typer.Option(metavar="N", help="The epoch whose first batch it is.", min=1)] = 1,
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """The data that a spec trains on: its splits and classes, and a picture of a batch, as it is and as augmented."""
    from netspec import preview
    from netspec.compile import compile_spec
    from netspec.inference import predict as work
    from netspec.report.data import data_json, data_text, draw_batch
    from netspec.report.progress import build_progress

    gc.enable()
    loaded = load_chosen(spec, set_, variant)
    network = compile_spec(loaded)
    path = work.check_picture(output or Path(f"{loaded.name}-data.png"))
    with build_progress(loaded.name) as progress:
        dataset = preview.read_data(loaded, network, progress)
    batch = preview.first_batch(loaded, network, dataset, epoch)
    drawn = draw_batch(batch, dataset, path, count, f"{loaded.name}: the first batch of epoch {epoch}")
    if format_ is Format.json:
        say_json(data_json(dataset, network, path if drawn else None))
    else:
        say(data_text(dataset, network, path if drawn else None))


command(
    EXCHANGE,
    "# Two specs, row by row",
    "netspec diff specs/squeezenet-1.0.yaml specs/squeezenet-1.1.yaml",
    "# Two models, by their tensors and by what they compute",
    "netspec diff old.onnx new.keras",
)(diff)


@command(
    EXCHANGE, "# Values for the tests of another program", "netspec golden specs/digits-cnn.yaml -o digits.safetensors"
)
def golden(
    spec: SpecPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
    weights: WeightsFile = None,
    seed: Seed = None,
    set_: Sets = None,
    variant: Variant = None,
) -> None:
    """Write inputs, weights and expected outputs to one file, which `expect: {golden: FILE}` pins.

    Any tool that reads safetensors can test with it: inputs.NAME, weights.ROW.NAME,
    outputs.NAME, channels last, and granted.NAME, how far float32 may be off.
    """
    from netspec.storage.stages import sha256
    from netspec.verify.golden import drawn, write

    bundle, network = drawn(load_chosen(spec, set_, variant), weights, seed)
    write(output, bundle, network)
    say(f"{output}: {len(bundle.inputs)} inputs, {len(bundle.outputs)} outputs\nsha256 {sha256(output)}")


command(
    EXCHANGE,
    "# A state dict of PyTorch",
    "netspec import-weights specs/resnet18.yaml resnet18.pth -o weights.safetensors",
    "# A network with a part that the spec does not have",
    "netspec import-weights specs/inception-v3.yaml v3.pth -o v3.safetensors \\",
    "    --ignore 'AuxLogits.*'",
    name="import-weights",
)(import_weights)


@command(
    LOOK,
    "# Rows as mappings, on standard output",
    "netspec fmt specs/digits-cnn.yaml --to mapping --stdout",
    "# Are the rows of all specs aligned?",
    "netspec fmt specs/*.yaml --check",
)
def fmt(
    specs: SpecPaths,
    to: Annotated[
        Notation, typer.Option(metavar="pipes|mapping|table", help="The notation that rows are turned into.")
    ] = Notation.pipes,
    check_: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if a file would change.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the result instead of writing the file.")] = False,
) -> None:
    """Turn the notations of the layer table into each other, aligned; comments and everything else stay."""
    from netspec.spec.format import format_spec
    from netspec.spec.load import read_text
    from netspec.spec.rewrite import rewrite

    status = 0
    for path in specs:
        try:
            text = read_text(path)
            formatted = format_spec(text, str(path), to.value)
            changes = formatted != text
            status = max(status, check_ and changes)
            if stdout:
                say(formatted, end="")
            elif check_ and changes:
                say(f"{path} would change")
            elif changes:
                rewrite(path, formatted)
                say(f"{path}: written as {to.value}")
        except SpecError as error:
            status = max(status, error.exit_code)
            _show_error(error)
    raise typer.Exit(status)


@command(
    TOOL,
    "# A spec begins with: # yaml-language-server: $schema=netspec.schema.json",
    "netspec schema > netspec.schema.json",
)
def schema() -> None:
    """Print the JSON Schema of spec files, for editors."""
    from netspec.spec.schema import json_schema

    say_json(json_schema())


@command(TOOL, "# What to put into a bug report", "netspec doctor --format json")
def doctor(format_: Output = Format.text) -> None:
    """Which backends, devices and versions are here."""
    from netspec.backend.doctor import examine
    from netspec.report.doctor import doctor_text

    found = examine()
    if format_ is Format.json:
        say_json(found)
    else:
        say(doctor_text(found))


def _run(spec: Spec, options: Options, format_: Format | Report) -> None:
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
        say(outcome_text(outcome, options.until, spec.file))
    if format_ is Report.github and verdict is not None and not verdict.passed:
        from netspec.compile import compile_spec
        from netspec.report.github import verdict_github

        say(verdict_github(verdict, compile_spec(spec), spec.file))
    raise typer.Exit(0 if verdict is None or verdict.passed else 1 if verdict.differs else BackendError.exit_code)


def _show_error(error: NetspecError, format_: str = Format.text) -> None:
    from netspec.report.problems import error_json, error_text, wants_colour

    if format_ == Format.json:
        say_json(error_json(error))
    else:
        if format_ == Report.github:
            from netspec.report.github import error_github

            say(error_github(error))
        complain(error_text(error, colour=wants_colour(sys.stderr)))


def _end(by: Signals) -> NoReturn:
    raise ended_by(by)


def _ended(how: str, error: BaseException) -> str:
    return f"netspec: {how}" + (f"; {error}" if str(error) else "")


def main() -> None:
    """Run the command line; whatever ends a command becomes a message and its exit status."""
    # typer's own `app()` would handle Ctrl-C and closed pipes before we could.
    command = typer.main.get_command(app)
    chosen: dict[str, str] = {}
    status = 0
    try:
        try:
            with on_signals(_end), command.make_context("netspec", sys.argv[1:], obj=chosen) as context:
                command.invoke(context)
        except NetspecError as error:
            status = error.exit_code
            _show_error(error, chosen.get("format", Format.text))
    except typer.Exit as ended:
        status = ended.exit_code
    except UsageError as error:
        status = error.exit_code
        error.message = error.message.replace("Value error, ", "", 1)  # which is pydantic's word, from inside of typer
        error.show()
    except Terminated as error:
        status = status_of(SIGTERM)
        complain(_ended("terminated", error))
    except (KeyboardInterrupt, typer.Abort) as error:
        status = status_of(SIGINT)
        complain(_ended("interrupted", error))
    except BrokenPipeError:
        hush(sys.stdout)
    except OSError as error:
        status = NetspecError.exit_code
        complain(f"netspec: {error}")
    sys.exit(status)
