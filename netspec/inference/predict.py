"""What a network says of samples, and what its rows make of one, on any backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.backend import find_backend
from netspec.backend.worker import Worker
from netspec.data.given import Samples
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.inference.artefact import Artefact, running
from netspec.network import Network
from netspec.progress import Progress
from netspec.storage.atomic import replacing

if TYPE_CHECKING:
    from netspec.inference.artefact import Run
    from netspec.tensors import Array, Arrays, Weights


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The outputs float32 [n, *shape] by their names, and what each sample is called."""

    names: tuple[str, ...]
    outputs: Arrays


def predict(artefact: Artefact, samples: Samples, progress: Progress, stage: str = "predict") -> Predicted:
    """The outputs of an artefact for all samples; `stage` is what progress calls it.

    Raises SpecError for a sample that cannot be read, BackendError for a backend that is missing or fails.
    """
    with running(artefact, progress) as run:
        return _gathered(run, artefact.network, samples, progress, stage)


def _gathered(run: Run, network: Network, samples: Samples, progress: Progress, stage: str) -> Predicted:
    names: list[str] = []
    pieces: list[Arrays] = []
    progress("stage", stage=stage)
    for batch in samples.batches():
        progress("part", what="predicting", done=len(names), total=samples.count)
        pieces.append(run(batch.inputs))
        names += batch.names
    progress("done", stage=stage)
    outputs = {name: np.concatenate([piece[name] for piece in pieces]) for name in network.outputs}
    return Predicted(tuple(names), outputs)


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
    if not path.parent.is_dir():
        raise SpecError([Problem(f"{path}: there is no folder {path.parent}", None, "--output")])


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


def activations(part: Network, weights: Weights, samples: Samples, backend: str, progress: Progress) -> Array:
    """The value of the last row of a part of a network for the first sample, float32 [*shape]; see `up_to`."""
    first = next(samples.batches())
    inputs = {name: given[:1] for name, given in first.inputs.items()}
    own = {weight.name: weights[weight.name] for weight in part.weights()}
    one = Samples(1, lambda: iter([replace(first, names=first.names[:1], inputs=inputs)]))
    find_backend(backend)
    with Worker(backend) as worker:

        def run(inputs: Arrays) -> Arrays:
            found: Arrays = worker.call("predict", network=part, weights=own, inputs=inputs)
            return found

        value: Array = _gathered(run, part, one, progress, "activations").outputs["output"][0]
    return value
