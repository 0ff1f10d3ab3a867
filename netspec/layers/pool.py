"""Pooling: the largest or the mean value of each window, or of the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field

from netspec.errors import LayerError
from netspec.layers.base import Inputs, Layer, Sizes, per_axis, spatial_input
from netspec.layers.conv import Padding, resolve_window, window_output
from netspec.network import TensorType


class _Pool(Layer):
    """What every pooling over windows has."""

    synonyms: ClassVar[Mapping[str, str]] = {"kernel": "size", "kernel_size": "size"}

    size: Sizes = (2,)
    """Size of the window: one number, or one an axis."""
    stride: Sizes = Field(default_factory=lambda fields: fields["size"])
    """Step of the window; its size when not given, so that windows do not overlap."""
    padding: Padding = "valid"
    """`valid` (none), `same` (output is ceil(input / stride)), a number of pixels, or (begin, end) an axis."""

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
        return self.replace(size=size, stride=stride, padding=pads)

    def output(self, inputs: Inputs) -> TensorType:
        spatial = window_output(inputs[0].spatial, self.size, self.stride, (1,) * len(self.size), self.pads)
        return TensorType((*spatial, inputs[0].channels))


class MaxPool(_Pool, kind="MaxPool", aliases=("MaxPooling",), size=("size",), ranks=(1, 2, 3)):
    """The largest value of each window; pads count as minus infinity.

    [batch, h, w, c] -> [batch, h', w', c],  h' = (h + pads - size) // stride + 1
    """


class AvgPool(
    _Pool, kind="AvgPool", aliases=("AveragePool", "AvgPooling", "AveragePooling"), size=("size",), ranks=(1, 2, 3)
):
    """The mean of each window; pads do not count unless `count_include_pad`.

    [batch, h, w, c] -> [batch, h', w', c],  h' = (h + pads - size) // stride + 1
    """

    count_include_pad: bool = False
    """Whether padded zeros count in the mean."""


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
