"""Where a file that others made begins to differ: its own values, found again among those of the network's rows.

A value is a node's because its weights go into it (`Made`), or because it is the same, within rounding, in some layout.
The first node of the former kind whose value is wrong ends the part that is to blame, which begins after values of
the latter kind: the part is computed by the reference from what the file itself computed there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netspec.layers import Activation
from netspec.network import Network, Node
from netspec.reference import interpret
from netspec.reference.table import Array, Values
from netspec.runnable import Traced
from netspec.stored import StoredTensor
from netspec.verify.budget import norms, predict
from netspec.verify.causes import explain
from netspec.verify.causes.explain import part_of
from netspec.verify.compare import Comparison, compare
from netspec.verify.ports import Layout, canonical, layouts
from netspec.verify.result import Cause

Granted = Callable[[Values, Values], Values]


@dataclass(frozen=True, slots=True)
class Found:
    """A node with the value that it is in the file, canonical, and how far that is from the reference."""

    node: Node
    value: str
    array: Array
    compared: Comparison


@dataclass(frozen=True, slots=True)
class Located:
    """What was found: every node that the file shows, and the first that differs, with the reason where it is seen."""

    found: Mapping[str, Found]
    first: Found | None = None
    alone: bool | None = None
    cause: Cause | None = None

    @property
    def row(self) -> str | None:
        """The row to blame: that of the cause, where there is one."""
        return self.cause.row if self.cause else self.first.node.row if self.first else None


def by_node(network: Network) -> Network:
    """The same network with every node a row of its own, so that predictions are made for each."""
    return replace(network, nodes=tuple(replace(node, row=node.name) for node in network.nodes), uses=())


@dataclass(frozen=True)
class Search:
    """A network with its weights and inputs, the values that a file computed for them, and what rounding may cost."""

    network: Network
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    origins: Mapping[str, StoredTensor]
    """The tensor of the file that each weight is, where its weights were read from it."""
    traced: Traced
    outputs: Mapping[str, Array]
    """The network's outputs as the file gives them, canonical."""
    ports: Mapping[str, str]
    """What the file calls them."""
    granted: Granted
    draws: int
    unit: float
    first: bool
    """Whether the file's images have their channels first, where a value's shape does not say."""

    def locate(self) -> Located:
        """Look for every node, then for the reason of the first that is wrong."""
        reference = {node.name: value for node, value in interpret(by_node(self.network), self.weights, self.inputs)}
        predicted = predict(
            by_node(self.network), self.weights, self.inputs, reference, draws=self.draws, unit=self.unit
        )
        granted = {name: self.granted(value, predicted[name]) for name, value in reference.items()}
        found = dict(self._alike(reference, granted))
        for node, name, array in self._anchors():
            found[node.name] = Found(node, name, array, compare(reference[node.name], array, granted[node.name]))
        place = {node.name: index for index, node in enumerate(self.network.nodes)}
        wrong = [each for each in found.values() if each.compared.symptom is not None]
        ordered = dict(sorted(found.items(), key=lambda each: place[each[0]]))
        if not wrong:
            return Located(ordered)
        first = min(wrong, key=lambda each: place[each.node.name])
        agreed = {name: each for name, each in found.items() if each.compared.symptom is None}
        nodes, given = self._part(first.node, agreed)
        part = part_of(self.network, nodes)
        with np.errstate(all="ignore"):
            [*_, (_, expected)] = interpret(part, self.weights, given)
            within = predict(part, self.weights, given, {first.node.name: expected}, draws=self.draws, unit=self.unit)
        own = compare(expected, first.array, self.granted(expected, within[first.node.name]))
        cause = None
        if own.symptom is not None:
            cause = explain(self.network, nodes, self.weights, given, first.array, self.granted, first.compared.sample)
        return Located(ordered, first, own.symptom is not None, cause)

    def _alike(self, reference: Mapping[str, Values], granted: Mapping[str, Values]) -> Iterator[tuple[str, Found]]:
        """The nodes whose value is among those of the file; of several the first that the file computes."""
        sizes: dict[int, list[tuple[str, Array, Values]]] = {}
        for name, array in self.traced.values.items():
            if array.ndim and len(array) == self._count and np.isfinite(array).all():
                flat = array.reshape(len(array), -1)
                sizes.setdefault(flat.shape[1], []).append((name, array, norms(flat)))
        for node in self.network.nodes:
            value = reference[node.name]
            if not np.isfinite(value).all():
                continue
            length = norms(value)
            for name, array, size in sizes.get(node.output.size, ()):
                if np.any(np.abs(size - length) > granted[node.name]):
                    continue  # its values cannot be the same in any order
                best = self._closest(node, array, value, granted[node.name])
                if best is not None and best[1].symptom is None:
                    yield node.name, Found(node, name, *best)
                    break

    def _closest(self, node: Node, array: Array, value: Values, granted: Values) -> tuple[Array, Comparison] | None:
        """A value of the file in the layout in which it is nearest to a node's."""
        tried = [canonical(array, layout, node.output) for layout in self._layouts(node, array)]
        found = [(each, compare(value, each, granted)) for each in tried]
        return min(found, key=lambda each: each[1].ratio, default=None)

    def _layouts(self, node: Node, array: Array) -> Sequence[Layout]:
        return layouts(node.output, (None, *array.shape[1:]))

    def _anchors(self) -> Iterator[tuple[Node, str, Array]]:
        """The nodes whose weights go into a value of the file, and those that are outputs."""
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
            yield end, last.value, self._turned(end, self.traced.values[last.value])
        for name, value in self.network.outputs.items():
            if value in nodes:
                yield nodes[value], self.ports[name], self.outputs[name]

    def _activation(self, node: Node) -> Node | None:
        """The activation that alone reads a node, in its row or right after it."""
        readers = self.network.consumers[node.name]
        found = [each for each in self.network.nodes if [each.name] == list(readers)]
        return found[0] if found and isinstance(found[0].layer, Activation) else None

    def _turned(self, node: Node, array: Array) -> Array:
        """A value of the file with its channels last, as far as that can be told."""
        possible = self._layouts(node, array)
        if possible:
            layout: Layout = "first" if self.first and "first" in possible else possible[0]
            return canonical(array, layout, node.output)
        if self.first and array.ndim > 2:
            return np.moveaxis(array, 1, -1)
        return array

    def _part(self, end: Node, agreed: Mapping[str, Found]) -> tuple[tuple[Node, ...], dict[str, Array]]:
        """The nodes that lead to one, back to values that the file has right, and those values as the file has them."""
        nodes = {node.name: node for node in self.network.nodes}
        inside, given, waiting = {end.name}, {}, [*end.inputs]
        while waiting:
            name = waiting.pop()
            if name in inside or name in given:
                continue
            if name in agreed:
                given[name] = agreed[name].array
            elif name in nodes:
                inside.add(name)
                waiting += nodes[name].inputs
            else:
                given[name] = self.inputs[name]
        return tuple(node for node in self.network.nodes if node.name in inside), given

    @property
    def _count(self) -> int:
        return len(next(iter(self.inputs.values())))
