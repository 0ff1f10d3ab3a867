"""Where a file that others made begins to differ: its own values, found again among those of the network's rows.

A value is a node's because its weights go into it (`Made`), or because it is the same, within rounding, in some layout.
The first node of the former kind whose value is wrong ends the part that is to blame, which begins after values of
the latter kind: the part is computed by the reference from what the file itself computed there. The nodes behind are
then looked for again, with what the reference makes of the wrong value: what is wrong there is wrong by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from netspec.backend.foreign import Traced
from netspec.backend.stored import StoredTensor
from netspec.layers import Activation
from netspec.network import Network, Node
from netspec.reference import interpret
from netspec.reference.table import Array, Values
from netspec.verify.against.ports import Layout, canonical, layouts
from netspec.verify.budget import norms, predict
from netspec.verify.causes import SpentError, Work, judge_of, pair_of_causes, products, single_cause
from netspec.verify.causes.explain import part_of, rows_of
from netspec.verify.compare import Comparison, compare
from netspec.verify.result import Blamed, Cause
from netspec.verify.samples import WORK_OF_A_VALUE

MOST = 5
"""More rows than these are not blamed."""
WORK = 4e10
"""What the whole search may cost in products: twice what pairs of mistakes may at one row, ..."""
TIMES = 300
"""... and what evaluating the network so often does: every single mistake at every row, numbers included."""
SHOWN = 5
"""Of more rows than these that were not judged, no names are said."""
Granted = Callable[[Values, Values], Values]


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


@dataclass(frozen=True, slots=True)
class Culprit:
    """A node that differs, whether by itself or for what is wrong before it, with the reasons where they are seen."""

    found: Found
    alone: bool
    causes: tuple[Cause, ...] = ()

    @property
    def row(self) -> str:
        """The row to blame: that of the first cause, where there is one."""
        return self.causes[0].row if self.causes else self.found.node.row

    @property
    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """Where what was done instead, as far as that is known."""
        return tuple((cause.row, cause.says) for cause in self.causes if cause.known)

    @property
    def known(self) -> bool:
        """Whether known mistakes give just its value, so that the value is no other than it was taken for."""
        return bool(self.mistakes)


@dataclass(frozen=True, slots=True)
class Located:
    """What was found: every node that the file shows, and those that are to blame, the first one first.

    A node behind one of these is compared with what the reference makes of the wrong value.
    """

    found: Mapping[str, Found] = field(default_factory=dict)
    culprits: tuple[Culprit, ...] = ()
    unjudged: tuple[str, ...] = ()
    """The rows that are wrong, by themselves or for others, of which too much work was left to say more."""

    @property
    def note(self) -> str | None:
        """What was not looked into, where the search was too much work."""
        if not self.unjudged:
            return None
        more = len(self.unjudged) - SHOWN
        rows = ", ".join(map(repr, self.unjudged[:SHOWN])) + (f" and {more} more" if more > 0 else "")
        return f"looking for causes was too much work, and was ended: not judged, or not to the end: {rows}"

    def blamed(self) -> Iterator[Blamed]:
        """The rows to blame, each with its reason."""
        for culprit in self.culprits:
            if not culprit.causes:
                yield Blamed(row=culprit.row, cause=None)
            yield from (Blamed(row=cause.row, cause=cause) for cause in culprit.causes)

    def certain(self) -> Located:
        """The same with no other culprits than those whose mistake is known; what was wrong otherwise is not shown."""
        culprits = tuple(each for each in self.culprits if each.known)
        kept = {each.found.node.name for each in culprits}
        found = {name: each for name, each in self.found.items() if each.right or name in kept}
        return Located(found, culprits, self.unjudged)


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
    """Whether the file's images have their channels first, where neither a value's shape nor its operator says."""

    def locate(self) -> Located:
        """Look for every node and the reason of the first that is wrong; then again behind it, and so on.

        What that may cost is bounded, in proportion to the network; `Located.unjudged` are the rows that are left then.
        """
        work, done = Work(self.most), set[str]()
        place = {node.name: index for index, node in enumerate(self.network.nodes)}
        found: dict[str, Found] = {}
        judged: dict[str, Culprit] = {}
        blamed: list[Culprit] = []
        values: dict[str, Array] = dict(self.inputs)
        nodes = self.network.nodes
        while len(blamed) < MOST:
            try:
                reference, granted = self._expected(nodes, values, work)
            except SpentError:
                break
            values |= reference
            found = {name: each for name, each in found.items() if name not in reference}
            found |= self._found(nodes, reference, granted)
            wrong = [each for name, each in found.items() if not each.right and name not in judged]
            if not wrong:
                break
            first = min(wrong, key=lambda each: place[each.node.name])
            told = {name: each.array for name, each in found.items() if each.right or name in judged}
            # Behind a value that nobody can explain only a known mistake is blamed: only what is likely is tried.
            thorough = all(each.known for each in blamed)
            try:
                culprit = judged[first.node.name] = self._judged(first, told, work, thorough=thorough)
            except SpentError:
                break
            if not work.spent:
                done.add(first.node.name)
            if culprit.alone and _adds(culprit, blamed):
                blamed.append(culprit)
            if first.compared.symptom != "value":
                break  # nothing can be computed from it
            values[first.node.name] = first.array
            nodes = self._behind(first.node)
        ordered = dict(sorted(found.items(), key=lambda each: place[each[0]]))
        left = [each.node for name, each in ordered.items() if work.spent and not each.right and name not in done]
        rows = rows_of(self.network)
        unjudged = tuple(dict.fromkeys(rows[node.name].name for node in left))
        return Located(ordered, tuple(blamed or list(judged.values())[:1]), unjudged)

    @property
    def most(self) -> float:
        """What looking for all of it may cost, in products."""
        nodes = self.network.nodes
        return WORK + TIMES * products(nodes, self._count) + 2 * MOST * self._cost(nodes)

    def _cost(self, nodes: tuple[Node, ...]) -> float:
        """What it costs to compute nodes, and what rounding may cost there."""
        return products(nodes, self._count) + self.draws * products(nodes, self._count, WORK_OF_A_VALUE)

    def _expected(
        self, nodes: tuple[Node, ...], values: Mapping[str, Array], work: Work
    ) -> tuple[dict[str, Values], dict[str, Values]]:
        """What the reference has for these nodes, and how large an error each sample is granted there."""
        if not nodes:
            return {}, {}
        work.spend(self._cost(nodes))
        part = part_of(self.network, nodes)
        given = {name: values[name] for name in part.inputs}
        with np.errstate(all="ignore"):
            reference = {node.name: value for node, value in interpret(part, self.weights, given)}
            predicted = predict(part, self.weights, given, reference, draws=self.draws, unit=self.unit)
            return reference, {name: self.granted(value, predicted[name]) for name, value in reference.items()}

    def _found(
        self, nodes: Sequence[Node], reference: Mapping[str, Values], granted: Mapping[str, Values]
    ) -> dict[str, Found]:
        """The values of the file that are these nodes'."""
        found = dict(self._alike(nodes, reference, granted))
        for node, name, array in self._anchors():
            if node.name in reference:
                found[node.name] = Found(node, name, array, compare(reference[node.name], array, granted[node.name]))
        return found

    def _judged(self, first: Found, told: Mapping[str, Array], work: Work, *, thorough: bool) -> Culprit:
        """A wrong node, computed from the values of the file that are told from each other, and why it is wrong.

        Without `thorough` only single mistakes are tried that need no number to be searched for.
        """
        nodes, given = self._part(first.node, told)
        expected, granted = (each[first.node.name] for each in self._expected(nodes, given, work))
        if compare(expected, first.array, granted).symptom is None:
            return Culprit(first, alone=False)
        asked = (self.network, nodes, self.weights, given, first.array, self.granted, first.compared.sample)
        cause = None
        try:
            judge = judge_of(*asked, work)
            if judge is None:
                return Culprit(first, alone=True)
            cause = single_cause(judge, self.network, thorough=thorough)
            if thorough and (cause is None or not cause.known):
                pair = pair_of_causes(judge, self.network)
                if pair is not None:
                    return Culprit(first, alone=True, causes=pair)
        except SpentError:
            pass  # what is known of it is said
        return Culprit(first, alone=True, causes=(cause,) if cause is not None else ())

    def _behind(self, start: Node) -> tuple[Node, ...]:
        """The nodes that are computed from one."""
        names = {start.name}
        for node in self.network.nodes:
            if names & set(node.inputs):
                names.add(node.name)
        return tuple(node for node in self.network.nodes if node.name in names and node is not start)

    def _alike(
        self, nodes: Sequence[Node], reference: Mapping[str, Values], granted: Mapping[str, Values]
    ) -> Iterator[tuple[str, Found]]:
        """The nodes whose value is among those of the file; of several the first that the file computes."""
        sizes: dict[int, list[tuple[str, Array, Values]]] = {}
        for name, array in self.traced.values.items():
            if array.ndim and len(array) == self._count and np.isfinite(array).all():
                flat = array.reshape(len(array), -1)
                sizes.setdefault(flat.shape[1], []).append((name, array, norms(flat)))
        for node in nodes:
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
            first = self.first if last.first is None else last.first
            yield end, last.value, self._turned(end, self.traced.values[last.value], first=first)
        for name, value in self.network.outputs.items():
            if value in nodes:
                yield nodes[value], self.ports[name], self.outputs[name]

    def _activation(self, node: Node) -> Node | None:
        """The activation that alone reads a node, in its row or right after it."""
        readers = self.network.consumers[node.name]
        found = [each for each in self.network.nodes if [each.name] == list(readers)]
        return found[0] if found and isinstance(found[0].layer, Activation) else None

    def _turned(self, node: Node, array: Array, *, first: bool) -> Array:
        """A value of the file with its channels last, as far as that can be told."""
        possible = self._layouts(node, array)
        if possible:
            layout: Layout = "first" if first and "first" in possible else possible[0]
            return canonical(array, layout, node.output)
        if first and array.ndim > 2:
            return np.moveaxis(array, 1, -1)
        return array

    def _part(self, end: Node, told: Mapping[str, Array]) -> tuple[tuple[Node, ...], dict[str, Array]]:
        """The nodes that lead to one, back to values of the file that are told, and those values."""
        nodes = {node.name: node for node in self.network.nodes}
        inside, given, waiting = {end.name}, {}, [*end.inputs]
        while waiting:
            name = waiting.pop()
            if name in inside or name in given:
                continue
            if name in told:
                given[name] = told[name]
            elif name in nodes:
                inside.add(name)
                waiting += nodes[name].inputs
            else:
                given[name] = self.inputs[name]
        return tuple(node for node in self.network.nodes if node.name in inside), given

    @property
    def _count(self) -> int:
        return len(next(iter(self.inputs.values())))


def _adds(culprit: Culprit, before: Sequence[Culprit]) -> bool:
    """Whether a culprit says more than those before it do.

    One mistake may show at several nodes behind it. Behind a value that no known mistake gives, which may be another
    than it was taken for, only a known mistake counts.
    """
    if any(culprit.known and each.mistakes == culprit.mistakes for each in before):
        return False
    return culprit.known or all(each.known for each in before)
