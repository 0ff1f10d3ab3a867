"""What a person gives to a network: arrays in a file, pictures, folders of pictures; as batches that fit in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec.data.folder import SUFFIXES, image_files
from netspec.errors import Problem, SpecError, did_you_mean, file_near, one_of
from netspec.network import Network

if TYPE_CHECKING:
    from netspec.data.preprocess import Preprocess

Array = NDArray[Any]

ARRAYS = (".npy", ".npz")
BATCH_BYTES = 2**28
"""What the inputs of a batch may take."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some samples: what each is called, and by the name of the network's input float32 [n, *shape]."""

    names: tuple[str, ...]
    inputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Samples:
    """All that was given: how many samples, and the batches of them, read when they are asked for."""

    count: int
    batches: Callable[[], Iterator[Batch]]
    pictures: bool = False
    """Whether they were pictures, of which preprocessing made numbers."""


def read_samples(paths: Sequence[Path], network: Network, settings: Preprocess | None) -> Samples:
    """The samples in one file of arrays, or in pictures and folders of them, which `settings` make inputs of.

    A `.npy` holds a batch for the only input, a `.npz` one for each by its name: what the network reads, channels
    last. Raises SpecError for what is missing, cannot be read or does not fit, a picture's when its turn comes.
    """
    arrays = [path for path in paths if path.suffix.lower() in ARRAYS]
    if arrays and len(paths) > 1:
        raise _refused(f"{arrays[0]} is a file of arrays, of which one can be given, and nothing beside it")
    if arrays:
        return array_samples(_load(arrays[0], network), network, str(arrays[0]))
    if len(network.inputs) > 1:
        hint = "a .npz holds an array for each"
        raise _refused(f"pictures need one input to go to, but there are {', '.join(network.inputs)}", hint)
    found = [picture for path in paths for picture in _pictures(path)]
    size = _batch_size(network)

    def batches() -> Iterator[Batch]:
        from netspec.data.preprocess import read_image

        [name] = network.inputs
        for start in range(0, len(found), size):
            chosen = found[start : start + size]
            images = [read_image(path, network.input_type, settings) for path in chosen]
            yield Batch(tuple(map(str, chosen)), {name: np.stack(images)})

    return Samples(len(found), batches, pictures=True)


def array_samples(arrays: Mapping[str, Array], network: Network, source: str) -> Samples:
    """The samples in batches by the names of the network's inputs; raises SpecError where one does not fit."""
    for name in arrays:
        if name not in network.inputs:
            hint = did_you_mean(name, network.inputs) or one_of(list(network.inputs))
            raise _refused(f"{source}: the network has no input {name!r}", hint)
    for name, given in network.inputs.items():
        if name not in arrays:
            raise _refused(f"{source}: there is no array for the input {name!r}")
        array = arrays[name]
        if array.dtype.kind not in "biuf":
            raise _refused(f"{source}: {_said(name, network)} holds {array.dtype}, no numbers")
        if array.shape[1:] != given.shape or not len(array):
            shape = "x".join(map(str, array.shape)) or "a single number"
            hint = "x[numpy.newaxis] makes a batch of one sample" if array.shape == given.shape else "channels last"
            message = f"{source}: {_said(name, network)} is {shape}, but a batch of {given} is needed: n x {given}"
            raise _refused(message, hint)
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise _refused(f"{source}: the inputs differ in the number of samples: {said}")
    count, size = next(iter(counts.values())), _batch_size(network)

    def batches() -> Iterator[Batch]:
        for start in range(0, count, size):
            pieces = {name: np.asarray(array[start : start + size], np.float32) for name, array in arrays.items()}
            for name, piece in pieces.items():
                lost = np.flatnonzero(~np.isfinite(piece).reshape(len(piece), -1).all(axis=1))
                if len(lost):
                    message = f"{source}: {_said(name, network)} holds values that are not finite"
                    raise _refused(f"{message}, first in sample {start + lost[0]}")
            numbers = range(start, min(start + size, count))
            yield Batch(tuple(f"{source}[{number}]" for number in numbers), pieces)

    return Samples(count, batches)


def _said(name: str, network: Network) -> str:
    return "the array" if len(network.inputs) == 1 else f"the array {name!r}"


def _batch_size(network: Network) -> int:
    return max(1, BATCH_BYTES // (4 * sum(given.size for given in network.inputs.values())))


def _load(path: Path, network: Network) -> dict[str, Array]:
    """The arrays in a file, by the names of inputs; objects, which are code, are refused."""
    if not path.is_file():
        raise _missing(path)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            if len(network.inputs) > 1:
                hint = f"a .npz holds an array for each: {', '.join(network.inputs)}"
                raise _refused(f"{path} is one array, but the network has {len(network.inputs)} inputs", hint)
            return {next(iter(network.inputs)): found}
        with found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _refused(f"{path} cannot be read: {error}", "numpy.save and numpy.savez write such files") from None


def _pictures(path: Path) -> list[Path]:
    """A picture, or all in a folder and the folders in it, in the order of their names."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise _missing(path)
    found = list(image_files(path))
    if not found:
        raise _refused(f"the folder {path} has no pictures", f"files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def _missing(path: Path) -> SpecError:
    siblings = [found.name for found in path.parent.iterdir()] if path.parent.is_dir() else []
    return _refused(f"there is no file or folder {path}", file_near(path.name, siblings))


def _refused(message: str, hint: str | None = None) -> SpecError:
    return SpecError([Problem(message, hint)])
