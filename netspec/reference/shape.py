"""The values of layers that move values: Flatten, Reshape, Permute, Pad, Crop, Slice, ...; Identity leaves them."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from netspec.layers import (
    ChannelShuffle,
    Crop,
    Flatten,
    Identity,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    Slice,
    Split,
    Upsample,
)
from netspec.network import Node
from netspec.reference.conv import pad_spatial
from netspec.reference.image import resample_bilinear
from netspec.reference.table import Function, Values, rules


@rules(Identity)
def identity(layer: Identity, node: Node) -> Function:
    """The input."""
    return lambda x: x


@rules(Flatten)
def flatten(layer: Flatten, node: Node) -> Function:
    """All axes in one, channels last unless the order is `chw`."""

    def value(x: Values) -> Values:
        ordered = np.moveaxis(x, -1, 1) if layer.order == "chw" else x
        return ordered.reshape(len(x), -1)

    return value


@rules(Reshape)
def reshape(layer: Reshape, node: Node) -> Function:
    """The same values under another shape."""
    return lambda x: x.reshape(len(x), *layer.shape)


@rules(Permute)
def permute(layer: Permute, node: Node) -> Function:
    """Exchanged axes; axis 0 is the batch."""
    return lambda x: x.transpose(0, *layer.order)


@rules(Pad)
def pad(layer: Pad, node: Node) -> Function:
    """A constant around the image, or its own pixels: which ones, each mode says by their places along an axis."""
    if layer.mode == "constant":
        return lambda x: pad_spatial(x, layer.padding, layer.value)

    def value(x: Values) -> Values:
        for axis, (begin, end) in enumerate(layer.padding, start=1):
            x = x.take(_places(layer.mode, x.shape[axis], begin, end), axis)
        return x

    return value


def _places(mode: str, size: int, begin: int, end: int) -> NDArray[np.intp]:
    """Which pixel of an axis each pixel of the padded axis is."""
    places = np.arange(-begin, size + end)
    if mode == "edge":
        return places.clip(0, size - 1)
    # Mirrors stand at 0 and size - 1 for a reflection, half a pixel further out for a symmetric continuation.
    out = 1 if mode == "symmetric" else 0
    places = np.where(places < 0, -places - out, places)
    return np.where(places >= size, 2 * (size - 1) + out - places, places)


@rules(Crop)
def crop(layer: Crop, node: Node) -> Function:
    """The image without its borders."""
    return lambda x: pad_spatial(x, [(-begin, -end) for begin, end in layer.crop])


@rules(Slice)
def slice_(layer: Slice, node: Node) -> Function:
    """What lies between two places of one axis."""
    return lambda x: x.take(range(layer.begin, node.output.shape[layer.axis - 1] + layer.begin), layer.axis)


@rules(Split)
def split(layer: Split, node: Node) -> Function:
    """One of the equal parts of an axis."""
    return lambda x: np.split(x, layer.parts, layer.axis)[layer.index]


@rules(Upsample)
def upsample(layer: Upsample, node: Node) -> Function:
    """Every pixel repeated, or interpolated between pixel centres."""

    def value(x: Values) -> Values:
        if layer.mode == "bilinear":
            return resample_bilinear(x, [size * factor for size, factor in zip(x.shape[1:-1], layer.size, strict=True)])
        for axis, factor in enumerate(layer.size, start=1):
            x = x.repeat(factor, axis)
        return x

    return value


@rules(ChannelShuffle)
def channel_shuffle(layer: ChannelShuffle, node: Node) -> Function:
    """The channels of a place side by side, which stand as far apart in the input as a group is long."""
    length = node.output.channels // layer.groups
    return lambda x: np.concatenate([x[..., place::length] for place in range(length)], -1)


@rules(PixelShuffle)
def pixel_shuffle(layer: PixelShuffle, node: Node) -> Function:
    """Each channel's square of pixels, row by row, from as many channels of the input."""

    def value(x: Values) -> Values:
        result = np.empty((len(x), *node.output.shape))
        for row, column in product(range(layer.size), repeat=2):
            place = row * layer.size + column
            result[:, row :: layer.size, column :: layer.size] = x[..., place :: layer.size**2]
        return result

    return value


@rules(PixelUnshuffle)
def pixel_unshuffle(layer: PixelUnshuffle, node: Node) -> Function:
    """Each place of the squares as a channel beside those of the same channel of the input."""

    def value(x: Values) -> Values:
        result = np.empty((len(x), *node.output.shape))
        for row, column in product(range(layer.size), repeat=2):
            place = row * layer.size + column
            result[..., place :: layer.size**2] = x[:, row :: layer.size, column :: layer.size]
        return result

    return value
