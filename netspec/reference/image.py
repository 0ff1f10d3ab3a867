"""The values of image preparation, and the resampling that Resize and Upsample share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netspec.layers import Grayscale, Normalize, Rescale, Resize
from netspec.network import Node
from netspec.reference.table import Function, Values, rules

LUMA = np.array([0.2989, 0.587, 0.114])


def between(source: int, target: int) -> tuple[Values, NDArray[np.intp], NDArray[np.intp]]:
    """Where each pixel of a resampled axis lies in its source, and the indices of the two pixels around that place."""
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    before = np.floor(place).astype(np.intp)
    return place, before, np.minimum(before + 1, source - 1)


def resample_bilinear(x: Values, size: Sequence[int]) -> Values:
    """Every spatial axis interpolated between pixel centres: target i looks at (i + 1/2) * old / new - 1/2.

    Beyond the outermost centres the outermost pixel counts.
    """
    for axis, target in enumerate(size, start=1):
        place, before, after = between(x.shape[axis], target)
        share = (place - before).reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = x.take(before, axis) * (1 - share) + x.take(after, axis) * share
    return x


def resample_nearest(x: Values, size: Sequence[int]) -> Values:
    """Every spatial axis by its nearest pixel: target i takes floor((i + 1/2) * old / new), in whole numbers."""
    for axis, target in enumerate(size, start=1):
        x = x.take((2 * np.arange(target) + 1) * x.shape[axis] // (2 * target), axis)
    return x


@rules(Rescale)
def rescale(layer: Rescale, node: Node) -> Function:
    """One factor and one term for every value: x * scale + offset."""
    return lambda x: x * layer.scale + layer.offset


@rules(Normalize)
def normalize(layer: Normalize, node: Node) -> Function:
    """Fixed statistics of every channel: (x - mean) / std."""
    return lambda x: (x - np.array(layer.mean)) / np.array(layer.std)


@rules(Grayscale)
def grayscale(layer: Grayscale, node: Node) -> Function:
    """0.2989 R + 0.587 G + 0.114 B."""
    return lambda x: (x @ LUMA)[..., np.newaxis]


@rules(Resize)
def resize(layer: Resize, node: Node) -> Function:
    """Every target pixel from its nearest source pixel, or between its neighbours."""
    resample = resample_bilinear if layer.mode == "bilinear" else resample_nearest
    return lambda x: resample(x, layer.size)
