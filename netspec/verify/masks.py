"""Networks with further inputs that values are multiplied by: in the place of dropout, or as noise.

So the same units fall in every backend, which trains the network with what it has: the masks are drawn once, in numpy,
by (seed, step, row). And so the rounding of every value can be imitated, on the way forward and back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from netspec.layers import Dropout, Multiply, SpatialDropout, StochasticDepth
from netspec.network import Network, Node
from netspec.reference.table import Values
from netspec.tensors import TensorType
from netspec.weights import stream

DROPOUTS = (Dropout, SpatialDropout, StochasticDepth)


@dataclass(frozen=True, slots=True)
class Masked:
    """A network without dropout, and for each of its further inputs the dropout that it stands for."""

    network: Network
    dropouts: dict[str, Node]

    def draw(self, count: int, seed: int, step: int) -> dict[str, Values]:
        """For a batch of `count`, every mask: 0 with the probability `rate`, else 1 / (1 - rate); float64."""
        masks = {}
        for name, node in self.dropouts.items():
            assert isinstance(node.layer, DROPOUTS)
            rate, shape = node.layer.rate, self.network.inputs[name].shape
            kept = stream(seed, f"{step}:{node.row}").random((count, *shape)) >= rate
            masks[name] = kept / (1 - rate)
        return masks


def with_masks(network: Network) -> Masked:
    """Put a further input in the place of every dropout; of blocks only the rows are left, which compute the same."""
    taken = {*network.types, *(node.row for node in network.nodes)}
    inputs, dropouts, nodes = dict(network.inputs), {}, []
    for node in network.nodes:
        if isinstance(node.layer, DROPOUTS):
            name = _unused(f"{node.name.replace('.', '_')}_mask", taken)
            taken.add(name)
            inputs[name], dropouts[name] = _mask_type(node), node
            types = (node.input_type, inputs[name])
            node = replace(node, layer=Multiply(), inputs=(node.inputs[0], name), input_types=types)
        nodes.append(node)
    return Masked(replace(network, inputs=inputs, nodes=tuple(nodes), uses=()), dropouts)


@dataclass(frozen=True, slots=True)
class Noised:
    """A network that multiplies every value on its way, and in a training every gradient, by a further input."""

    network: Network
    noises: tuple[str, ...]

    def draw(self, count: int, size: float, random: np.random.Generator) -> dict[str, Values]:
        """For a batch of `count`, factors of 1 + size * N(0, 1)."""
        shapes = {name: (count, *self.network.inputs[name].shape) for name in self.noises}
        return {name: 1 + size * random.standard_normal(shape) for name, shape in shapes.items()}


def with_noise(network: Network) -> Noised:
    """Let every value but the outputs pass through a product with an input of its shape."""
    inputs, nodes, read = dict(network.inputs), [], {name: name for name in network.types}
    taken, noises = set(network.types), []
    for node in network.nodes:
        nodes.append(replace(node, inputs=tuple(read[name] for name in node.inputs)))
        if node.name in network.results:
            continue
        name, noise = (_unused(f"{node.name.replace('.', '_')}_{what}", taken) for what in ("noised", "noise"))
        taken |= {name, noise}
        inputs[noise], read[node.name] = node.output, name
        noises.append(noise)
        types = (node.output, node.output)
        nodes.append(Node(name, Multiply(), (node.name, noise), types, node.output, (), node.row))
    return Noised(replace(network, inputs=inputs, nodes=tuple(nodes)), tuple(noises))


def _mask_type(node: Node) -> TensorType:
    """One number for each value, for each channel, or for the sample."""
    given = node.input_type
    if isinstance(node.layer, SpatialDropout):
        return TensorType((*(1 for _ in given.spatial), given.channels))
    return TensorType(tuple(1 for _ in given.shape)) if isinstance(node.layer, StochasticDepth) else given


def _unused(name: str, taken: set[str]) -> str:
    return name if name not in taken else _unused(f"{name}_", taken)
