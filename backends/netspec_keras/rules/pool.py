"""Pooling."""

from __future__ import annotations

from netspec.layers import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from netspec.network import Node
from netspec.source import alike, unless
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
    padding = padding_of(layer, node)
    if padding:
        return Realisation((pooling(layer, "Max", padding),))
    pads = ((0, 0), *layer.pads, (0, 0))
    padded = Compute(f'ops.pad({{x}}, {literal(pads)}, constant_values=float("-inf"))', ("pad",))
    return Realisation((padded, pooling(layer, "Max", "valid")))


@rules(AvgPool)
def avg_pool(layer: AvgPool, node: Node) -> Realisation:
    """The mean of each window, with or without its pads."""
    padding = padding_of(layer, node)
    if padding == "valid" or (padding and not layer.count_include_pad):
        return Realisation((pooling(layer, "Average", padding),))
    steps: tuple[Step, ...] = (*zero_padding(layer.pads), pooling(layer, "Average", "valid"))
    if layer.count_include_pad:
        return Realisation(steps)
    first_channel = ", ".join([*":" * (len(layer.size) + 1), ":1"])
    share = Aside(
        (
            Compute(f"ops.ones_like({{x}}[{first_channel}])", ("get_item", "ones_like")),
            *zero_padding(layer.pads, "_share_pad"),
            pooling(layer, "Average", "valid", "_share"),
        ),
        why="The share of each window that lies inside the image, for its pads do not count",
    )
    return Realisation((share, *steps, Compute("{x} / {aside}", ("true_divide",))))


@rules(GlobalMaxPool)
def global_max_pool(layer: GlobalMaxPool, node: Node) -> Realisation:
    """The largest value of each channel."""
    return one(f"GlobalMaxPooling{node.input_type.rank - 1}D", keepdims=unless(layer.keepdims, False))


@rules(GlobalAvgPool)
def global_avg_pool(layer: GlobalAvgPool, node: Node) -> Realisation:
    """The mean of each channel."""
    return one(f"GlobalAveragePooling{node.input_type.rank - 1}D", keepdims=unless(layer.keepdims, False))
