"""Pooling."""

from __future__ import annotations

from math import prod

from netspec.codegen.source import alike, unless
from netspec.layers import AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxUnpool
from netspec.network import Node
from netspec_keras.rules.window import native_padding
from netspec_keras.steps import Apply, Aside, Compute, Realisation, Step, literal, one, rules, written, zero_padding


def pooling(layer: MaxPool | AvgPool, kind: str, padding: str, suffix: str = "") -> Apply:
    """The stock layer."""
    stride = None if layer.stride == layer.size else alike(layer.stride)
    arguments = written(alike(layer.size), strides=stride, padding=unless(padding, "valid"))
    return Apply(f"{kind}Pooling{len(layer.size)}D", arguments, suffix)


def padding_of(layer: MaxPool | AvgPool, node: Node) -> str | None:
    """Keras' padding that says the same, or None."""
    ones = (1,) * len(layer.size)
    padding = native_padding(layer.pads, node.input_type.spatial, layer.size, layer.stride, ones)
    return None if padding == "causal" else padding


@rules(MaxPool)
def max_pool(layer: MaxPool, node: Node) -> Realisation:
    """The largest value of each window; pads are minus infinity."""
    layer = layer.floored(node.input_type.spatial)
    padding = padding_of(layer, node)
    if padding:
        return Realisation((pooling(layer, "Max", padding),))
    pads = ((0, 0), *layer.pads, (0, 0))
    padded = Compute(f'ops.pad({{x}}, {literal(pads)}, constant_values=float("-inf"))', ("pad",))
    return Realisation((padded, pooling(layer, "Max", "valid")))


@rules(AvgPool)
def avg_pool(layer: AvgPool, node: Node) -> Realisation:
    """The mean of each window, with or without its pads."""
    spatial = node.input_type.spatial
    if layer.ceil and layer.count_include_pad and any(map(any, layer.pads)):
        # The pads become part of an image whose means then leave out what the last window reaches over.
        beyond = tuple((0, over) for over in layer.overhang(spatial))
        return Realisation((*zero_padding(layer.pads), *inside_means(layer.replace(padding=beyond))))
    layer = layer.floored(spatial)
    padding = padding_of(layer, node)
    if padding == "valid" or (padding and not layer.count_include_pad):
        return Realisation((pooling(layer, "Average", padding),))
    if layer.count_include_pad:
        return Realisation((*zero_padding(layer.pads), pooling(layer, "Average", "valid")))
    return Realisation(inside_means(layer))


def inside_means(layer: AvgPool) -> tuple[Step, ...]:
    """Means over zeros, divided by the share of each window that lies inside the image."""
    first_channel = ", ".join([*":" * (len(layer.size) + 1), ":1"])
    share = Aside(
        (
            Compute(f"ops.ones_like({{x}}[{first_channel}])", ("get_item", "ones_like")),
            *zero_padding(layer.pads, "_share_pad"),
            pooling(layer, "Average", "valid", "_share"),
        ),
        why="The share of each window that lies inside the image, for its pads do not count",
    )
    padded = zero_padding(layer.pads, "_beyond" if layer.ceil else "_pad")
    return (share, *padded, pooling(layer, "Average", "valid"), Compute("{x} / {aside}", ("true_divide",)))


@rules(AdaptiveMaxPool)
def adaptive_max_pool(layer: AdaptiveMaxPool, node: Node) -> Realisation:
    """The largest value of each window."""
    return adaptive(layer, node, "Max", "max")


@rules(AdaptiveAvgPool)
def adaptive_avg_pool(layer: AdaptiveAvgPool, node: Node) -> Realisation:
    """The mean of each window."""
    return adaptive(layer, node, "Average", "mean")


def adaptive(layer: AdaptiveMaxPool | AdaptiveAvgPool, node: Node, kind: str, function: str) -> Realisation:
    """The stock pool with the same windows, or else each window by itself, one axis after the other.

    Keras' own adaptive layers compute their windows in floating point, which on JAX gives wrong ones (Keras 3.15).
    """
    spatial = node.input_type.spatial
    rank = len(spatial)
    if max(layer.size) == 1:
        return one(f"Global{kind}Pooling{rank}D", keepdims=True)
    regular = layer.regular(spatial)
    if regular:
        size, stride = regular
        if max(size) == 1:
            return one("Identity")
        return one(f"{kind}Pooling{rank}D", alike(size), strides=None if stride == size else alike(stride))
    steps = tuple(
        Compute(windows_along(axis, size, parts, function), ("get_item", function, "concatenate"))
        for axis, (size, parts) in enumerate(zip(spatial, layer.size, strict=True), start=1)
        if size != parts
    )
    return Realisation(steps)


def windows_along(axis: int, size: int, parts: int, function: str) -> str:
    """The windows of one axis, each reduced, side by side."""
    if parts == 1:
        return f"ops.{function}({{x}}, axis={axis}, keepdims=True)"
    window = f"{':, ' * axis}{size} * i // {parts} : -(-{size} * (i + 1) // {parts})"
    reduced = f"ops.{function}({{x}}[{window}], axis={axis}, keepdims=True)"
    return f"ops.concatenate([{reduced} for i in range({parts})], axis={axis})"


@rules(MaxUnpool)
def max_unpool(layer: MaxUnpool, node: Node) -> Realisation:
    """The pixels of every window on an axis of their own, where argmax takes the first of equal values."""
    channels, windows, count = node.output.channels, layer.windows(node.output), prod(layer.size)
    rank = len(windows)
    # Axes: the batch, window and pixel of every spatial axis in turn, the channels; gathered, all windows first.
    apart = (-1, *(size for axis in zip(windows, layer.size, strict=True) for size in axis), channels)
    gathered = (0, *range(1, 2 * rank, 2), 2 * rank + 1, *range(2, 2 * rank + 1, 2))
    back = tuple(sorted(range(2 * rank + 2), key=gathered.__getitem__))

    def turned(given: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> Compute:
        code = f"ops.transpose(ops.reshape({given}, {literal(shape)}), {literal(axes)})"
        return Compute(code, ("reshape", "transpose"))

    pixels = literal((-1, *windows, channels, count))
    first = Compute(f"ops.argmax(ops.reshape({{x}}, {pixels}), axis=-1)", ("reshape", "argmax"))
    here = (turned("{1}", apart, gathered), first, Compute(f"ops.one_hot({{x}}, {count})", ("one_hot",)))
    return Realisation(
        (
            Aside(here, "_here", why="1 where a window is largest, for the first time; 0 elsewhere"),
            Compute("ops.expand_dims({0}, -1) * {aside}", ("expand_dims", "multiply")),
            turned("{x}", (-1, *windows, channels, *layer.size), back),
            Compute(f"ops.reshape({{x}}, {literal((-1, *node.output.shape))})", ("reshape",)),
        )
    )


@rules(GlobalMaxPool)
def global_max_pool(layer: GlobalMaxPool, node: Node) -> Realisation:
    """The largest value of each channel."""
    return one(f"GlobalMaxPooling{node.input_type.rank - 1}D", keepdims=unless(layer.keepdims, False))


@rules(GlobalAvgPool)
def global_avg_pool(layer: GlobalAvgPool, node: Node) -> Realisation:
    """The mean of each channel."""
    return one(f"GlobalAveragePooling{node.input_type.rank - 1}D", keepdims=unless(layer.keepdims, False))
