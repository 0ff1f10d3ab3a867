"""Convolutions."""

from __future__ import annotations

from typing import Literal

from netspec.codegen.source import alike, unless
from netspec.layers import Conv, ConvTranspose, DepthwiseConv, SeparableConv
from netspec.network import Node
from netspec_keras.rules.window import native_padding
from netspec_keras.steps import (
    Apply,
    Compute,
    Realisation,
    Step,
    border,
    literal,
    rules,
    variables_of,
    written,
    zero_padding,
)

DILATED_STRIDE = "Keras takes no stride with a dilation: all positions, then those that it reaches"
UNEQUAL_STRIDE = "TensorFlow takes no unequal strides: all positions, then those that they reach"

SPREAD = "Keras takes no stride with a dilation: zeros between the pixels instead"


@rules(Conv)
def conv(layer: Conv, node: Node) -> Realisation:
    """Cross-correlation."""
    return convolution(layer, node, "Conv", layer.filters, alike(layer.kernel), groups=unless(layer.groups, 1))


@rules(DepthwiseConv)
def depthwise_conv(layer: DepthwiseConv, node: Node) -> Realisation:
    """A convolution of every channel on its own."""
    return convolution(layer, node, "DepthwiseConv", alike(layer.kernel), depth_multiplier=unless(layer.multiplier, 1))


@rules(SeparableConv)
def separable_conv(layer: SeparableConv, node: Node) -> Realisation:
    """A depthwise convolution, then a 1x1 one."""
    multiplier = unless(layer.multiplier, 1)
    return convolution(layer, node, "SeparableConv", layer.filters, alike(layer.kernel), depth_multiplier=multiplier)


def convolution(
    layer: Conv | DepthwiseConv | SeparableConv, node: Node, kind: str, *arguments: object, **options: object
) -> Realisation:
    """The layer, with zeros before it that it cannot add itself, and strides after it that it cannot take."""
    rank = len(layer.kernel)
    dilated = max(layer.dilation) > 1 and max(layer.stride) > 1
    unequal = kind != "Conv" and len(set(layer.stride)) > 1
    stride = (1,) * rank if dilated or unequal else layer.stride
    padding = native_padding(layer.pads, node.input_type.spatial, layer.kernel, stride, layer.dilation)
    if padding == "causal" and kind != "Conv":
        padding = None
    made = Apply(
        f"{kind}{rank}D",
        written(
            *arguments,
            strides=unless(alike(stride), 1),
            padding=unless(padding or "valid", "valid"),
            dilation_rate=unless(alike(layer.dilation), 1),
            **options,
            use_bias=unless(layer.bias, True),
        ),
        fuses=stride == layer.stride,
    )
    steps: tuple[Step, ...] = (made,) if padding else (*zero_padding(layer.pads), made)
    if stride != layer.stride:
        why = DILATED_STRIDE if dilated else UNEQUAL_STRIDE
        steps += (strided(layer.stride, why),)
    renamed = {"depthwise": "depthwise_kernel", "pointwise": "pointwise_kernel"}
    return Realisation(steps, variables_of(node, **renamed))


def strided(stride: tuple[int, ...], why: str) -> Compute:
    """Every `stride`-th position along each spatial axis."""
    places = ", ".join(f"::{step}" if step > 1 else ":" for step in stride)
    return Compute(f"{{x}}[:, {places}]", ("get_item",), why=why)


@rules(ConvTranspose)
def conv_transpose(layer: ConvTranspose, node: Node) -> Realisation:
    """The transpose of a convolution, cropped or extended with zeros before its bias is added.

    Cropping commutes with the bias. An extension is Keras' output_padding while it is smaller than the stride, and
    beyond that zeros after the input, which stamp nothing.
    """
    rank, stride, spatial = len(layer.kernel), layer.stride, node.input_type.spatial
    crop = tuple(layer.pads)
    steps: tuple[Step, ...] = ()
    if max(stride) > 1 and max(layer.dilation) > 1:
        steps, stride = spread(node, stride), (1,) * rank
        crop = tuple((begin, end + step - 1) for (begin, end), step in zip(crop, layer.stride, strict=True))
        spatial = tuple(size * step for size, step in zip(spatial, layer.stride, strict=True))
    more = tuple(max(-end, 0) // step for (_, end), step in zip(crop, stride, strict=True))
    steps += zero_padding([(0, count) for count in more])
    crop = tuple((begin, end + count * step) for (begin, end), count, step in zip(crop, more, stride, strict=True))
    padding, extra = native_crop(layer, spatial, stride, crop)
    steps += (
        Apply(
            f"Conv{rank}DTranspose",
            written(
                layer.filters,
                alike(layer.kernel),
                strides=unless(alike(stride), 1),
                padding=unless(padding or "valid", "valid"),
                output_padding=None if extra is None else alike(extra),
                dilation_rate=unless(alike(layer.dilation), 1),
                use_bias=unless(layer.bias, True),
            ),
            fuses=padding is not None,
        ),
    )
    if padding is None:
        left = [(begin, max(end, 0)) for begin, end in crop]
        steps += (Apply(f"Cropping{rank}D", written(border(left)), "_crop"),)
    return Realisation(steps, variables_of(node))


def native_crop(
    layer: ConvTranspose, spatial: tuple[int, ...], stride: tuple[int, ...], crop: tuple[tuple[int, int], ...]
) -> tuple[Literal["valid", "same"] | None, tuple[int, ...] | None]:
    """The padding and output_padding of Keras that give this crop, whose extensions are smaller than the stride.

    Without a padding, the layer gives the full result, extended by output_padding, which is left to crop.
    """
    reach = tuple((kernel - 1) * spread + 1 for kernel, spread in zip(layer.kernel, layer.dilation, strict=True))
    axes = tuple(zip(spatial, reach, stride, crop, strict=True))
    if max(layer.dilation) == 1 and all(
        (size - 1) * step + far - begin - end == size * step and begin == max(far - step, 0) // 2
        for size, far, step, (begin, end) in axes
    ):
        return "same", None
    if all(begin == 0 and end == min(far - step, 0) for _, far, step, (begin, end) in axes):
        return "valid", None
    whole = all(begin == 0 and end <= 0 for begin, end in crop)
    extra = tuple(max(-end, 0) for _, end in crop)
    # Without output_padding, Keras extends a result whose stride is larger than its kernel.
    unsaid = not any(extra) and all(far >= step for _, far, step, _ in axes)
    return "valid" if whole else None, None if unsaid else extra


def spread(node: Node, stride: tuple[int, ...]) -> tuple[Step, ...]:
    """The input with zeros between its pixels, `stride` apart, and after the last: what a stride then amounts to."""
    sizes, channels = list(node.input_type.spatial), node.input_type.channels
    strided = [axis for axis, step in enumerate(stride) if step > 1]
    steps: tuple[Step, ...] = ()
    # TensorFlow pads at most six axes, so that a volume is spread in two goes.
    for go, axes in enumerate(filter(None, (strided[:2], strided[2:]))):
        apart = [size for axis, pixels in enumerate(sizes) for size in ((pixels, 1) if axis in axes else (pixels,))]
        zeros = [
            pad for axis, step in enumerate(stride) for pad in (((0, 0), (0, step - 1)) if axis in axes else ((0, 0),))
        ]
        for axis in axes:
            sizes[axis] *= stride[axis]
        steps += (
            Apply("Reshape", written((*apart, channels)), f"_apart{go or ''}", why="" if go else SPREAD),
            Compute(f"ops.pad({{x}}, {literal(((0, 0), *zeros, (0, 0)))})", ("pad",)),
            Apply("Reshape", written((*sizes, channels)), f"_spread{go or ''}"),
        )
    return steps
