"""BatchNorms whose own numbers an exporter has put together: weights with which the rows do the same.

A BatchNorm is a factor and a shift a channel, and so is the layer before it with other numbers. What a file has
instead of its four vectors is either a kernel and a bias that both of them make together, or that factor and shift. The
rows compute just that where the BatchNorm only adds the bias, or has the factor and the shift for its gamma and beta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.layers import ConvTranspose, DepthwiseConv
from netspec.network import Network, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.backend.stored import StoredTensor

    Values = NDArray[np.float64]
    Weights = Mapping[str, NDArray[np.float32]]
    Origins = Mapping[str, StoredTensor]

SHOWN = 3
"""Of more BatchNorms than these no names are said."""


@dataclass(frozen=True, slots=True)
class Folding:
    """The BatchNorms, by their nodes, whose own numbers are gone."""

    norms: tuple[str, ...]
    into: Mapping[str, str]
    """Those that are in the layer before them, each with that layer's node; the others are a factor and a shift."""

    @property
    def hosts(self) -> frozenset[str]:
        """The layers that others are in."""
        return frozenset(self.into.values())

    def said(self, network: Network) -> str:
        """What was done to the file."""
        rows = {node.name: node.row for node in network.nodes}
        names = [repr(rows[norm]) for norm in self.norms]
        named = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "")
        return f"the numbers of its BatchNorms {named} were put together"


def without_norms(network: Network, folding: Folding) -> Network:
    """The network without the BatchNorms in other layers, each a node with that before it, which then has a bias."""
    nodes = tuple(
        replace(
            _biased(node) if node.name in folding.hosts else node,
            inputs=tuple(folding.into.get(name, name) for name in node.inputs),
        )
        for node in network.nodes
        if node.name not in folding.into
    )
    outputs = {name: folding.into.get(value, value) for name, value in network.outputs.items()}
    return replace(network, nodes=nodes, outputs=outputs)


def _biased(node: Node) -> Node:
    layer: Any = node.layer.replace(bias=True)
    weights = tuple(replace(each, name=f"{node.name}.{each.name}") for each in layer.weights(node.input_types))
    return replace(node, layer=layer, weights=weights)


def with_norms(network: Network, folding: Folding, weights: Weights, origins: Origins) -> tuple[Weights, Origins]:
    """What was read for `without_norms`, as the network's weights, and the tensor of the file that each comes from.

    The weights of a BatchNorm that only adds a bias come from that.
    """
    found, tensors = dict(weights), dict(origins)
    nodes = {node.name: node for node in network.nodes}
    for norm, host in folding.into.items():
        bias, tensor = found[f"{host}.bias"], tensors[f"{host}.bias"]
        found[f"{host}.bias"] = np.zeros_like(bias)
        own = {"gamma": np.ones_like(bias), "beta": np.zeros_like(bias), "mean": -bias}
        for weight in nodes[norm].weights:
            found[weight.name] = own.get(weight.name.removeprefix(f"{norm}."), bias)
            tensors[weight.name] = tensor
    for norm in folding.norms:
        epsilon = nodes[norm].layer.fields()["epsilon"]
        found[f"{norm}.var"] = np.full_like(found[f"{norm}.var"], 1 - epsilon)
    names = [weight.name for weight in network.weights()]
    return {name: found[name] for name in names}, {name: tensors[name] for name in names}


def put_together(norm: Node, host: Node | None, weights: Weights) -> Iterator[tuple[str, Values, Values]]:
    """A BatchNorm's own weights, put together as an exporter does: what `with_norms` would have read of its file.

    For both that the file tells: the weight's name, its numbers, and how large those were that had to be added to get
    them. With s = gamma / sqrt(var + epsilon) that is, where it is in the layer before it, its `host`, kernel * s and,
    as a mean that is taken off, -((bias - mean) * s + beta); otherwise s for a gamma and beta - mean * s for a beta.
    """
    own = {weight.name: np.asarray(weights[weight.name], np.float64) for weight in norm.weights}
    mean, var = own[f"{norm.name}.mean"], own[f"{norm.name}.var"]
    factor = own.get(f"{norm.name}.gamma", np.ones_like(var)) / np.sqrt(var + norm.layer.fields()["epsilon"])
    beta = own.get(f"{norm.name}.beta", np.zeros_like(var))
    if host is None:
        yield f"{norm.name}.gamma", factor, np.abs(factor)
        yield f"{norm.name}.beta", beta - mean * factor, np.abs(beta) + np.abs(mean * factor)
        return
    bias = np.asarray(weights.get(f"{host.name}.bias", np.zeros_like(var)), np.float64)
    kernel = [weight.name for weight in host.weights if weight.name != f"{host.name}.bias"][-1]
    whole = np.asarray(weights[kernel], np.float64) * _by_result(host, factor)
    yield kernel, whole, np.abs(whole)
    size = (np.abs(bias) + np.abs(mean)) * np.abs(factor) + np.abs(beta)
    yield f"{norm.name}.mean", -((bias - mean) * factor + beta), size


def _by_result(host: Node, factor: Values) -> Values:
    """A number for every channel of a layer's result, in the shape in which it goes into the layer's last kernel."""
    if isinstance(host.layer, DepthwiseConv):
        return factor.reshape(-1, host.layer.multiplier)
    return factor[:, np.newaxis] if isinstance(host.layer, ConvTranspose) else factor
