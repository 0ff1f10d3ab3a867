"""Layers that move values without changing them."""

from __future__ import annotations

from netspec.layers import Crop, Flatten, Permute, Reshape, Upsample, ZeroPad
from netspec.network import Node
from netspec.source import alike, unless
from netspec_keras.steps import Apply, Realisation, border, one, rules, written


@rules(Flatten)
def flatten(layer: Flatten, node: Node) -> Realisation:
    """All axes in one."""
    rank = node.input_type.rank
    flat = Apply("Flatten", ())
    if layer.order == "hwc" or rank == 1:
        return Realisation((flat,))
    first = Apply("Permute", written((rank, *range(1, rank))), "_permute", why="channels first")
    return Realisation((first, flat))


@rules(Reshape)
def reshape(layer: Reshape, node: Node) -> Realisation:
    """The same values under another shape."""
    return one("Reshape", layer.shape)


@rules(Permute)
def permute(layer: Permute, node: Node) -> Realisation:
    """Axes exchanged."""
    return one("Permute", layer.order)


@rules(ZeroPad)
def zero_pad(layer: ZeroPad, node: Node) -> Realisation:
    """Zeros around the image."""
    return one(f"ZeroPadding{len(layer.padding)}D", border(layer.padding))


@rules(Crop)
def crop(layer: Crop, node: Node) -> Realisation:
    """The borders cut off."""
    return one(f"Cropping{len(layer.crop)}D", border(layer.crop))


@rules(Upsample)
def upsample(layer: Upsample, node: Node) -> Realisation:
    """Enlarged by whole factors."""
    return one(f"UpSampling{len(layer.size)}D", alike(layer.size), interpolation=unless(layer.mode, "nearest"))
