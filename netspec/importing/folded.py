"""BatchNorms whose own numbers an exporter has put together: weights with which the rows do the same.

A BatchNorm is a factor and a shift a channel, and so is the layer before it with other numbers. What a file has
instead of its four vectors is either a kernel and a bias that both of them make together, or that factor and shift. The
rows compute just that where the BatchNorm only adds the bias, or has the factor and the shift for its gamma and beta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.importing.misfit import FoldedError
from netspec.network import Network, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.backend.stored import StoredTensor

    Weights = Mapping[str, NDArray[np.float32]]
    Origins = Mapping[str, StoredTensor]


def without_norms(network: Network, folded: Mapping[str, str]) -> Network:
    """The network without these BatchNorms, each a node with that of the layer before it, which then has a bias."""
    hosts = set(folded.values())
    nodes = tuple(
        replace(
            _biased(node) if node.name in hosts else node,
            inputs=tuple(folded.get(name, name) for name in node.inputs),
        )
        for node in network.nodes
        if node.name not in folded
    )
    outputs = {name: folded.get(value, value) for name, value in network.outputs.items()}
    return replace(network, nodes=nodes, outputs=outputs)


def _biased(node: Node) -> Node:
    layer: Any = node.layer.replace(bias=True)
    weights = tuple(replace(each, name=f"{node.name}.{each.name}") for each in layer.weights(node.input_types))
    return replace(node, layer=layer, weights=weights)


def with_norms(network: Network, error: FoldedError, weights: Weights, origins: Origins) -> tuple[Weights, Origins]:
    """What was read for `without_norms`, as the network's weights, and the tensor of the file that each comes from.

    A BatchNorm that only adds a bias comes from that, for its value is the first that the file shows.
    """
    found, tensors = dict(weights), dict(origins)
    nodes = {node.name: node for node in network.nodes}
    for norm, host in error.folded.items():
        bias, tensor = found[f"{host}.bias"], tensors[f"{host}.bias"]
        found[f"{host}.bias"] = np.zeros_like(bias)
        own = {"gamma": np.ones_like(bias), "beta": np.zeros_like(bias), "mean": -bias}
        for weight in nodes[host].weights:
            del tensors[weight.name]
        for weight in nodes[norm].weights:
            found[weight.name] = own.get(weight.name.removeprefix(f"{norm}."), bias)
            tensors[weight.name] = tensor
    for norm in error.norms:
        epsilon = nodes[norm].layer.fields()["epsilon"]
        found[f"{norm}.var"] = np.full_like(found[f"{norm}.var"], 1 - epsilon)
    kept = {weight.name for weight in network.weights()}
    return (
        {weight.name: found[weight.name] for weight in network.weights()},
        {name: tensor for name, tensor in tensors.items() if name in kept},
    )


def folded_text(network: Network, error: FoldedError) -> str:
    """What cannot be told of a file that was folded."""
    rows = {node.name: node.row for node in network.nodes}
    names = [repr(rows[norm]) for norm in error.norms]
    said = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
    return f"the numbers of its BatchNorms {said} were put together"
