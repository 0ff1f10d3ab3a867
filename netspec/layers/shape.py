"""Layers that move values without changing them: Flatten, Reshape, Permute, ZeroPad, Crop, Upsample."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from netspec.errors import ShapeError
from netspec.layers.base import Inputs, Layer, Pads, Size, Sizes, per_axis, read_sizes, spatial_input
from netspec.network import TensorType


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


class ZeroPad(Layer, kind="ZeroPad", aliases=("ZeroPadding",), size=("padding",), ranks=(1, 2, 3)):
    """Zeros around the image: [batch, h, w, c] -> [batch, h + begin + end, w + begin + end, c]."""

    padding: Pads = ((1, 1),)
    """A number of pixels, or (begin, end) an axis."""

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        return self.replace(padding=per_axis(self.padding, given.rank - 1, "padding"))

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
