"""Images and labels on the device, and the batches that are taken from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A split on the device: images [n, ..., c] as they came, labels int64 [n], and what the loss compares with."""

    images: Tensor
    labels: Tensor
    targets: Tensor
    augmenter: Augmenter | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Tensor | slice) -> tuple[Tensor, Tensor, Tensor]:
        """A batch: float32 images with the channels first (in memory they stay last), labels and targets."""
        images, labels = _at(self.images, chosen), _at(self.labels, chosen)
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
    samples: Samples, settings: TrainSettings, epoch: int, *, gather: bool = False
) -> Iterator[tuple[Samples | Taken, Tensor]]:
    """Every batch of an epoch: what to take it from, and the indices int64 [batch].

    With `gather` several small batches are taken of the samples at once, which costs little more than one does.
    """
    order = torch.from_numpy(epoch_order(len(samples), settings.seed, epoch)).to(samples.labels.device)
    sizes = [place.stop - place.start for place in batch_slices(len(samples), settings.batch_size)]
    at_once = max(1, GATHERED_BYTES // (4 * samples.images[0].numel() * settings.batch_size)) if gather else 1
    indices = order.split_with_sizes(sizes)
    for first in range(0, len(sizes), at_once):
        group = indices[first : first + at_once]
        if len(group) == 1:
            yield samples, group[0]
            continue
        own = sizes[first : first + at_once]
        parts = (part.split_with_sizes(own) for part in samples.take(torch.cat(group)))
        for chosen, *content in zip(group, *parts, strict=True):
            yield Taken(tuple(content)), chosen


def gathers(samples: Samples) -> bool:
    """Whether batches may be taken before their step: what augments draws anew for each, a GPU has them fast."""
    return samples.augmenter is None and samples.labels.device.type == "cpu"


def samples_of(split: Split, network: Network, loss: Loss, device: torch.device) -> Samples:
    """A split on the device."""
    labels = torch.from_numpy(split.labels).to(device)
    targets = labels
    if loss.name != "cross_entropy":
        targets = torch.from_numpy(loss_targets(split.labels, network.output_type.size)).to(device)
    return Samples(torch.from_numpy(split.images).to(device), labels, targets)


def augmenter_of(network: Network, settings: TrainSettings, samples: Samples) -> Augmenter | None:
    """What augments the images that are trained on, where the spec says so."""
    if settings.augment is None:
        return None
    given, outputs, device = network.input_type, network.output_type.size, samples.labels.device
    return Augmenter(settings.augment, settings.seed, len(samples), given, outputs, device)
