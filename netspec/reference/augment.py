"""What augmenting images means, in float64: what every backend's augmentation is held against.

Images are [n, h, w, c]; what is drawn for them is `netspec.data.draw.Drawn`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.data.augment import Augment, Fill
from netspec.data.draw import Drawn

Array = NDArray[Any]
WHITE = 255.0


def augmented(images: Array, drawn: Drawn, augment: Augment) -> Array:
    """A batch as it is trained on, float32; images of bytes stay between 0 and 255."""
    x = images.astype(np.float64)
    bytes_ = images.dtype == np.uint8
    column = (slice(None), *(np.newaxis,) * (x.ndim - 1))
    if drawn.maps is not None:
        x = moved(x, drawn.maps, augment.fill, augment.fill_value)
    if drawn.brightness is not None:
        x = _cut_off(x * drawn.brightness[column], bytes_)
    if drawn.contrast is not None:
        mean = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        x = _cut_off(mean + (x - mean) * drawn.contrast[column], bytes_)
    if drawn.erased is not None:
        assert augment.erase is not None
        x = np.where(inside(drawn.erased, x.shape), augment.erase.value, x)
    other = np.roll(x, 1, axis=0)
    if drawn.blend is not None:
        x = x * (1 - drawn.blend[column]) + other * drawn.blend[column]
    if drawn.cut is not None:
        x = np.where(inside(drawn.cut, x.shape), other, x)
    return x.astype(np.float32)


def moved(images: Array, maps: Array, fill: Fill, value: float) -> Array:
    """Every pixel from where its map says, bilinear between the four that are nearest."""
    _, height, width, _ = images.shape
    places = np.stack([*np.mgrid[:height, :width], np.ones((height, width))])
    rows, columns = np.einsum("nij,jyx->inyx", maps.astype(np.float64), places)
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top)[..., np.newaxis], (columns - left)[..., np.newaxis]

    def at(row: Array, column: Array) -> Array:
        found = images[np.arange(len(images))[:, None, None], _inner(row, height, fill), _inner(column, width, fill)]
        if fill != "constant":
            return found
        within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return np.where(within[..., np.newaxis], found, value)

    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    result: Array = upper * (1 - down) + lower * down
    return result


def _inner(index: Array, size: int, fill: Fill) -> NDArray[np.int64]:
    """The place in the image that stands for a place anywhere, along an axis of this size."""
    if fill == "reflect" and size > 1:
        index = np.abs(index) % (2 * size - 2)
        index = np.minimum(index, 2 * size - 2 - index)
    return np.clip(index, 0, size - 1).astype(np.int64)


def inside(boxes: Array, shape: tuple[int, ...]) -> Array:
    """Which pixels [n, h, w, 1] lie in the box [top, left, bottom, right] of their image."""
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    top, left, bottom, right = boxes.T[:, :, np.newaxis, np.newaxis]
    found: Array = ((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right))[..., np.newaxis]
    return found


def _cut_off(x: Array, bytes_: bool) -> Array:
    return np.clip(x, 0, WHITE) if bytes_ else x
