"""Where a file that others made begins to differ: its own values, found again among those of the network's rows.

A value is a node's because its weights go into it (`Made`), or because it is the same, within rounding, in some layout.
The first node of the former kind whose value is wrong ends the part that is to blame, which begins after values of
the latter kind: the part is computed by the reference from what the file itself computed there. The reference then goes
on from the wrong value: what is wrong behind it is wrong by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from netspec.backend.foreign import Traced
from netspec.backend.stored import StoredTensor
from netspec.layers import Activation
from netspec.network import Network, Node
from netspec.reference import interpret
from netspec.reference.table import Array, Values
from netspec.verify.against.ports import Layout, canonical, layouts
from netspec.verify.budget import Rounding, norms, predict
from netspec.verify.causes import SpentError, Work, judge_of, pair_of_causes, products, single_cause
from netspec.verify.causes.explain import part_of, rows_of
from netspec.verify.compare import Comparison, compare
from netspec.verify.result import Blamed, Cause
from netspec.verify.samples import WORK_OF_A_VALUE

MOST = 5
"""More rows than these are not blamed."""
WORK = 4e10
"""What looking for reasons may cost in products: twice what pairs of mistakes may at one row, ..."""
TIMES = 300
"""... and what evaluating the network so often does: every single mistake at every row, numbers included."""
ENDED = "looking for causes was too much work, and was ended"
ENOUGH = "so many rows to blame are enough"
"""Why rows are left."""
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
    """The rows that are wrong too, by themselves or for others, and were not judged, or not to the end."""
    why: str = ""
    """Why that is so."""

    @property
    def note(self) -> str | None:
        """What was not looked into, and why."""
        if not self.unjudged:
            return None
        more = len(self.unjudged) - SHOWN
        rows = ", ".join(map(repr, self.unjudged[:SHOWN])) + (f" and {more} more" if more > 0 else "")
        return f"{self.why}: not judged, or not to the end: {rows}"

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
        return replace(self, found=found, culprits=culprits)


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
        """Every node that the file shows, and the reasons of those that are wrong for what it computed before them.

        The reference goes through the network once, and on from what the file has where that is wrong. What looking
        for reasons may cost is bounded, in proportion to the network; `Located.unjudged` are the rows that are left.
        """
        work, taken, told = Work(self.most), dict[str, Array](), dict[str, Array]()
        found: dict[str, Found] = {}
        judged: list[Culprit] = []
        blamed: list[Culprit] = []
        unjudged: list[Node] = []
        for node, reference, granted in self._walk(taken):
            each = self._found(node, reference, granted)
            if each is None:
                continue
            found[node.name], told[node.name] = each, each.array
            if each.right:
                continue
            if len(blamed) == MOST or work.spent:
                unjudged.append(node)
            else:
                # Behind a value that nobody can explain only a known mistake is blamed: only what is likely is tried.
                thorough = all(culprit.known for culprit in blamed)
                culprit = self._judged(each, told, work, thorough=thorough)
                judged += [culprit] if culprit is not None else []
                if work.spent:
                    unjudged.append(node)
                if culprit is not None and culprit.alone and _adds(culprit, blamed):
                    blamed.append(culprit)
            if each.compared.symptom != "value":
                break  # nothing can be computed from it
            taken[node.name] = each.array
        rows = rows_of(self.network)
        return Located(
            found,
            tuple(blamed or judged[:1]),
            tuple(dict.fromkeys(rows[node.name].name for node in unjudged)),
            ENDED if work.spent else ENOUGH,
        )

    @property
    def most(self) -> float:
        """What looking for reasons may cost, in products."""
        return WORK + TIMES * products(self.network.nodes, self._count)

    def _walk(self, taken: Mapping[str, Array]) -> Iterator[tuple[Node, Values, Values]]:
        """Every node with what the reference has there, and how large an error each sample is granted.

        The nodes behind one that is in `taken` by then are computed from that.
        """
        roundings = [Rounding(draw, self.unit) for draw in range(self.draws)]
        runs = [interpret(self.network, self.weights, self.inputs, each) for each in (None, *roundings)]
        sent: list[Values | None] = [None] * len(runs)
        for node in self.network.nodes:
            reference, *noisy = (run.send(value)[1] for run, value in zip(runs, sent, strict=True))
            with np.errstate(all="ignore"):
                squares = sum(norms(each - reference) ** 2 for each in noisy)
                granted = self.granted(reference, np.sqrt(squares / self.draws))
            yield node, reference, granted
            sent = [None] * len(runs)
            if node.name in taken:
                value = np.asarray(taken[node.name], np.float64)
                sent = [value, *(each.input(value) for each in roundings)]

    def _found(self, node: Node, reference: Values, granted: Values) -> Found | None:
        """The value of the file that is a node's: the one that its weights go into, else one with the same numbers."""
        if node.name not in self._anchors:
            return self._alike(node, reference, granted)
        name, array = self._anchors[node.name]
        return Found(node, name, array, compare(reference, array, granted))

    def _judged(self, first: Found, told: Mapping[str, Array], work: Work, *, thorough: bool) -> Culprit | None:
        """A wrong node, computed from the values of the file that are told from each other, and why it is wrong.

        Without `thorough` only single mistakes are tried that need no number to be searched for. None where the work
        does not suffice to say anything.
        """
        nodes, given = self._part(first.node, told)
        alone, cause = None, None
        try:
            work.spend(products(nodes, self._count) + self.draws * products(nodes, self._count, WORK_OF_A_VALUE))
            alone = not self._agrees(nodes, given, first)
            if not alone:
                return Culprit(first, alone)
            asked = (self.network, nodes, self.weights, given, first.array, self.granted, first.compared.sample)
            judge = judge_of(*asked, work)
            if judge is None:
                return Culprit(first, alone)
            cause = single_cause(judge, self.network, thorough=thorough)
            if thorough and (cause is None or not cause.known):
                pair = pair_of_causes(judge, self.network)
                if pair is not None:
                    return Culprit(first, alone, pair)
        except SpentError:
            pass  # what is known of it is said
        return Culprit(first, alone, (cause,) if cause is not None else ()) if alone else None

    def _agrees(self, nodes: tuple[Node, ...], given: Mapping[str, Array], end: Found) -> bool:
        """Whether the last of these nodes, computed from these values of the file, is what it has there."""
        part = part_of(self.network, nodes)
        with np.errstate(all="ignore"):
            *_, (_, value) = interpret(part, self.weights, given)
            reference = {end.node.name: value}
            predicted = predict(part, self.weights, given, reference, draws=self.draws, unit=self.unit)
            granted = self.granted(value, predicted[end.node.name])
        return compare(value, end.array, granted).symptom is None

    def _alike(self, node: Node, reference: Values, granted: Values) -> Found | None:
        """The first value of the file with the numbers of a node's."""
        if not np.isfinite(reference).all():
            return None
        length = norms(reference)
        for name, array, size in self._sizes.get(node.output.size, ()):
            if np.any(np.abs(size - length) > granted):
                continue  # its values cannot be the same in any order
            best = self._closest(node, array, reference, granted)
            if best is not None and best[1].symptom is None:
                return Found(node, name, *best)
        return None

    @cached_property
    def _sizes(self) -> Mapping[int, Sequence[tuple[str, Array, Values]]]:
        """The values of the file, each with the norm of every sample, by how many numbers a sample has."""
        found: dict[int, list[tuple[str, Array, Values]]] = {}
        for name, array in self.traced.values.items():
            if array.ndim and len(array) == self._count and np.isfinite(array).all():
                flat = array.reshape(len(array), -1)
                found.setdefault(flat.shape[1], []).append((name, array, norms(flat)))
        return found

    def _closest(self, node: Node, array: Array, value: Values, granted: Values) -> tuple[Array, Comparison] | None:
        """A value of the file in the layout in which it is nearest to a node's."""
        tried = [canonical(array, layout, node.output) for layout in self._layouts(node, array)]
        found = [(each, compare(value, each, granted)) for each in tried]
        return min(found, key=lambda each: each[1].ratio, default=None)

    def _layouts(self, node: Node, array: Array) -> Sequence[Layout]:
        return layouts(node.output, (None, *array.shape[1:]))

    @cached_property
    def _anchors(self) -> Mapping[str, tuple[str, Array]]:
        """The values of the file, with their names there, that the weights of nodes go into, or that are outputs."""
        return {node.name: (name, array) for node, name, array in self._anchored()}

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
