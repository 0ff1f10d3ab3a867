"""Images that were turned into vectors: which number of the vector was which channel of which pixel.

netspec flattens height, width, channels; PyTorch, whose images have their channels first, channels, height, width.
The weights that such a vector meets stand in its order, and their shapes do not tell. A Flatten of order `chw` gives
PyTorch's vector, so what follows it is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netspec.layers import Dense, Flatten
from netspec.network import Network, Node
from netspec.tensors import TensorType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.tensors import Array

    Places = NDArray[np.int64]


def channels_first_places(network: Network) -> dict[str, dict[int, Places]]:
    """For every weight whose numbers stand in another order where images are flattened channels first: by its axis,
    the place there of each of our numbers.
    """
    values = _vectors(network)
    found: dict[str, dict[int, Places]] = {}
    for node in network.nodes:
        given, result = values.get(node.inputs[0]), values.get(node.name)
        for weight in node.weights:
            axes = {0: given}
            if isinstance(node.layer, Dense):
                axes = {0: given, 1: result} if len(weight.shape) == 2 else {0: result}
            known = {axis: places for axis, places in axes.items() if places is not None}
            if known:
                found[weight.name] = known
    return found


def to_channels_last(array: Array, axes: dict[int, Places]) -> Array:
    """A canonical array whose axes stood in the order of channels-first vectors, in ours."""
    for axis, places in axes.items():
        array = array.take(places, axis)
    return np.ascontiguousarray(array)


def _vectors(network: Network) -> dict[str, Places]:
    """For every vector that was an image, or becomes one, the place where each of its numbers stands channels first."""
    found: dict[str, Places] = {}
    for node in network.nodes:
        if node.output.rank == 1:
            _forward(node, found)
    for node in reversed(network.nodes):
        if node.input_type.rank == 1 and node.inputs[0] not in found:
            if node.output.rank > 1 and not node.weights and node.output.size == node.input_type.size:
                found[node.inputs[0]] = _places(node.output)
            elif _keeps(node) and node.name in found:
                found[node.inputs[0]] = found[node.name]
    return {name: places for name, places in found.items() if not np.array_equal(places, np.arange(len(places)))}


def _forward(node: Node, found: dict[str, Places]) -> None:
    if isinstance(node.layer, Flatten) and node.layer.order == "chw":
        found[node.name] = np.arange(node.output.size)
    elif node.input_type.rank > 1 and node.output.size == node.input_type.size:
        found[node.name] = _places(node.input_type)
    elif len(node.inputs) > 1 and node.layer.kind == "Concat":
        parts, start = [], 0
        for name, kind in zip(node.inputs, node.input_types, strict=True):
            parts.append(start + found.get(name, np.arange(kind.size)))
            start += kind.size
        found[node.name] = np.concatenate(parts)
    elif _keeps(node) and node.inputs[0] in found:
        found[node.name] = found[node.inputs[0]]


def _keeps(node: Node) -> bool:
    """Whether every number of a vector stays at its place."""
    return not isinstance(node.layer, Dense) and node.output == node.input_type


def _places(image: TensorType) -> Places:
    """Where each number of an image, channels last, stands where its channels come first."""
    first = np.arange(image.size).reshape(image.channels, *image.spatial)
    return np.moveaxis(first, 0, -1).ravel()
