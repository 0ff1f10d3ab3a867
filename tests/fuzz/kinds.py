"""For every kind of layer, random fields that suit an input: the whole of what a row may say about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from random import Random
from typing import Any

from netspec.tensors import TensorType

Fields = dict[str, Any]
Proposal = Callable[[Random, TensorType], Fields | None]
"""The fields of a layer for this input, in the order of the size cell; None where the kind does not suit it."""

INITS = (
    "zeros", "ones", "constant(0.1)", "constant(value=-0.5)", "normal(0.02)", "truncated_normal(std=0.1)", "uniform",
    "uniform(0.3)", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "orthogonal", "orthogonal(gain=0.5)",
    "lecun_uniform", "torch_default", "kaiming_normal", 0.1, "glorot_uniform",
)  # fmt: skip
EPSILONS = (1e-3, 1e-5, 1e-6, 0.01, 1.001e-5)


def sizes(r: Random, rank: int, most: int, least: int = 1) -> Any:
    """One number for all axes, or one an axis."""
    if r.random() < 0.5:
        return r.randint(least, most)
    return tuple(r.randint(least, most) for _ in range(rank))


def pads(r: Random, rank: int, most: int) -> Any:
    """A number of pixels for all axes or one an axis, (begin, end) for all or one an axis."""
    choice = r.random()
    if choice < 0.3:
        return r.randint(0, r.randint(0, most))
    if choice < 0.4:
        return tuple(r.randint(0, most) for _ in range(rank))
    if choice < 0.5:
        return ((r.randint(0, most), r.randint(0, most)),)
    return tuple((r.randint(0, most), r.randint(0, most)) for _ in range(rank))


def some(r: Random, fields: Fields, chance: float = 0.4) -> Fields:
    """Some of the fields, the others being left to their defaults."""
    return {name: value for name, value in fields.items() if r.random() < chance}


def divisor(r: Random, number: int) -> int:
    """A number that divides it."""
    return r.choice([part for part in range(1, number + 1) if number % part == 0])


def inits(r: Random, *names: str) -> Fields:
    """Initial values, now and then."""
    return some(r, {name: r.choice(INITS) for name in names}, 0.1)


def _window(r: Random, rank: int, *, causal: bool = True) -> Fields:
    fields = some(r, {"stride": sizes(r, rank, 3), "dilation": sizes(r, rank, 3)}, 0.35)
    choice = r.random()
    if choice < 0.35:
        fields["padding"] = "same"
    elif choice < 0.65:
        fields["padding"] = pads(r, rank, 3)
    elif choice < 0.8 and causal and rank == 1:
        fields["padding"] = "causal"
    elif choice < 0.85:
        fields["padding"] = "valid"
    return fields | some(r, {"bias": False}, 0.2) | inits(r, "bias_init")


def conv(r: Random, given: TensorType) -> Fields | None:
    rank = given.rank - 1
    if not rank:
        return None
    groups = divisor(r, given.channels) if r.random() < 0.3 else 1
    fields: Fields = {"filters": groups * r.randint(1, max(1, 7 // groups)), "kernel": sizes(r, rank, 4)}
    return fields | _window(r, rank) | ({"groups": groups} if groups > 1 else {}) | inits(r, "init")


def depthwise(r: Random, given: TensorType) -> Fields | None:
    rank = given.rank - 1
    if rank not in (1, 2):
        return None
    return (
        {"kernel": sizes(r, rank, 4)} | _window(r, rank) | some(r, {"multiplier": r.randint(1, 3)}) | inits(r, "init")
    )


def separable(r: Random, given: TensorType) -> Fields | None:
    found = depthwise(r, given)
    return None if found is None else {"filters": r.randint(1, 6)} | found | inits(r, "pointwise_init")


def conv_transpose(r: Random, given: TensorType) -> Fields | None:
    rank = given.rank - 1
    if not rank:
        return None
    fields: Fields = {"filters": r.randint(1, 5), "kernel": sizes(r, rank, 4)} | _window(r, rank, causal=False)
    if r.random() < 0.3:
        # It is smaller than the stride.
        fields["stride"] = sizes(r, rank, 3, 2)
        fields["output_padding"] = sizes(r, rank, 2, 0)
    return fields | inits(r, "init")


def dense(r: Random, given: TensorType) -> Fields | None:
    if given.rank > 1 and r.random() < 0.5:
        return None
    everywhere: Fields = {"every_position": True} if given.rank > 1 else some(r, {"every_position": True}, 0.05)
    return {"units": r.randint(1, 9)} | everywhere | some(r, {"bias": False}, 0.2) | inits(r, "init", "bias_init")


def _pool(r: Random, given: TensorType) -> Fields | None:
    rank = given.rank - 1
    if not rank:
        return None
    size = sizes(r, rank, 4)
    fields: Fields = {"size": size} | some(r, {"stride": sizes(r, rank, 4)}) | some(r, {"ceil": r.random() < 0.8}, 0.35)
    least = min(size) if isinstance(size, tuple) else size
    choice = r.random()
    if choice < 0.3:
        fields["padding"] = "same"
    elif choice < 0.6:
        fields["padding"] = pads(r, rank, least - 1)
    elif choice < 0.7:
        fields["padding"] = "causal" if rank == 1 else "valid"
    return fields


def avg_pool(r: Random, given: TensorType) -> Fields | None:
    found = _pool(r, given)
    return None if found is None else found | some(r, {"count_include_pad": True})


def adaptive_pool(r: Random, given: TensorType) -> Fields | None:
    if given.rank == 1:
        return None
    if r.random() < 0.3:
        return {"size": r.randint(1, min(given.spatial))}
    return {"size": tuple(r.randint(1, length) for length in given.spatial)}


def global_pool(r: Random, given: TensorType) -> Fields | None:
    return some(r, {"keepdims": True}, 0.5) if given.rank > 1 else None


def flatten(r: Random, given: TensorType) -> Fields | None:
    return some(r, {"order": r.choice(["hwc", "chw", "chw"])}, 0.4)


def reshape(r: Random, given: TensorType) -> Fields | None:
    rest, shape = given.size, []
    for _ in range(r.randint(0, 3)):
        shape.append(divisor(r, rest))
        rest //= shape[-1]
    shape.append(rest)
    r.shuffle(shape)
    if r.random() < 0.4:
        shape[r.randrange(len(shape))] = -1
    return {"shape": tuple(shape)}


def permute(r: Random, given: TensorType) -> Fields | None:
    return {"order": tuple(r.sample(range(1, given.rank + 1), given.rank))}


def pad(r: Random, given: TensorType) -> Fields | None:
    rank = given.rank - 1
    if not rank:
        return None
    mode = r.choice(["constant", "reflect", "edge", "symmetric"])
    least = min(given.spatial)
    most = {"reflect": least - 1, "symmetric": least}.get(mode, 3)
    fields: Fields = {"padding": pads(r, rank, min(most, 3))}
    if mode != "constant" or r.random() < 0.5:
        fields["mode"] = mode
    if mode == "constant" and r.random() < 0.4:
        fields["value"] = r.choice([0.5, -1.25, 3, 0.1, 0])
    return fields


def crop(r: Random, given: TensorType) -> Fields | None:
    if given.rank == 1:
        return None
    if r.random() < 0.2:
        return {"crop": r.randint(0, (min(given.spatial) - 1) // 2)}
    cut = []
    for length in given.spatial:
        begin = r.randint(0, min(length - 1, 2))
        cut.append((begin, r.randint(0, min(length - 1 - begin, 2))))
    return {"crop": tuple(cut)}


def slice_(r: Random, given: TensorType) -> Fields | None:
    axis = r.randint(1, given.rank)
    length = given.shape[axis - 1]
    begin = r.randrange(length)
    end = r.randint(begin + 1, length)
    fields: Fields = {"begin": begin if r.random() < 0.6 else begin - length}
    if end < length or r.random() < 0.4:
        fields["end"] = end if end == length or r.random() < 0.6 else end - length
    return fields | _axis(r, axis, given.rank)


def split(r: Random, given: TensorType) -> Fields | None:
    axis = r.randint(1, given.rank)
    parts = divisor(r, given.shape[axis - 1])
    return {"parts": parts, "index": r.randrange(parts)} | _axis(r, axis, given.rank)


def _axis(r: Random, axis: int, rank: int) -> Fields:
    if axis == rank and r.random() < 0.6:
        return {}
    return {"axis": axis if r.random() < 0.5 else axis - rank - 1}


def pixel_shuffle(r: Random, given: TensorType) -> Fields | None:
    fitting = [size for size in (1, 2, 3) if given.channels % size**2 == 0]
    return {"size": r.choice(fitting)} if given.rank == 3 else None


def pixel_unshuffle(r: Random, given: TensorType) -> Fields | None:
    fitting = [size for size in (1, 2, 3, 5) if all(pixels % size == 0 for pixels in given.spatial)]
    return {"size": r.choice(fitting)} if given.rank == 3 else None


def channel_shuffle(r: Random, given: TensorType) -> Fields | None:
    return {"groups": divisor(r, given.channels)}


def upsample(r: Random, given: TensorType) -> Fields | None:
    if given.rank == 1:
        return None
    return {"size": sizes(r, given.rank - 1, 3)} | some(
        r, {"mode": r.choice(["nearest", "bilinear", "bilinear"]) if given.rank == 3 else "nearest"}, 0.6
    )


def _norm(r: Random) -> Fields:
    fields = some(r, {"epsilon": r.choice(EPSILONS)}) | some(r, {"center": False, "scale": False}, 0.2)
    return fields | inits(r, "gamma_init", "beta_init")


def batch_norm(r: Random, given: TensorType) -> Fields | None:
    return _norm(r) | some(r, {"momentum": r.choice([0.9, 0.999, 0.5, 1, 0])}, 0.2)


def layer_norm(r: Random, given: TensorType) -> Fields | None:
    count = r.randint(1, given.rank)
    axes = tuple(range(-count, 0)) if r.random() < 0.5 else tuple(range(given.rank - count + 1, given.rank + 1))
    fields = some(r, {"axis": axes[0] if count == 1 else axes}, 1.0 if count > 1 else 0.3)
    return _norm(r) | fields


def group_norm(r: Random, given: TensorType) -> Fields | None:
    return ({} if given.channels % 32 == 0 else {"groups": divisor(r, given.channels)}) | _norm(r)


def instance_norm(r: Random, given: TensorType) -> Fields | None:
    return _norm(r) if given.rank > 1 and prod(given.spatial) > 1 else None


def rms_norm(r: Random, given: TensorType) -> Fields | None:
    return some(r, {"epsilon": r.choice(EPSILONS), "scale": False}, 0.3) | inits(r, "gamma_init")


def lrn(r: Random, given: TensorType) -> Fields | None:
    fields: Fields = {
        "alpha": r.choice([1e-4, 0.3, 1, 2.5]),
        "beta": r.choice([0.5, 0.75, 1.25]),
        "k": r.choice([1, 2, 0.1]),
    }
    return {"size": r.choice([1, 3, 5, 7])} | some(r, fields, 0.5)


def layer_scale(r: Random, given: TensorType) -> Fields | None:
    return inits(r, "init")


FUNCTIONS: Mapping[str, tuple[str, tuple[Any, ...]] | None] = {
    "relu": None, "relu6": None, "elu": ("alpha", (1, 0.3, 1.7)), "selu": None, "celu": ("alpha", (1, 0.5, 2)),
    "leaky_relu": ("slope", (0.2, 0.01, 0, 1, 1.5)), "gelu": ("approximate", ("none", "tanh")), "silu": None,
    "hard_sigmoid": None, "hard_swish": None, "softplus": None, "mish": None, "softsign": None, "tanh": None,
    "hard_tanh": None, "sigmoid": None, "log_sigmoid": None, "softmax": ("axis", (-1,)), "log_softmax": ("axis", (-1,)),
}  # fmt: skip
"""Every activation, with its argument and the values that it may have; an axis may be any that there is."""


def argument(r: Random, function: str, given: TensorType) -> tuple[str, Any] | None:
    """The argument of an activation: always that of leaky_relu, of the others now and then."""
    own = FUNCTIONS[function]
    if own is None or (function != "leaky_relu" and r.random() < 0.5):
        return None
    if own[0] == "axis":
        return "axis", r.choice([*range(1, given.rank + 1), *range(-given.rank, 0)])
    return own[0], r.choice(own[1])


def activation(r: Random, given: TensorType) -> Fields | None:
    function = r.choice(list(FUNCTIONS))
    own = argument(r, function, given)
    return {"function": function} | ({own[0]: own[1]} if own else {})


def prelu(r: Random, given: TensorType) -> Fields | None:
    return inits(r, "alpha_init")


def dropout(r: Random, given: TensorType) -> Fields | None:
    return some(r, {"rate": r.choice([0, 0.1, 0.5, 0.25])}, 0.8)


def spatial_dropout(r: Random, given: TensorType) -> Fields | None:
    return dropout(r, given) if given.rank > 1 else None


def rescale(r: Random, given: TensorType) -> Fields | None:
    return some(r, {"scale": r.choice([0.5, -2, 1 / 127.5, 1]), "offset": r.choice([0.1, -1, 0])}, 0.8)


def normalize(r: Random, given: TensorType) -> Fields | None:
    def numbers(choices: tuple[float, ...]) -> Any:
        return r.choice(choices) if r.random() < 0.4 else tuple(r.choice(choices) for _ in range(given.channels))

    return some(r, {"mean": numbers((0.485, -1.5, 0, 0.1307)), "std": numbers((0.229, 2, 0.5, 1))}, 0.8)


def grayscale(r: Random, given: TensorType) -> Fields | None:
    return {} if given.rank == 3 and given.channels == 3 else None


def identity(r: Random, given: TensorType) -> Fields:
    return {}


def resize(r: Random, given: TensorType) -> Fields | None:
    if given.rank != 3:
        return None
    size = r.randint(1, 11) if r.random() < 0.2 else (r.randint(1, 13), r.randint(1, 13))
    return {"size": size} | some(r, {"mode": r.choice(["nearest", "bilinear"])}, 0.7)


ROWS: Mapping[str, Proposal] = {
    "Conv": conv, "DepthwiseConv": depthwise, "SeparableConv": separable, "ConvTranspose": conv_transpose,
    "Dense": dense, "MaxPool": _pool, "AvgPool": avg_pool, "AdaptiveAvgPool": adaptive_pool,
    "AdaptiveMaxPool": adaptive_pool, "GlobalAvgPool": global_pool, "GlobalMaxPool": global_pool, "Flatten": flatten,
    "Reshape": reshape, "Permute": permute, "Pad": pad, "Crop": crop, "Slice": slice_, "Split": split,
    "PixelShuffle": pixel_shuffle, "PixelUnshuffle": pixel_unshuffle, "ChannelShuffle": channel_shuffle,
    "Upsample": upsample, "BatchNorm": batch_norm, "LayerNorm": layer_norm,
    "GroupNorm": group_norm, "InstanceNorm": instance_norm, "RMSNorm": rms_norm, "LRN": lrn, "LayerScale": layer_scale,
    "Activation": activation, "PReLU": prelu, "Dropout": dropout, "SpatialDropout": spatial_dropout,
    "StochasticDepth": dropout, "Rescale": rescale, "Normalize": normalize, "Grayscale": grayscale, "Resize": resize,
    "Identity": identity,
}  # fmt: skip
"""The kinds of one input. Those of several are put together in `bodies.py`."""
WEIGHTS: Mapping[str, float] = {
    "Conv": 6, "DepthwiseConv": 2, "SeparableConv": 2, "ConvTranspose": 2, "Dense": 2, "MaxPool": 2, "AvgPool": 2,
    "BatchNorm": 2, "Activation": 2, "Flatten": 0.3, "GlobalAvgPool": 0.3, "GlobalMaxPool": 0.5, "Reshape": 0.5,
    "Grayscale": 3,
}  # fmt: skip
"""How often a kind is drawn, where that is not once: what changes the rank ends most of what could follow."""
KEEPING = (
    "BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "LRN", "LayerScale", "Activation", "PReLU",
    "Dropout", "SpatialDropout", "StochasticDepth", "Rescale", "Normalize", "Identity", "ChannelShuffle",
)  # fmt: skip
"""The kinds whose result has the shape of their input."""
