"""Pooling."""

from __future__ import annotations

from operator import ge

from netspec.codegen.source import Default, alike, unless
from netspec.layers import AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxUnpool
from netspec.network import Node
from netspec_torch.line import Line, call, pad_amounts, rules, symmetric


def native_pads(layer: MaxPool | AvgPool) -> bool:
    """Whether torch pads by itself: as much at the end as at the beginning, half of the window at most."""
    return symmetric(layer.pads) and all(
        begin <= size // 2 for (begin, _), size in zip(layer.pads, layer.size, strict=True)
    )


def step(layer: MaxPool | AvgPool) -> tuple[object, ...]:
    """The stride, where it is not the size of the window."""
    return () if layer.stride == layer.size else (alike(layer.stride),)


@rules(MaxPool)
def max_pool(layer: MaxPool, node: Node) -> Line:
    """Pads are minus infinity, torch's own as well as ours."""
    function, window = f"F.max_pool{len(layer.size)}d", (alike(layer.size), *step(layer))
    if native_pads(layer):
        padding = unless(alike([begin for begin, _ in layer.pads]), 0)
        return Line({"first": call(function, "{x}", *window, padding=padding, ceil_mode=unless(layer.ceil, False))})
    pads = layer.floored(node.input_type.spatial).pads
    padded = call("F.pad", "{x}", pad_amounts(pads), value='float("-inf")')
    return Line({"first": call(function, padded, *window)}, quote=True)


@rules(AvgPool)
def avg_pool(layer: AvgPool, node: Node) -> Line:
    """Where torch cannot pad by itself, the mean over zeros is divided by the share of the window that counts."""
    function, window = f"F.avg_pool{len(layer.size)}d", (alike(layer.size), *step(layer))
    # avg_pool3d refuses a window that fits into the image only with its pads (2.13).
    fits = len(layer.size) < 3 or all(map(ge, node.input_type.spatial, layer.size))
    if native_pads(layer) and fits:
        padding = unless(alike([begin for begin, _ in layer.pads]), 0)
        counted = None if layer.count_include_pad or isinstance(padding, Default) else False
        options = {"padding": padding, "ceil_mode": unless(layer.ceil, False), "count_include_pad": counted}
        return Line({"first": call(function, "{x}", *window, **options)})
    amounts = pad_amounts(layer.floored(node.input_type.spatial).pads)
    mean = call(function, call("F.pad", "{x}", amounts), *window)
    if layer.count_include_pad and not layer.ceil:
        return Line({"first": mean}, quote=True)
    ones, why = call("F.pad", "torch.ones_like({x})", amounts), "# the share of each window that is not padding"
    if layer.count_include_pad:
        image = call("F.pad", "torch.ones_like({x})", pad_amounts(layer.pads), value=1.0)
        beyond = pad_amounts([(0, over) for over in layer.overhang(node.input_type.spatial)])
        ones, why = call("F.pad", image, beyond), "# the share of each window that lies on the padded image"
    return Line({"first": f"{mean} / inside"}, before=(why, f"inside = {call(function, ones, *window)}"), quote=True)


@rules(AdaptiveMaxPool)
def adaptive_max_pool(layer: AdaptiveMaxPool, node: Node) -> Line:
    """The largest value of each window."""
    return Line({"first": call(f"F.adaptive_max_pool{len(layer.size)}d", "{x}", alike(layer.size))})


@rules(AdaptiveAvgPool)
def adaptive_avg_pool(layer: AdaptiveAvgPool, node: Node) -> Line:
    """The mean of each window."""
    return Line({"first": call(f"F.adaptive_avg_pool{len(layer.size)}d", "{x}", alike(layer.size))})


@rules(MaxUnpool)
def max_unpool(layer: MaxUnpool, node: Node) -> Line:
    """The places that the pool finds; of equal values it takes the first."""
    rank, size = len(layer.size), alike(layer.size)
    places = call(f"F.max_pool{rank}d", "{1}", size, return_indices=True)
    return Line({"first": call(f"F.max_unpool{rank}d", "{0}", f"{places}[1]", size)})


def reduced(function: str, node: Node, keepdims: bool) -> Line:
    """A reduction over the spatial axes, wherever they stand."""
    rank = node.input_type.rank - 1
    keep = unless(keepdims, False)
    return Line(
        {
            "first": call(f"{{x}}.{function}", alike_axes(range(2, rank + 2)), keepdim=keep),
            "last": call(f"{{x}}.{function}", alike_axes(range(1, rank + 1)), keepdim=keep),
        }
    )


def alike_axes(axes: range) -> int | tuple[int, ...]:
    """One axis as a number, several as a tuple."""
    return axes[0] if len(axes) == 1 else tuple(axes)


@rules(GlobalMaxPool)
def global_max_pool(layer: GlobalMaxPool, node: Node) -> Line:
    """The largest value; `amax` shares the gradient between equal ones."""
    return reduced("amax", node, layer.keepdims)


@rules(GlobalAvgPool)
def global_avg_pool(layer: GlobalAvgPool, node: Node) -> Line:
    """The mean."""
    return reduced("mean", node, layer.keepdims)
