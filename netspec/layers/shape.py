"""Layers that move values: Flatten, Reshape, Permute, Pad, Crop, Slice, Split, Upsample, shuffles; and Identity."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from netspec.errors import LayerError, ShapeError
from netspec.layers.base import (
    Count,
    Inputs,
    Layer,
    Pads,
    Size,
    Sizes,
    axis_index,
    per_axis,
    read_sizes,
    spatial_input,
)
from netspec.tensors import TensorType


class Identity(Layer, kind="Identity"):
    """What it reads, unchanged: a value under another name, such as a shortcut."""


class Flatten(Layer, kind="Flatten"):
    """All axes in one, in the order height, width, channels: [batch, h, w, c] -> [batch, h * w * c]."""

    order: Literal["hwc", "chw"] = "hwc"
    """`hwc`, or `chw` for weights that were trained where channels come first."""

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType((inputs[0].size,))


def _read_shape(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else read_sizes(value)


class Reshape(Layer, kind="Reshape", size=("shape",)):
    """The same values under another shape, read in the order height, width, channels."""

    shape: Annotated[tuple[Size | Literal[-1], ...], Field(min_length=1, max_length=4), BeforeValidator(_read_shape)]
    """The new shape without the batch; one size may be -1, which the others determine."""

    def resolve(self, inputs: Inputs) -> Self:
        given = inputs[0]
        known = prod(size for size in self.shape if size != -1)
        unknown = self.shape.count(-1)
        if unknown > 1 or given.size % known or (not unknown and known != given.size):
            wanted = "x".join(map(str, self.shape))
            raise ShapeError(
                f"Reshape to {wanted} needs {'a multiple of ' if unknown else ''}{known} values, "
                f"but its input {given} has {given.size}"
                if unknown < 2
                else f"Reshape to {wanted} leaves {unknown} sizes open; one may be -1",
                field="shape",
            )
        return self.replace(shape=tuple(given.size // known if size == -1 else size for size in self.shape))

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType(self.shape)


class Permute(Layer, kind="Permute", aliases=("Transpose",), size=("order",)):
    """Exchange axes: `order=(2,1,3)` turns height x width x channels into width x height x channels."""

    order: Annotated[tuple[Size, ...], Field(min_length=1, max_length=4), BeforeValidator(_read_shape)]
    """For each axis of the result, which axis of the input it is; counted from 1, the batch stays."""

    def resolve(self, inputs: Inputs) -> Self:
        rank = inputs[0].rank
        if sorted(self.order) != list(range(1, rank + 1)):
            raise ShapeError(
                f"order {self.order} must name each of the {rank} axes of {inputs[0]} once, counted from 1",
                field="order",
            )
        return self

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType(tuple(inputs[0].shape[axis - 1] for axis in self.order))


def _read_mode(value: Any) -> Any:
    return {"replicate": "edge"}.get(value.lower(), value.lower()) if isinstance(value, str) else value


class Pad(
    Layer,
    kind="Pad",
    aliases=("Padding",),
    size=("padding",),
    ranks=(1, 2, 3),
    presets={
        "ZeroPad": {"mode": "constant", "value": 0.0},
        "ZeroPadding": {"mode": "constant", "value": 0.0},
        "ConstantPad": {"mode": "constant"},
        "ReflectionPad": {"mode": "reflect"},
        "ReplicationPad": {"mode": "edge"},
    },
):
    """Enlarge the image at its borders: by a constant, or by pixels of its own.

    [batch, h, w, c] -> [batch, h + begin + end, w + begin + end, c]
    """

    padding: Pads = ((1, 1),)
    """A number of pixels, or (begin, end) an axis."""
    mode: Annotated[Literal["constant", "reflect", "edge", "symmetric"], BeforeValidator(_read_mode)] = "constant"
    """What the new pixels hold: `constant`, the `value`; `edge`, the pixel at the border (`replicate` in torch);
    `reflect`, what lies as far inside of the border pixel (2 1 | 0 1 2); `symmetric`, the same with the border pixel
    twice (1 0 | 0 1 2)."""
    value: float = 0.0
    """What `constant` fills with."""

    def check(self) -> None:
        if self.value and self.mode != "constant":
            raise LayerError(f"value={self.value:g} is for mode=constant, not for mode={self.mode}", field="value")

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        padding: tuple[tuple[int, int], ...] = per_axis(self.padding, given.rank - 1, "padding")
        # A reflection has the pixels beside the border one, a symmetric continuation has that one as well.
        spare = {"reflect": 1, "symmetric": 0}.get(self.mode)
        for size, pads in zip(given.spatial, padding, strict=True):
            if spare is not None and max(pads) > size - spare:
                raise ShapeError(
                    f"mode={self.mode} has {size - spare} pixels to continue an axis of {size} with, but "
                    f"padding is {max(pads)} and the input {given}",
                    hint=f"at most {size - spare}, or mode=edge",
                    field="padding",
                )
        return self.replace(padding=padding)

    def output(self, inputs: Inputs) -> TensorType:
        given = inputs[0]
        spatial = (size + sum(pad) for size, pad in zip(given.spatial, self.padding, strict=True))
        return TensorType((*spatial, given.channels))


class Crop(Layer, kind="Crop", aliases=("Cropping",), size=("crop",), ranks=(1, 2, 3)):
    """Cut the borders off: [batch, h, w, c] -> [batch, h - begin - end, w - begin - end, c]."""

    crop: Pads = ((1, 1),)
    """A number of pixels, or (begin, end) an axis."""

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        crop = per_axis(self.crop, given.rank - 1, "crop")
        if any(sum(cut) >= size for size, cut in zip(given.spatial, crop, strict=True)):
            raise ShapeError(f"crop {crop} leaves nothing of {given}", field="crop")
        return self.replace(crop=crop)

    def output(self, inputs: Inputs) -> TensorType:
        given = inputs[0]
        spatial = (size - sum(cut) for size, cut in zip(given.spatial, self.crop, strict=True))
        return TensorType((*spatial, given.channels))


Place = Annotated[int, Field(ge=-(2**31), le=2**31 - 1, strict=True)]


class Slice(Layer, kind="Slice", size=("begin", "end")):
    """A part of one axis, the channels unless `axis` says another: from `begin` on, up to and without `end`.

    [batch, h, w, c] -> [batch, h, w, end - begin]
    """

    begin: Place = 0
    """Where it begins, counted from 0; a negative number counts from the end."""
    end: Place | None = None
    """The first place after it, counted in the same way; the end of the axis when not given."""
    axis: int = -1
    """The axis that is cut (0 is the batch, -1 the channels)."""

    def resolve(self, inputs: Inputs) -> Self:
        given = inputs[0]
        axis = axis_index(self.axis, given.rank)
        size = given.shape[axis - 1]
        end = size if self.end is None else self.end
        for field, place in (("begin", self.begin), ("end", end)):
            if not -size <= place <= size:
                raise ShapeError(
                    f"{field} {place} lies outside of axis {axis} of {given}, which has {size}",
                    hint="without an end, a Slice goes to the end of its axis" if field == "end" else None,
                    field=field,
                )
        begin, end = (place + size if place < 0 else place for place in (self.begin, end))
        if begin >= end:
            raise ShapeError(
                f"from {begin} to {end} there is nothing of axis {axis} of {given}",
                hint="the end is not part of the slice, so it is larger than the beginning",
                field="begin" if self.end is None else "end",
            )
        return self.replace(begin=begin, end=end, axis=axis)

    def output(self, inputs: Inputs) -> TensorType:
        assert self.end is not None, "the layer is not resolved"
        return _resized(inputs[0], self.axis, self.end - self.begin)


class Split(Layer, kind="Split", size=("parts", "index")):
    """One of the equal parts of one axis, the channels unless `axis` says another; a row for each part that is wanted.

    [batch, h, w, c] -> [batch, h, w, c / parts]
    """

    parts: Size
    """How many parts the axis is split into."""
    index: Count
    """Which of them this is, counted from 0."""
    axis: int = -1
    """The axis that is split (0 is the batch, -1 the channels)."""

    def check(self) -> None:
        if self.index >= self.parts:
            raise LayerError(
                f"index {self.index} is none of {self.parts} parts", f"they count from 0 to {self.parts - 1}", "index"
            )

    def resolve(self, inputs: Inputs) -> Self:
        given = inputs[0]
        axis = axis_index(self.axis, given.rank)
        size = given.shape[axis - 1]
        if size % self.parts:
            raise ShapeError(
                f"{self.parts} parts do not divide axis {axis} of {given}, which has {size}",
                hint="Slice takes parts of any size",
                field="parts",
            )
        return self.replace(axis=axis)

    def span(self, given: TensorType) -> tuple[int, int]:
        """Where the part of a resolved layer begins and ends."""
        size = given.shape[self.axis - 1] // self.parts
        return self.index * size, (self.index + 1) * size

    def output(self, inputs: Inputs) -> TensorType:
        begin, end = self.span(inputs[0])
        return _resized(inputs[0], self.axis, end - begin)


def _resized(given: TensorType, axis: int, size: int) -> TensorType:
    """The type with another size along one axis, counted from 1."""
    return TensorType((*given.shape[: axis - 1], size, *given.shape[axis:]))


class Upsample(Layer, kind="Upsample", aliases=("Upsampling", "Unpool", "Unpooling"), size=("size",), ranks=(1, 2, 3)):
    """Enlarge by whole factors: repeat each pixel, or interpolate between pixel centres.

    [batch, h, w, c] -> [batch, h * size, w * size, c]
    """

    size: Sizes = (2,)
    """The factor: one number, or one an axis."""
    mode: Literal["nearest", "bilinear"] = "nearest"
    """`nearest` repeats pixels; `bilinear` (2-D) interpolates with half-pixel centres."""

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        if self.mode == "bilinear" and given.rank != 3:
            raise ShapeError(
                f"mode=bilinear is for images (height x width x channels), but the input is {given}", field="mode"
            )
        return self.replace(size=per_axis(self.size, given.rank - 1, "size"))

    def output(self, inputs: Inputs) -> TensorType:
        given = inputs[0]
        spatial = (size * factor for size, factor in zip(given.spatial, self.size, strict=True))
        return TensorType((*spatial, given.channels))


class ChannelShuffle(Layer, kind="ChannelShuffle", size=("groups",)):
    """The first channel of each group, then the second of each, ...; the shape stays (Zhang et al. 2018).

    It mixes what grouped convolutions keep apart: the channels as a table with a row a group, read by columns.
    y[h, w, i * groups + j] = x[h, w, j * (c / groups) + i]
    """

    groups: Size
    """How many groups of channels there are."""

    def resolve(self, inputs: Inputs) -> Self:
        given = inputs[0]
        if given.channels % self.groups:
            raise ShapeError(
                f"{self.groups} groups need a multiple of {self.groups} channels, "
                f"but its input {given} has {given.channels}",
                field="groups",
            )
        return self


class PixelShuffle(Layer, kind="PixelShuffle", size=("size",), ranks=(2,)):
    """Channels to pixels: every `size` * `size` channels become the pixels of a square (Shi et al. 2016).

    [batch, h, w, c * size * size] -> [batch, h * size, w * size, c]
    y[h * size + i, w * size + j, c] = x[h, w, c * size * size + i * size + j], the order of channels in torch
    """

    size: Size
    """How many pixels each square has along either axis."""

    def resolve(self, inputs: Inputs) -> Self:
        given, square = spatial_input(self, inputs), self.size**2
        if given.channels % square:
            raise ShapeError(
                f"squares of {self.size}x{self.size} pixels need a multiple of {square} channels, "
                f"but its input {given} has {given.channels}",
                field="size",
            )
        return self

    def output(self, inputs: Inputs) -> TensorType:
        height, width, channels = inputs[0].shape
        return TensorType((height * self.size, width * self.size, channels // self.size**2))


class PixelUnshuffle(Layer, kind="PixelUnshuffle", size=("size",), ranks=(2,)):
    """Pixels to channels, the way back of PixelShuffle: the pixels of a square become `size` * `size` channels.

    [batch, h * size, w * size, c] -> [batch, h, w, c * size * size]
    y[h, w, c * size * size + i * size + j] = x[h * size + i, w * size + j, c], the order of channels in torch
    """

    size: Size
    """How many pixels each square has along either axis."""

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        if any(pixels % self.size for pixels in given.spatial):
            raise ShapeError(
                f"squares of {self.size}x{self.size} pixels do not divide the input {given}",
                hint="Pad or Crop brings it to a multiple",
                field="size",
            )
        return self

    def output(self, inputs: Inputs) -> TensorType:
        height, width, channels = inputs[0].shape
        return TensorType((height // self.size, width // self.size, channels * self.size**2))
