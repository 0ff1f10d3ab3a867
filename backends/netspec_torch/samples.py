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


def batches(count: int, settings: TrainSettings, epoch: int, device: torch.device) -> Iterator[Tensor]:
    """The indices of every batch of an epoch, int64 [batch]."""
    order = torch.from_numpy(epoch_order(count, settings.seed, epoch)).to(device)
    for places in batch_slices(count, settings.batch_size):
        yield order[places]


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
