"""The facts that a backend can get wrong, each with its place in the tables of what layers mean, and how it is planted.

A fact of a rule is planted in one row of a network of `specs`, where verification has to find it; a fact of training
is planted in the updates of a backend, where the lock-step has to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

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
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LayerScale,
    Maximum,
    MaxPool,
    MaxUnpool,
    Minimum,
    Multiply,
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
    Split,
    Subtract,
    Upsample,
)
from netspec.training.settings import TrainSettings
from tests.mutations.plants import (
    After,
    Exchanged,
    Placed,
    Plant,
    Swapped,
    Told,
    Written,
    along,
    mixed,
    operator,
    taken,
    times,
    twisted,
)


@dataclass(frozen=True)
class Rulewise:
    """A fact of a rule."""

    section: str
    network: str
    row: str
    plant: Plant
    gradient: bool = False
    """Whether values are right and only what is derived is wrong."""

    @property
    def backends(self) -> Sequence[str]:
        """The backends that can be wrong so."""
        return self.plant.backends


@dataclass(frozen=True)
class Trainwise:
    """A fact of training: the backend is told other settings than the spec has, or its own code is patched."""

    section: str
    training: Mapping[str, Any]
    change: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 1.0
    patch: Callable[[str], AbstractContextManager[Any]] | None = None
    found: str = ""
    """The weight or quantity that the first difference names, where it is one."""
    backends: Sequence[str] = ("torch", "keras")

    def settings(self, right: TrainSettings) -> TrainSettings:
        """What the backend is told instead; a value of None is the default."""
        plain = merged(dict(self.training), self.change)
        return TrainSettings.model_validate(plain) if self.change else right


def merged(plain: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings inside of each other, the second over the first."""
    found = dict(plain)
    for name, value in change.items():
        inside = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if inside else value
    return found


def fields(**changed: Any) -> Callable[[Any], Layer]:
    """The layer with other fields."""
    return lambda layer: layer.replace(**changed)


def earlier(layer: Any) -> Layer:
    """Every pad one pixel earlier."""
    return layer.replace(padding=tuple((begin + 1, end - 1) for begin, end in layer.pads))


def reversed_pads(layer: Any) -> Layer:
    """The larger pad before the image instead of behind it: SAME_LOWER for SAME_UPPER."""
    return layer.replace(padding=tuple((end, begin) for begin, end in layer.pads))


def rounded_windows(layer: Any) -> Layer:
    """Windows that end where the next begins."""
    changed = layer.replace()

    def windows(spatial: Sequence[int]) -> Any:
        pairs = zip(spatial, layer.size, strict=True)
        return tuple(tuple((i * size // parts, (i + 1) * size // parts) for i in range(parts)) for size, parts in pairs)

    vars(changed)["windows"] = windows
    return changed


INTERLEAVED = (0, 2, 4, 6, 1, 3, 5, 7)
CONSTANT = {"torch": "{x}.detach()", "keras": "ops.stop_gradient({x})"}
TWICE = {"torch": "{x} + ({x} - {x}.detach())", "keras": "{x} + ({x} - ops.stop_gradient({x}))"}
"""The value as it is, and its derivative twice."""

RULEWISE: dict[str, Rulewise] = {
    # 2.1 and 2.2: weights and convolutions
    "kernel's height and width exchanged": Rulewise("2.1 Conv", "images", "conv1", Placed(Conv, "kernel", twisted)),
    "depthwise kernel's multiplier before its channels": Rulewise(
        "2.1 Depthwise", "images", "depthwise", Placed(DepthwiseConv, "kernel", mixed)
    ),
    "transposed kernel's height and width exchanged": Rulewise(
        "2.1 ConvTranspose", "decoder", "mixed", Placed(ConvTranspose, "kernel", twisted)
    ),
    "dense kernel not transposed": Rulewise("2.1 Dense", "images", "square", Placed(Dense, "kernel", twisted)),
    "gamma and beta exchanged": Rulewise("2.1 BN", "images", "norm1", Exchanged(BatchNorm, "gamma", "beta")),
    "mean and variance exchanged": Rulewise("2.1 BN", "norms", "batch", Exchanged(BatchNorm, "mean", "var")),
    "SAME pads one pixel early": Rulewise("2.2 SAME pads", "images", "conv1", Told(Conv, earlier)),
    "SAME_LOWER of a strided convolution": Rulewise("2.2 SAME pads", "images", "conv2", Told(Conv, reversed_pads)),
    "symmetric pad of a strided convolution": Rulewise(
        "2.2 SAME pads", "images", "conv2", Told(Conv, fields(padding=((1, 1), (1, 1))))
    ),
    "SAME_LOWER of an even kernel": Rulewise("2.2 SAME pads", "sequence", "conv", Told(Conv, reversed_pads)),
    "causal pads on both sides": Rulewise("2.2 causal", "sequence", "causal", Told(Conv, fields(padding=((2, 2),)))),
    "dilation lost": Rulewise(
        "2.2 dilation", "images", "conv3", Told(Conv, fields(dilation=(1, 1), padding=((1, 1), (0, 1))))
    ),
    "channels of groups interleaved": Rulewise(
        "2.2 groups",
        "images",
        "grouped",
        After(
            Conv,
            {
                "torch": f"{{x}}[:, {list(INTERLEAVED)}]",
                "keras": f"ops.take({{x}}, {list(INTERLEAVED)}, axis=-1)",
                "onnx": taken(INTERLEAVED),
            },
            first=True,
        ),
    ),
    "depthwise pads one pixel early": Rulewise("2.2 depthwise", "images", "depthwise", Told(DepthwiseConv, earlier)),
    "separable pads one pixel early": Rulewise("2.2 separable", "images", "separable", Told(SeparableConv, earlier)),
    "transposed convolution cut one pixel early": Rulewise(
        "2.2 ConvTranspose", "decoder", "doubled", Told(ConvTranspose, reversed_pads)
    ),
    "transposed convolution cut on the other side": Rulewise(
        "2.2 ConvTranspose", "decoder", "mixed", Told(ConvTranspose, earlier)
    ),
    "bias twice": Rulewise("2.2 bias", "images", "conv1", After(Conv, {"torch": "{x} + {self}.bias.view(-1, 1, 1)"})),
    # 2.3: pooling
    "max pool's SAME_LOWER": Rulewise("2.3 MaxPool", "images", "pool1", Told(MaxPool, reversed_pads)),
    "max pool's pads are zeros": Rulewise(
        "2.3 MaxPool", "images", "pool1", Written(MaxPool, {"torch": [('value=float("-inf")', "value=0.0")]})
    ),
    "average over pads": Rulewise(
        "2.3 AvgPool divisor", "images", "pool2", Told(AvgPool, fields(count_include_pad=True))
    ),
    "average without the pads that count": Rulewise(
        "2.3 AvgPool divisor", "pools", "counted", Told(AvgPool, fields(count_include_pad=False))
    ),
    "average pool's SAME_LOWER": Rulewise("2.3 AvgPool", "images", "pool2", Told(AvgPool, reversed_pads)),
    "average over what ceil reaches beyond": Rulewise(
        "2.3 ceil_mode",
        "pools",
        "beyond",
        Told(AvgPool, fields(ceil=False, padding=((0, 0), (0, 1)), count_include_pad=True)),
    ),
    "ceil mode lost": Rulewise("2.3 ceil_mode", "pools", "ceiled", Told(MaxPool, fields(ceil=False))),
    "stride of a pool is 1": Rulewise("2.3 strides", "sequence", "halved", Told(MaxPool, fields(stride=(1,)))),
    "adaptive windows that do not overlap": Rulewise(
        "2.3 Adaptive", "pools", "adaptive", Told(AdaptiveAvgPool, rounded_windows, ("onnx",))
    ),
    "adaptive windows that do not overlap, in Keras": Rulewise(
        "2.3 Adaptive",
        "pools",
        "adaptive",
        Written(AdaptiveAvgPool, {"keras": [("-(-9 * (i + 1) // 5)", "9 * (i + 1) // 5")]}),
    ),
    "adaptive maximum for a mean": Rulewise(
        "2.3 Adaptive", "pools", "adaptive", Told(AdaptiveAvgPool, lambda layer: AdaptiveMaxPool(size=layer.size))
    ),
    "global maximum for a mean": Rulewise(
        "2.3 Global", "heads", "mean", Told(GlobalAvgPool, lambda layer: GlobalMaxPool(keepdims=layer.keepdims))
    ),
    "unpooled to the least of a window": Rulewise(
        "2.3 MaxUnpool", "unpooled", "outer", Written(MaxUnpool, {"torch": [("F.max_pool2d({1}", "F.max_pool2d(-{1}")]})
    ),
    "unpooled where another value is": Rulewise(
        "2.3 MaxUnpool",
        "unpooled",
        "outer",
        After(MaxUnpool, {"torch": "{x}.flip(2)", "keras": "ops.flip({x}, axis=1)"}),
    ),
    "LRN's alpha not divided by its size": Rulewise(
        "2.3 LRN", "norms", "local", Told(LRN, lambda layer: layer.replace(alpha=layer.alpha * layer.size))
    ),
    "LRN's k is 2": Rulewise("2.3 LRN", "norms", "local", Told(LRN, fields(k=2.0))),
    "LRN's beta is 0.5": Rulewise("2.3 LRN", "norms", "local", Told(LRN, fields(beta=0.5))),
    # 2.4: normalisation
    "BatchNorm's epsilon is 1e-5": Rulewise("2.4 BatchNorm", "images", "norm1", Told(BatchNorm, fields(epsilon=1e-5))),
    "BatchNorm's epsilon in float32": Rulewise(
        "2.4 BatchNorm", "images", "norm1", Told(BatchNorm, fields(epsilon=1e-3 * (1 + 1e-7)), ("torch", "keras"))
    ),
    "BatchNorm's results in bfloat16": Rulewise(
        "2.4 BatchNorm", "images", "norm1", After(BatchNorm, {"torch": "{x}.bfloat16().to(self.norm1.weight.dtype)"})
    ),
    "BatchNorm's variance in training over n - 1": Rulewise(
        "2.4 BN normalise",
        "trained",
        "norm",
        After(BatchNorm, {"torch": "{x} * (1 if not self.training else 0.98)"}),
        gradient=True,
    ),
    "LayerNorm's epsilon is 1e-5": Rulewise("2.4 LayerNorm", "norms", "layer", Told(LayerNorm, fields(epsilon=1e-5))),
    "LayerNorm's epsilon is 1e-5 in a sequence": Rulewise(
        "2.4 LayerNorm", "sequence", "layer", Told(LayerNorm, fields(epsilon=1e-5))
    ),
    "GroupNorm's epsilon is 1e-5": Rulewise("2.4 GroupNorm", "norms", "group", Told(GroupNorm, fields(epsilon=1e-5))),
    "GroupNorm over other groups": Rulewise("2.4 GroupNorm", "norms", "group", Told(GroupNorm, fields(groups=2))),
    "GroupNorm over every channel by itself": Rulewise(
        "2.4 GroupNorm", "norms", "group", Told(GroupNorm, fields(groups=6))
    ),
    "GroupNorm's groups interleaved": Rulewise(
        "2.4 GroupNorm",
        "norms",
        "group",
        After(
            GroupNorm,
            {
                "torch": "{x}[:, [0, 2, 4, 1, 3, 5]]",
                "keras": "ops.take({x}, [0, 2, 4, 1, 3, 5], axis=-1)",
                "onnx": taken((0, 2, 4, 1, 3, 5)),
            },
            first=True,
        ),
    ),
    "InstanceNorm's epsilon is 1e-5": Rulewise(
        "2.4 InstanceNorm", "norms", "instance", Told(InstanceNorm, fields(epsilon=1e-5))
    ),
    "InstanceNorm's gamma and beta exchanged": Rulewise(
        "2.4 InstanceNorm", "norms", "instance", Exchanged(InstanceNorm, "gamma", "beta", ("torch", "keras"))
    ),
    "RMSNorm's epsilon is that of float32": Rulewise(
        "2.4 RMSNorm", "norms", "rms", Told(RMSNorm, fields(epsilon=2.0**-23))
    ),
    "RMSNorm's epsilon is 1e-5": Rulewise("2.4 RMSNorm", "norms", "rms", Told(RMSNorm, fields(epsilon=1e-5))),
    "half of LayerScale": Rulewise(
        "2.4 LayerScale",
        "norms",
        "scale",
        After(LayerScale, {"torch": "{x} * 0.5", "keras": "{x} * 0.5", "onnx": times(0.5)}),
    ),
    # 2.5: shapes, dense, dropout, merges
    "flat values channels first": Rulewise("2.5 Flatten", "images", "flat", Told(Flatten, fields(order="chw"))),
    "flat values channels last where first is said": Rulewise(
        "2.5 Flatten", "shapes", "planes", Told(Flatten, fields(order="hwc"))
    ),
    "reshaped from another order": Rulewise(
        "2.5 Reshape",
        "shapes",
        "shaped",
        After(
            Reshape,
            {
                "torch": "{x}.transpose(1, 2)",
                "keras": "ops.transpose({x}, (0, 2, 1, 3))",
                "onnx": operator("Transpose", perm=(0, 2, 1, 3)),
            },
            first=True,
        ),
    ),
    "axes not exchanged": Rulewise("2.5 Permute", "shapes", "turned", Told(Permute, fields(order=(1, 2, 3)))),
    "concatenated the other way round": Rulewise("2.5 Concat", "merges", "beside", Swapped(Concat)),
    "concatenated along another axis": Rulewise("2.5 Concat", "merges", "beside", Told(Concat, fields(axis=2))),
    "subtracted the other way round": Rulewise("2.5 merges", "merges", "less", Swapped(Subtract)),
    "sum for a mean": Rulewise("2.5 Average", "merges", "mean", Told(Average, lambda _: Add())),
    "sum for a product": Rulewise("2.5 merges", "merges", "times", Told(Multiply, lambda _: Add())),
    "largest for least": Rulewise("2.5 merges", "merges", "least", Told(Minimum, lambda _: Maximum())),
    "least for largest": Rulewise("2.5 merges", "merges", "most", Told(Maximum, lambda _: Minimum())),
    "mean for a sum": Rulewise("2.5 merges", "merges", "sum", Told(Add, lambda _: Average())),
    "scalar product not normalised": Rulewise("2.5 Dot", "merges", "angle", Told(Dot, fields(normalize=False))),
    "cropped on the other side": Rulewise("2.5 Crop", "decoder", "cropped", Told(Crop, fields(crop=((0, 1), (1, 0))))),
    "sliced one place late": Rulewise("2.5 Slice", "decoder", "sliced", Told(Slice, fields(begin=3, end=10))),
    "the other part of a split": Rulewise("2.5 Split", "shapes", "part", Told(Split, fields(index=0))),
    "symmetric for reflect": Rulewise("2.5 Pad modes", "decoder", "reflected", Told(Pad, fields(mode="symmetric"))),
    "edge for reflect": Rulewise("2.5 Pad modes", "decoder", "reflected", Told(Pad, fields(mode="edge"))),
    "symmetric for edge": Rulewise("2.5 Pad modes", "decoder", "edged", Told(Pad, fields(mode="symmetric"))),
    "pads of zeros": Rulewise("2.5 Pad", "shapes", "padded", Told(Pad, fields(value=0.0))),
    "nearest for bilinear": Rulewise("2.5 Bilinear", "decoder", "bilinear", Told(Upsample, fields(mode="nearest"))),
    "bilinear with aligned corners": Rulewise(
        "2.5 Bilinear",
        "decoder",
        "bilinear",
        Written(
            Upsample,
            {
                "torch": [('mode="bilinear"', 'mode="bilinear", align_corners=True')],
                "onnx": {"coordinate_transformation_mode": "align_corners"},
            },
        ),
    ),
    "resized by nearest for bilinear": Rulewise(
        "2.5 Bilinear", "decoder", "resized", Told(Resize, fields(mode="nearest"))
    ),
    "nearest that floors": Rulewise(
        "2.5 nearest", "decoder", "nearest", Written(Resize, {"torch": [("nearest-exact", "nearest")]})
    ),
    "resized by bilinear for nearest": Rulewise(
        "2.5 nearest", "decoder", "nearest", Told(Resize, fields(mode="bilinear"))
    ),
    "groups interleaved the other way": Rulewise(
        "2.5 ChannelShuffle",
        "decoder",
        "mixed_up",
        Told(ChannelShuffle, fields(groups=4)),  # of 12 channels in 3 groups: what turns the mix back
    ),
    "pixels from channels in TensorFlow's order": Rulewise(
        "2.5 PixelShuffle",
        "decoder",
        "shuffled",
        Written(
            PixelShuffle,
            {
                "torch": [("{x}", "{x}.unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2)")],
                "keras": [("(25, 19, 3, 2, 2)", "(25, 19, 2, 2, 3)"), ("(1, 4, 2, 5, 3)", "(1, 3, 2, 4, 5)")],
                "onnx": {"mode": "DCR"},
            },
        ),
    ),
    "channels from pixels in TensorFlow's order": Rulewise(
        "2.5 PixelUnshuffle",
        "shapes",
        "placed",
        Written(
            PixelUnshuffle,
            {
                "torch": [
                    (
                        "F.pixel_unshuffle({x}, 2)",
                        "F.pixel_unshuffle({x}, 2).unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)",
                    )
                ],
                "keras": [("(1, 3, 5, 2, 4)", "(1, 3, 2, 4, 5)")],
            },
        ),
    ),
    "dropout scales in evaluation": Rulewise(
        "2.5 Dropout",
        "images",
        "dropped",
        After(Dropout, {"torch": "{x} * 0.5", "keras": "{x} * 0.5", "onnx": times(0.5)}),
    ),
    "dropout that is not switched off": Rulewise(
        "2.5 Dropout", "images", "dropped", After(Dropout, {"torch": "F.dropout({x}, 0.5, True)"})
    ),
    "offset lost": Rulewise("2.5 Rescale", "images", "scaled", Told(Rescale, fields(offset=0.0))),
    "256 for 255": Rulewise(
        "2.5 Rescale", "images", "scaled", Told(Rescale, lambda layer: layer.replace(scale=layer.scale * 255 / 256))
    ),
    # 2.6: activations
    "leaky_relu's slope is Keras' 0.3": Rulewise(
        "2.6 leaky_relu", "images", "norm1", Told(Activation, fields(slope=0.3))
    ),
    "leaky_relu's slope is torch's 0.01": Rulewise(
        "2.6 leaky_relu", "images", "norm1", Told(Activation, fields(slope=0.01))
    ),
    "relu6 without its end": Rulewise("2.6 relu6", "images", "grouped", Told(Activation, fields(function="relu"))),
    "elu's alpha": Rulewise("2.6 elu", "images", "conv2", Told(Activation, fields(alpha=1.6732632423543772))),
    "elu for selu": Rulewise("2.6 selu", "images", "conv3", Told(Activation, fields(function="elu", alpha=1.0))),
    "elu for celu": Rulewise("2.6 celu", "activations", "celu", Told(Activation, fields(function="elu"))),
    "gelu by tanh": Rulewise("2.6 gelu", "images", "hidden", Told(Activation, fields(approximate="tanh"))),
    "exact gelu for tanh": Rulewise(
        "2.6 gelu", "activations", "tanh_gelu", Told(Activation, fields(approximate="none"))
    ),
    "hard_swish for silu": Rulewise("2.6 silu", "images", "depthwise", Told(Activation, fields(function="hard_swish"))),
    "silu for hard_swish": Rulewise("2.6 hard_swish", "images", "separable", Told(Activation, fields(function="silu"))),
    "hard_sigmoid's slope is 0.2": Rulewise(
        "2.6 hard_sigmoid",
        "activations",
        "hard_sigmoid",
        Written(
            Activation,
            {
                "torch": [("F.hardsigmoid({x})", "(0.2 * {x} + 0.5).clamp(0, 1)")],
                "keras": [("hard_sigmoid", "sigmoid")],
                "onnx": {"alpha": 0.2},
            },
        ),
    ),
    "hard_tanh without its ends": Rulewise(
        "2.6 hard_tanh", "activations", "hard_tanh", Told(Activation, fields(function="tanh"))
    ),
    "softplus linear above 20": Rulewise(
        "2.6 softplus", "activations", "softplus", Written(Activation, {"torch": [(", threshold=40", "")]})
    ),
    "silu for mish": Rulewise("2.6 mish", "activations", "mish", Told(Activation, fields(function="silu"))),
    "tanh for softsign": Rulewise("2.6 softsign", "activations", "softsign", Told(Activation, fields(function="tanh"))),
    "sigmoid without its logarithm": Rulewise(
        "2.6 log_sigmoid", "activations", "log_sigmoid", Told(Activation, fields(function="sigmoid"))
    ),
    "softmax for log_softmax": Rulewise(
        "2.6 softmax", "activations", "result", Told(Activation, fields(function="softmax"))
    ),
    "softmax twice": Rulewise(
        "2.6 softmax",
        "images",
        "classes",
        After(
            Activation, {"torch": "{x}.softmax(1)", "keras": "ops.softmax({x}, axis=-1)", "onnx": along("Softmax", 1)}
        ),
    ),
    "softmax along another axis": Rulewise("2.6 softmax", "norms", "maps", Told(Activation, fields(axis=1))),
    "hard_sigmoid for sigmoid": Rulewise(
        "2.6 sigmoid", "heads", "result", Told(Activation, fields(function="hard_sigmoid"))
    ),
    "PReLU's slopes shared": Rulewise(
        "2.6 prelu",
        "activations",
        "prelu",
        Written(PReLU, {"torch": [("{self}({x})", "F.prelu({x}, {self}.weight.mean().view(1))")]}),
    ),
    "PReLU of both signs": Rulewise(
        "2.6 prelu",
        "activations",
        "prelu",
        After(PReLU, {"torch": "{x}.abs()", "keras": "ops.abs({x})", "onnx": operator("Abs")}, first=True),
    ),
    # 2.6 and 3.5: what is derived
    "a convolution taken for a constant": Rulewise(
        "3 gradients", "images", "conv3", After(Conv, CONSTANT, first=True), gradient=True
    ),
    "a BatchNorm taken for a constant": Rulewise(
        "3 gradients", "images", "norm1", After(BatchNorm, CONSTANT), gradient=True
    ),
    "a pool taken for a constant": Rulewise("3 gradients", "images", "pool2", After(AvgPool, CONSTANT), gradient=True),
    "a branch taken for a constant": Rulewise(
        "3 gradients", "heads", "top", After(GlobalMaxPool, CONSTANT), gradient=True
    ),
    "derived twice": Rulewise("3 gradients", "sequence", "layer", After(LayerNorm, TWICE), gradient=True),
    "an input taken for a constant": Rulewise(
        "3 gradients", "norms", "conv", After(Conv, CONSTANT, first=True), gradient=True
    ),
    "a weight frozen by mistake": Rulewise(
        "2.4 frozen",
        "pools",
        "conv",
        After(Conv, {"torch": "{x} - {self}.bias.view(-1, 1, 1) + {self}.bias.detach().view(-1, 1, 1)"}),
        gradient=True,
    ),
}


def _sgd(**options: Any) -> dict[str, Any]:
    return {"optimizer": {"sgd": options}}


def _trained(name: str, wrong: Mapping[str, Any], right: Mapping[str, Any] | None = None) -> Any:
    """A fact of an optimiser: what the backend takes for what the spec says."""
    told = {"optimizer": {name: dict(right or {})}}
    return told, {"optimizer": {name: dict(wrong)}}


def _biased(backend: str) -> AbstractContextManager[Any]:
    """A BatchNorm that keeps the biased variance, as Keras' own does."""
    from unittest.mock import patch

    if backend == "keras":
        from netspec_keras.training import ADAPTED

        return patch.dict(ADAPTED, clear=True)
    from torch.nn import functional

    sound = functional.batch_norm

    def batch_norm(x: Any, mean: Any, var: Any, *others: Any, **options: Any) -> Any:
        found, count = var.clone(), x.numel() // x.shape[1]
        result = sound(x, mean, found, *others, **options)
        momentum = others[3] if len(others) > 3 else options["momentum"]
        kept = (1 - momentum) * var
        var.copy_(kept + (found - kept) * (count - 1) / count)
        return result

    return patch.object(functional, "batch_norm", batch_norm)


TRAINWISE: dict[str, Trainwise] = {
    "running variance over n": Trainwise("2.4 BN running var", _sgd(), patch=_biased, found="norm.var"),
    "label smoothing lost": Trainwise(
        "2.8 CCE",
        {"loss": {"cross_entropy": {"label_smoothing": 0.1}}},
        {"loss": {"cross_entropy": {"label_smoothing": 0.0}}},
        found="loss",
    ),
    "focal's gamma": Trainwise(
        "2.8 Focal", {"loss": {"focal": {"gamma": 2.0}}}, {"loss": {"focal": {"gamma": 1.5}}}, found="loss"
    ),
    "half of l2": Trainwise(
        "2.8 regularizer", {"regularizer": {"l2": 0.02}}, {"regularizer": {"l2": 0.01}}, found="loss"
    ),
    "l2 of biases too": Trainwise(
        "2.8 regularizer", {"regularizer": {"l2": 0.02}}, {"regularizer": {"on": "all"}}, found="loss"
    ),
    "momentum": Trainwise("2.9 SGD+mom", *_trained("sgd", {"momentum": 0.89}, {"momentum": 0.9})),
    "nesterov lost": Trainwise(
        "2.9 Nesterov", *_trained("sgd", {"nesterov": False}, {"momentum": 0.9, "nesterov": True})
    ),
    "adam's epsilon is 1e-7": Trainwise("2.9 Adam", *_trained("adam", {"epsilon": 1e-7}, {"epsilon": 1e-8})),
    "adam's beta_2 in float32": Trainwise("2.9 Adam", *_trained("adam", {"beta_2": 0.9990000128746033})),
    "coupled decay for decoupled": Trainwise(
        "2.9 weight_decay", *_trained("adam", {"decay": "l2"}, {"weight_decay": 0.1, "decay": "decoupled"})
    ),
    "adamw's decay is Keras'": Trainwise("2.9 AdamW", *_trained("adamw", {"weight_decay": 0.004})),
    "biases decay": Trainwise("2.9 weight_decay", *_trained("adamw", {"decay_on": "all"}, {"weight_decay": 0.1})),
    "rmsprop's rho is torch's": Trainwise("2.9 RMSprop", *_trained("rmsprop", {"rho": 0.99})),
    "rmsprop's epsilon": Trainwise("2.9 RMSprop", *_trained("rmsprop", {"epsilon": 1e-8})),
    "adagrad's accumulator is Keras'": Trainwise("2.9 Adagrad", *_trained("adagrad", {"accumulator": 0.1})),
    "adadelta's rho": Trainwise("2.9 Adadelta", *_trained("adadelta", {"rho": 0.95})),
    "adamax's beta_2": Trainwise("2.9 Adamax", *_trained("adamax", {"beta_2": 0.99})),
    "nadam's momentum decay": Trainwise("2.9 Nadam", *_trained("nadam", {"momentum_decay": 1.0})),
    "lion's beta_2": Trainwise("2.9 Lion", *_trained("lion", {"beta_2": 0.999})),
    "gradients clipped elsewhere": Trainwise("2.9 clip", {**_sgd(), "clip_norm": 0.01}, {"clip_norm": 0.011}),
    "the average kept is another": Trainwise("2.9 EMA", {**_sgd(), "ema": 0.9}, {"ema": 0.91}),
    "the schedule a step late": Trainwise("2.9 Schedules", _sgd(), rate=0.999),
}

FACTS: Mapping[str, Rulewise | Trainwise] = {**RULEWISE, **TRAINWISE}
