"""Convolutions: Conv, DepthwiseConv, SeparableConv and ConvTranspose, each over one, two or three spatial axes."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator

from netspec.errors import LayerError, ShapeError
from netspec.layers.base import Counts, Inputs, Layer, Pads, Size, Sizes, Weight, per_axis, read_pads, spatial_input
from netspec.layers.initializer import GLOROT, Init, Initializer, bias_beside
from netspec.tensors import TensorType


def _read_padding(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else read_pads(value)


Padding = Annotated[Literal["valid", "same", "causal"] | Pads, BeforeValidator(_read_padding)]


def same_pads(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Begin and end pads of `same`: output ceil(size / stride), the odd pad at the end.

    >>> same_pads(8, kernel=3, stride=2)
    (0, 1)
    """
    reach = (kernel - 1) * dilation + 1
    output = -(-size // stride)
    total = max((output - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def resolve_window(
    given: TensorType,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: str | tuple[tuple[int, int], ...],
    field: str,
) -> tuple[tuple[int, int], ...]:
    """Explicit pads of a sliding window; raises when the window is larger than its padded input."""
    if padding == "same":
        axes = zip(given.spatial, window, stride, dilation, strict=True)
        pads = tuple(same_pads(size, kernel, step, spread) for size, kernel, step, spread in axes)
    elif padding == "causal":
        if given.rank != 2:
            raise LayerError(
                f"causal padding is for sequences (length x channels), but the input is {given}", field="padding"
            )
        pads = (((window[0] - 1) * dilation[0], 0),)
    elif isinstance(padding, str):
        pads = ((0, 0),) * len(window)
    else:
        pads = per_axis(padding, len(window), "padding")
    reach = tuple((kernel - 1) * spread + 1 for kernel, spread in zip(window, dilation, strict=True))
    padded = tuple(size + sum(pad) for size, pad in zip(given.spatial, pads, strict=True))
    if any(have < need for have, need in zip(padded, reach, strict=True)):
        spread = f" (dilated to {'x'.join(map(str, reach))})" if reach != window else ""
        where = f"padded to {'x'.join(map(str, padded))} " if padded != given.spatial else ""
        raise ShapeError(
            f"{field} {'x'.join(map(str, window))}{spread} is larger than its input {given} {where}".rstrip(),
            hint=f"padding=same, or a smaller {field}" if not any(map(any, pads)) else f"a smaller {field}",
            field=field,
        )
    return pads


def window_output(
    spatial: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
) -> tuple[int, ...]:
    """(size + pads - reach) // stride + 1 along every axis."""
    return tuple(
        (size + sum(pad) - (kernel - 1) * spread - 1) // step + 1
        for size, kernel, step, spread, pad in zip(spatial, window, stride, dilation, pads, strict=True)
    )


class _Window(Layer):
    """What every convolution has."""

    kernel: Sizes
    """Size of the kernel: one number, or one an axis (`3`, `(3,3)`, `3x3`)."""
    stride: Sizes = (1,)
    """Step of the kernel along each axis."""
    padding: Padding = "valid"
    """`valid` (none), `same` (output is ceil(input / stride)), `causal` (1-D: only before), a number of pixels, or
    (begin, end) an axis."""
    dilation: Sizes = (1,)
    """Distance between the kernel's taps."""
    bias: bool = True
    """Whether a bias is added to each filter's result, before any activation."""
    bias_init: Init | None = None
    """Initial values of the bias: zeros when not given, or torch's where the kernel asks for `torch_default`."""

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The explicit (begin, end) pads of a resolved layer."""
        assert not isinstance(self.padding, str), "the layer is not resolved"
        return self.padding

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        rank = given.rank - 1
        kernel, stride, dilation = (
            per_axis(getattr(self, field), rank, field) for field in ("kernel", "stride", "dilation")
        )
        pads = resolve_window(given, kernel, stride, dilation, self.padding, "kernel")
        return self.replace(kernel=kernel, stride=stride, dilation=dilation, padding=pads)

    def _spatial(self, given: TensorType) -> tuple[int, ...]:
        return window_output(given.spatial, self.kernel, self.stride, self.dilation, self.pads)

    def _bias(self, channels: int, fan_in: int, kernel_init: Initializer) -> tuple[Weight, ...]:
        init = self.bias_init or bias_beside(kernel_init)
        return (Weight("bias", (channels,), init, fan_in=fan_in),) if self.bias else ()


def check_groups(groups: int, channels: int, filters: int) -> None:
    """Groups divide both sides of a convolution."""
    for what, size in (("input channels", channels), ("filters", filters)):
        if size % groups:
            raise ShapeError(
                f"groups={groups} does not divide the {size} {what}",
                hint="groups divides both the input's channels and the filters",
                field="groups",
            )


class Conv(_Window, kind="Conv", aliases=("CNN", "Convolution"), size=("filters", "kernel"), ranks=(1, 2, 3)):
    """Slide `filters` kernels over the input (cross-correlation, as in every framework).

    [batch, h, w, c] -> [batch, h', w', filters],  h' = (h + pads - (kernel - 1) * dilation - 1) // stride + 1
    weights: kernel [k, k, c / groups, filters], bias [filters]
    """

    filters: Size
    """How many kernels, and so how many channels the result has."""
    groups: Size = 1
    """Split the channels into this many groups, each with its own filters."""
    init: Init = GLOROT
    """Initial values of the kernel."""

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType((*self._spatial(inputs[0]), self.filters))

    def resolve(self, inputs: Inputs) -> Self:
        resolved = super().resolve(inputs)
        check_groups(self.groups, inputs[0].channels, self.filters)
        return resolved

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        channels = inputs[0].channels // self.groups
        fan_in = prod(self.kernel) * channels
        kernel = Weight("kernel", (*self.kernel, channels, self.filters), self.init, fan_in=fan_in)
        return kernel, *self._bias(self.filters, fan_in, self.init)

    def macs(self, inputs: Inputs, output: TensorType) -> int:
        return output.size * prod(self.kernel) * (inputs[0].channels // self.groups)


class DepthwiseConv(_Window, kind="DepthwiseConv", aliases=("Depthwise",), size=("kernel",), ranks=(1, 2)):
    """Slide `multiplier` kernels of its own over every channel.

    [batch, h, w, c] -> [batch, h', w', c * multiplier]; channel c's results stand side by side
    weights: kernel [k, k, c, multiplier], bias [c * multiplier]
    """

    multiplier: Size = 1
    """How many results each channel gives."""
    init: Init = GLOROT
    """Initial values of the kernel."""

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType((*self._spatial(inputs[0]), inputs[0].channels * self.multiplier))

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        channels, fan_in = inputs[0].channels, prod(self.kernel)
        kernel = Weight("kernel", (*self.kernel, channels, self.multiplier), self.init, fan_in=fan_in)
        return kernel, *self._bias(channels * self.multiplier, fan_in, self.init)

    def macs(self, inputs: Inputs, output: TensorType) -> int:
        return output.size * prod(self.kernel)


class SeparableConv(_Window, kind="SeparableConv", aliases=("Separable",), size=("filters", "kernel"), ranks=(1, 2)):
    """A depthwise convolution, then a 1x1 convolution over its channels; the bias comes after both.

    [batch, h, w, c] -> [batch, h', w', filters]
    weights: depthwise [k, k, c, multiplier], pointwise [1, 1, c * multiplier, filters], bias [filters]
    """

    filters: Size
    """How many channels the result has."""
    multiplier: Size = 1
    """How many results each channel gives in between."""
    init: Init = GLOROT
    """Initial values of the depthwise kernel."""
    pointwise_init: Init = GLOROT
    """Initial values of the 1x1 kernel."""

    def output(self, inputs: Inputs) -> TensorType:
        return TensorType((*self._spatial(inputs[0]), self.filters))

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        channels, between = inputs[0].channels, inputs[0].channels * self.multiplier
        ones = (1,) * len(self.kernel)
        return (
            Weight("depthwise", (*self.kernel, channels, self.multiplier), self.init, fan_in=prod(self.kernel)),
            Weight("pointwise", (*ones, between, self.filters), self.pointwise_init, fan_in=between),
            *self._bias(self.filters, between, self.pointwise_init),
        )

    def macs(self, inputs: Inputs, output: TensorType) -> int:
        between = inputs[0].channels * self.multiplier
        return prod(output.spatial) * between * (prod(self.kernel) + self.filters)


class ConvTranspose(
    _Window,
    kind="ConvTranspose",
    aliases=("Deconv", "ConvolutionTranspose", "TransposedConv"),
    size=("filters", "kernel"),
    ranks=(1, 2, 3),
    ranked=("Conv{}DTranspose",),
):
    """The transpose of a convolution: each input pixel stamps the kernel onto the output, `stride` apart.

    [batch, h, w, c] -> [batch, h', w', filters]. The full result has (h - 1) * stride + (kernel - 1) * dilation + 1
    rows; `padding` crops it (`same`: to h * stride, `valid`: not below the stride) and `output_padding` extends it
    at the end; the bias is added last. Resolved, `padding` holds the (begin, end) crop, where a
    negative end extends with zeros, and `output_padding` is 0.
    weights: kernel [k, k, filters, c], bias [filters]
    """

    filters: Size
    """How many channels the result has."""
    output_padding: Counts = (0,)
    """Extra rows at the end of each axis, to choose among the sizes that one stride maps to the same input."""
    init: Init = GLOROT
    """Initial values of the kernel."""

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        rank = given.rank - 1
        kernel, stride, dilation, extra = (
            per_axis(getattr(self, field), rank, field) for field in ("kernel", "stride", "dilation", "output_padding")
        )
        if self.padding == "causal":
            raise LayerError("padding=causal is for Conv, not for ConvTranspose", field="padding")
        for step, more in zip(stride, extra, strict=True):
            if more >= step and more:
                raise LayerError(
                    f"output_padding {more} must be smaller than the stride {step}",
                    "it chooses among the sizes that the stride maps to the same input",
                    "output_padding",
                )
        crop = []
        explicit = None if isinstance(self.padding, str) else per_axis(self.padding, rank, "padding")
        for axis, size in enumerate(given.spatial):
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            full = (size - 1) * stride[axis] + reach
            if explicit is not None:
                begin, end = explicit[axis]
                crop.append((begin, end - extra[axis]))
                continue
            if self.padding == "same":
                output = size * stride[axis]
            else:
                output = (size - 1) * stride[axis] + max(reach, stride[axis]) + extra[axis]
            begin = max(full - output, 0) // 2
            crop.append((begin, full - output - begin))
        return self.replace(
            kernel=kernel, stride=stride, dilation=dilation, padding=tuple(crop), output_padding=(0,) * rank
        )

    def output(self, inputs: Inputs) -> TensorType:
        spatial = tuple(
            (size - 1) * step + (kernel - 1) * spread + 1 - begin - end
            for size, kernel, step, spread, (begin, end) in zip(
                inputs[0].spatial, self.kernel, self.stride, self.dilation, self.pads, strict=True
            )
        )
        if min(spatial) < 1:
            raise ShapeError(
                f"padding crops the result of {inputs[0]} to {'x'.join(map(str, spatial))}, which leaves nothing",
                hint="a smaller padding, or a larger stride or kernel",
                field="padding",
            )
        return TensorType((*spatial, self.filters))

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        # torch takes the fan of a transposed kernel from its second axis, the filters.
        fan_in = prod(self.kernel) * self.filters
        kernel = Weight("kernel", (*self.kernel, self.filters, inputs[0].channels), self.init, fan_in=fan_in)
        return kernel, *self._bias(self.filters, fan_in, self.init)

    def macs(self, inputs: Inputs, output: TensorType) -> int:
        return inputs[0].size * prod(self.kernel) * self.filters
