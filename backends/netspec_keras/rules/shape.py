"""Layers that move values without changing them."""

from __future__ import annotations

from netspec.codegen.source import alike, unless
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
from netspec_keras.steps import Apply, Compute, Realisation, border, literal, one, rules, written


@rules(Identity)
def identity(layer: Identity, node: Node) -> Realisation:
    """A layer that does nothing, for its name."""
    return one("Identity")


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


@rules(Pad)
def pad(layer: Pad, node: Node) -> Realisation:
    """The stock layer for zeros, an operation for other constants and for reflections of images.

    TensorFlow has no edges, Keras on torch no volumes, and there it takes symmetric for edge (Keras 3.15).
    """
    if layer.mode == "constant" and layer.value == 0:
        return one(f"ZeroPadding{len(layer.padding)}D", border(layer.padding))
    pads = literal(((0, 0), *layer.padding, (0, 0)))
    if layer.mode == "constant":
        return Realisation((Compute(f"ops.pad({{x}}, {pads}, constant_values={literal(layer.value)})", ("pad",)),))
    if not any(map(any, layer.padding)):
        return one("Identity")
    if layer.mode == "reflect" and len(layer.padding) < 3:
        return Realisation((Compute(f'ops.pad({{x}}, {pads}, mode="reflect")', ("pad",)),))
    return Realisation(
        tuple(continued(layer.mode, *axis) for axis in enumerate(layer.padding, start=1) if any(axis[1]))
    )


def continued(mode: str, axis: int, pads: tuple[int, int]) -> Compute:
    """One axis between pixels of its own."""
    begin, end = pads
    left, right = {
        "edge": (":1", "-1:"),
        "symmetric": (f":{begin}", f"-{end}:"),
        "reflect": (f"1:{begin + 1}", f"-{end + 1}:-1"),
    }[mode]

    def pixels(span: str, count: int) -> list[str]:
        found = f"{{x}}[{':, ' * axis}{span}]"
        several = f"ops.repeat({found}, {count}, axis={axis})" if mode == "edge" else f"ops.flip({found}, axis={axis})"
        return [several if count > 1 else found] if count else []

    pieces = ", ".join([*pixels(left, begin), "{x}", *pixels(right, end)])
    return Compute(f"ops.concatenate([{pieces}], axis={axis})", ("get_item", "repeat", "flip", "concatenate"))


@rules(Crop)
def crop(layer: Crop, node: Node) -> Realisation:
    """The borders cut off."""
    return one(f"Cropping{len(layer.crop)}D", border(layer.crop))


@rules(Slice)
def slice_(layer: Slice, node: Node) -> Realisation:
    """A part of one axis."""
    assert layer.end is not None, "the layer is not resolved"
    return Realisation((part(node, layer.axis, layer.begin, layer.end),))


@rules(Split)
def split(layer: Split, node: Node) -> Realisation:
    """One part alone: `ops.split` would compute them all."""
    return Realisation((part(node, layer.axis, *layer.span(node.input_type)),))


def part(node: Node, axis: int, begin: int, end: int) -> Compute:
    """What lies between two places of one axis."""
    last = end == node.input_type.shape[axis - 1]
    return Compute(f"{{x}}[{':, ' * axis}{begin or ''}:{'' if last else end}]", ("get_item",))


@rules(Upsample)
def upsample(layer: Upsample, node: Node) -> Realisation:
    """Enlarged by whole factors."""
    return one(f"UpSampling{len(layer.size)}D", alike(layer.size), interpolation=unless(layer.mode, "nearest"))


@rules(ChannelShuffle)
def channel_shuffle(layer: ChannelShuffle, node: Node) -> Realisation:
    """The channels as a table of groups, turned."""
    rank = node.output.rank
    return Realisation(
        (
            Apply("Reshape", written((*node.output.spatial, layer.groups, -1)), "_groups"),
            Apply("Permute", written((*range(1, rank), rank + 1, rank)), "_permute"),
            Apply("Reshape", written(node.output.shape)),
        )
    )


@rules(PixelShuffle)
def pixel_shuffle(layer: PixelShuffle, node: Node) -> Realisation:
    """The channels of a square as two axes of their own, which then join those of the image."""
    height, width, _ = node.input_type.shape
    apart = (height, width, node.output.channels, layer.size, layer.size)
    return Realisation(
        (
            Apply("Reshape", written(apart), "_squares"),
            Apply("Permute", written((1, 4, 2, 5, 3)), "_permute"),
            Apply("Reshape", written(node.output.shape)),
        )
    )


@rules(PixelUnshuffle)
def pixel_unshuffle(layer: PixelUnshuffle, node: Node) -> Realisation:
    """The places in a square as two axes of their own, which then join the channels."""
    height, width, _ = node.output.shape
    apart = (height, layer.size, width, layer.size, node.input_type.channels)
    return Realisation(
        (
            Apply("Reshape", written(apart), "_squares"),
            Apply("Permute", written((1, 3, 5, 2, 4)), "_permute"),
            Apply("Reshape", written(node.output.shape)),
        )
    )
