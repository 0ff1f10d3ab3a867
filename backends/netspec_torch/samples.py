"""Images and labels on the device, or images in main memory, and the batches that are taken from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from netspec.data.batches import batch_slices, epoch_order
from netspec.network import Network
from netspec.training.loss import Loss, loss_targets
from netspec.training.settings import TrainSettings
from netspec_torch.augment import Augmenter

if TYPE_CHECKING:
    from netspec.data.dataset import Split


GATHERED_BYTES = 2**20
"""As many images as stay in a core's cache until they are trained on."""
RESIDENT_SHARE = 0.5
"""How much of a GPU's free memory images may take."""
FETCHED = 2
"""How many batches are gathered in main memory while a step computes."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A split on the device: images [n, ..., c] as they came, labels int64 [n], and what the loss compares with."""

    images: Tensor
    labels: Tensor
    targets: Tensor
    augmenter: Augmenter | None = None
    resident: bool = True
    """Whether the images are on the device too; those that would not fit there are in main memory."""

    def __len__(self) -> int:
        return len(self.labels)

    def together(self, batch_size: int) -> int:
        """How many batches are cheaper taken at once: what augments draws anew for each, a GPU gathers them fast."""
        if self.augmenter is not None or self.labels.device.type != "cpu":
            return 1
        return max(1, GATHERED_BYTES // (4 * self.images[0].numel() * batch_size))

    def take(self, chosen: Tensor | slice) -> tuple[Tensor, Tensor, Tensor]:
        """A batch: float32 images with the channels first (in memory they stay last), labels and targets."""
        there = chosen.to(self.images.device) if isinstance(chosen, Tensor) else chosen
        return self.finished(_at(self.images, there), chosen)

    def finished(self, images: Tensor, chosen: Tensor | slice) -> tuple[Tensor, Tensor, Tensor]:
        """As `take`, of images that were gathered before."""
        images, labels = images.to(self.labels.device, non_blocking=True), _at(self.labels, chosen)
        targets = labels if self.targets is self.labels else _at(self.targets, chosen)
        if self.augmenter is not None:
            assert isinstance(chosen, Tensor)
            images, labels, targets = self.augmenter(images, labels, targets, chosen)
        return images.movedim(-1, 1).float(), labels, targets

    def needed(self, own: slice) -> slice:
        """Of which images of a batch a part of it is made: where they are mixed, of others wherever those belong."""
        return slice(None) if self.augmenter is not None and self.augmenter.augment.mixes else own

    def take_part(self, chosen: Tensor, own: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `take`, a part of a batch, and the labels of all of it."""
        there = chosen[self.needed(own)].to(self.images.device)
        return self.finished_part(_at(self.images, there), chosen, own)

    def finished_part(self, images: Tensor, chosen: Tensor, own: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `take_part`, of the images that are needed, which were gathered before."""
        needed = self.needed(own)
        images, labels, targets = self.finished(images, chosen[needed])
        if needed == own:
            return images, labels, targets, _at(self.labels, chosen)
        return images[own], labels[own], targets[own], labels


def _at(values: Tensor, chosen: Tensor | slice) -> Tensor:
    # Copies whole samples, which takes a third of the time of `values[chosen]`.
    return values[chosen] if isinstance(chosen, slice) else values.index_select(0, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A batch that was taken before its step."""

    content: tuple[Tensor, Tensor, Tensor]

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002 - as Samples has it
        """The batch."""
        return self.content


@dataclass(frozen=True, slots=True, eq=False)
class TakenPart:
    """A part of a batch that was taken before its step."""

    content: tuple[Tensor, Tensor, Tensor, Tensor]

    def take_part(self, chosen: Tensor, own: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # noqa: ARG002 - likewise
        """The part."""
        return self.content


Source = Samples | Taken | TakenPart
"""What a step takes its batch from, or its part of one."""


def batches(
    samples: Samples,
    settings: TrainSettings,
    epoch: int,
    done: int = 0,
    *,
    ahead: bool = False,
    part: Callable[[int], slice] | None = None,
) -> Iterator[tuple[Source, Tensor]]:
    """The batches of an epoch, but for the `done` first ones: what to take each from, and its indices int64 [batch].

    With `ahead` they are taken already where that is cheaper: several small ones at once from a CPU's memory, and
    images that are not on the device by a thread that fetches the next ones meanwhile. Where processes share batches,
    `part` says which images of one of so many are to be taken.
    """
    host = torch.from_numpy(epoch_order(len(samples), settings.seed, epoch))
    order = host.to(samples.labels.device)
    sizes = [place.stop - place.start for place in batch_slices(len(samples), settings.batch_size)]
    indices = order.split_with_sizes(sizes)
    if ahead and not samples.resident:
        yield from _fetched(samples, indices[done:], host.split_with_sizes(sizes)[done:], part)
        return
    together = samples.together(settings.batch_size) if ahead and part is None else 1
    for first in range(done // together * together, len(sizes), together):
        group = indices[first : first + together]
        taken: Sequence[Samples | Taken] = [samples] * len(group)
        if len(group) > 1:
            own = sizes[first : first + together]
            parts = (whole.split_with_sizes(own) for whole in samples.take(torch.cat(group)))
            taken = [Taken(content) for content in zip(*parts, strict=True)]
        yield from islice(zip(taken, group, strict=True), max(done - first, 0), None)


def _fetched(
    samples: Samples, indices: Sequence[Tensor], places: Sequence[Tensor], part: Callable[[int], slice] | None
) -> Iterator[tuple[Source, Tensor]]:
    """As `batches`, of these `indices` on the device, which are `places` in main memory."""
    if part is None:
        for chosen, images in zip(indices, fetched(samples.images, places, samples.labels.device), strict=True):
            yield Taken(samples.finished(images, chosen)), chosen
        return
    own = [part(len(chosen)) for chosen in places]
    needed = [chosen[samples.needed(each)] for chosen, each in zip(places, own, strict=True)]
    found = fetched(samples.images, needed, samples.labels.device)
    for chosen, images, each in zip(indices, found, own, strict=True):
        yield TakenPart(samples.finished_part(images, chosen, each)), chosen


def fetched(images: Tensor, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Batches of images in main memory, where a GPU copies them while it computes; a thread gathers the next ones."""
    pinned = device.type == "cuda"

    def fetch(chosen: Tensor) -> Tensor:
        batch = torch.empty((len(chosen), *images.shape[1:]), dtype=images.dtype, pin_memory=pinned)
        return torch.index_select(images, 0, chosen, out=batch)

    with ThreadPoolExecutor(1, "fetching images") as thread:
        coming = iter(indices)
        waiting = deque(thread.submit(fetch, chosen) for chosen in islice(coming, FETCHED))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(thread.submit(fetch, chosen) for chosen in islice(coming, 1))
            yield batch


def free_bytes(device: torch.device) -> int | None:
    """What is free of the memory of a GPU; None for a CPU, which has its images in main memory anyway."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def fit(splits: Sequence[Split], device: torch.device) -> bool:
    """Whether the images of all these leave the device room to train in."""
    free = free_bytes(device)
    return free is None or sum(split.images.nbytes for split in splits) <= RESIDENT_SHARE * free


def samples_of(split: Split, network: Network, loss: Loss, device: torch.device, *, resident: bool) -> Samples:
    """A split on the device, its images only where they are `resident` there."""
    labels = torch.from_numpy(split.labels).to(device)
    targets = labels
    if loss.name != "cross_entropy":
        targets = torch.from_numpy(loss_targets(split.labels, network.output_type.size)).to(device)
    images = torch.from_numpy(split.images)
    return Samples(images.to(device) if resident else images, labels, targets, resident=resident)


def augmenter_of(network: Network, settings: TrainSettings, samples: Samples) -> Augmenter | None:
    """What augments the images that are trained on, where the spec says so."""
    if settings.augment is None:
        return None
    given, outputs, device = network.input_type, network.output_type.size, samples.labels.device
    return Augmenter(settings.augment, settings.seed, len(samples), given, outputs, device)
