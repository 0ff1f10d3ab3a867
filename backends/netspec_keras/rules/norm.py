"""Normalisation."""

from __future__ import annotations

from netspec.layers import BatchNorm, GroupNorm, LayerNorm
from netspec.network import Node
from netspec.source import unless
from netspec_keras.steps import Apply, Realisation, rules, variables_of, written

EPSILON = 1e-3
"""What Keras' layers take when nothing is said."""
MOMENTUM = 0.99


def normalization(
    layer: BatchNorm | LayerNorm | GroupNorm, node: Node, kind: str, *arguments: object, **options: object
) -> Realisation:
    """The stock layer, saying only what differs from Keras' own defaults."""
    options |= {
        "epsilon": unless(layer.epsilon, EPSILON),
        "center": unless(layer.center, True),
        "scale": unless(layer.scale, True),
    }
    made = Apply(f"{kind}Normalization", written(*arguments, **options))
    return Realisation((made,), variables_of(node, mean="moving_mean", var="moving_variance"))


@rules(BatchNorm)
def batch_norm(layer: BatchNorm, node: Node) -> Realisation:
    """Every channel, by running statistics."""
    return normalization(layer, node, "Batch", momentum=unless(layer.momentum, MOMENTUM))


@rules(LayerNorm)
def layer_norm(layer: LayerNorm, node: Node) -> Realisation:
    """Every sample over its last axes."""
    last = len(layer.axis) == 1
    return normalization(layer, node, "Layer", axis=None if last else list(layer.axis))


@rules(GroupNorm)
def group_norm(layer: GroupNorm, node: Node) -> Realisation:
    """Every sample's channels in groups."""
    return normalization(layer, node, "Group", layer.groups)
