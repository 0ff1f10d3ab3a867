"""Augmentation on the device, as `netspec.reference.augment` says; its numbers come from the host once an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from netspec.data.augment import Augment, Fill
from netspec.data.draw import draw
from netspec.tensors import TensorType

WHITE = 255.0
Drawn = dict[str, Tensor]
"""What is drawn for some images, by the names of `netspec.data.draw.Drawn`."""


@dataclass(slots=True, eq=False)
class Augmenter:
    """Augments the batches of one epoch after the other; images are [n, h, w, c]."""

    augment: Augment
    seed: int
    count: int
    given: TensorType
    outputs: int
    device: torch.device
    drawn: dict[str, Tensor] = field(default_factory=dict)

    def begin(self, epoch: int) -> None:
        """Draw what is done in this epoch, counted from 1, to every image."""
        drawn = draw(self.augment, self.count, self.given, self.seed, epoch)
        for name, array in drawn.arrays().items():
            if name in self.drawn:
                self.drawn[name].copy_(torch.from_numpy(array))  # where a recorded step reads it
            else:
                self.drawn[name] = torch.from_numpy(array).to(self.device)

    def __call__(
        self, images: Tensor, labels: Tensor, targets: Tensor, chosen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The images at the places `chosen` as they are trained on, float32, with labels and targets.

        Where images are mixed the targets are shares of classes [n, outputs], and the labels the larger ones.
        """
        drawn = {name: values[chosen] for name, values in self.drawn.items()}
        images = augmented(images, drawn, self.augment)
        if not self.augment.mixes:
            return images, labels, targets
        targets = mixed_targets(labels, drawn["share"], self.outputs)
        return images, targets.argmax(1), targets


def augmented(images: Tensor, drawn: Drawn, augment: Augment) -> Tensor:
    """A batch as it is trained on, float32; images of bytes stay between 0 and 255."""
    white = WHITE if images.dtype == torch.uint8 else None
    column = (-1, *(1,) * (images.ndim - 1))
    x = moved(images, drawn["maps"], augment) if "maps" in drawn else images.float()
    if "brightness" in drawn:
        x = _cut_off(x * drawn["brightness"].view(column), white)
    if "contrast" in drawn:
        mean = x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)
        x = _cut_off(mean + (x - mean) * drawn["contrast"].view(column), white)
    if "erased" in drawn:
        assert augment.erase is not None
        x = torch.where(inside(drawn["erased"], x), augment.erase.value, x)
    other = x.roll(1, 0) if augment.mixes else x
    if "blend" in drawn:
        blend = drawn["blend"].view(column)
        x = x * (1 - blend) + other * blend
    if "cut" in drawn:
        x = torch.where(inside(drawn["cut"], x), other, x)
    return x


def moved(images: Tensor, maps: Tensor, augment: Augment) -> Tensor:
    """Every pixel from where its map says, bilinear between the four that are nearest."""
    count, height, width, _ = images.shape
    rows, columns = (torch.arange(size, device=images.device, dtype=torch.float32) for size in (height, width))
    row, column = (
        maps[:, axis, 0].view(-1, 1, 1) * rows.view(1, -1, 1)
        + maps[:, axis, 1].view(-1, 1, 1) * columns
        + maps[:, axis, 2].view(-1, 1, 1)
        for axis in (0, 1)
    )
    which = torch.arange(count, device=images.device).view(-1, 1, 1)

    def at(row: Tensor, column: Tensor) -> Tensor:
        found = images[which, _inner(row, height, augment.fill), _inner(column, width, augment.fill)].float()
        if augment.fill != "constant":
            return found
        within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return torch.where(within.unsqueeze(-1), found, augment.fill_value)

    if augment.whole:
        return at(row, column)
    top, left = row.floor(), column.floor()
    down, right = (row - top).unsqueeze(-1), (column - left).unsqueeze(-1)
    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


def _inner(index: Tensor, size: int, fill: Fill) -> Tensor:
    """The place in the image that stands for a place anywhere, along an axis of this size."""
    if fill == "reflect" and size > 1:
        index = index.abs() % (2 * size - 2)
        index = torch.minimum(index, 2 * size - 2 - index)
    return index.clamp(0, size - 1).long()


def inside(boxes: Tensor, images: Tensor) -> Tensor:
    """Which pixels [n, h, w, 1] lie in the box [top, left, bottom, right] of their image."""
    top, left, bottom, right = (edge.view(-1, 1, 1, 1) for edge in boxes.unbind(1))
    rows = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    columns = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def mixed_targets(labels: Tensor, share: Tensor, outputs: int) -> Tensor:
    """As `netspec.data.draw.mixed_targets`."""
    own = (labels.unsqueeze(1) == torch.arange(outputs, device=labels.device)).float()
    return own * (1 - share).unsqueeze(1) + own.roll(1, 0) * share.unsqueeze(1)


def _cut_off(x: Tensor, white: float | None) -> Tensor:
    return x if white is None else x.clamp(0, white)
