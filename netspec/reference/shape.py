"""The values of layers that move values: Flatten, Reshape, Permute, ZeroPad, Crop, Upsample."""

from __future__ import annotations

import numpy as np

from netspec.layers import Crop, Flatten, Permute, Reshape, Upsample, ZeroPad
from netspec.network import Node
from netspec.reference.conv import pad_spatial
from netspec.reference.image import resample_bilinear
from netspec.reference.table import Function, Values, rules


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


@rules(ZeroPad)
def zero_pad(layer: ZeroPad, node: Node) -> Function:
    """Zeros around the image."""
    return lambda x: pad_spatial(x, layer.padding)


@rules(Crop)
def crop(layer: Crop, node: Node) -> Function:
    """The image without its borders."""
    return lambda x: pad_spatial(x, [(-begin, -end) for begin, end in layer.crop])


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
