"""Inputs and weights that bite: where a wrong meaning shows, in values that a right one survives.

Ordinary noise hides faults. A ramp gives every coordinate its own value, so that a shifted or exchanged axis shows;
zeros show what biases and pads do; large and tiny values leave the middle of every activation; an offset shows
cancelling moments. Weights are of both signs and nothing is zero or one: a small variance, for instance, makes an
epsilon matter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netspec.layers import BatchNorm, PReLU
from netspec.layers.base import Weight
from netspec.network import Network, Node
from netspec.reference import evaluate_node
from netspec.reference.table import Array, Values
from netspec.spec.model import HARD
from netspec.tensors import TensorType


def sample_names(ordinary: int) -> tuple[str, ...]:
    """What each sample of `hard_inputs` is called in reports."""
    return (*(f"normal {number}" for number in range(1, ordinary + 1)), *HARD)


def hard_inputs(network: Network, ordinary: int, seed: int) -> dict[str, Array]:
    """A float32 batch [ordinary + 7, ...] for every input: samples of N(0, 1), then one of each hard kind."""
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    return {name: _hard_batch(given, ordinary, random) for name, given in network.inputs.items()}


def _hard_batch(given: TensorType, ordinary: int, random: np.random.Generator) -> Array:
    normal = random.standard_normal((ordinary, *given.shape))
    draw = {name: random.standard_normal(given.shape) for name in HARD}
    signs = np.sign(draw["large"])
    hard = {
        "ramp": np.linspace(-1.0, 1.0, given.size).reshape(given.shape) if given.size > 1 else np.ones(given.shape),
        # Of every size up to 100, for functions that change their formula somewhere: at 3, at 6, at 20.
        "wide": draw["wide"] * 10 ** random.uniform(0.0, 2.0, given.shape),
        "zeros": np.zeros(given.shape),
        "constant": np.full(given.shape, 0.7),
        "large": 1e3 * signs * random.uniform(0.5, 1.0, given.shape),
        "tiny": 1e-4 * draw["tiny"],
        "offset": 1e3 + draw["offset"],
    }
    return np.concatenate([normal, np.stack([hard[name] for name in HARD])]).astype(np.float32)


def biting_weights(network: Network, seed: int) -> dict[str, Array]:
    """Random float32 weights, scaled row by row so that ordinary inputs keep the size 1 through any depth."""
    random = np.random.Generator(np.random.Philox(key=[seed, 1]))
    values: dict[str, Values] = {
        name: random.standard_normal((2, *given.shape)) for name, given in network.inputs.items()
    }
    weights: dict[str, Array] = {}
    waiting = {name: len(readers) for name, readers in network.consumers.items()}
    for node in network.nodes:
        inputs = tuple(values[name] for name in node.inputs)
        own = {weight.name: _draw(node, weight, random, inputs) for weight in node.weights}
        value = evaluate_node(node, own, *inputs)
        if {_short(node, name) for name in own} & {"kernel", "pointwise", "gamma"}:
            size = _size(value)
            own = {
                name: array / np.float32(size) if _short(node, name) in LINEAR else array for name, array in own.items()
            }
            value = value / size
        weights.update(own)
        for name in node.inputs:
            waiting[name] -= 1
            if not waiting[name]:
                values.pop(name, None)  # a node may read a value twice
        values[node.name] = value
    return weights


def _size(values: Values) -> float:
    """Root mean square of all values."""
    size = float(np.sqrt(np.square(values).mean()))
    return size if np.isfinite(size) and size > 0 else 1.0


def _short(node: Node, name: str) -> str:
    return name.removeprefix(f"{node.name}.")


def _draw(node: Node, weight: Weight, random: np.random.Generator, inputs: tuple[Values, ...]) -> Array:
    """Values for one weight, by what it is."""

    def normal() -> Array:
        return random.standard_normal(weight.shape, np.float32)

    def uniform() -> Array:
        return random.uniform(0.5, 1.5, weight.shape).astype(np.float32)

    match _short(node, weight.name):
        case "bias" | "beta":
            drawn = 0.3 * normal()
        case "gamma":
            drawn = np.sign(normal()) * uniform()
        case "mean":
            drawn = 0.5 * normal() * _size(inputs[0])
        case "var":
            # Small, so that an epsilon counts; without a gamma to scale it away, of the size that the values have.
            free = isinstance(node.layer, BatchNorm) and node.layer.scale
            drawn = random.uniform(1e-4, 1e-2, weight.shape) if free else uniform() * _size(inputs[0]) ** 2
        case "alpha" if isinstance(node.layer, PReLU):
            drawn = random.uniform(0.05, 0.6, weight.shape)
        case _:
            drawn = normal()
    return drawn.astype(np.float32, copy=False)


# Multiplying these weights of a node by one number multiplies its result by that number.
LINEAR = ("kernel", "pointwise", "bias", "gamma", "beta")


def finite_problem(weights: Mapping[str, Array]) -> str | None:
    """The first weight that holds a number that is not finite, or None."""
    return next((name for name, values in weights.items() if not np.isfinite(values).all()), None)
