"""What a network said of each sample: the classes it holds for likely, or its numbers, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.layers import Activation, Dropout, Flatten, Reshape
from netspec.network import Network
from netspec.report.columns import aligned
from netspec.report.origin import origin_text
from netspec.tensors import TensorType

if TYPE_CHECKING:
    from netspec.data.preprocess import Preprocess
    from netspec.inference.artefact import Artefact
    from netspec.inference.predict import Predicted
    from netspec.tensors import Array

MAX_SHOWN = 100
"""How many samples are shown to people."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One of the classes: its number, its name where it has one, and its probability, or a value that is none."""

    index: int
    name: str | None
    value: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The range of an output that has several positions."""

    shape: tuple[int, ...]
    least: float
    most: float
    mean: float


def predicted_text(
    predicted: Predicted,
    network: Network,
    classes: Sequence[str],
    top: int,
    artefact: Artefact,
    read: str | None = None,
) -> str:
    """The likeliest classes of every sample, then on what and from where, and how pictures were `read`."""
    parts = []
    for number, name in enumerate(predicted.names[:MAX_SHOWN]):
        for output, values in predicted.outputs.items():
            title = name if len(predicted.outputs) == 1 else f"{name}: {output}"
            parts.append("\n".join([title, *_lines(network, output, values[number], classes, top)]))
    count = len(predicted.names)
    if count > MAX_SHOWN:
        parts.append(f"and {count - MAX_SHOWN:,} more; --output FILE.npy writes them all")
    samples = f"{count:,} sample{'s' * (count != 1)}"
    parts.append(f"{samples} on {artefact.backend}, {_source(artefact)}".rstrip())
    if read is not None:
        parts[-1] += f"\n{read}"
    return "\n\n".join(parts)


def predicted_json(
    predicted: Predicted, network: Network, classes: Sequence[str], top: int, artefact: Artefact
) -> dict[str, Any]:
    """The same as plain data; what is not finite is null."""
    return {
        "network": network.name,
        "backend": artefact.backend,
        "artefact": str(artefact.file) if artefact.file is not None else None,
        "weights": str(artefact.known.file) if artefact.known is not None else None,
        "samples": [
            {
                "input": name,
                "outputs": {
                    output: _plain(network, output, values[number], classes, top)
                    for output, values in predicted.outputs.items()
                },
            }
            for number, name in enumerate(predicted.names)
        ],
    }


def written_text(path: Path, outputs: Mapping[str, Array]) -> str:
    """Which arrays a file was given."""
    shapes = [f"{array.dtype} {'x'.join(map(str, array.shape))}" for array in outputs.values()]
    if path.suffix == ".npz":
        shapes = [f"{name} {shape}" for name, shape in zip(outputs, shapes, strict=True)]
    return f"{path}: {', '.join(shapes)}"


def pictures_text(settings: Preprocess | None, given: TensorType) -> str:
    """How pictures became a network's input of the type `given`, in a line.

    >>> pictures_text(None, TensorType((227, 227, 3)))
    'pictures: resized to 227x227, bytes 0 to 255'
    """
    from netspec.data.preprocess import Preprocess

    settings = settings or Preprocess()
    size = "x".join(map(str, given.spatial))
    said = []
    if isinstance(settings.resize, int):
        said.append(f"shorter side resized to {settings.resize}")
    elif settings.resize is not None or settings.crop is None:
        said.append(f"resized to {'x'.join(map(str, settings.resize or given.spatial))}")
    if settings.crop is not None or (settings.resize is not None and settings.resize != given.spatial):
        said.append(f"cropped to {size}")
    if settings.channels == "bgr":
        said.append("blue first")
    said.append("bytes 0 to 255" if settings.scale == 1 else f"bytes times {_number(settings.scale)}")
    if set(settings.mean) != {0.0}:
        said.append(f"less {', '.join(f'{value:g}' for value in settings.mean)}")
    if set(settings.std) != {1.0}:
        said.append(f"over {', '.join(f'{value:g}' for value in settings.std)}")
    return f"pictures: {', '.join(said)}"


def _number(value: float) -> str:
    """A factor as people write it.

    >>> _number(1 / 255), _number(0.5)
    ('1/255', '1/2')
    """
    return f"1/{1 / value:.6g}" if value < 1 else f"{value:g}"


def activations_text(path: Path, row: str, values: Array, read: str | None = None) -> str:
    """What a picture of a row's channels shows, in a line, and how the picture was `read`, in another."""
    import numpy as np

    flat = values.reshape(-1, values.shape[-1])
    dead = int((flat.max(axis=0) == flat.min(axis=0)).sum()) if len(flat) > 1 else 0
    said = f"{row} {'x'.join(map(str, values.shape))}, from {np.min(values):.4g} to {np.max(values):.4g}"
    same = f", {dead} of {values.shape[-1]} channels with one value everywhere" if dead else ""
    return f"{path}: {said}{same}" + (f"\n{read}" if read is not None else "")


def is_probability(network: Network, output: str) -> bool:
    """Whether an output is what a Softmax or Sigmoid gave, perhaps in another shape."""
    nodes = {node.name: node for node in network.nodes}
    node = nodes.get(network.outputs[output])
    while node is not None and isinstance(node.layer, (Dropout, Flatten, Reshape)):
        node = nodes.get(node.inputs[0])
    return node is not None and isinstance(node.layer, Activation) and node.layer.function in ("softmax", "sigmoid")


def ranked(network: Network, output: str, values: Array, classes: Sequence[str], top: int) -> list[Ranked] | Summary:
    """The classes with the highest of one sample's values [*shape], the first of equals first.

    A single probability with the names of two classes is that of the second. A value with several positions is no
    classification and is summed up.
    """
    import numpy as np

    flat = np.asarray(values, np.float64).reshape(-1)
    if values.ndim > 1 and flat.size != values.shape[-1]:
        return Summary(values.shape, float(flat.min()), float(flat.max()), float(flat.mean()))
    if flat.size == 1 and len(classes) == 2 and is_probability(network, output):
        flat = np.array([1 - flat[0], flat[0]])
    order = np.argsort(-flat, kind="stable")[:top]
    names = classes if len(classes) == flat.size else None
    return [Ranked(int(index), names[index] if names else None, float(flat[index])) for index in order]


def _lines(network: Network, output: str, values: Array, classes: Sequence[str], top: int) -> list[str]:
    found = ranked(network, output, values, classes, top)
    if isinstance(found, Summary):
        shape = "x".join(map(str, found.shape))
        return [f"  {shape}, from {found.least:.4g} to {found.most:.4g}, mean {found.mean:.4g}"]
    likely = is_probability(network, output)
    rows = [
        [f"  {each.value:.2%}" if likely else f"  {each.value:.6g}", each.name or f"output {each.index}"]
        for each in found
    ]
    return aligned(rows, right=(0,))


def _plain(network: Network, output: str, values: Array, classes: Sequence[str], top: int) -> dict[str, Any]:
    found = ranked(network, output, values, classes, top)
    if isinstance(found, Summary):
        shape = list(found.shape)
        return {"shape": shape, "min": _finite(found.least), "max": _finite(found.most), "mean": _finite(found.mean)}
    measure = "probability" if is_probability(network, output) else "value"
    return {"top": [{"index": each.index, "class": each.name, measure: _finite(each.value)} for each in found]}


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _source(artefact: Artefact) -> str:
    """Where the weights are from."""
    if artefact.known is None:
        return f"weights in {artefact.file}"
    facts = artefact.known.facts
    return f"weights of {artefact.known.file}" + (f"\n{origin_text(facts)}" if facts is not None else "")
