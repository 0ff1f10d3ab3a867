"""The values that a file computes on its way, and which of them are those of the network's nodes.

A value is a node's because its weights go into it (`Made`), or because it is the same, within rounding, in some layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netspec.backend.foreign import Traced
from netspec.backend.stored import StoredTensor
from netspec.layers import Activation
from netspec.network import Network, Node
from netspec.reference.table import Array, Values
from netspec.tensors import TensorType
from netspec.verify.against.ports import Layout, canonical, layouts
from netspec.verify.budget import norms
from netspec.verify.compare import Comparison, compare


@dataclass(frozen=True, slots=True)
class Found:
    """A node with the value that it is in the file, canonical, and how far that is from the reference."""

    node: Node
    value: str
    array: Array
    compared: Comparison

    @property
    def right(self) -> bool:
        """Whether it is what the reference has, within rounding."""
        return self.compared.symptom is None


@dataclass(frozen=True)
class Shown:
    """What a file gave, of which `count` samples were asked."""

    network: Network
    origins: Mapping[str, StoredTensor]
    """The tensor of the file that each weight is, where its weights were read from it."""
    traced: Traced
    outputs: Mapping[str, Array]
    """The network's outputs as the file gives them, canonical."""
    ports: Mapping[str, str]
    """What the file calls them."""
    first: bool
    """Whether the file's images have their channels first, where neither a value's shape nor its operator says."""
    count: int

    def found(self, node: Node, reference: Values, granted: Values) -> Found | None:
        """The value of the file that is a node's: the one that its weights go into, else one with the same numbers."""
        if node.name not in self.anchors:
            return self.alike(node, reference, granted)
        name, array = self.anchors[node.name]
        return Found(node, name, array, compare(reference, array, granted))

    def alike(self, node: Node, reference: Values, granted: Values) -> Found | None:
        """The first value of the file with the numbers of a node's."""
        if not np.isfinite(reference).all():
            return None
        length = norms(reference)
        for name, array, size in self._sizes.get(node.output.size, ()):
            if np.any(np.abs(size - length) > granted):
                continue  # its values cannot be the same in any order
            best = self._closest(node.output, array, reference, granted)
            if best is not None and best[1].symptom is None:
                return Found(node, name, *best)
        return None

    def readings(self, type_: TensorType) -> Iterator[tuple[str, Array]]:
        """Every value of the file that may be one of this type, in every layout that its shape allows."""
        for name, array, _ in self._sizes.get(type_.size, ()):
            for layout in _layouts(type_, array):
                yield name, canonical(array, layout, type_)

    @cached_property
    def anchors(self) -> Mapping[str, tuple[str, Array]]:
        """The values of the file, with their names there, that the weights of nodes go into, or that are outputs."""
        return {node.name: (name, array) for node, name, array in self._anchored()}

    @cached_property
    def _sizes(self) -> Mapping[int, Sequence[tuple[str, Array, Values]]]:
        """The values of the file, each with the norm of every sample, by how many numbers a sample has."""
        found: dict[int, list[tuple[str, Array, Values]]] = {}
        for name, array in self.traced.values.items():
            if array.ndim and len(array) == self.count and np.isfinite(array).all():
                flat = array.reshape(len(array), -1)
                found.setdefault(flat.shape[1], []).append((name, array, norms(flat)))
        return found

    def _closest(
        self, type_: TensorType, array: Array, value: Values, granted: Values
    ) -> tuple[Array, Comparison] | None:
        """A value of the file in the layout in which it is nearest to another."""
        tried = [canonical(array, layout, type_) for layout in _layouts(type_, array)]
        found = [(each, compare(value, each, granted)) for each in tried]
        return min(found, key=lambda each: each[1].ratio, default=None)

    def _anchored(self) -> Iterator[tuple[Node, str, Array]]:
        order = {name: index for index, name in enumerate(self.traced.values)}
        nodes = {node.name: node for node in self.network.nodes}
        for node in self.network.nodes:
            tensors = [self.origins[weight.name].name for weight in node.weights if weight.name in self.origins]
            made = [self.traced.made[name] for name in tensors if name in self.traced.made]
            made = [each for each in made if each.value in order]
            if not made or len(tensors) < len(node.weights):
                continue
            last = max(made, key=lambda each: order[each.value])
            end = node
            if last.activated and (follower := self._activation(node)):
                end = follower
            first = self.first if last.first is None else last.first
            yield end, last.value, _turned(end.output, self.traced.values[last.value], first=first)
        for name, value in self.network.outputs.items():
            if value in nodes:
                yield nodes[value], self.ports[name], self.outputs[name]

    def _activation(self, node: Node) -> Node | None:
        """The activation that alone reads a node, in its row or right after it."""
        readers = self.network.consumers[node.name]
        found = [each for each in self.network.nodes if [each.name] == list(readers)]
        return found[0] if found and isinstance(found[0].layer, Activation) else None


def _layouts(type_: TensorType, array: Array) -> Sequence[Layout]:
    return layouts(type_, (None, *array.shape[1:]))


def _turned(type_: TensorType, array: Array, *, first: bool) -> Array:
    """A value of the file with its channels last, as far as that can be told."""
    possible = _layouts(type_, array)
    if possible:
        layout: Layout = "first" if first and "first" in possible else possible[0]
        return canonical(array, layout, type_)
    if first and array.ndim > 2:
        return np.moveaxis(array, 1, -1)
    return array
