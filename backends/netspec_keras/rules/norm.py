"""Normalisation and learnt scales."""

from __future__ import annotations

from netspec.codegen.source import unless
from netspec.layers import LRN, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LayerScale, RMSNorm
from netspec.network import Node
from netspec_keras.steps import Apply, Aside, Compute, Realisation, Step, literal, rules, variables_of, written

EPSILON = 1e-3
"""What Keras' layers take when nothing is said."""
MOMENTUM = 0.99


def normalization(
    layer: BatchNorm | LayerNorm | GroupNorm | InstanceNorm,
    node: Node,
    kind: str,
    *arguments: object,
    **options: object,
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


@rules(InstanceNorm)
def instance_norm(layer: InstanceNorm, node: Node) -> Realisation:
    """Groups of one channel each, which Keras writes as -1."""
    return normalization(layer, node, "Group", groups=-1)


@rules(RMSNorm)
def rms_norm(layer: RMSNorm, node: Node) -> Realisation:
    """The stock layer, which always has a scale; the operation where there is none."""
    if layer.scale:
        made = Apply("RMSNormalization", written(epsilon=unless(layer.epsilon, 1e-6)))
        return Realisation((made,), variables_of(node, gamma="scale"))
    return Realisation((Compute(f"ops.rms_normalization({{x}}, epsilon={literal(layer.epsilon)})", ("rms_norm",)),))


@rules(LRN)
def lrn(layer: LRN, node: Node) -> Realisation:
    """The squares between zeros, summed where they lie over one another."""
    rank, channels, reach = node.input_type.rank, node.input_type.channels, layer.size // 2
    pads = ((0, 0),) * rank + ((reach, reach),)
    shifted = f"sum({{x}}[..., i : i + {channels}] for i in range({layer.size}))"
    sums = Aside(
        (
            Compute(f"ops.pad(ops.square({{x}}), {literal(pads)})", ("square", "pad")),
            Compute(shifted, ("get_item", "add")),
        ),
        suffix="_squares",
    )
    base = f"({literal(layer.k)} + {literal(layer.alpha)} / {layer.size} * {{aside}})"
    quotient = Compute(f"{{x}} / {base} ** {literal(layer.beta)}", ("multiply", "add", "power", "true_divide"))
    return Realisation((sums, quotient))


@rules(LayerScale)
def layer_scale(layer: LayerScale, node: Node) -> Realisation:
    """A depthwise convolution with one number a channel; Keras has no layer that only scales by weights.

    Flat values and volumes, which these convolutions do not take, are a sequence and an image for that long. Einsum, as
    EinsumDense has it, would transpose everything twice.
    """
    given = node.input_type
    shape = given.shape
    if given.rank == 1:
        shape = (1, *shape)
    elif given.rank == 4:
        shape = (shape[0] * shape[1], *shape[2:])
    made = Apply(f"DepthwiseConv{len(shape) - 1}D", written(1, use_bias=False), why="One number a channel, no more")
    steps: tuple[Step, ...] = (made,)
    if shape != given.shape:
        steps = (Apply("Reshape", written(shape), "_apart"), *steps, Apply("Reshape", written(given.shape), "_back"))
    shapes = {"gamma": (*(1 for _ in shape[1:]), given.channels, 1)}
    return Realisation(steps, variables_of(node, gamma="kernel"), shapes)
