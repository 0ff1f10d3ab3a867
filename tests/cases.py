"""The evidence for every kind of layer: small cases that tell its meanings apart.

Sizes are small but odd, prime and different along every axis, so that a confused axis cannot hide; channels differ
from filters and from batch. A case's layer is unresolved, as a spec's row gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from netspec.compile.network import make_node as compiled_node
from netspec.layers import (
    LRN,
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    Average,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Dense,
    DepthwiseConv,
    Dot,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Grayscale,
    GroupNorm,
    Identity,
    InstanceNorm,
    Layer,
    LayerNorm,
    LayerScale,
    Maximum,
    MaxPool,
    MaxUnpool,
    Minimum,
    Multiply,
    Normalize,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    Rescale,
    Reshape,
    Resize,
    RMSNorm,
    SeparableConv,
    Slice,
    SpatialDropout,
    Split,
    StochasticDepth,
    Subtract,
    Upsample,
    snake,
)
from netspec.layers.activation import FUNCTIONS
from netspec.network import Network, Node
from netspec.tensors import TensorType


@dataclass(frozen=True)
class Case:
    """One layer on one input, or on several; `id` names the case in test reports."""

    id: str
    layer: Layer
    shape: tuple[int, ...]
    others: tuple[tuple[int, ...], ...] = ()
    """The shapes of the inputs after the first; an empty one reads the first again."""

    def network(self) -> Network:
        """The network whose only row is this layer."""
        if not self.others:
            return chain(self.id, self.shape, self.layer)
        types = {f"given_{at}": TensorType(shape) for at, shape in enumerate((self.shape, *self.others)) if shape}
        names = [f"given_{at}" if shape else "given_0" for at, shape in enumerate((self.shape, *self.others))]
        name = f"{snake(self.layer.kind)}_1"
        node = compiled_node(name, self.layer, tuple(names), tuple(types[name] for name in names))
        return Network(name=self.id, inputs=types, nodes=(node,), outputs={"output": name})


def chain(name: str, shape: tuple[int, ...], *rows: Layer | tuple[Layer, ...]) -> Network:
    """A network of rows, each reading the one above; a row of several layers is a layer and its activation."""
    given, type_ = "input", TensorType(shape)
    inputs = {given: type_}
    nodes: list[Node] = []
    counts: dict[str, int] = {}
    for row in rows:
        layers = row if isinstance(row, tuple) else (row,)
        stem = snake(layers[0].kind)
        counts[stem] = counts.get(stem, 0) + 1
        row_name = f"{stem}_{counts[stem]}"
        for index, layer in enumerate(layers):
            node = make_node(row_name if index == 0 else f"{row_name}_activation", layer, given, type_, row_name)
            nodes.append(node)
            given, type_ = node.name, node.output
    return Network(name=name, inputs=inputs, nodes=tuple(nodes), outputs={"output": given})


def make_node(name: str, layer: Layer, given: str, type_: TensorType, row: str) -> Node:
    """A layer resolved for its input, as a node."""
    resolved = layer.resolve([type_])
    output = resolved.output([type_])
    weights = tuple(replace(weight, name=f"{name}.{weight.name}") for weight in resolved.weights([type_]))
    return Node(name, resolved, (given,), (type_,), output, weights, row)


def first(inputs: Mapping[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
    """The first samples of a batch of every input."""
    return {name: batch[:count] for name, batch in inputs.items()}


IMAGE = (7, 5, 3)
SEQUENCE = (11, 3)
VOLUME = (5, 4, 6, 2)
ASYMMETRIC = ((0, 1), (2, 1))


def _conv() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "valid", Conv(filters=4, kernel=3), IMAGE
    yield "1x1", Conv(filters=4, kernel=1), IMAGE
    yield "same", Conv(filters=4, kernel=3, padding="same"), IMAGE
    yield "same-even-kernel", Conv(filters=4, kernel=(2, 4), padding="same"), IMAGE
    yield "same-stride-odd", Conv(filters=4, kernel=3, stride=2, padding="same"), (7, 5, 3)
    yield "same-stride-even", Conv(filters=4, kernel=3, stride=2, padding="same"), (8, 6, 3)
    yield "same-stride-unequal", Conv(filters=4, kernel=(3, 5), stride=(3, 2), padding="same"), (8, 11, 3)
    yield "same-stride-past-kernel", Conv(filters=4, kernel=2, stride=3, padding="same"), (8, 7, 3)
    yield "same-dilation", Conv(filters=4, kernel=3, dilation=(1, 2), padding="same"), IMAGE
    yield "same-dilation-stride", Conv(filters=4, kernel=3, stride=2, dilation=2, padding="same"), (9, 8, 3)
    yield "valid-stride", Conv(filters=4, kernel=(3, 2), stride=(2, 3)), (9, 8, 3)
    yield "valid-dilation", Conv(filters=4, kernel=(3, 2), dilation=(2, 3)), (9, 7, 3)
    yield "explicit", Conv(filters=4, kernel=3, padding=1), IMAGE
    yield "explicit-stride", Conv(filters=4, kernel=3, stride=2, padding=1), (8, 6, 3)
    yield "explicit-asymmetric", Conv(filters=4, kernel=3, padding=ASYMMETRIC), IMAGE
    yield "explicit-past-kernel", Conv(filters=4, kernel=2, padding=((3, 2), (0, 3))), IMAGE
    yield "groups", Conv(filters=6, kernel=3, groups=2, padding="same"), (7, 5, 4)
    yield "groups-stride-dilation", Conv(filters=6, kernel=3, groups=3, stride=2, dilation=2), (11, 9, 6)
    yield "groups-all", Conv(filters=10, kernel=3, groups=5), (7, 6, 5)
    yield "no-bias", Conv(filters=4, kernel=3, bias=False), IMAGE
    yield "one-channel-one-filter", Conv(filters=1, kernel=(2, 3)), (4, 5, 1)
    yield "whole-input", Conv(filters=5, kernel=(4, 3)), (4, 3, 2)
    yield "1d", Conv(filters=4, kernel=3), SEQUENCE
    yield "1d-same-stride", Conv(filters=4, kernel=4, stride=3, padding="same"), SEQUENCE
    yield "1d-causal", Conv(filters=4, kernel=3, padding="causal"), SEQUENCE
    yield "1d-causal-dilation", Conv(filters=4, kernel=2, dilation=4, padding="causal"), SEQUENCE
    yield "1d-causal-stride", Conv(filters=4, kernel=3, stride=2, padding="causal"), SEQUENCE
    yield "1d-groups", Conv(filters=4, kernel=3, groups=2, padding=((1, 0),)), (9, 6)
    yield "3d", Conv(filters=3, kernel=(2, 3, 2)), VOLUME
    yield "3d-same-stride", Conv(filters=3, kernel=3, stride=(2, 1, 2), padding="same"), VOLUME
    yield (
        "3d-explicit-dilation",
        Conv(filters=3, kernel=2, dilation=(2, 1, 3), padding=((1, 0), (0, 1), (2, 0))),
        VOLUME,
    )
    yield "3d-groups", Conv(filters=4, kernel=2, groups=2), VOLUME


def _depthwise() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "valid", DepthwiseConv(kernel=3), IMAGE
    yield "same-stride", DepthwiseConv(kernel=3, stride=2, padding="same"), (8, 6, 3)
    yield "multiplier", DepthwiseConv(kernel=(2, 3), multiplier=4, padding="same"), IMAGE
    yield "stride-unequal", DepthwiseConv(kernel=3, stride=(1, 2), multiplier=2), IMAGE
    yield "dilation", DepthwiseConv(kernel=2, dilation=2, padding="same", bias=False), IMAGE
    yield "stride-dilation", DepthwiseConv(kernel=2, stride=2, dilation=2, padding=ASYMMETRIC), (9, 8, 3)
    yield "1d", DepthwiseConv(kernel=3, multiplier=2), SEQUENCE
    yield "1d-causal", DepthwiseConv(kernel=3, dilation=2, padding="causal"), SEQUENCE
    yield "1d-same-stride", DepthwiseConv(kernel=4, stride=2, padding="same"), SEQUENCE


def _separable() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "valid", SeparableConv(filters=5, kernel=3), IMAGE
    yield "same-stride", SeparableConv(filters=4, kernel=3, stride=2, padding="same"), (8, 6, 3)
    yield "multiplier", SeparableConv(filters=4, kernel=(2, 3), multiplier=2, padding="same"), IMAGE
    yield "stride-unequal", SeparableConv(filters=4, kernel=3, stride=(2, 1)), IMAGE
    yield "stride-dilation", SeparableConv(filters=4, kernel=2, stride=2, dilation=2, padding="same"), (9, 8, 3)
    yield "no-bias", SeparableConv(filters=4, kernel=3, padding=ASYMMETRIC, bias=False), IMAGE
    yield "1d", SeparableConv(filters=4, kernel=3, multiplier=2), SEQUENCE
    yield "1d-causal", SeparableConv(filters=4, kernel=3, padding="causal"), SEQUENCE


def _transpose() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "valid", ConvTranspose(filters=4, kernel=3), (5, 4, 3)
    yield "valid-stride", ConvTranspose(filters=4, kernel=3, stride=2), (5, 4, 3)
    yield "valid-stride-past-kernel", ConvTranspose(filters=4, kernel=2, stride=3), (5, 4, 3)
    yield "valid-output-padding", ConvTranspose(filters=4, kernel=3, stride=2, output_padding=1), (5, 4, 3)
    yield "same", ConvTranspose(filters=4, kernel=3, padding="same"), (5, 4, 3)
    yield "same-stride", ConvTranspose(filters=4, kernel=3, stride=2, padding="same"), (5, 4, 3)
    yield "same-even-kernel", ConvTranspose(filters=4, kernel=4, stride=2, padding="same"), (5, 4, 3)
    yield "same-stride-past-kernel", ConvTranspose(filters=4, kernel=2, stride=3, padding="same"), (5, 4, 3)
    yield "same-unequal", ConvTranspose(filters=4, kernel=(3, 2), stride=(2, 3), padding="same"), (5, 4, 3)
    yield "explicit", ConvTranspose(filters=4, kernel=4, stride=2, padding=1), (5, 4, 3)
    yield (
        "explicit-output-padding",
        ConvTranspose(filters=4, kernel=3, stride=2, padding=1, output_padding=1),
        (5, 4, 3),
    )
    yield "explicit-asymmetric", ConvTranspose(filters=4, kernel=4, stride=2, padding=((0, 1), (2, 1))), (5, 4, 3)
    yield "dilation", ConvTranspose(filters=4, kernel=(3, 2), dilation=2), (5, 4, 3)
    yield "dilation-stride", ConvTranspose(filters=4, kernel=2, stride=2, dilation=3, padding="same"), (5, 4, 3)
    yield "no-bias", ConvTranspose(filters=4, kernel=3, stride=2, padding="same", bias=False), (5, 4, 3)
    yield "one-pixel", ConvTranspose(filters=4, kernel=(4, 3)), (1, 1, 5)
    yield "1d", ConvTranspose(filters=4, kernel=3, stride=2, padding="same"), (7, 3)
    yield "1d-explicit", ConvTranspose(filters=4, kernel=4, stride=3, padding=((1, 0),), output_padding=2), (7, 3)
    yield "3d", ConvTranspose(filters=3, kernel=(2, 3, 2), stride=(1, 2, 3)), (3, 4, 2, 5)
    yield "3d-same", ConvTranspose(filters=3, kernel=3, stride=2, padding="same"), (3, 4, 2, 5)


def _max_pool() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "default", MaxPool(), IMAGE
    yield "3x2", MaxPool(size=(3, 2)), (8, 7, 3)
    yield "overlapping", MaxPool(size=3, stride=2), (8, 7, 3)
    yield "gaps", MaxPool(size=2, stride=3), (8, 7, 3)
    yield "same", MaxPool(size=2, padding="same"), IMAGE
    yield "same-stride", MaxPool(size=3, stride=2, padding="same"), (8, 7, 3)
    yield "same-stride-one", MaxPool(size=(3, 2), stride=1, padding="same"), IMAGE
    yield "same-gaps", MaxPool(size=2, stride=3, padding="same"), (8, 6, 3)
    yield "explicit", MaxPool(size=3, stride=2, padding=1), (8, 7, 3)
    yield "explicit-asymmetric", MaxPool(size=3, stride=2, padding=((0, 1), (2, 1))), (8, 7, 3)
    yield "1d", MaxPool(size=3, stride=2), SEQUENCE
    yield "1d-same", MaxPool(size=4, padding="same"), SEQUENCE
    yield "3d", MaxPool(size=(2, 1, 3)), VOLUME
    yield "3d-same", MaxPool(size=2, stride=(2, 1, 2), padding="same"), VOLUME
    yield from _ceil(MaxPool)


def _avg_pool() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "default", AvgPool(), IMAGE
    yield "3x2", AvgPool(size=(3, 2)), (8, 7, 3)
    yield "overlapping", AvgPool(size=3, stride=2), (8, 7, 3)
    yield "gaps", AvgPool(size=2, stride=3), (8, 7, 3)
    yield "same", AvgPool(size=2, padding="same"), IMAGE
    yield "same-stride", AvgPool(size=3, stride=2, padding="same"), (8, 7, 3)
    yield "same-stride-one", AvgPool(size=(3, 2), stride=1, padding="same"), IMAGE
    yield "explicit", AvgPool(size=3, stride=2, padding=1), (8, 7, 3)
    yield "explicit-asymmetric", AvgPool(size=3, stride=2, padding=((0, 1), (2, 1))), (8, 7, 3)
    yield "include-pad", AvgPool(size=3, stride=2, padding=1, count_include_pad=True), (8, 7, 3)
    yield "include-pad-same", AvgPool(size=3, stride=2, padding="same", count_include_pad=True), (8, 7, 3)
    yield "include-pad-asymmetric", AvgPool(size=2, stride=1, padding=((0, 1), (1, 0)), count_include_pad=True), IMAGE
    yield "1d", AvgPool(size=3, stride=2), SEQUENCE
    yield "1d-same", AvgPool(size=4, padding="same"), SEQUENCE
    yield "3d", AvgPool(size=(2, 1, 3)), VOLUME
    yield "3d-same", AvgPool(size=2, stride=(2, 1, 2), padding="same"), VOLUME
    yield "3d-include-pad", AvgPool(size=2, padding=((1, 0), (0, 1), (1, 1)), count_include_pad=True), VOLUME
    yield from _ceil(AvgPool)
    include: dict[str, Any] = {"count_include_pad": True, "ceil": True}
    yield "ceil-include-nothing", AvgPool(size=3, stride=2, **include), (8, 7, 3)
    yield "ceil-include-pad", AvgPool(size=(3, 4), stride=(3, 2), padding=1, **include), (8, 7, 3)
    yield "ceil-include-asymmetric", AvgPool(size=3, stride=3, padding=((0, 1), (2, 0)), **include), (6, 8, 3)
    yield "ceil-include-1d", AvgPool(size=4, stride=3, padding=((1, 2),), **include), SEQUENCE
    yield "ceil-include-3d", AvgPool(size=3, stride=2, padding=((1, 1), (0, 1), (1, 0)), **include), VOLUME


def _ceil(pool: type[MaxPool | AvgPool]) -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "ceil", pool(size=3, stride=2, ceil=True), (8, 6, 3)
    yield "ceil-one-axis", pool(size=3, stride=2, ceil=True), (8, 7, 3)
    yield "ceil-nothing", pool(size=3, stride=2, ceil=True), (7, 5, 3)
    yield "ceil-far", pool(size=(4, 5), stride=(4, 3), ceil=True), (9, 7, 3)
    yield "ceil-padded", pool(size=3, stride=2, padding=1, ceil=True), (8, 6, 3)
    yield "ceil-asymmetric", pool(size=3, stride=2, padding=((0, 1), (2, 1)), ceil=True), (8, 7, 3)
    yield "ceil-past-half", pool(size=3, stride=3, padding=2, ceil=True), (8, 7, 3)
    # A window that would begin in the padding at the end is none: along the first axis there is one, not two.
    yield "ceil-dropped", pool(size=2, stride=2, padding=((0, 1), (1, 1)), ceil=True), (2, 6, 3)
    yield "ceil-gaps", pool(size=2, stride=3, ceil=True), (7, 8, 3)
    yield "ceil-1d", pool(size=4, stride=3, ceil=True), (9, 3)
    yield "ceil-3d", pool(size=(2, 3, 4), stride=(2, 2, 3), ceil=True), VOLUME


def _adaptive_pool() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    for pool in (AdaptiveMaxPool, AdaptiveAvgPool):
        yield "unequal", pool(size=(3, 4)), (7, 11, 3)
        yield "overlapping", pool(size=(3, 2)), IMAGE
        yield "divides", pool(size=(3, 2)), (9, 10, 3)
        yield "regular", pool(size=3), (7, 10, 2)
        yield "one", pool(size=1), IMAGE
        yield "one-axis", pool(size=(1, 3)), (6, 5, 3)
        yield "same", pool(size=(7, 5)), IMAGE
        yield "same-axis", pool(size=(7, 3)), IMAGE
        yield "1d", pool(size=4), SEQUENCE
        yield "1d-divides", pool(size=5), (10, 3)
        yield "3d", pool(size=(2, 3, 4)), VOLUME
        yield "3d-divides", pool(size=(5, 2, 3)), VOLUME


def _global_pool() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    for keepdims in (False, True):
        suffix = "-keepdims" if keepdims else ""
        for name, shape in (("1d", SEQUENCE), ("2d", IMAGE), ("3d", VOLUME)):
            yield f"{name}{suffix}", GlobalMaxPool(keepdims=keepdims), shape
            yield f"{name}{suffix}", GlobalAvgPool(keepdims=keepdims), shape


def _shape() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    for name, shape in (("flat", (6,)), ("1d", SEQUENCE), ("2d", IMAGE), ("3d", VOLUME)):
        yield f"{name}-same", Identity(), shape
        yield name, Flatten(), shape
        yield f"{name}-chw", Flatten(order="chw"), shape
    yield "to-image", Reshape(shape=(2, 5, 3)), (30,)
    yield "to-sequence", Reshape(shape=(-1, 3)), IMAGE
    yield "to-flat", Reshape(shape=(-1,)), IMAGE
    yield "image-to-image", Reshape(shape=(5, 3, 7)), IMAGE
    yield "to-volume", Reshape(shape=(3, 5, -1, 1)), IMAGE
    yield "same", Reshape(shape=IMAGE), IMAGE
    yield "swap", Permute(order=(2, 1, 3)), IMAGE
    yield "channels-first", Permute(order=(3, 1, 2)), IMAGE
    yield "reverse", Permute(order=(3, 2, 1)), IMAGE
    yield "identity", Permute(order=(1, 2, 3)), IMAGE
    yield "1d", Permute(order=(2, 1)), SEQUENCE
    yield "flat", Permute(order=(1,)), (6,)
    yield "3d", Permute(order=(3, 1, 4, 2)), VOLUME
    yield "default", Crop(), IMAGE
    yield "asymmetric", Crop(crop=((0, 2), (3, 1))), IMAGE
    yield "begin-only", Crop(crop=((2, 0), (1, 0))), IMAGE
    yield "none", Crop(crop=0), IMAGE
    yield "1d", Crop(crop=((2, 1),)), SEQUENCE
    yield "3d", Crop(crop=((1, 0), (0, 2), (1, 1))), VOLUME


def _pad() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    for mode in ("constant", "reflect", "edge", "symmetric"):
        yield mode, Pad(mode=mode), IMAGE
        yield f"{mode}-asymmetric", Pad(padding=((0, 2), (3, 1)), mode=mode), IMAGE
        yield f"{mode}-one-axis", Pad(padding=((0, 0), (2, 0)), mode=mode), IMAGE
        yield f"{mode}-none", Pad(padding=0, mode=mode), IMAGE
        yield f"{mode}-far", Pad(padding=((6, 5), (4, 3)), mode=mode), IMAGE
        yield f"{mode}-1d", Pad(padding=((2, 1),), mode=mode), SEQUENCE
        yield f"{mode}-3d", Pad(padding=((1, 0), (0, 2), (1, 3)), mode=mode), VOLUME
    yield "value", Pad(padding=((0, 2), (3, 1)), value=-0.3), IMAGE
    yield "value-1d", Pad(value=7.5), SEQUENCE
    yield "value-3d", Pad(padding=((1, 0), (0, 2), (1, 3)), value=0.1), VOLUME
    yield "edge-past-image", Pad(padding=((9, 0), (2, 7)), mode="edge"), IMAGE
    yield "symmetric-whole", Pad(padding=((7, 7), (0, 5)), mode="symmetric"), IMAGE


def _part() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "channels", Slice(begin=2, end=5), (7, 5, 11)
    yield "to-the-end", Slice(begin=4), (7, 5, 11)
    yield "negative", Slice(begin=-5, end=-2), (7, 5, 11)
    yield "whole", Slice(), IMAGE
    yield "height", Slice(begin=1, end=6, axis=1), IMAGE
    yield "width", Slice(end=-1, axis=-2), IMAGE
    yield "flat", Slice(begin=1, end=4), (6,)
    yield "1d", Slice(begin=3, axis=1), SEQUENCE
    yield "3d", Slice(begin=-3, end=5, axis=3), VOLUME
    for index in range(3):
        yield f"channels-{index}", Split(parts=3, index=index), (7, 5, 6)
    yield "height", Split(parts=4, index=2, axis=1), (8, 5, 3)
    yield "width", Split(parts=5, index=4, axis=2), IMAGE
    yield "one", Split(parts=1, index=0), IMAGE
    yield "flat", Split(parts=2, index=1), (6,)
    yield "1d", Split(parts=11, index=3, axis=1), SEQUENCE
    yield "3d", Split(parts=3, index=1, axis=-2), VOLUME


def _channel_shuffle() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "3", ChannelShuffle(groups=3), (7, 5, 12)
    yield "2", ChannelShuffle(groups=2), (7, 5, 10)
    yield "one", ChannelShuffle(groups=1), IMAGE
    yield "each", ChannelShuffle(groups=6), (7, 5, 6)
    yield "1d", ChannelShuffle(groups=2), (11, 6)
    yield "3d", ChannelShuffle(groups=3), (4, 5, 3, 6)
    yield "flat", ChannelShuffle(groups=4), (12,)


def _pixel_shuffle() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "2", PixelShuffle(size=2), (7, 5, 12)
    yield "3", PixelShuffle(size=3), (3, 5, 18)
    yield "one", PixelShuffle(size=1), IMAGE
    yield "2", PixelUnshuffle(size=2), (6, 4, 3)
    yield "3", PixelUnshuffle(size=3), (3, 9, 2)
    yield "one", PixelUnshuffle(size=1), IMAGE


def _upsample() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "nearest", Upsample(), IMAGE
    yield "nearest-unequal", Upsample(size=(3, 1)), IMAGE
    yield "nearest-one", Upsample(size=1), IMAGE
    yield "nearest-1d", Upsample(size=3), SEQUENCE
    yield "nearest-3d", Upsample(size=(2, 3, 1)), VOLUME
    yield "bilinear", Upsample(mode="bilinear"), IMAGE
    yield "bilinear-unequal", Upsample(size=(3, 2), mode="bilinear"), IMAGE
    yield "bilinear-one-pixel", Upsample(size=(4, 3), mode="bilinear"), (1, 2, 3)


def _dense() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "plain", Dense(units=4), (7,)
    yield "no-bias", Dense(units=5, bias=False), (7,)
    yield "one-unit", Dense(units=1), (7,)
    yield "one-feature", Dense(units=3), (1,)
    yield "every-position-1d", Dense(units=4, every_position=True), SEQUENCE
    yield "every-position-2d", Dense(units=4, every_position=True), IMAGE
    yield "every-position-3d", Dense(units=3, every_position=True, bias=False), VOLUME


def _norm() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "2d", BatchNorm(), IMAGE
    yield "flat", BatchNorm(), (6,)
    yield "1d", BatchNorm(epsilon=1e-5), SEQUENCE
    yield "3d", BatchNorm(momentum=0.9), VOLUME
    yield "no-center", BatchNorm(center=False), IMAGE
    yield "no-scale", BatchNorm(scale=False, epsilon=1e-2), IMAGE
    yield "bare", BatchNorm(center=False, scale=False), IMAGE
    yield "2d", LayerNorm(), IMAGE
    yield "flat", LayerNorm(epsilon=1e-5), (6,)
    yield "1d", LayerNorm(), SEQUENCE
    yield "two-axes", LayerNorm(axis=(-2, -1)), IMAGE
    yield "all-axes", LayerNorm(axis=(1, 2, 3), epsilon=1e-6), IMAGE
    yield "1d-all-axes", LayerNorm(axis=(1, 2)), SEQUENCE
    yield "3d", LayerNorm(), VOLUME
    yield "no-center", LayerNorm(center=False), IMAGE
    yield "no-scale", LayerNorm(scale=False, axis=(2, 3)), IMAGE
    yield "bare", LayerNorm(center=False, scale=False), IMAGE
    yield "2d", GroupNorm(groups=2), (7, 5, 6)
    yield "one-group", GroupNorm(groups=1), IMAGE
    yield "instance", GroupNorm(groups=3, epsilon=1e-5), IMAGE
    yield "flat", GroupNorm(groups=2), (6,)
    yield "1d", GroupNorm(groups=3), (11, 6)
    yield "3d", GroupNorm(groups=2), (5, 4, 6, 4)
    yield "bare", GroupNorm(groups=2, center=False, scale=False), (7, 5, 6)
    yield "no-center", GroupNorm(groups=2, center=False), (7, 5, 6)
    yield "no-scale", GroupNorm(groups=2, scale=False), (7, 5, 6)


def _more_norms() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "2d", InstanceNorm(), IMAGE
    yield "1d", InstanceNorm(epsilon=1e-5), SEQUENCE
    yield "3d", InstanceNorm(), VOLUME
    yield "one-row", InstanceNorm(), (1, 13, 3)
    yield "no-center", InstanceNorm(center=False), IMAGE
    yield "no-scale", InstanceNorm(scale=False), IMAGE
    yield "bare", InstanceNorm(center=False, scale=False), IMAGE
    for name, shape in (("flat", (6,)), ("1d", (11, 5)), ("2d", IMAGE), ("3d", VOLUME), ("many", (2, 3, 67))):
        yield name, RMSNorm(), shape
        yield f"{name}-bare", RMSNorm(scale=False, epsilon=1e-3), shape
        yield name, LayerScale(), shape
        yield name, LRN(size=3, alpha=0.3, k=0.5), shape
        yield f"{name}-defaults", LRN(), shape
    yield "wide", LRN(size=9, alpha=2.0, beta=0.4, k=2.0), (5, 4, 11)
    yield "itself", LRN(size=1, alpha=0.5), IMAGE
    yield "past-channels", LRN(size=7, alpha=0.5, beta=1.25), IMAGE


def _activation() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    for function in FUNCTIONS:
        argument = {"slope": 0.2} if function == "leaky_relu" else {}
        for name, shape in (("flat", (6,)), ("2d", IMAGE)):
            yield f"{function}-{name}", Activation(function=function, **argument), shape
    yield "leaky_relu-steep", Activation(function="leaky_relu", slope=0.01), SEQUENCE
    yield "elu-alpha", Activation(function="elu", alpha=0.3), SEQUENCE
    yield "celu-alpha", Activation(function="celu", alpha=1.7), IMAGE
    yield "gelu-tanh", Activation(function="gelu", approximate="tanh"), IMAGE
    for function in ("softmax", "log_softmax"):
        yield f"{function}-height", Activation(function=function, axis=1), IMAGE
        yield f"{function}-width", Activation(function=function, axis=-2), IMAGE
        yield f"{function}-1d", Activation(function=function, axis=1), SEQUENCE
        yield f"{function}-1d-channels", Activation(function=function), SEQUENCE
        yield f"{function}-3d", Activation(function=function, axis=2), VOLUME
    for name, shape in (("flat", (6,)), ("1d", SEQUENCE), ("2d", IMAGE), ("3d", VOLUME)):
        yield name, PReLU(), shape


def _dropout() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "flat", Dropout(), (6,)
    yield "2d", Dropout(rate=0.2), IMAGE
    yield "zero", Dropout(rate=0.0), IMAGE
    for name, shape in (("1d", SEQUENCE), ("2d", IMAGE), ("3d", VOLUME)):
        yield name, SpatialDropout(rate=0.3), shape
    for name, shape in (("flat", (6,)), ("1d", SEQUENCE), ("2d", IMAGE), ("3d", VOLUME)):
        yield name, StochasticDepth(rate=0.3), shape


def _merge() -> Iterator[tuple[str, Layer, tuple[int, ...], tuple[tuple[int, ...], ...]]]:
    for kind in (Add, Multiply, Average, Maximum, Minimum, Subtract):
        for name, shape in (("flat", (6,)), ("1d", SEQUENCE), ("2d", IMAGE), ("3d", VOLUME)):
            yield name, kind(), shape, (shape,)
        yield "gate", kind(), IMAGE, ((1, 1, 3),)
        yield "gated", kind(), (7, 1, 3), ((7, 5, 1),)
        yield "itself", kind(), IMAGE, ((),)
        if kind is not Subtract:
            yield "three", kind(), IMAGE, (IMAGE, (1, 5, 1))
            yield "four-flat", kind(), (6,), ((6,), (1,), (6,))
    for name, shape in (("flat", (6,)), ("1d", SEQUENCE), ("2d", IMAGE), ("3d", VOLUME)):
        yield name, Concat(), shape, ((*shape[:-1], 4),)
    yield "three", Concat(), IMAGE, ((7, 5, 1), (7, 5, 6))
    yield "height", Concat(axis=1), IMAGE, ((2, 5, 3),)
    yield "width", Concat(axis=2), IMAGE, ((7, 4, 3), (7, 1, 3))
    yield "time", Concat(axis=1), SEQUENCE, ((4, 3),)
    yield "itself", Concat(), IMAGE, ((), (7, 5, 2))
    yield "flat", Dot(), (6,), ((6,),)
    yield "flat-cosine", Dot(normalize=True), (6,), ((6,),)
    yield "1d", Dot(), (5, 3), ((7, 3),)
    yield "1d-cosine", Dot(normalize=True), (5, 3), ((7, 3),)


def _max_unpool() -> Iterator[tuple[str, Layer, tuple[int, ...], tuple[tuple[int, ...], ...]]]:
    yield "default", MaxUnpool(), (3, 4, 5), ((6, 8, 5),)
    yield "3x2", MaxUnpool(size=(3, 2)), (2, 5, 3), ((6, 10, 3),)
    yield "one-axis", MaxUnpool(size=(1, 3)), (5, 2, 3), ((5, 6, 3),)
    yield "one-window", MaxUnpool(size=(4, 3)), (1, 1, 2), ((4, 3, 2),)
    yield "one-pixel", MaxUnpool(size=1), IMAGE, (IMAGE,)
    yield "itself", MaxUnpool(size=1), IMAGE, ((),)
    yield "1d", MaxUnpool(size=3), (4, 3), ((12, 3),)
    yield "3d", MaxUnpool(size=(2, 1, 3)), (2, 3, 2, 2), ((4, 3, 6, 2),)


def _image() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    yield "bytes", Rescale(), IMAGE
    yield "scale-offset", Rescale(scale=1 / 127.5, offset=-1.0), IMAGE
    yield "flat", Rescale(scale=-3.0, offset=0.1), (6,)
    yield "one-number", Normalize(mean=0.1307, std=0.3081), IMAGE
    yield "per-channel", Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), IMAGE
    yield "flat", Normalize(mean=(1.0, -2.0, 3.0, 0.0, 0.5, 7.0), std=2.0), (6,)
    yield "1d", Normalize(mean=(1.0, -2.0, 3.0), std=(0.5, 2.0, 1.0)), SEQUENCE
    yield "luma", Grayscale(), IMAGE
    yield "bilinear-up", Resize(size=(13, 11)), IMAGE
    yield "bilinear-down", Resize(size=(4, 3)), (11, 8, 3)
    yield "bilinear-mixed", Resize(size=(3, 9)), IMAGE
    yield "bilinear-same", Resize(size=(7, 5)), IMAGE
    # So large that the places between the pixels, computed in float32, show in the result.
    yield "bilinear-large", Resize(size=(73, 83)), (97, 61, 3)
    yield "nearest-up", Resize(size=(13, 11), mode="nearest"), IMAGE
    yield "nearest-down", Resize(size=(4, 3), mode="nearest"), (11, 8, 3)
    # Sources that fall exactly between two pixels: rounding decides.
    yield "nearest-half", Resize(size=(9, 15), mode="nearest"), (6, 10, 3)
    yield "nearest-halve", Resize(size=(4, 3), mode="nearest"), (8, 12, 3)
    yield "nearest-square", Resize(size=5, mode="nearest"), IMAGE
    yield "nearest-same", Resize(size=(7, 5), mode="nearest"), IMAGE


def _all_cases() -> Iterator[Case]:
    families = (
        _conv, _depthwise, _separable, _transpose, _max_pool, _avg_pool, _adaptive_pool, _global_pool, _shape, _pad,
        _part, _channel_shuffle, _pixel_shuffle, _upsample, _dense, _norm, _more_norms, _activation, _dropout, _image,
        _merge, _max_unpool,
    )  # fmt: skip
    for family in families:
        for name, layer, *shapes in family():
            yield Case(f"{snake(layer.kind)}-{name}", layer, *shapes)


LAYER_CASES: Sequence[Case] = tuple(_all_cases())
