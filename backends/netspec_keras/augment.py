"""Augmentation in Keras' operations, as `netspec.reference.augment` says. Importing this imports Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from keras import ops

from netspec.data.augment import Augment, Fill
from netspec.data.draw import Drawn, draw, mixed_targets
from netspec.network import Network
from netspec.tensors import TensorType

if TYPE_CHECKING:
    from netspec.tensors import Array
    from netspec.training.settings import TrainSettings

WHITE = 255.0


class Augmentation:
    """Augments the batches of one epoch after the other; images are [n, h, w, c]."""

    def __init__(self, augment: Augment, seed: int, given: TensorType, outputs: int) -> None:
        self.augment, self.seed, self.given, self.outputs = augment, seed, given, outputs

    @classmethod
    def of(cls, network: Network, settings: TrainSettings) -> Self | None:
        """What augments the images that are trained on, where the spec says so."""
        if settings.augment is None:
            return None
        return cls(settings.augment, settings.seed, network.input_type, network.output_type.size)

    def begin(self, count: int, epoch: int) -> None:
        """Draw what is done in this epoch, counted from 1, to every one of `count` images."""
        self.drawn = draw(self.augment, count, self.given, self.seed, epoch)

    def __call__(self, images: Array, labels: Array, chosen: Array) -> tuple[Array, Array]:
        """The images at the places `chosen` as they are trained on, and their labels: shares of classes where mixed.

        `fit` is given arrays, for its own pipeline brings them to the device.
        """
        targets, drawn = self.drawn_for(labels, chosen)
        return ops.convert_to_numpy(augmented(images, drawn, self.augment)), targets

    def drawn_for(self, labels: Array, chosen: Array) -> tuple[Array, Drawn]:
        """The labels of a batch of the images at these places, mixed where they are, and what is done to each image."""
        drawn = self.drawn.take(chosen)
        return labels if drawn.share is None else mixed_targets(labels, drawn.share, self.outputs), drawn


def augmented(images: Any, drawn: Drawn, augment: Augment) -> Any:
    """A batch [n, h, w, c] of numpy's as it is trained on, a float32 tensor; images of bytes stay within 0 and 255."""
    white = WHITE if images.dtype == np.uint8 else None
    x = ops.convert_to_tensor(images.astype(np.float32))
    column = (-1, *(1,) * (len(images.shape) - 1))
    if drawn.maps is not None:
        x = moved(x, ops.convert_to_tensor(drawn.maps), augment)
    if drawn.brightness is not None:
        x = _cut_off(x * ops.reshape(drawn.brightness, column), white)
    if drawn.contrast is not None:
        mean = ops.mean(x, axis=tuple(range(1, len(x.shape))), keepdims=True)
        x = _cut_off(mean + (x - mean) * ops.reshape(drawn.contrast, column), white)
    if drawn.erased is not None:
        assert augment.erase is not None
        x = ops.where(inside(drawn.erased, x), _number(augment.erase.value), x)
    other = ops.roll(x, 1, axis=0) if augment.mixes else x
    if drawn.blend is not None:
        blend = ops.reshape(drawn.blend, column)
        x = x * (1 - blend) + other * blend
    if drawn.cut is not None:
        x = ops.where(inside(drawn.cut, x), other, x)
    return x


def moved(images: Any, maps: Any, augment: Augment) -> Any:
    """Every pixel from where its map says, bilinear between the four that are nearest."""
    count, height, width, channels = images.shape
    rows, columns = (ops.arange(size, dtype="float32") for size in (height, width))
    row, column = (
        ops.reshape(maps[:, axis, 0], (-1, 1, 1)) * ops.reshape(rows, (1, -1, 1))
        + ops.reshape(maps[:, axis, 1], (-1, 1, 1)) * columns
        + ops.reshape(maps[:, axis, 2], (-1, 1, 1))
        for axis in (0, 1)
    )
    flat = ops.reshape(images, (-1, channels))
    which = ops.reshape(ops.arange(count, dtype="int32") * (height * width), (-1, 1, 1))

    def at(row: Any, column: Any) -> Any:
        place = which + _inner(row, height, augment.fill) * width + _inner(column, width, augment.fill)
        found = ops.take(flat, place, axis=0)
        if augment.fill != "constant":
            return found
        within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return ops.where(ops.expand_dims(within, -1), found, _number(augment.fill_value))

    if augment.whole:
        return at(row, column)
    top, left = ops.floor(row), ops.floor(column)
    down, right = ops.expand_dims(row - top, -1), ops.expand_dims(column - left, -1)
    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


def _inner(index: Any, size: int, fill: Fill) -> Any:
    """The place in the image that stands for a place anywhere, along an axis of this size."""
    if fill == "reflect" and size > 1:
        index = ops.mod(ops.abs(index), _number(2 * size - 2))
        index = ops.minimum(index, 2 * size - 2 - index)
    return ops.cast(ops.clip(index, 0, size - 1), "int32")


def inside(boxes: Any, images: Any) -> Any:
    """Which pixels [n, h, w, 1] lie in the box [top, left, bottom, right] of their image."""
    top, left, bottom, right = (ops.convert_to_tensor(edge.reshape(-1, 1, 1, 1), "int32") for edge in boxes.T)
    rows = ops.reshape(ops.arange(images.shape[1], dtype="int32"), (1, -1, 1, 1))
    columns = ops.reshape(ops.arange(images.shape[2], dtype="int32"), (1, 1, -1, 1))
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def _number(value: float) -> Any:
    return ops.convert_to_tensor(value, dtype="float32")


def _cut_off(x: Any, white: float | None) -> Any:
    return x if white is None else ops.clip(x, 0, white)
