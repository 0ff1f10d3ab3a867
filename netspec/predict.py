"""What a network says of samples, and what its rows make of one, on any backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.atomic import replacing
from netspec.backend import Progress, find_backend
from netspec.data.given import Samples
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.initial import Start
from netspec.network import Network
from netspec.spec.model import Spec
from netspec.stages import read_stages, sha256
from netspec.weights import load
from netspec.worker import Worker

if TYPE_CHECKING:
    from netspec.backend import Array, Arrays, Weights

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Weights that somebody meant, and where they are from: a file, and what the build noted of it."""

    weights: Weights
    file: Path
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The outputs float32 [n, *shape] by their names, and what each sample is called."""

    names: tuple[str, ...]
    outputs: Arrays


def known_weights(spec: Spec, network: Network, folder: Path, given: Path | None, part: Network | None = None) -> Known:
    """The weights of the file `given`; else those that `build` left in its folder; else those of the base's file.

    That file has to give all weights of the `part` of the network that is computed, for nothing is drawn here. Raises
    SpecError where there are none, and for those that do not fit.
    """
    if given is not None:
        start = Start(spec, network, given)
        return Known(start.weights(0), start.file or given)
    found = _built(spec, network, folder / spec.name)
    if found is not None:
        return found
    start = Start(spec, network)
    needed = {node.row for node in (part or network).nodes if node.weights}
    if needed <= start.rows and start.file is not None:
        return Known(start.weights(0), start.file)
    hint = f"`netspec build {spec.file}` makes some, or --weights FILE names a file"
    raise SpecError([Problem(f"there are no weights in {folder / spec.name}", hint)])


def _built(spec: Spec, network: Network, folder: Path) -> Known | None:
    """The weights in a build folder, where there are any."""
    stage = read_stages(folder).get("weights")
    if stage is None:
        return None
    file = folder / WEIGHTS
    if stage.facts.get("network") != network.digest:
        hint = f"`netspec build {spec.file}` makes them anew; --weights {file} takes these"
        raise SpecError([Problem(f"{folder} has weights of another version of this network", hint)])
    if not file.is_file() or sha256(file) != stage.files.get(WEIGHTS):
        hint = f"`netspec build {spec.file}` makes them anew"
        raise SpecError([Problem(f"{file} is missing or was changed since the build", hint)])
    return Known(load(file, network), file, stage.facts)


def predict(network: Network, weights: Weights, samples: Samples, backend: str, progress: Progress) -> Predicted:
    """The outputs for all samples, from a process of the backend's own.

    Raises SpecError for a sample that cannot be read, BackendError for a backend that is missing or fails.
    """
    find_backend(backend)
    names: list[str] = []
    pieces: list[Arrays] = []
    progress("stage", stage="predict")
    with Worker(backend) as worker:
        for batch in samples.batches():
            progress("part", what="predicting", done=len(names), total=samples.count)
            pieces.append(worker.call("predict", network=network, weights=weights, inputs=batch.inputs))
            names += batch.names
    progress("done", stage="predict")
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
    value: Array = predict(part, own, one, backend, progress).outputs["output"][0]
    return value
