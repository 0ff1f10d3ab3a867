"""Walk a network, node by node, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from netspec.network import Network, Node
from netspec.reference.table import Array, Values, rules


class Disturbance(Protocol):
    """What may happen to the values on their way, to see how a network carries errors on."""

    def input(self, values: Values) -> Values:
        """One of the network's inputs as it is read."""
        ...

    def weights(self, node: Node, weights: Mapping[str, Values]) -> Mapping[str, Values]:
        """The weights of a node, by their names without the node, as it reads them."""
        ...

    def result(self, node: Node, values: Values, inputs: tuple[Values, ...], weights: Mapping[str, Values]) -> Values:
        """The result of a node as later ones read it, with what it was computed from."""
        ...


def interpret(
    network: Network,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    disturb: Disturbance | None = None,
    taken: Mapping[str, Array] | None = None,
) -> Iterator[tuple[Node, Values]]:
    """Every node with its value, in order; values that no later node reads are let go.

    What is in `taken` by the time that a node reads it is read in the place of that value, as an input is.
    """

    def read(name: str) -> Values:
        if taken is None or name not in taken:
            return alive[name]
        value = np.asarray(taken[name], np.float64)
        return value if disturb is None else disturb.input(value)

    alive = {name: np.asarray(inputs[name], np.float64) for name in network.inputs}
    if disturb is not None:
        alive = {name: disturb.input(given) for name, given in alive.items()}
    waiting = {name: len(readers) for name, readers in network.consumers.items()}
    with np.errstate(all="ignore"):
        for node in network.nodes:
            own = node_weights(node, weights)
            if disturb is not None:
                own = disturb.weights(node, own)
            given = tuple(read(name) for name in node.inputs)
            value = evaluate_parts(node, given, own)
            if disturb is not None:
                value = disturb.result(node, value, given, own)
            for name in node.inputs:
                waiting[name] -= 1
                if not waiting[name]:
                    alive.pop(name, None)  # a node may read a value twice
            if waiting[node.name]:
                alive[node.name] = value
            yield node, value


def node_weights(node: Node, weights: Mapping[str, Array]) -> Mapping[str, Values]:
    """The weights of a node in float64, by their names without the node."""
    return {
        weight.name.removeprefix(f"{node.name}."): weights[weight.name].astype(np.float64) for weight in node.weights
    }


def evaluate(
    network: Network, weights: Mapping[str, Array], inputs: Mapping[str, Array], disturb: Disturbance | None = None
) -> dict[str, Values]:
    """The result of every row, by row name, for a batch of every input (channels last)."""
    return {node.row: value for node, value in interpret(network, weights, inputs, disturb)}


def evaluate_node(node: Node, weights: Mapping[str, Array], *inputs: Array) -> Values:
    """The value of one node alone, for the given inputs."""
    with np.errstate(all="ignore"):
        return evaluate_parts(
            node, tuple(np.asarray(given, np.float64) for given in inputs), node_weights(node, weights)
        )


def evaluate_parts(node: Node, inputs: tuple[Values, ...], weights: Mapping[str, Values]) -> Values:
    """The value of one node alone; its weights go by their names without the node."""
    return rules.apply(node)(*inputs, **weights)
