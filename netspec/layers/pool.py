"""Pooling: the largest or the mean value of each window, of a number of windows, or of the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from operator import floordiv
from typing import ClassVar, Self

from pydantic import Field

from netspec.errors import LayerError, ShapeError
from netspec.layers.base import Inputs, Layer, Sizes, per_axis, spatial_input
from netspec.layers.conv import Padding, resolve_window, window_output
from netspec.tensors import TensorType


class _Pool(Layer):
    """What every pooling over windows has."""

    synonyms: ClassVar[Mapping[str, str]] = {"kernel": "size", "kernel_size": "size", "ceil_mode": "ceil"}

    size: Sizes = (2,)
    """Size of the window: one number, or one an axis."""
    stride: Sizes = Field(default_factory=lambda fields: fields["size"])
    """Step of the window; its size when not given, so that windows do not overlap."""
    padding: Padding = "valid"
    """`valid` (none), `same` (output is ceil(input / stride)), a number of pixels, or (begin, end) an axis."""
    ceil: bool = False
    """Whether a last window that reaches beyond the padded image counts too, unless it would start in the end padding;
    what it finds beyond the image never counts."""

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The explicit (begin, end) pads of a resolved layer."""
        assert not isinstance(self.padding, str), "the layer is not resolved"
        return self.padding

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        rank = given.rank - 1
        size = per_axis(self.size, rank, "size")
        stride = per_axis(self.stride, rank, "stride")
        pads = resolve_window(given, size, stride, (1,) * rank, self.padding, "size")
        for window, pad in zip(size, pads, strict=True):
            if max(pad) >= window:
                # A window that holds nothing but padding has no largest value and no mean.
                raise LayerError(
                    f"padding {max(pad)} is as large as the window {window}, which could hold nothing but padding",
                    "a smaller padding, or padding=same",
                    "padding",
                )
        resolved = self.replace(size=size, stride=stride, padding=pads)
        return resolved if any(resolved.overhang(given.spatial)) else resolved.replace(ceil=False)

    def overhang(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """How many pixels the window that `ceil` adds reaches beyond the padded image, for every axis."""
        if not self.ceil:
            return (0,) * len(spatial)
        return tuple(map(overhang, spatial, self.size, self.stride, self.pads))

    def floored(self, spatial: tuple[int, ...]) -> Self:
        """The same windows without `ceil`: what the last one reaches over is more padding, which counts in no mean."""
        axes = zip(self.pads, self.overhang(spatial), strict=True)
        return self.replace(padding=tuple((begin, end + beyond) for (begin, end), beyond in axes), ceil=False)

    def output(self, inputs: Inputs) -> TensorType:
        given = inputs[0]
        pads = self.floored(given.spatial).pads
        spatial = window_output(given.spatial, self.size, self.stride, (1,) * len(self.size), pads)
        return TensorType((*spatial, given.channels))


def overhang(size: int, window: int, stride: int, pads: tuple[int, int]) -> int:
    """How many pixels a window reaches beyond the padded axis when it is added at the end; 0 when none is.

    None is added where the windows end with the axis, or where it would start in the end padding, as in torch and ONNX.

    >>> overhang(8, 3, 2, (0, 0)), overhang(7, 3, 2, (0, 0)), overhang(4, 2, 3, (0, 1))
    (1, 0, 0)
    """
    begin, end = pads
    rest = (begin + size + end - window) % stride
    start = begin + size + end - window - rest + stride
    return stride - rest if rest and start < begin + size else 0


class MaxPool(_Pool, kind="MaxPool", aliases=("MaxPooling",), size=("size",), ranks=(1, 2, 3)):
    """The largest value of each window; pads count as minus infinity.

    [batch, h, w, c] -> [batch, h', w', c],  h' = (h + pads - size) // stride + 1, rounded up with `ceil`
    """


class AvgPool(
    _Pool, kind="AvgPool", aliases=("AveragePool", "AvgPooling", "AveragePooling"), size=("size",), ranks=(1, 2, 3)
):
    """The mean of each window; pads do not count unless `count_include_pad`.

    [batch, h, w, c] -> [batch, h', w', c],  h' = (h + pads - size) // stride + 1, rounded up with `ceil`
    """

    count_include_pad: bool = False
    """Whether padded zeros count in the mean."""

    def floored(self, spatial: tuple[int, ...]) -> Self:
        floored = super().floored(spatial)
        return floored.replace(count_include_pad=False) if self.ceil else floored


class _AdaptivePool(Layer):
    """What every pooling to a given size has."""

    synonyms: ClassVar[Mapping[str, str]] = {"output_size": "size"}

    size: Sizes
    """Size of the result: one number, or one an axis."""

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        size = per_axis(self.size, given.rank - 1, "size")
        if any(wanted > have for wanted, have in zip(size, given.spatial, strict=True)):
            raise ShapeError(
                f"{self.kind} to {'x'.join(map(str, size))} is larger than its input {given}",
                hint="it makes images smaller; Upsample and Resize make them larger",
                field="size",
            )
        return self.replace(size=size)

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType((*self.size, inputs[0].channels))

    def windows(self, spatial: tuple[int, ...]) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Where each window begins and ends, for every axis."""
        return tuple(adaptive_windows(*axis) for axis in zip(spatial, self.size, strict=True))

    def regular(self, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The size and the stride of the pool with just these windows, or None where they are not all alike."""
        sizes, strides = [], []
        for windows in self.windows(spatial):
            lengths = {end - begin for begin, end in windows}
            steps = {after[0] - before[0] for before, after in pairwise(windows)}
            if len(lengths) > 1 or len(steps) > 1:
                return None
            sizes.append(min(lengths))
            strides.append(min(steps, default=min(lengths)))
        return tuple(sizes), tuple(strides)


def adaptive_windows(size: int, parts: int) -> tuple[tuple[int, int], ...]:
    """Windows over the whole of an axis, as equal as can be: number i from floor(i * size / parts), and the next one's
    beginning rounded up is its end.

    >>> adaptive_windows(7, 3), adaptive_windows(5, 2)
    (((0, 3), (2, 5), (4, 7)), ((0, 3), (2, 5)))
    """
    return tuple((index * size // parts, -(-(index + 1) * size // parts)) for index in range(parts))


class AdaptiveMaxPool(
    _AdaptivePool, kind="AdaptiveMaxPool", aliases=("AdaptiveMaxPooling",), size=("size",), ranks=(1, 2, 3)
):
    """The largest value of each of a given number of windows, which cover the image and may overlap by a pixel.

    [batch, h, w, c] -> [batch, *size, c]; window i is from floor(i * h / h') to ceil((i + 1) * h / h')
    """


class AdaptiveAvgPool(
    _AdaptivePool,
    kind="AdaptiveAvgPool",
    aliases=("AdaptiveAveragePool", "AdaptiveAvgPooling", "AdaptiveAveragePooling"),
    size=("size",),
    ranks=(1, 2, 3),
):
    """The mean of each of a given number of windows, which cover the image and may overlap by a pixel.

    [batch, h, w, c] -> [batch, *size, c]; window i is from floor(i * h / h') to ceil((i + 1) * h / h')
    """


class MaxUnpool(Layer, kind="MaxUnpool", aliases=("MaxUnpooling",), size=("size",), inputs=(2, 2), ranks=(1, 2, 3)):
    """Each value where the largest of its window stands in the image that was pooled, and zeros elsewhere (SegNet,
    Badrinarayanan et al. 2015): `from=[values, image]`, where `image` is what the MaxPool of the same size read.

    [batch, h', w', c], [batch, h, w, c] -> [batch, h, w, c],  h = h' * size; of equal values the first is the largest
    """

    synonyms: ClassVar[Mapping[str, str]] = {"kernel": "size", "kernel_size": "size"}

    size: Sizes = (2,)
    """Size of the windows, which lie side by side: one number, or one an axis."""

    def resolve(self, inputs: Inputs) -> Self:
        values, image = inputs
        if image.rank - 1 not in self.ranks:
            raise ShapeError(f"MaxUnpool needs an image that was pooled, but {{1}} is {image}", field="from")
        size = per_axis(self.size, image.rank - 1, "size")
        windows = "x".join(map(str, size))
        if any(length % window for length, window in zip(image.spatial, size, strict=True)):
            raise ShapeError(
                f"MaxUnpool needs an image that its windows fill: {{1}} is {image}, a window {windows}",
                "Pad or Crop it before it is pooled",
                "from",
            )
        pooled = TensorType((*map(floordiv, image.spatial, size), image.channels))
        if values != pooled:
            swapped = values.rank == image.rank and image.spatial == tuple(map(floordiv, values.spatial, size))
            raise ShapeError(
                f"MaxUnpool needs a value for every window: {{1}} is {image}, which has {pooled} windows of {windows}, "
                f"but {{0}} is {values}",
                "the values come first: from=[values, image]" if swapped else None,
                "from",
            )
        return self.replace(size=size)

    def output(self, inputs: Inputs) -> TensorType:
        return inputs[1]

    def windows(self, image: TensorType) -> tuple[int, ...]:
        """How many windows there are along every axis."""
        return tuple(map(floordiv, image.spatial, self.size))


class _GlobalPool(Layer):
    """What pooling over the whole image has."""

    keepdims: bool = False
    """Whether the pooled axes stay, with size 1."""

    def resolve(self, inputs: Inputs) -> Self:
        spatial_input(self, inputs)
        return self

    def output(self, inputs: Inputs) -> TensorType:
        given = inputs[0]
        return TensorType((*(1 for _ in given.spatial), given.channels) if self.keepdims else (given.channels,))


class GlobalMaxPool(_GlobalPool, kind="GlobalMaxPool", aliases=("GlobalMaxPooling",), ranks=(1, 2, 3)):
    """The largest value of each channel: [batch, h, w, c] -> [batch, c]."""


class GlobalAvgPool(
    _GlobalPool,
    kind="GlobalAvgPool",
    aliases=("GlobalAveragePool", "GlobalAvgPooling", "GlobalAveragePooling", "GAP"),
    ranks=(1, 2, 3),
):
    """The mean of each channel: [batch, h, w, c] -> [batch, c]."""
