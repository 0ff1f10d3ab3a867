"""What the training sees: the splits of a spec's data, and the first batch of an epoch, augmented."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.errors import Problem, SpecError
from netspec.network import Network
from netspec.progress import Progress
from netspec.spec.model import Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.data.dataset import Dataset

    Array = NDArray[Any]

BATCH = 32
"""How large a batch is where the spec trains nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The images [n, ...] of a batch as they are and, where they are augmented, as they are trained on."""

    before: Array
    after: Array | None
    names: tuple[str, ...]
    """What each is of; of mixed images both classes, with their shares."""


def read_data(spec: Spec, network: Network, progress: Progress) -> Dataset:
    """The data of a spec; raises SpecError where it has none, or as `netspec.data.load` does."""
    if spec.data is None:
        raise SpecError([Problem("it has no `data` section", "add for example `data: digits`", spec.file)])
    from netspec.data import load

    with spec.places():
        return load(spec.data, network, Path(spec.file).parent, spec.preprocess, progress)


def first_batch(spec: Spec, network: Network, dataset: Dataset, epoch: int) -> Batch:
    """The batch that an epoch, counted from 1, begins with."""
    from netspec.data.batches import batch_slices, epoch_order
    from netspec.data.draw import draw
    from netspec.reference.augment import augmented

    train, settings = dataset.train, spec.train
    seed, size = (settings.seed, settings.batch_size) if settings else (0, BATCH)
    order = epoch_order(len(train), seed, epoch)
    chosen = order[batch_slices(len(train), size)[0]]
    images, labels = train.images[chosen], train.labels[chosen].tolist()
    names = [dataset.classes[label] for label in labels]
    augment = settings.augment if settings else None
    if augment is None:
        return Batch(images, None, tuple(names))
    drawn = draw(augment, len(train), network.input_type, seed, epoch).take(chosen)
    if drawn.share is not None:
        names = [mixed(name, names[at - 1], float(drawn.share[at])) for at, name in enumerate(names)]
    return Batch(images, augmented(images, drawn, augment), tuple(names))


def mixed(own: str, other: str, share: float) -> str:
    """What an image is of, of which `share` is another.

    >>> mixed("cat", "dog", 0.25), mixed("cat", "cat", 0.25), mixed("cat", "dog", 0.999)
    ('75% cat + 25% dog', 'cat', 'dog')
    """
    parts = [(1 - share, own), (share, other)]
    if own == other or min(parts)[0] < 0.005:
        return max(parts)[1]
    return " + ".join(f"{part:.0%} {name}" for part, name in sorted(parts, key=lambda each: -each[0]))
