"""Layers that move values."""

from __future__ import annotations

from netspec.backend import channels_first, first_axis
from netspec.layers import Crop, Flatten, Permute, Reshape, Upsample, ZeroPad
from netspec.network import Node
from netspec_torch.line import Line, alike, call, cut, either, pad_amounts, rules, unless

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
        return Line({"last": "{x}.flatten(1)" if node.input_type.rank > 1 else "{x}"}, gives="last")
    return Line({"last": call("{x}.reshape", -1, *layer.shape)}, gives="last", comment=AXES.get(node.output.rank, ""))


@rules(Permute)
def permute(layer: Permute, node: Node) -> Line:
    """The same exchange of axes, said for either order."""
    rank = node.input_type.rank
    order = (0, *layer.order)
    first = tuple(first_axis(order[axis], rank) for axis in channels_first(rank))
    kept = tuple(range(rank + 1))
    return Line(
        {
            "first": "{x}" if first == kept else call("{x}.permute", *first),
            "last": "{x}" if order == kept else call("{x}.permute", *order),
        }
    )


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
