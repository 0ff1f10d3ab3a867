"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.codegen.source import alike, unless
from netspec.layers import Conv, ConvTranspose, DepthwiseConv, SeparableConv
from netspec.network import Node
from netspec.tensors import Placement
from netspec_torch.line import Attribute, Line, call, cut, pad_amounts, rules, symmetric

Window = Conv | DepthwiseConv | SeparableConv | ConvTranspose


def made(
    layer: Window, channels: int, filters: int, *, groups: int, bias: bool, padding: Sequence[int] | None = None
) -> str:
    """The convolution, with the pads that it can do itself."""
    if padding is None:
        padding = [begin for begin, _ in layer.pads] if symmetric(layer.pads) else [0]
    return call(
        f"nn.Conv{len(layer.kernel)}d",
        channels,
        filters,
        alike(layer.kernel),
        stride=unless(alike(layer.stride), 1),
        padding=unless(alike(padding), 0),
        dilation=unless(alike(layer.dilation), 1),
        groups=unless(groups, 1),
        bias=unless(bias, True),
    )


def padded(layer: Window) -> str:
    """The input, with zeros around it where the convolution cannot pad by itself."""
    return "{x}" if symmetric(layer.pads) else call("F.pad", "{x}", pad_amounts(layer.pads))


def kernel_first(rank: int) -> Placement:
    """[k, ..., in, out] as torch keeps it: [out, in, k, ...]; a transposed kernel has both the other way round."""
    return Placement("weight", axes=(rank + 1, rank, *range(rank)))


def depthwise_first(kernel: tuple[int, ...], channels: int, multiplier: int) -> Placement:
    """[k, ..., c, m] as torch keeps it: [c * m, 1, k, ...], the results of a channel side by side."""
    rank = len(kernel)
    return Placement("weight", axes=(rank, rank + 1, *range(rank)), shape=(channels * multiplier, 1, *kernel))


def bias_of(layer: Window) -> dict[str, Placement]:
    """The bias, when there is one."""
    return {"bias": Placement("bias")} if layer.bias else {}


@rules(Conv)
def conv(layer: Conv, node: Node) -> Line:
    """Cross-correlation."""
    code = made(layer, node.input_type.channels, layer.filters, groups=layer.groups, bias=layer.bias)
    attribute = Attribute(code, {"kernel": kernel_first(len(layer.kernel))} | bias_of(layer))
    return Line({"first": f"{{self}}({padded(layer)})"}, attributes=(attribute,), quote=not symmetric(layer.pads))


@rules(DepthwiseConv)
def depthwise_conv(layer: DepthwiseConv, node: Node) -> Line:
    """A group for every channel."""
    channels = node.input_type.channels
    code = made(layer, channels, channels * layer.multiplier, groups=channels, bias=layer.bias)
    kernel = depthwise_first(layer.kernel, channels, layer.multiplier)
    attribute = Attribute(code, {"kernel": kernel} | bias_of(layer))
    return Line({"first": f"{{self}}({padded(layer)})"}, attributes=(attribute,), quote=not symmetric(layer.pads))


@rules(SeparableConv)
def separable_conv(layer: SeparableConv, node: Node) -> Line:
    """Two convolutions: every channel by itself, then all channels at every position."""
    channels, between = node.input_type.channels, node.input_type.channels * layer.multiplier
    rank = len(layer.kernel)
    depthwise = Attribute(
        made(layer, channels, between, groups=channels, bias=False),
        {"depthwise": depthwise_first(layer.kernel, channels, layer.multiplier)},
        suffix="_depthwise",
    )
    pointwise = Attribute(
        call(f"nn.Conv{rank}d", between, layer.filters, 1, bias=unless(layer.bias, True)),
        {"pointwise": kernel_first(rank)} | bias_of(layer),
        suffix="_pointwise",
    )
    code = f"{{self}}_pointwise({{self}}_depthwise({padded(layer)}))"
    return Line({"first": code}, attributes=(depthwise, pointwise), quote=not symmetric(layer.pads))


@rules(ConvTranspose)
def conv_transpose(layer: ConvTranspose, node: Node) -> Line:
    """The full transpose, cut to size; torch's `padding` and `output_padding` are cuts as well."""
    rank = len(layer.kernel)
    cuts = [transpose_cut(*axis) for axis in zip(layer.pads, layer.stride, layer.dilation, strict=True)]
    extends = any(padding < 0 for padding, _, _ in cuts)
    if extends:
        cuts = [(0, 0, crop) for crop in layer.pads]
    padding, extra, rest = zip(*cuts, strict=True)
    code = call(
        f"nn.ConvTranspose{rank}d",
        node.input_type.channels,
        layer.filters,
        alike(layer.kernel),
        stride=unless(alike(layer.stride), 1),
        padding=unless(alike(padding), 0),
        output_padding=unless(alike(extra), 0),
        bias=unless(layer.bias, True),
        dilation=unless(alike(layer.dilation), 1),
    )
    attributes = (Attribute(code, {"kernel": kernel_first(rank)} | bias_of(layer)),)
    if not extends:
        return Line({"first": f"{{self}}({{x}}){cut(rest)}"}, attributes=attributes, quote=bool(cut(rest)))
    amounts = pad_amounts([(-begin, -end) for begin, end in layer.pads])
    if not layer.bias:
        return Line({"first": call("F.pad", "{self}({x})", amounts)}, attributes=attributes, quote=True)
    # The zeros that extend the result get the bias too, so it comes last.
    full = call(
        f"F.conv_transpose{rank}d",
        "{x}",
        "{self}.weight",
        stride=unless(alike(layer.stride), 1),
        dilation=unless(alike(layer.dilation), 1),
    )
    ones = ", 1" * rank
    result = f"{call('F.pad', full, amounts)} + {{self}}.bias.view(-1{ones})"
    return Line({"first": result}, attributes=attributes, quote=True)


def transpose_cut(crop: tuple[int, int], stride: int, dilation: int) -> tuple[int, int, tuple[int, int]]:
    """One axis' crop as torch's padding and output_padding, and what is left to cut; a negative padding: it cannot.

    torch cuts `padding` from both ends and gives back `output_padding` at the end, which has to be smaller than the
    stride or the dilation.

    >>> transpose_cut((1, 0), stride=2, dilation=1), transpose_cut((0, 1), stride=2, dilation=1)
    ((1, 1, (0, 0)), (0, 0, (0, 1)))
    """
    begin, end = crop
    padding = min(begin, end + max(stride, dilation) - 1)
    extra = max(padding - end, 0)
    return padding, extra, (begin - padding, end - padding + extra)
