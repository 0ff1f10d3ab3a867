"""What a network says of samples, and what its rows make of one, on any backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.backend import find_backend
from netspec.backend.worker import Worker
from netspec.data.given import Samples
from netspec.data.values import Range, known_range
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.inference.artefact import Artefact, running
from netspec.network import Network
from netspec.progress import Progress
from netspec.storage.atomic import replacing, unwritable

if TYPE_CHECKING:
    from netspec.inference.artefact import Known, Run
    from netspec.tensors import Array, Arrays


OTHERWISE = "scale them as the training data were; the network knows no others, and its answers mean little"


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The outputs float32 [n, *shape] by their names, and what each sample is called."""

    names: tuple[str, ...]
    outputs: Arrays


def predict(artefact: Artefact, samples: Samples, progress: Progress, stage: str = "predict") -> Predicted:
    """The outputs of an artefact for all samples; `stage` is what progress calls it.

    Values that are scaled otherwise than those that were trained on, where that is known, are warned of. Raises
    SpecError for a sample that cannot be read, BackendError for a backend that is missing or fails.
    """
    with running(artefact, progress) as run:
        predicted, given = _gathered(run, artefact.network, samples, progress, stage)
    facts = artefact.facts
    pixels = facts is not None and facts.get("network") != artefact.network.digest
    _doubt(given, known_range(facts, pixels=pixels), progress, preprocessed=samples.pictures and not pixels)
    return predicted


def _gathered(
    run: Run, network: Network, samples: Samples, progress: Progress, stage: str
) -> tuple[Predicted, Range | None]:
    """The outputs, and the range of the inputs."""
    names: list[str] = []
    pieces: list[Arrays] = []
    given: Range | None = None
    progress("stage", stage=stage)
    for batch in samples.batches():
        progress("part", what="predicting", done=len(names), total=samples.count)
        pieces.append(run(batch.inputs))
        names += batch.names
        for array in batch.inputs.values():
            given = Range.of(array) if given is None else given.joined(Range.of(array))
    progress("done", stage=stage)
    outputs = {name: np.concatenate([piece[name] for piece in pieces]) for name in network.outputs}
    return Predicted(tuple(names), outputs), given


def _doubt(given: Range | None, trained: Range | None, progress: Progress, *, preprocessed: bool) -> None:
    """Warn where the inputs are hardly what the network was trained on."""
    if given is not None and trained is not None and trained.doubts(given):
        text = f"the inputs are values of {given}, but the network was trained on values of {trained}"
        progress("warning", text=text, hint=_scaling(trained) if preprocessed else OTHERWISE)


def _scaling(trained: Range) -> str:
    """How pictures become values of a range, as a hint.

    >>> _scaling(Range(0, 16))
    'pictures are read as `preprocess` says: with --set preprocess.scale=16/255 their bytes become 0 to 16'
    >>> _scaling(Range(-1, 1)).partition(": ")[2]
    'with --set preprocess.scale=2/255 --set preprocess.mean=1 their bytes become -1 to 1'
    """
    scale = f"--set preprocess.scale={trained.most - trained.least:.4g}/255"
    mean = f" --set preprocess.mean={-trained.least:.4g}" if trained.least else ""
    return f"pictures are read as `preprocess` says: with {scale}{mean} their bytes become {trained}"


def read_classes(path: Path, network: Network) -> tuple[str, ...]:
    """The names in a file, one a line, in the order of the outputs; raises SpecError where the number is another."""
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Problem(f"{path}: the names of the classes cannot be read: {reason}")]) from None
    outputs = network.output_type.channels
    if len(names) not in ({1, 2} if outputs == 1 else {outputs}):
        message = f"{path} has {len(names)} names, but the network gives {outputs} numbers"
        raise SpecError([Problem(message, "one name a line, in the order of the outputs")])
    return names


def check_output(path: Path, network: Network) -> None:
    """Raise SpecError, before there is anything to write, for a file that `write_outputs` could not write."""
    wanted = (".npy", ".npz") if len(network.outputs) == 1 else (".npz",)
    if path.suffix not in wanted:
        why = f"{len(network.outputs)} outputs" if len(wanted) == 1 else "the output"
        raise SpecError(
            [Problem(f"{path}: {why} cannot be written there", f"a file ending in {' or '.join(wanted)}", "--output")]
        )
    _check_folder(path)


def check_picture(path: Path) -> Path:
    """The path of a picture to be written; raises SpecError where it could not be."""
    if path.suffix.lower() != ".png":
        raise SpecError([Problem(f"{path}: the picture is a PNG", f"{path.with_suffix('.png').name}", "--output")])
    _check_folder(path)
    return path


def _check_folder(path: Path) -> None:
    why = unwritable(path)
    if why is not None:
        raise SpecError([Problem(f"{path} cannot be written: {why}", None, "--output")])


def write_outputs(path: Path, outputs: Arrays) -> None:
    """Write the only output as `.npy`, or each by its name as `.npz`; the file appears whole or not at all."""
    with replacing(path) as partial:
        if path.suffix == ".npz":
            np.savez(partial, **outputs)  # type: ignore[arg-type]  # its other parameters are no arrays
        else:
            [array] = outputs.values()
            np.save(partial, array)


def up_to(network: Network, name: str) -> Network:
    """The part of a network that a row, or a block, is computed from; its result is the only output.

    Raises SpecError with a near name where there is no such row.
    """
    rows = network.named.get(name)
    if not rows:
        near = did_you_mean(name, network.named) or "`netspec show` prints the names of the rows"
        raise SpecError([Problem(f"{network.name} has no row {name!r}", near, "--row")])
    wanted = {rows[-1].result}
    for node in reversed(network.nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return replace(
        network,
        inputs={given: kind for given, kind in network.inputs.items() if given in wanted},
        nodes=tuple(node for node in network.nodes if node.name in wanted),
        outputs={"output": rows[-1].result},
        classes=(),
        uses=(),  # which say how rows belong together, and some may have been cut
    )


def activations(part: Network, known: Known, samples: Samples, backend: str, progress: Progress) -> Array:
    """The value of the last row of a part of a network for the first sample, float32 [*shape]; see `up_to`.

    Values that are scaled otherwise than those that were trained on are warned of, as in `predict`.
    """
    first = next(samples.batches())
    inputs = {name: given[:1] for name, given in first.inputs.items()}
    own = {weight.name: known.weights[weight.name] for weight in part.weights()}
    one = replace(samples, count=1, batches=lambda: iter([replace(first, names=first.names[:1], inputs=inputs)]))
    find_backend(backend)
    with Worker(backend) as worker:

        def run(inputs: Arrays) -> Arrays:
            found: Arrays = worker.call("predict", network=part, weights=own, inputs=inputs)
            return found

        predicted, given = _gathered(run, part, one, progress, "activations")
    _doubt(given, known_range(known.facts, pixels=False), progress, preprocessed=samples.pictures)
    value: Array = predicted.outputs["output"][0]
    return value
