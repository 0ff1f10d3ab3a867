"""What may be otherwise where values are moved: flattened, permuted, padded, cropped, cut, enlarged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from netspec.layers import (
    ChannelShuffle,
    Crop,
    Dropout,
    Flatten,
    Layer,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    Slice,
    SpatialDropout,
    Split,
    StochasticDepth,
    Upsample,
)
from netspec.reference.table import Values
from netspec.verify.causes.hypothesis import Call, Fields, Hypothesis, fields, instead
from netspec.verify.causes.image import aligned_corners, from_corner

DROPOUTS = (Dropout, SpatialDropout, StochasticDepth)


def _orders(call: Call) -> Iterator[Fields]:
    yield {"order": "chw" if call.layer.order == "hwc" else "hwc"}


def _permutations(call: Call) -> Iterator[Fields]:
    rank = call.node.input_type.rank
    yield {"order": tuple(range(1, rank + 1))}
    yield {"order": tuple(int(place) + 1 for place in np.argsort(call.layer.order))}
    yield from ({"order": order} for order in permutations(range(1, rank + 1)))


def _flat_in(order: Callable[[int], tuple[int, ...]]) -> Callable[[Call], Values]:
    def value(call: Call) -> Values:
        return call.x.transpose(0, *order(call.x.ndim - 1)).reshape(len(call.x), -1)

    return value


def _channels_first(call: Call) -> Values:
    """Reshaped as a framework does it whose images have their channels first, on both sides."""
    first = np.moveaxis(call.x, -1, 1) if call.x.ndim > 2 else call.x
    shape = call.layer.shape
    turned = first.reshape(len(call.x), shape[-1], *shape[:-1])
    return np.moveaxis(turned, 1, -1) if len(shape) > 1 else first.reshape(len(call.x), *shape)


def _column_major(call: Call) -> Values:
    axes = tuple(range(call.x.ndim - 1, 0, -1))
    flat = call.x.transpose(0, *axes).reshape(len(call.x), -1)
    shape = call.layer.shape
    return flat.reshape(len(flat), *reversed(shape)).transpose(0, *range(len(shape), 0, -1))


def _modes(call: Call) -> Iterator[Fields]:
    modes = ("constant", "reflect", "edge", "symmetric")
    yield from ({"mode": mode, "value": 0.0} for mode in modes if mode != call.layer.mode)
    yield from ({"mode": "constant", "value": value} for value in (0.0, 1.0, -1.0))


def _pads(call: Call) -> Iterator[Fields]:
    yield from _ends(call.layer.padding, "padding")


def _crops(call: Call) -> Iterator[Fields]:
    yield from _ends(call.layer.crop, "crop")


def _ends(pads: tuple[tuple[int, int], ...], name: str) -> Iterator[Fields]:
    """Exchanged ends, exchanged axes, and one pixel earlier or later."""
    yield {name: tuple((end, begin) for begin, end in pads)}
    yield {name: tuple(reversed(pads))}
    for move in (1, -1):
        moved = tuple((begin + move, end - move) for begin, end in pads)
        if all(min(pair) >= 0 for pair in moved):
            yield {name: moved}
    yield {name: ((0, 0),) * len(pads)}


def _slices(call: Call) -> Iterator[Fields]:
    """As many values, beginning elsewhere; the end is not read where the length is known."""
    for begin in range(
        call.node.input_type.shape[call.layer.axis - 1] - call.node.output.shape[call.layer.axis - 1] + 1
    ):
        yield {"begin": begin}
    yield from ({"axis": axis} for axis in range(1, call.node.input_type.rank + 1))


def _parts(call: Call) -> Iterator[Fields]:
    yield from ({"index": index} for index in range(call.layer.parts))
    yield from ({"axis": axis} for axis in range(1, call.node.input_type.rank + 1))


def _interleaved(call: Call) -> Values:
    values = np.moveaxis(call.x, call.layer.axis, -1)[..., call.layer.index :: call.layer.parts]
    return np.moveaxis(values, -1, call.layer.axis)


def _resampling(call: Call) -> Iterator[Fields]:
    yield {"mode": "bilinear" if call.layer.mode == "nearest" else "nearest"}


def _sizes(call: Call) -> list[int]:
    return [size * factor for size, factor in zip(call.x.shape[1:-1], call.layer.size, strict=True)]


def _bilinear(resample: Callable[[Values, list[int]], Values]) -> Callable[[Call], Values | None]:
    return lambda call: resample(call.x, _sizes(call)) if call.layer.mode == "bilinear" else None


def _tiled(call: Call) -> Values:
    return np.tile(call.x, (1, *call.layer.size, 1))


def _groups(call: Call) -> Iterator[Fields]:
    """The way back first, which exchanges rows and columns of the table of groups."""
    channels = call.node.output.channels
    yield {"groups": channels // call.layer.groups}
    yield from ({"groups": groups} for groups in range(1, channels) if not channels % groups)


def _shuffled(call: Call, *, first: bool, turned: bool) -> Values:
    """The square of pixels as the leading part of the channels (as TensorFlow has it), or column by column."""
    factor, channels = call.layer.size, call.node.output.channels
    shape = (*call.x.shape[:-1], factor, factor, channels) if first else (*call.x.shape[:-1], channels, factor, factor)
    parts = call.x.reshape(shape)
    parts = parts if first else np.moveaxis(parts, -3, -1)
    if turned:
        parts = np.swapaxes(parts, -2, -3)
    batch, height, width = call.x.shape[:3]
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * factor, width * factor, channels)


def _unshuffled(call: Call, axes: tuple[int, ...]) -> Values:
    """The places in the squares and the channels in the order of these axes of [batch, h, i, w, j, channels]."""
    height, width, channels = call.node.output.shape
    size = call.layer.size
    parts = call.x.reshape(len(call.x), height, size, width, size, channels // size**2)
    return parts.transpose(axes).reshape(len(call.x), height, width, channels)


def _scaled(times: Callable[[float], float]) -> Callable[[Call], Values]:
    return lambda call: call.x * times(call.layer.rate)


HYPOTHESES: tuple[Hypothesis, ...] = (
    fields(Flatten, "flattened in another order", _orders, "the values stand in another order: channels first"),
    fields(Permute, "another permutation", _permutations),
    instead(
        Flatten,
        "flattened column by column",
        "the values stand in the order width, height, channels",
        "the values in the order whc",
        _flat_in(lambda rank: (*range(rank - 1, 0, -1), rank)),
    ),
    instead(
        Flatten,
        "flattened from behind",
        "the values stand in the order channels, width, height",
        "the values in the order cwh",
        _flat_in(lambda rank: tuple(range(rank, 0, -1))),
    ),
    instead(
        Reshape,
        "reshaped channels first",
        "the values are poured into the shape with their channels first, not last",
        "{value}, of channels-first values",
        _channels_first,
    ),
    instead(
        Reshape,
        "reshaped column by column",
        "the values are poured into the shape column by column, as Fortran has them",
        "{value}, the first axis the fastest",
        _column_major,
    ),
    fields(Pad, "another padding mode", _modes),
    fields(Pad, "shifted padding", _pads),
    fields(Crop, "shifted crop", _crops),
    fields(Slice, "another slice", _slices),
    fields(Split, "another part", _parts),
    instead(
        Split,
        "interleaved parts",
        "every {parts}-th value is taken, not a stretch",
        "x[{index} :: {parts}]",
        _interleaved,
    ),
    fields(Upsample, "another interpolation", _resampling),
    instead(
        Upsample,
        "corners aligned",
        "the outermost pixels are laid on each other (align_corners), not the borders of the image",
        "target i looks at i * (old - 1) / (new - 1)",
        _bilinear(aligned_corners),
    ),
    instead(
        Upsample,
        "half a pixel off",
        "pixels are taken for points at their corner (asymmetric), not at their centre (half_pixel)",
        "target i looks at i * old / new",
        _bilinear(from_corner),
    ),
    instead(
        Upsample,
        "tiled",
        "the whole image is repeated, not each pixel",
        "the image beside itself, {size} times",
        _tiled,
    ),
    fields(ChannelShuffle, "channels mixed in other groups", _groups),
    instead(
        PixelUnshuffle,
        "blocks before channels",
        "the place in the block is the leading part of the channel's number, as in tf.space_to_depth",
        "channel place * channels + c, not c * {size}^2 + place",
        lambda call: _unshuffled(call, (0, 1, 3, 2, 4, 5)),
    ),
    instead(
        PixelUnshuffle,
        "blocks column by column",
        "the pixels of each block are taken column by column, not row by row",
        "{value}, rows and columns of each block exchanged",
        lambda call: _unshuffled(call, (0, 1, 3, 5, 4, 2)),
    ),
    instead(
        PixelShuffle,
        "blocks before channels",
        "the place in the block is the leading part of the channel's number, as in tf.depth_to_space",
        "channel place * channels + c, not c * {size}^2 + place",
        lambda call: _shuffled(call, first=True, turned=False),
    ),
    instead(
        PixelShuffle,
        "blocks column by column",
        "the pixels of each block are filled column by column, not row by row",
        "{value}, rows and columns of each block exchanged",
        lambda call: _shuffled(call, first=False, turned=True),
    ),
    instead(
        DROPOUTS,
        "scaled in inference",
        "what is kept in training is not scaled there, but here",
        "x * (1 - {rate})",
        _scaled(lambda rate: 1 - rate),
    ),
    instead(
        DROPOUTS,
        "scaled up in inference",
        "the scale of the training is applied here too",
        "x / (1 - {rate})",
        _scaled(lambda rate: 1 / (1 - rate)),
    ),
)

ANY: tuple[Hypothesis, ...] = (
    instead(
        (Layer,),
        "row left out",
        "it gives what it reads: the layer is left out",
        "x",
        lambda call: call.x if call.x.shape[1:] == call.node.output.shape else None,
    ),
)
"""What may be so of every kind, where its own table has nothing better."""
