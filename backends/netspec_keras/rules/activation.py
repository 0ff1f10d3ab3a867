"""Activations."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.codegen.source import unless
from netspec.layers import Activation, PReLU
from netspec.network import Node
from netspec_keras.steps import Apply, Compute, Realisation, literal, one, rules, variables_of, written

# The name of each function where Keras' own, with its defaults, means the same.
OWN: Mapping[str, str] = {"hard_swish": "hard_silu"}


def native(layer: Activation, rank: int) -> str | None:
    """What Keras calls this function where its own means exactly that for values of this rank, or None."""
    plain = {
        "leaky_relu": False,
        "elu": layer.alpha == 1,
        "celu": layer.alpha == 1,
        "gelu": layer.approximate == "none",
        "softmax": layer.axis == rank,
        "log_softmax": layer.axis == rank,
    }
    return OWN.get(layer.function, layer.function) if plain.get(layer.function, True) else None


@rules(Activation)
def activation(layer: Activation, node: Node) -> Realisation:
    """A function of every value, or along one axis."""
    match layer.function:
        case "relu":
            return one("ReLU")
        case "leaky_relu":
            return one("LeakyReLU", layer.slope)
        case "elu":
            return one("ELU", unless(layer.alpha, 1.0)) if layer.alpha != 1 else one("ELU")
        case "softmax":
            return one("Softmax", axis=unless(layer.axis, node.input_type.rank))
    name = native(layer, node.input_type.rank)
    if name:
        return one("Activation", name)
    options = {
        "celu": f"alpha={literal(layer.alpha)}",
        "gelu": "approximate=True",
        "log_softmax": f"axis={layer.axis}",
    }
    expression = f"ops.{layer.function}({{x}}, {options[layer.function]})"
    return Realisation((Compute(expression, (layer.function,)),))


@rules(PReLU)
def prelu(layer: PReLU, node: Node) -> Realisation:
    """One learnt slope a channel, shared along the other axes."""
    rank = node.input_type.rank
    shared = list(range(1, rank)) or None
    made = Apply("PReLU", written(shared_axes=shared))
    shape = (*(1 for _ in range(rank - 1)), node.input_type.channels)
    return Realisation((made,), variables_of(node), {"alpha": shape})
