"""What exporters put together: the weights of a BatchNorm and of the layer before it, as a file then has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from netspec.backend.stored import StoredTensor
from netspec.importing import Folding, Imported, put_together
from netspec.importing.folded import with_norms, without_norms
from netspec.layers import BatchNorm, Conv, ConvTranspose, Dense, DepthwiseConv, Flatten, SeparableConv
from netspec.network import Network
from netspec.reference import interpret
from netspec.verify.against.held import MOST_NAMED, has, unlike
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import chain

HOSTS = {
    "Conv": Conv(filters=6, kernel=(3, 2), padding="same"),
    "Conv without bias": Conv(filters=6, kernel=3, bias=False),
    "Conv in groups": Conv(filters=6, kernel=3, groups=2),
    "DepthwiseConv": DepthwiseConv(kernel=3, multiplier=3),
    "SeparableConv": SeparableConv(filters=5, kernel=3, multiplier=2),
    "ConvTranspose": ConvTranspose(filters=3, kernel=2, stride=2),
}
NORMS = {"both": BatchNorm(epsilon=1e-2), "no gamma": BatchNorm(scale=False), "no beta": BatchNorm(center=False)}
NORM = "batch_norm_1"


def folded(layer: Any, norm: BatchNorm = NORMS["both"]) -> tuple[Network, Folding]:
    """A network of a layer and a BatchNorm, and how an exporter puts the second into the first."""
    flat = [Flatten()] if isinstance(layer, Dense) else []
    net = chain("net", (6, 5, 4), *flat, layer, norm)
    return net, Folding((NORM,), {NORM: net.nodes[-2].name})


def as_read(net: Network, folding: Folding, weights: Any, dtype: str = "float32") -> Imported:
    """What is read of a file into which an exporter has put these weights together, in float32."""
    nodes = {node.name: node for node in net.nodes}
    bare = without_norms(net, folding)
    held = {weight.name: weights.get(weight.name, np.zeros(weight.shape, np.float32)) for weight in bare.weights()}
    for norm in folding.norms:
        host = folding.into.get(norm)
        for name, array, _ in put_together(nodes[norm], nodes[host] if host else None, weights):
            bias = host is not None and name.startswith(f"{norm}.")
            held[f"{host}.bias" if bias else name] = (-array if bias else array).astype(dtype).astype(np.float32)
        if host is None:
            held |= {f"{norm}.mean": np.zeros_like(held[f"{norm}.mean"]), f"{norm}.var": weights[f"{norm}.var"]}
    origins = {name: StoredTensor(f"file/{name}", array, dtype, array.shape) for name, array in held.items()}
    found, tensors = with_norms(net, folding, held, origins)
    return Imported(found, tensors, "by name", folding=folding)


def messages(net: Network, weights: Any, found: Imported) -> list[tuple[str | None, str]]:
    return [(each.row, each.message) for each in unlike(net, weights, found)]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("host", [*HOSTS, "Dense", "none"])
def test_what_was_put_together_computes_the_same(host, norm):
    if host == "none":
        net = chain("net", (6, 5, 4), BatchNorm(epsilon=1e-2))
        folding = Folding((NORM,), {})
    else:
        net, folding = folded(HOSTS.get(host, Dense(units=5)), NORMS[norm])
    weights = biting_weights(net, 1)
    inputs = hard_inputs(net, 2, 0)
    found = as_read(net, folding, weights)
    [*_, (_, right)], [*_, (_, value)] = (list(interpret(net, each, inputs)) for each in (weights, found.weights))
    assert np.allclose(value, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())
    assert has(net, weights, found)


def test_a_weight_that_differs_is_named_with_the_layers_that_it_is_of():
    net, folding = folded(HOSTS["Conv"])
    weights = biting_weights(net, 1)
    found = as_read(net, folding, weights)
    host = folding.into[NORM]
    moved = weights[f"{host}.bias"].copy()
    moved[2] += np.float32(0.25)
    [(row, said)] = messages(net, {**weights, f"{host}.bias": moved}, found)
    assert row == NORM
    assert said.startswith(f"its file/{host}.bias is not what the given weights of '{host}' and '{NORM}' make: 1 of 6")
    other = weights[f"{host}.kernel"].copy()
    other[0, 0, 0, 0] *= np.float32(1 + 1e-5)
    [(row, said)] = messages(net, {**weights, f"{host}.kernel": other}, found)
    assert row == host
    assert said.startswith(f"its file/{host}.kernel is not what the given weights")


def test_a_variance_that_makes_no_number_is_no_weight_of_the_file():
    net, folding = folded(HOSTS["Conv"])
    weights = biting_weights(net, 1)
    found = as_read(net, folding, weights)
    wrong = weights[f"{NORM}.var"].copy()
    wrong[2] = -1.0
    with np.errstate(invalid="ignore"):
        assert not has(net, {**weights, f"{NORM}.var": wrong}, found)


def test_another_epsilon_is_named():
    net, folding = folded(HOSTS["Conv"])
    other = replace(net, nodes=(net.nodes[0], replace(net.nodes[1], layer=net.nodes[1].layer.replace(epsilon=1e-5))))
    weights = biting_weights(net, 1)
    host = folding.into[NORM]
    [(row, said)] = messages(net, weights, as_read(other, folding, weights))
    assert row == NORM
    assert said == (
        f"its file/{host}.kernel and file/{host}.bias are what the weights of '{host}' and '{NORM}' make with "
        "epsilon=1e-05, not 0.01"
    )


def test_what_a_layer_has_beside_the_last_kernel_is_compared_as_it_is():
    net, folding = folded(HOSTS["SeparableConv"])
    weights = biting_weights(net, 1)
    found = as_read(net, folding, weights)
    name = f"{folding.into[NORM]}.depthwise"
    moved = np.nextafter(weights[name], np.float32(9))
    [(_, said)] = messages(net, {**weights, name: moved}, found)
    assert said.startswith(f"its file/{name} is not the given {name}: ")


def test_weights_in_float16_are_the_given_ones_rounded():
    net, folding = folded(HOSTS["Conv"])
    weights = biting_weights(net, 1)
    found = as_read(net, folding, weights, "float16")
    name = f"{folding.into[NORM]}.kernel"
    moved = found.weights[name] * np.float32(1 + 3 * 2.0**-11)
    assert has(net, weights, found)
    assert not has(net, weights, replace(found, weights={**found.weights, name: moved}))


def test_of_many_weights_the_first_are_named():
    net = chain("net", (6, 5, 4), *[Conv(filters=4, kernel=3, padding="same")] * 6)
    one, other = biting_weights(net, 1), biting_weights(net, 2)
    origins = {name: StoredTensor(name, array, "float32", array.shape) for name, array in other.items()}
    found = messages(net, one, Imported(other, origins, "by name"))
    assert len(found) == MOST_NAMED
    assert found[0][1].startswith("its conv_1.kernel is not the given conv_1.kernel")
    assert found[-1][1].endswith("\nand 7 more of its weights are not the given ones")
