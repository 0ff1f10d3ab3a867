"""The images that a network is judged on, or asked about: one split of its own data, or of another source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from netspec.data.cache import cached
from netspec.data.dataset import Split
from netspec.data.given import Batch, Samples
from netspec.data.preprocess import Preprocess, scaled
from netspec.data.settings import DataSettings
from netspec.data.source import Reading, check_data, load
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.memory import piece_size
from netspec.network import Network
from netspec.progress import Progress

if TYPE_CHECKING:
    from netspec.data.cache import Decoded

Wanted = Literal["train", "validation", "test", "all"]
ORDER = ("train", "validation", "test")
OPTION = "--split"
BATCH = 1000
"""How many images are predicted at once, at most; progress is told after each."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Images with labels, and what they are."""

    name: str
    """What the data are called."""
    split: str
    """Which of their splits it is, or `all`."""
    classes: tuple[str, ...]
    parts: tuple[tuple[str, Split], ...]
    """The splits by their names; several where all of them were chosen."""
    skipped: tuple[str, ...] = ()
    """The images that could not be decoded and were left out."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of every image, int64 [n]."""
        return np.concatenate([split.labels for _, split in self.parts])

    def __len__(self) -> int:
        return sum(len(split) for _, split in self.parts)


def own_images(
    settings: DataSettings,
    network: Network,
    near: Path,
    preprocess: Preprocess | None,
    progress: Progress,
    wanted: Wanted | None,
) -> Chosen:
    """A split of the data that a network is trained on: the test images unless another one is wanted, and those to
    validate on where there are none for a test. Raises SpecError as `load` does, and for a split that is not there.
    """
    dataset = load(settings, network, near, preprocess, progress)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    there = {name: split for name, split in splits.items() if split is not None}
    chosen = wanted or ("test" if "test" in there else "validation")
    return Chosen(dataset.name, chosen, dataset.classes, _parts(there, chosen, dataset.name), dataset.skipped)


def other_images(
    settings: DataSettings,
    network: Network,
    near: Path,
    preprocess: Preprocess | None,
    progress: Progress,
    wanted: Wanted | None,
    scale: tuple[tuple[float, float], ...] = (),
) -> Chosen:
    """A split of other data, of which nothing is held out: the test images unless another one is wanted, and all where
    the source knows no such split.

    Classes are those of the network by their names; not all of them need be there. `scale` has the mean and deviation
    of each column, by which the rows of a table are standardised as those were that are trained on. Raises SpecError
    for data that are not there, do not fit the network, or have no such split.
    """
    if problems := check_data(settings, network):
        # How the network would fit them is no help: it has its weights.
        raise SpecError(replace(each, hint=None) if each.path != "classes" else each for each in problems)
    reading = Reading(settings, network, near, preprocess or Preprocess(), progress, whole=True)
    found = cached(reading.request(), reading.decode)
    splits = _renumbered(found, settings, network)
    if scale and settings.is_table:
        mean, deviation = np.array(scale).T
        splits = {
            name: Split(((split.images - mean) / deviation).astype(np.float32), split.labels)
            for name, split in splits.items()
        }
    chosen = wanted or ("test" if "test" in splits else "all")
    names = network.classes or found.classes or tuple(map(str, range(max(2, network.output_type.size))))
    return Chosen(settings.name, chosen, names, _parts(splits, chosen, settings.name), found.skipped)


def _parts(splits: Mapping[str, Split], wanted: str, name: str) -> tuple[tuple[str, Split], ...]:
    if wanted == "all":
        return tuple((each, splits[each]) for each in ORDER if each in splits)
    if wanted not in splits:
        there = [each for each in ORDER if each in splits]
        raise SpecError([Problem(f"{name} has no split {wanted!r}", f"one of {', '.join(there)}, or all", OPTION)])
    return ((wanted, splits[wanted]),)


def _renumbered(found: Decoded, settings: DataSettings, network: Network) -> dict[str, Split]:
    """The splits with the numbers that the network's classes have; raises SpecError for a class that it has not."""
    names, count = network.classes, max(2, network.output_type.size)
    path = f"data.{settings.origin}"
    if not found.classes or found.classes == names:
        return dict(found.splits)
    if not names:
        if len(found.classes) != count:
            message = f"{settings.name} has {len(found.classes)} classes, but the network tells {count} apart"
            raise SpecError([Problem(message, None, path)])
        return dict(found.splits)
    if strange := [name for name in found.classes if name not in names]:
        message = f"{settings.name} has a class {strange[0]!r}, which the network does not know"
        message += f", and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise SpecError([Problem(message, did_you_mean(strange[0], names) or f"its classes: {_few(names)}", path)])
    numbers = np.array([names.index(name) for name in found.classes], np.int64)
    return {name: Split(split.images, numbers[split.labels]) for name, split in found.splits.items()}


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def image_samples(chosen: Chosen, network: Network, runs: Network, preprocess: Preprocess | None) -> Samples:
    """The images as the network that `runs` reads them: as they are where it reads pixels, else as `preprocess` says.

    Raises SpecError for a network of several inputs.
    """
    if len(network.inputs) > 1:
        message = f"images need one input to go to, but there are {', '.join(network.inputs)}"
        raise SpecError([Problem(message, "--input FILE.npz holds an array for each", "--data")])
    [name] = network.inputs
    if runs.digest != network.digest:
        preprocess = None
    size = min(BATCH, piece_size(runs))
    known = network.classes or chosen.classes

    def batches() -> Iterator[Batch]:
        for split, part in chosen.parts:
            for start in range(0, len(part), size):
                images = part.images[start : start + size]
                values = np.asarray(images, np.float32) if preprocess is None else scaled(images, preprocess)
                numbers = range(start, start + len(images))
                names = (f"{split}[{number}]: {known[part.labels[number]]}" for number in numbers)
                yield Batch(tuple(names), {name: values})

    return Samples(len(chosen), batches)
