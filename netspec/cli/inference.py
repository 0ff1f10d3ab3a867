"""The commands that ask a network with its weights: what it says, how good it is, what its rows make of a picture."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netspec.cli.app import command
from netspec.cli.arguments import (
    ArtefactFile,
    Built,
    DataSource,
    Format,
    KerasOn,
    Known,
    Output,
    OwnRunner,
    Runner,
    Sets,
    SpecPath,
    SplitOption,
    Variant,
    chosen_backends,
    load_chosen,
)
from netspec.cli.console import say, say_json
from netspec.cli.pages import ASK
from netspec.errors import Problem, SpecError

if TYPE_CHECKING:
    from netspec.inference.artefact import Artefact
    from netspec.network import Network
    from netspec.spec.model import Spec


@command(
    ASK,
    "# The likeliest class of every test image",
    "netspec predict specs/digits-cnn.yaml --split test --top 1",
    "# All pictures of a folder, with what was exported as ONNX",
    "netspec predict specs/squeezenet-transfer.yaml --input photos/ --backend onnx",
    "# Numbers in, numbers out",
    "netspec predict specs/digits-cnn.yaml --input x.npy --output y.npy",
)
def predict(
    spec: SpecPath,
    input_: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A picture or a folder of pictures, which may be given several times, or a .npy or .npz of inputs, "
            "channels last.",
        ),
    ] = None,
    data: DataSource = None,
    split: SplitOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the outputs as .npy, or by name as .npz."),
    ] = None,
    backend: OwnRunner = None,
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
    artefact: ArtefactFile = None,
    weights: Known = None,
    top: Annotated[int, typer.Option(metavar="N", help="How many classes to print for each sample.", min=1)] = 5,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The names of the classes, one a line. Not given: the spec's."),
    ] = None,
    built: Built = Path("build"),
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """What the network says of pictures, arrays or a data set: the likeliest classes, and the outputs as a file.

    Pictures become inputs as the spec's `preprocess` says; arrays are taken as
    they are. What computes is the exported artefact.
    """
    from netspec.compile import compile_spec
    from netspec.inference import predict as work
    from netspec.inference.inputs import asked
    from netspec.report.predicted import pictures_text, predicted_json, predicted_text, written_text
    from netspec.report.progress import build_progress

    gc.enable()
    loaded = load_chosen(spec, set_, variant)
    network = compile_spec(loaded)
    if output is not None:
        work.check_output(output, network)
    names = work.read_classes(classes, network) if classes is not None else network.classes
    with build_progress(loaded.name) as progress:
        about = asked(loaded, network, input_, data, split.value if split is not None else None, progress)
        runs = _artefact(loaded, network, about.reads(loaded, network), backend, artefact, weights, built)
        samples = about.samples(loaded, network, runs.network)
        predicted = work.predict(runs, samples, progress)
    if output is not None:
        work.write_outputs(output, predicted.outputs)
    if format_ is Format.json:
        found = predicted_json(predicted, network, names, top, runs)
        say_json({**found, "output": str(output) if output is not None else None})
    else:
        read = pictures_text(loaded.preprocess, network.input_type) if samples.pictures else None
        say(predicted_text(predicted, network, names, top, runs, read))
        if output is not None:
            say(written_text(output, predicted.outputs))


@command(
    ASK,
    "# On the test images, with a picture of what is taken for what",
    "netspec evaluate specs/digits-cnn.yaml -o confusion.png",
    "# On other data, the file that was deployed",
    "netspec evaluate specs/digits-cnn.yaml --data new.npz --artefact digits.onnx",
)
def evaluate(
    spec: SpecPath,
    data: DataSource = None,
    split: SplitOption = None,
    backend: OwnRunner = None,
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
    artefact: ArtefactFile = None,
    weights: Known = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Only these: accuracy,f1,top_3_accuracy. Not given: all."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Draw the confusion matrix as this PNG.")
    ] = None,
    built: Built = Path("build"),
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """How good the network is on labelled images: loss, accuracy, F1, AUC, each class, and what is mistaken for what.

    What computes is the exported artefact of a backend, with the weights of
    the build folder or of --weights; the metrics are computed once, in numpy.
    """
    from netspec.compile import compile_spec
    from netspec.compile.pixels import exported_network
    from netspec.inference import evaluation as work
    from netspec.inference.evaluation import metric_names, tops
    from netspec.inference.inputs import choose_images
    from netspec.inference.predict import check_picture
    from netspec.report.evaluated import evaluated_json, evaluated_text
    from netspec.report.progress import build_progress

    gc.enable()
    loaded = load_chosen(spec, set_, variant)
    network = compile_spec(loaded)
    if output is not None:
        check_picture(output)
    work.loss_of(loaded, network)
    names = metric_names(metrics, max(2, network.output_type.size)) if metrics is not None else ()
    runs = _artefact(loaded, network, exported_network(loaded, network), backend, artefact, weights, built)
    with build_progress(loaded.name) as progress:
        chosen = choose_images(loaded, network, data, split.value if split is not None else None, progress)
        found = work.judge(loaded, network, runs, chosen, progress, tops(names))
    found = found.only(names) if names else found
    if output is not None:
        from netspec.report.confusion import draw_confusion

        draw_confusion(found, output, loaded.name)
    if format_ is Format.json:
        say_json({**evaluated_json(found, runs), "picture": str(output) if output is not None else None})
    else:
        say(evaluated_text(found, runs))
        if output is not None:
            say(f"{output}: written")


@command(
    ASK,
    "# What the first convolution makes of a picture",
    "netspec activations specs/digits-cnn.yaml --image three.png --row conv_1",
)
def activations(
    spec: SpecPath,
    image: Annotated[
        Path, typer.Option(metavar="FILE", help="A picture; or a .npy or .npz, of which it is the first sample.")
    ],
    row: Annotated[
        str, typer.Option(metavar="NAME", help="A row or a block, as `netspec show` names it: conv_1, fire2.squeeze.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The picture. Not given: <name>-<row>.png, here."),
    ] = None,
    backend: Runner = "torch",
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
    weights: Known = None,
    built: Built = Path("build"),
    set_: Sets = None,
    variant: Variant = None,
) -> None:
    """Draw what a row makes of a picture: each of its channels, side by side, as a PNG."""
    from netspec.compile import compile_spec
    from netspec.data.given import read_samples
    from netspec.inference import predict as work
    from netspec.inference.artefact import known_weights
    from netspec.report.montage import draw_activations
    from netspec.report.predicted import activations_text, pictures_text
    from netspec.report.progress import build_progress

    gc.enable()
    [runner] = chosen_backends(backend, "--backend", most=1)
    loaded = load_chosen(spec, set_, variant)
    network = compile_spec(loaded)
    path = work.check_picture(output or Path(f"{loaded.name}-{row}.png"))
    part = work.up_to(network, row)
    samples = read_samples([image], network, loaded.preprocess)
    known = known_weights(loaded, network, built, weights, part)
    with build_progress(loaded.name) as progress:
        values = work.activations(part, known, samples, runner, progress)
    about = f"{image.name} in {network.name}, on {runner}"
    draw_activations(values, path, f"{row}  {part.output_type}", about)
    read = pictures_text(loaded.preprocess, network.input_type) if samples.pictures else None
    say(activations_text(path, row, values, read))


def _artefact(
    spec: Spec,
    network: Network,
    reads: Network,
    backend: str | None,
    file: Path | None,
    weights: Path | None,
    built: Path,
) -> Artefact:
    """What --backend, --artefact, --weights and --build mean together; `reads` is the network to be computed, which
    a file that is named decides by itself.
    """
    from netspec.compile.pixels import exported_network
    from netspec.inference.artefact import find_artefact, given_artefact

    [runner] = chosen_backends(backend, "--backend", most=1) if backend is not None else [None]
    if file is None:
        return find_artefact(spec, network, reads, built, weights, runner or "torch")
    if weights is not None:
        message = f"--artefact {file} has its weights, but --weights {weights} names others"
        raise SpecError([Problem(message, "leave one of the two out")])
    return given_artefact(file, spec, exported_network(spec, network), runner)
