"""Preparation of images as part of the network: Rescale, Normalize, Grayscale, Resize."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from netspec.errors import LayerError, ShapeError
from netspec.layers.base import Inputs, Layer, Sizes, per_axis, spatial_input
from netspec.tensors import TensorType


class Rescale(Layer, kind="Rescale", aliases=("Rescaling",), size=("scale",)):
    """y = x * scale + offset; the shape stays."""

    scale: float = 1 / 255
    """The factor; the default takes bytes to [0, 1]."""
    offset: float = 0.0
    """What is added afterwards."""


def _read_channels(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Channels = Annotated[tuple[float, ...], Field(min_length=1), BeforeValidator(_read_channels)]


class Normalize(Layer, kind="Normalize", aliases=("Normalization", "Standardize")):
    """y = (x - mean) / std for every channel, with fixed statistics; the shape stays."""

    mean: Channels = (0.0,)
    """One number, or one a channel."""
    std: Channels = (1.0,)
    """One positive number, or one a channel."""

    def resolve(self, inputs: Inputs) -> Self:
        channels = inputs[0].channels
        found = {}
        for field in ("mean", "std"):
            values: tuple[float, ...] = getattr(self, field)
            if len(values) not in (1, channels):
                raise ShapeError(
                    f"{field} has {len(values)} numbers, but its input {inputs[0]} has {channels} channels", field=field
                )
            found[field] = values * channels if len(values) == 1 else values
        if min(found["std"]) <= 0:
            raise LayerError(f"std must be positive, got {min(found['std']):g}", field="std")
        return self.replace(**found)


class Grayscale(Layer, kind="Grayscale", aliases=("Greyscale", "RGBToGrayscale", "ToGray")):
    """Luma of red, green and blue, 0.2989 R + 0.587 G + 0.114 B (ITU-R BT.601, as Keras rounds it).

    [batch, h, w, 3] -> [batch, h, w, 1]
    """

    def output(self, inputs: Inputs) -> TensorType:
        given = inputs[0]
        if given.rank != 3 or given.channels != 3:
            raise ShapeError(f"Grayscale needs height x width x 3 (red, green, blue), but its input is {given}")
        return TensorType((*given.spatial, 1))


class Resize(Layer, kind="Resize", aliases=("Resizing",), size=("size",), ranks=(2,)):
    """Bring an image to another size, without antialiasing.

    [batch, h, w, c] -> [batch, *size, c]
    """

    size: Sizes
    """Height and width of the result; one number makes it square."""
    mode: Literal["nearest", "bilinear"] = "bilinear"
    """`bilinear` with half-pixel centres, or `nearest`: the pixel whose centre is nearest."""

    def resolve(self, inputs: Inputs) -> Self:
        spatial_input(self, inputs)
        return self.replace(size=per_axis(self.size, 2, "size"))

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType((*self.size, inputs[0].channels))
