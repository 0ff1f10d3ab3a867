"""Layers that move values."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.backend import Order, channels_first, first_axis
from netspec.layers import Crop, Flatten, Permute, Reshape, Upsample, ZeroPad
from netspec.network import Node
from netspec.source import alike, unless
from netspec_torch.line import Line, call, cut, either, pad_amounts, rules

OTHER: Mapping[Order, Order] = {"first": "last", "last": "first"}
AXES = {2: "length, channels", 3: "height, width, channels", 4: "depth, height, width, channels"}


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
    return Line({"last": "{x}.flatten(1)"}, comment=AXES.get(given.rank, ""))


@rules(Reshape)
def reshape(layer: Reshape, node: Node) -> Line:
    """Values are read and laid out with the channels last."""
    if node.output.rank == 1:
        return Line({"last": "{x}.flatten(1)" if node.input_type.rank > 1 else "{x}"})
    return Line({"last": call("{x}.reshape", -1, *layer.shape)}, comment=AXES.get(node.output.rank, ""))


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


@rules(ZeroPad)
def zero_pad(layer: ZeroPad, node: Node) -> Line:
    """Zeros around the image."""
    return Line(
        {
            "first": call("F.pad", "{x}", pad_amounts(layer.padding)),
            "last": call("F.pad", "{x}", pad_amounts(layer.padding, "last")),
        }
    )


@rules(Crop)
def crop(layer: Crop, node: Node) -> Line:
    """A slice."""
    return Line({"first": f"{{x}}{cut(layer.crop)}", "last": f"{{x}}{cut(layer.crop, 'last')}"})


@rules(Upsample)
def upsample(layer: Upsample, node: Node) -> Line:
    """Whole factors, at which every way of taking the nearest pixel agrees."""
    mode = layer.mode
    # torch multiplies by 1 / factor in float32, which falls short of a whole number for 41, 47, 55 and others;
    # measured from pixel centres it never comes near one.
    quoted = '"nearest-exact"' if mode == "nearest" and max(layer.size) > 40 else f'"{mode}"'
    code = call("F.interpolate", "{x}", scale_factor=alike(layer.size), mode=unless(quoted, '"nearest"'))
    return Line({"first": code})
