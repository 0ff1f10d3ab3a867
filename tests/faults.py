"""Backends with one wrong rule, to see whether verification finds it: `Worker("tests.faults:torch")`.

A fault changes what a rule is told (a pad, an epsilon, an axis) or where it puts a weight. The backend's own table of
rules is patched, in the worker's process, by the extra method `plant`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netspec.backend import Rules, find_backend, installed_backends
from netspec.layers import (
    LRN,
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Flatten,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    MaxPool,
    Pad,
    Permute,
    Rescale,
    RMSNorm,
    Upsample,
)
from netspec.network import Network
from netspec.tensors import Placement
from tests.cases import chain


def network(name: str = "everything") -> Network:
    """Rows that each fault has its own of; square where a confused axis must not change the shape."""
    return chain(
        name,
        (8, 8, 3),
        Rescale(scale=0.5, offset=-0.25),
        (Conv(filters=6, kernel=3, padding="same"), Activation(function="leaky_relu", slope=0.2)),
        (BatchNorm(), Activation(function="gelu")),
        AvgPool(size=3, stride=2, padding="same"),
        DepthwiseConv(kernel=3, padding="same"),
        LayerNorm(),
        Upsample(size=2, mode="bilinear"),
        Permute(order=(2, 1, 3)),
        GroupNorm(groups=2),
        LRN(size=3, alpha=0.1),
        InstanceNorm(),
        RMSNorm(),
        Pad(padding=((1, 1), (0, 2)), mode="reflect"),
        MaxPool(size=3, stride=2, padding="same"),
        Flatten(),
        (Dense(units=96), Activation(function="elu", alpha=0.7)),
        (Dense(units=4), Activation(function="softmax")),
    )


def shift(layer: Layer) -> Layer:
    """Every pad one pixel earlier."""
    return layer.replace(padding=tuple((begin + 1, end - 1) for begin, end in layer.pads))


@dataclass(frozen=True)
class Fault:
    """What a rule of `kind` is told instead of its layer, and the row where that must show; None: it may not."""

    kind: type[Layer]
    change: Callable[[Any], Layer]
    row: str | None


FAULTS: Mapping[str, Fault] = {
    "offset lost": Fault(Rescale, lambda layer: layer.replace(offset=0.0), "rescale_1"),
    "conv pads shifted": Fault(Conv, shift, "conv_1"),
    "slope": Fault(
        Activation, lambda layer: layer.replace(slope=0.3) if layer.function == "leaky_relu" else layer, "conv_1"
    ),
    "epsilon": Fault(BatchNorm, lambda layer: layer.replace(epsilon=1.1e-3), "batch_norm_1"),
    "epsilon of float32": Fault(BatchNorm, lambda layer: layer.replace(epsilon=1e-3 * (1 + 1e-7)), "batch_norm_1"),
    "gelu by tanh": Fault(
        Activation,
        lambda layer: layer.replace(approximate="tanh") if layer.function == "gelu" else layer,
        "batch_norm_1",
    ),
    "pads counted": Fault(AvgPool, lambda layer: layer.replace(count_include_pad=True), "avg_pool_1"),
    "depthwise pads shifted": Fault(DepthwiseConv, shift, "depthwise_conv_1"),
    "layer norm's epsilon": Fault(LayerNorm, lambda layer: layer.replace(epsilon=1e-5), "layer_norm_1"),
    "nearest": Fault(Upsample, lambda layer: layer.replace(mode="nearest"), "upsample_1"),
    "axes not exchanged": Fault(Permute, lambda layer: layer.replace(order=(1, 2, 3)), "permute_1"),
    "groups": Fault(GroupNorm, lambda layer: layer.replace(groups=3), "group_norm_1"),
    "alpha of the paper": Fault(LRN, lambda layer: layer.replace(alpha=layer.alpha * layer.size), "lrn_1"),
    "instance norm's epsilon": Fault(InstanceNorm, lambda layer: layer.replace(epsilon=1e-5), "instance_norm_1"),
    "epsilon of the precision": Fault(RMSNorm, lambda layer: layer.replace(epsilon=2.0**-23), "rms_norm_1"),
    "border pixels twice": Fault(Pad, lambda layer: layer.replace(mode="symmetric"), "pad_1"),
    "max pads shifted": Fault(MaxPool, lambda layer: layer.replace(padding=((1, 0), (0, 1))), "max_pool_1"),
    "channels first": Fault(Flatten, lambda layer: layer.replace(order="chw"), "flatten_1"),
    "alpha": Fault(
        Activation, lambda layer: layer.replace(alpha=0.71) if layer.function == "elu" else layer, "dense_1"
    ),
    "momentum": Fault(BatchNorm, lambda layer: layer.replace(momentum=0.5), None),
}


def misplaced(backend: str, realisation: Any) -> Any:
    """A square kernel or two vectors put where another belongs: what a forgotten transposition does."""

    def twisted(placement: Placement) -> Placement:
        axes = placement.axes or (0, 1)
        return replace(placement, axes=(*axes[:-2], axes[-1], axes[-2]))

    if backend == "torch":
        [attribute] = realisation.attributes
        kernel = {"kernel": twisted(attribute.weights["kernel"])}
        return replace(realisation, attributes=(replace(attribute, weights={**attribute.weights, **kernel}),))
    if backend == "onnx":
        return replace(
            realisation, weights={name: twisted(placement) for name, placement in realisation.weights.items()}
        )
    return replace(realisation, variables={**realisation.variables, "gamma": "beta", "beta": "gamma"})


# A kernel that stands the wrong way; Keras keeps kernels as they are, so there two vectors change places.
MISPLACED: Mapping[str, tuple[type[Layer], str]] = {
    "torch": (Conv, "conv_1"),
    "onnx": (Conv, "conv_1"),
    "keras": (BatchNorm, "batch_norm_1"),
}


class Faulty:
    """A backend whose rules can be spoilt; everything else is the backend's own."""

    def __init__(self, name: str) -> None:
        self.backend_name = name
        self.backend = find_backend(name)
        self.rules: Rules[Any] = importlib.import_module(f"netspec_{name}.rules").rules
        self.sound = dict(self.rules._rules)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def check_artefacts(self, folder: Path, network: Network) -> Sequence[str]:
        """The backend's own answer with sound rules: which artefacts are written, a fault must not change."""
        spoilt, self.rules._rules = self.rules._rules, dict(self.sound)
        try:
            return self.backend.check_artefacts(folder, network)
        finally:
            self.rules._rules = spoilt

    def plant(self, fault: str | None) -> None:
        """Spoil one rule; None makes all sound again."""
        self.rules._rules = dict(self.sound)
        model = importlib.import_module(f"netspec_{self.backend_name}.model")
        for function in vars(model).values():  # what was made with the sound rules is not taken from a cache
            if hasattr(function, "cache_clear"):
                function.cache_clear()
        if fault is None:
            return
        if fault == "misplaced":
            kind, _ = MISPLACED[self.backend_name]
            self.rules._rules[kind] = lambda layer, node: misplaced(self.backend_name, self.sound[kind](layer, node))
            return
        planted = FAULTS[fault]

        def rule(layer: Layer, node: Any) -> Any:
            changed = planted.change(layer)
            return self.sound[planted.kind](changed, replace(node, layer=changed))

        self.rules._rules[planted.kind] = rule


def __getattr__(name: str) -> Faulty:
    # Test runners look for names of their own in every module.
    if name not in installed_backends():
        raise AttributeError(f"there is no backend {name!r}")
    return Faulty(name)
