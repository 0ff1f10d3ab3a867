"""Layers that move values."""

from __future__ import annotations

from collections.abc import Mapping

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
from netspec.tensors import Order, channels_first, first_axis
from netspec_torch.line import Line, call, cut, either, pad_amounts, rules

OTHER: Mapping[Order, Order] = {"first": "last", "last": "first"}


@rules(Identity)
def identity(layer: Identity, node: Node) -> Line:
    """Another name."""
    return either("{x}")


@rules(Flatten)
def flatten(layer: Flatten, node: Node) -> Line:
    """The order of the axes is the order of the values, unless all but one of them have size 1."""
    given = node.input_type
    if given.rank == 1:
        return either("{x}")
    if given.channels == given.size or given.channels == 1:
        return either("{x}.flatten(1)")
    if layer.order == "chw":
        return Line({"first": "{x}.flatten(1)"})
    return Line({"last": "{x}.flatten(1)"}, comment=", ".join(given.axes))


@rules(Reshape)
def reshape(layer: Reshape, node: Node) -> Line:
    """Values are read and laid out with the channels last."""
    if node.output.rank == 1:
        return Line({"last": "{x}.flatten(1)" if node.input_type.rank > 1 else "{x}"})
    return Line({"last": call("{x}.reshape", -1, *layer.shape)}, comment=", ".join(node.output.axes))


@rules(Permute)
def permute(layer: Permute, node: Node) -> Line:
    """The same exchange of axes, said for either order; nothing where the value lies as the other order has it."""
    rank = node.input_type.rank
    kept, exchange = tuple(range(rank + 1)), (0, *layer.order)
    code: dict[Order, str] = {}
    gives: dict[Order, Order] = {}
    for given, other in OTHER.items():
        axes = exchanged(exchange, given, given)
        code[given] = "{x}" if axes == kept else call("{x}.permute", *axes)
        if axes != kept and exchanged(exchange, given, other) == kept:
            code[given], gives[given] = "{x}", other
    return Line(code, gives)


def exchanged(exchange: tuple[int, ...], given: Order, result: Order) -> tuple[int, ...]:
    """An exchange of canonical axes as one of the axes as they lie, the input in one order and the result in another.

    >>> exchanged((0, 2, 1), "last", "last"), exchanged((0, 2, 1), "last", "first")
    ((0, 2, 1), (0, 1, 2))
    """
    rank = len(exchange) - 1
    wanted = channels_first(rank) if result == "first" else range(rank + 1)
    axes = (exchange[axis] for axis in wanted)
    return tuple(first_axis(axis, rank) if given == "first" else axis for axis in axes)


@rules(Pad)
def pad(layer: Pad, node: Node) -> Line:
    """`F.pad`: constants at any axis, its other modes at the last ones alone, and none of them symmetric."""
    if layer.mode == "symmetric":
        return mirrored(layer, node)
    amounts = pad_amounts(layer.padding)
    if layer.mode == "constant":
        value = unless(layer.value, 0.0)
        last = call("F.pad", "{x}", pad_amounts(layer.padding, "last"), value=value)
        return Line({"first": call("F.pad", "{x}", amounts, value=value), "last": last})
    mode = '"replicate"' if layer.mode == "edge" else '"reflect"'
    return Line({"first": call("F.pad", "{x}", amounts, mode=mode)})


def mirrored(layer: Pad, node: Node) -> Line:
    """Every axis between its own first and last pixels, in reverse; one axis after the other."""
    steps = []
    for axis, (begin, end) in enumerate(layer.padding, start=2):
        if begin or end:
            spans = ((begin, subscript(axis, 0, begin)), (end, subscript(axis, -end, 0)))
            before, after = (
                [f"{{x}}{span}" + (f".flip({axis})" if count > 1 else "")] if count else [] for count, span in spans
            )
            steps.append(call("torch.cat", f"[{', '.join([*before, '{x}', *after])}]", axis))
    if not steps:
        return either("{x}")
    *earlier, last = (step if not place else step.replace("{x}", "padded") for place, step in enumerate(steps))
    return Line(
        {"first": last}, before=tuple(f"padded = {step}" for step in earlier), comment="mirrored at the borders"
    )


def subscript(axis: int, begin: int, end: int) -> str:
    """A subscript for part of one axis; an end of 0 is the end of the axis.

    >>> subscript(1, 0, 16), subscript(2, -3, 0)
    ('[:, :16]', '[:, :, -3:]')
    """
    return f"[{':, ' * axis}{begin or ''}:{end or ''}]"


@rules(Crop)
def crop(layer: Crop, node: Node) -> Line:
    """A slice."""
    return Line({"first": f"{{x}}{cut(layer.crop)}", "last": f"{{x}}{cut(layer.crop, 'last')}"})


@rules(Slice)
def slice_(layer: Slice, node: Node) -> Line:
    """A subscript, unless it is the whole axis."""
    rank, size = node.input_type.rank, node.input_type.shape[layer.axis - 1]
    if node.output == node.input_type:
        return either("{x}")
    assert layer.end is not None, "the layer is not resolved"
    end = layer.end % size
    first = subscript(first_axis(layer.axis, rank), layer.begin, end)
    return Line({"first": f"{{x}}{first}", "last": f"{{x}}{subscript(layer.axis, layer.begin, end)}"})


@rules(Split)
def split(layer: Split, node: Node) -> Line:
    """A view of one part."""
    axes = (first_axis(layer.axis, node.input_type.rank), layer.axis)
    first, last = (f"{{x}}.chunk({layer.parts}, {axis})[{layer.index}]" for axis in axes)
    return Line({"first": first, "last": last})


@rules(Upsample)
def upsample(layer: Upsample, node: Node) -> Line:
    """Whole factors, at which every way of taking the nearest pixel agrees."""
    mode = layer.mode
    # torch multiplies by 1 / factor in float32, which falls short of a whole number for 41, 47, 55 and others;
    # measured from pixel centres it never comes near one.
    quoted = '"nearest-exact"' if mode == "nearest" and max(layer.size) > 40 else f'"{mode}"'
    code = call("F.interpolate", "{x}", scale_factor=alike(layer.size), mode=unless(quoted, '"nearest"'))
    return Line({"first": code})


@rules(ChannelShuffle)
def channel_shuffle(layer: ChannelShuffle, node: Node) -> Line:
    """Torch's own wants an image behind the channels."""
    apart = (layer.groups, node.output.channels // layer.groups)
    last = f"{call('{x}.unflatten', -1, apart)}.transpose(-2, -1).flatten(-2)"
    if node.output.rank == 1:
        return either(last)
    return Line({"first": call("F.channel_shuffle", "{x}", layer.groups), "last": last})


@rules(PixelShuffle)
def pixel_shuffle(layer: PixelShuffle, node: Node) -> Line:
    """Torch's order of the channels is the meaning."""
    return Line({"first": call("F.pixel_shuffle", "{x}", layer.size)})


@rules(PixelUnshuffle)
def pixel_unshuffle(layer: PixelUnshuffle, node: Node) -> Line:
    """Torch's order of the channels is the meaning."""
    return Line({"first": call("F.pixel_unshuffle", "{x}", layer.size)})
