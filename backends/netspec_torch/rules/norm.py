"""Normalisation and learnt scales."""

from __future__ import annotations

from decimal import Decimal

from netspec.codegen.source import alike, unless
from netspec.layers import LRN, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LayerScale, RMSNorm
from netspec.network import Node
from netspec.tensors import Placement
from netspec_torch.line import Attribute, Line, call, literal, rules

TORCH_EPSILON = 1e-5
TORCH_MOMENTUM = 0.1


def affine(
    layer: BatchNorm | GroupNorm | LayerNorm | InstanceNorm,
) -> tuple[dict[str, Placement], bool | None, tuple[str, ...]]:
    """Gamma and beta, torch's option when there is neither, and the statement that takes one of them away."""
    weights = {"gamma": Placement("weight")} if layer.scale else {}
    weights |= {"beta": Placement("bias")} if layer.center else {}
    missing = {(True, False): "bias", (False, True): "weight"}.get((layer.scale, layer.center))
    then = (f'{{self}}.register_parameter("{missing}", None)',) if missing else ()
    return weights, None if weights else False, then


@rules(BatchNorm)
def batch_norm(layer: BatchNorm, node: Node) -> Line:
    """BatchNorm1d takes flat features and sequences; torch's momentum is the fraction replaced."""
    weights, option, then = affine(layer)
    code = call(
        f"nn.BatchNorm{max(node.input_type.rank - 1, 1)}d",
        node.input_type.channels,
        eps=unless(layer.epsilon, TORCH_EPSILON),
        # In decimals, so that what was written as 0.99 becomes 0.01 to the last bit.
        momentum=unless(float(1 - Decimal(repr(layer.momentum))), TORCH_MOMENTUM),
        affine=option,
    )
    weights |= {"mean": Placement("running_mean"), "var": Placement("running_var")}
    attribute = Attribute(code, weights, counters=("num_batches_tracked",), then=then)
    if node.input_type.rank > 2 and 1 in node.input_type.spatial:
        # Where one axis has one pixel, whose stride may be any, the backward pass may read gradients in another order
        # than they have (torch 2.13, on the CPU; docs/framework-findings.md).
        why = ("# the strides of single pixels may mislead BatchNorm's backward pass",)
        return Line({"first": "{self}({x}.contiguous())"}, attributes=(attribute,), before=why)
    return Line({"first": "{self}({x})"}, attributes=(attribute,))


@rules(LayerNorm)
def layer_norm(layer: LayerNorm, node: Node) -> Line:
    """Over the last axes, so the channels stand last."""
    weights, option, then = affine(layer)
    shape = node.input_type.shape[layer.axis[0] - 1 :]
    code = call(
        "nn.LayerNorm",
        alike(shape) if len(shape) == 1 else shape,
        eps=unless(layer.epsilon, TORCH_EPSILON),
        elementwise_affine=option,
    )
    return Line({"last": "{self}({x})"}, attributes=(Attribute(code, weights, then=then),))


@rules(GroupNorm)
def group_norm(layer: GroupNorm, node: Node) -> Line:
    """Over contiguous groups of channels."""
    weights, option, then = affine(layer)
    code = call(
        "nn.GroupNorm",
        layer.groups,
        node.input_type.channels,
        eps=unless(layer.epsilon, TORCH_EPSILON),
        affine=option,
    )
    if layer.center and not layer.scale:
        # Without a weight beside its bias, GroupNorm's backward pass fails (torch 2.13).
        ones = f"torch.ones({node.input_type.channels})"
        then = ("del {self}.weight", f'{{self}}.register_buffer("weight", {ones}, persistent=False)')
    attributes = (Attribute(code, weights, then=then),)
    if node.input_type.rank < 3:
        return Line({"first": "{self}({x})"}, attributes=attributes)
    # Of images whose channels lie last in memory torch takes the variance as E[x^2] - E[x]^2, which loses all digits
    # at a mean of 1000, and its backward pass crashes when the images need no gradient (torch 2.13, on the CPU).
    why = ("# where the channels lie last in memory, GroupNorm is not exact",)
    # One pixel, or one channel, lies the same either way, so that `contiguous` would leave it as it is.
    alone = set(node.input_type.spatial) == {1} or node.input_type.channels == 1
    first = "clone(memory_format=torch.contiguous_format)" if alone else "contiguous()"
    return Line({"first": f"{{self}}({{x}}.{first})"}, attributes=attributes, before=why)


@rules(InstanceNorm)
def instance_norm(layer: InstanceNorm, node: Node) -> Line:
    """Over the positions of every channel; torch has no gamma and beta here unless they are asked for."""
    weights, _, then = affine(layer)
    code = call(
        f"nn.InstanceNorm{node.input_type.rank - 1}d",
        node.input_type.channels,
        eps=unless(layer.epsilon, TORCH_EPSILON),
        affine=unless(bool(weights), False),
    )
    return Line({"first": "{self}({x})"}, attributes=(Attribute(code, weights, then=then),))


@rules(RMSNorm)
def rms_norm(layer: RMSNorm, node: Node) -> Line:
    """Over the channels, which stand last; torch's epsilon depends on the precision unless it is said."""
    code = call("nn.RMSNorm", node.input_type.channels, eps=layer.epsilon, elementwise_affine=unless(layer.scale, True))
    weights = {"gamma": Placement("weight")} if layer.scale else {}
    return Line({"last": "{self}({x})"}, attributes=(Attribute(code, weights),))


@rules(LRN)
def lrn(layer: LRN, node: Node) -> Line:
    """Torch's alpha is divided by the size as the meaning has it; a flat value needs an axis beside its channels."""
    rank = node.input_type.rank
    # Of volumes torch makes a view that only values have whose channels come first in memory too.
    given = {1: "{x}[..., None]", 4: "{x}.contiguous()"}.get(rank, "{x}")
    options = {"alpha": unless(layer.alpha, 1e-4), "beta": unless(layer.beta, 0.75), "k": unless(layer.k, 1.0)}
    code = call("F.local_response_norm", given, layer.size, **options)
    return Line({"first": f"{code}[..., 0]" if rank == 1 else code})


@rules(LayerScale)
def layer_scale(layer: LayerScale, node: Node) -> Line:
    """A parameter with one number a channel."""
    value = layer.init.value if layer.init.scheme == "constant" else 1.0
    channels, spatial = node.input_type.channels, node.input_type.rank - 1
    attribute = Attribute(f"nn.Parameter(torch.full(({channels},), {literal(value)}))", {"gamma": Placement("")})
    view = f".view({', '.join(['-1', *'1' * spatial])})" if spatial else ""
    return Line({"first": f"{{x}} * {{self}}{view}", "last": "{x} * {self}"}, attributes=(attribute,))
