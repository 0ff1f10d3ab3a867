"""Images and labels on the device, or images in main memory, and the batches that are taken from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
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
    """A split on the device: images [n, ..., c] as they came, labels int64 [n], and what the loss compares with.

    Images that would not fit there are in main memory.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    augmenter: Augmenter | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def resident(self) -> bool:
        """Whether the images are on the device."""
        return self.images.device == self.labels.device

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

    def take_part(self, chosen: Tensor, own: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `take`, a part of a batch, and the labels of all of it."""
        if self.augmenter is None or not self.augmenter.augment.mixes:
            return *self.take(chosen[own]), _at(self.labels, chosen)
        # Images are mixed with others of the batch, wherever those are computed.
        images, labels, targets = self.take(chosen)
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


def batches(
    samples: Samples, settings: TrainSettings, epoch: int, done: int = 0, *, ahead: bool = False
) -> Iterator[tuple[Samples | Taken, Tensor]]:
    """The batches of an epoch, but for the `done` first ones: what to take each from, and its indices int64 [batch].

    With `ahead` they are taken already where that is cheaper: several small ones at once from a CPU's memory, and
    images that are not on the device by a thread that fetches the next ones meanwhile.
    """
    host = torch.from_numpy(epoch_order(len(samples), settings.seed, epoch))
    order = host.to(samples.labels.device)
    sizes = [place.stop - place.start for place in batch_slices(len(samples), settings.batch_size)]
    indices = order.split_with_sizes(sizes)
    if ahead and not samples.resident:
        places = host.split_with_sizes(sizes)[done:]
        for chosen, images in zip(indices[done:], fetched(samples.images, places, order.device), strict=True):
            yield Taken(samples.finished(images, chosen)), chosen
        return
    together = samples.together(settings.batch_size) if ahead else 1
    for first in range(done // together * together, len(sizes), together):
        group = indices[first : first + together]
        taken: Sequence[Samples | Taken] = [samples] * len(group)
        if len(group) > 1:
            own = sizes[first : first + together]
            parts = (part.split_with_sizes(own) for part in samples.take(torch.cat(group)))
            taken = [Taken(content) for content in zip(*parts, strict=True)]
        yield from islice(zip(taken, group, strict=True), max(done - first, 0), None)


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


def fit(splits: Sequence[Split], device: torch.device) -> bool:
    """Whether the images of all these leave a GPU room to train in."""
    size = sum(split.images.nbytes for split in splits)
    return device.type != "cuda" or size <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]


def samples_of(split: Split, network: Network, loss: Loss, device: torch.device, *, resident: bool) -> Samples:
    """A split on the device, its images only where they are `resident` there."""
    labels = torch.from_numpy(split.labels).to(device)
    targets = labels
    if loss.name != "cross_entropy":
        targets = torch.from_numpy(loss_targets(split.labels, network.output_type.size)).to(device)
    images = torch.from_numpy(split.images)
    return Samples(images.to(device) if resident else images, labels, targets)


def augmenter_of(network: Network, settings: TrainSettings, samples: Samples) -> Augmenter | None:
    """What augments the images that are trained on, where the spec says so."""
    if settings.augment is None:
        return None
    given, outputs, device = network.input_type, network.output_type.size, samples.labels.device
    return Augmenter(settings.augment, settings.seed, len(samples), given, outputs, device)
