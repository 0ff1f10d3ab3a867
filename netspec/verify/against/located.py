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
from netspec.verify.against.prepared import prepared
from netspec.verify.budget import Rounding, norms, predict
from netspec.verify.causes import Reason, SpentError, Work, judge_of, pair_of_reasons, products, single_reason
from netspec.verify.causes.explain import part_of, rows_of
from netspec.verify.causes.written import formula
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
    reasons: tuple[Reason, ...] = ()

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The reasons in words."""
        return tuple(each.cause for each in self.reasons)

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
            culprit = None
            if len(blamed) < MOST and not work.spent:
                # Behind a value that nobody can explain only a known mistake is blamed: only what is likely is tried.
                thorough = all(before.known for before in blamed)
                culprit = self._judged(each, told, work, thorough=thorough)
            if culprit is None or work.spent:
                unjudged.append(node)
            if culprit is not None:
                judged.append(culprit)
                if culprit.alone and _adds(culprit, blamed):
                    blamed.append(culprit)
            if each.compared.symptom != "value":
                break  # nothing can be computed from it
            taken[node.name] = each.array
            if culprit is not None:
                before = culprit.found
                if before.node is not node:
                    found |= {before.node.name: before, node.name: self._behind(each, before)}
                wrong = {before.node.name: before.array, **dict(self._wrong(culprit))}
                taken |= wrong
                told |= wrong
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

        What is in `taken` by the time that a node reads it takes the place of that value.
        """
        disturbances = [None, *(Rounding(draw, self.unit) for draw in range(self.draws))]
        runs = [interpret(self.network, self.weights, self.inputs, each, taken) for each in disturbances]
        for (node, reference), *noisy in zip(*runs, strict=True):
            with np.errstate(all="ignore"):
                squares = sum(norms(value - reference) ** 2 for _, value in noisy)
                granted = self.granted(reference, np.sqrt(squares / self.draws))
            yield node, reference, granted

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
        alone: bool | None = None
        reason: Reason | None = None
        try:
            first = self._narrowed(first, told, work)
            nodes, given = self._part(first.node, told)
            work.spend(self._cost(nodes))
            alone = self._again(nodes, given, first).symptom is not None
            if not alone:
                return Culprit(first, alone)
            reason = self._of_inputs(nodes, given, first, work)
            if reason is None and thorough:
                reason = self._of_weights(nodes, given, first, work)
            if reason is not None:
                return Culprit(first, alone, (reason,))
            asked = (self.network, nodes, self.weights, given, first.array, self.granted, first.compared.sample)
            judge = judge_of(*asked, work)
            if judge is None:
                return Culprit(first, alone)
            reason = single_reason(judge, self.network, thorough=thorough)
            if thorough and (reason is None or not reason.cause.known):
                pair = pair_of_reasons(judge, self.network)
                if pair is not None:
                    return Culprit(first, alone, pair)
        except SpentError:
            pass  # what is known of it is said
        return Culprit(first, alone, (reason,) if reason is not None else ()) if alone else None

    def _narrowed(self, end: Found, told: Mapping[str, Array], work: Work) -> Found:
        """A wrong node, or the one before it, where the file has a value there for which the first one is right.

        Nodes without weights are no proof: a ReLU gives its own result again.
        """
        name, nodes = end.node.inputs[0], {node.name: node for node in self.network.nodes}
        if len(end.node.inputs) > 1 or not end.node.weights or name in told or name not in nodes:
            return end
        for value, array, _ in self._sizes.get(nodes[name].output.size, ()):
            for layout in self._layouts(nodes[name], array) if value != end.value else ():
                read = canonical(array, layout, nodes[name].output)
                work.spend(self._cost((end.node,)))
                if self._again((end.node,), {name: read}, end).symptom is None:
                    found = Found(nodes[name], value, read, end.compared)
                    part = self._part(found.node, told)
                    work.spend(self._cost(part[0]))
                    compared = self._again(*part, found)
                    return end if compared.symptom is None else replace(found, compared=compared)
        return end

    def _of_inputs(self, nodes: tuple[Node, ...], given: Mapping[str, Array], end: Found, work: Work) -> Reason | None:
        """That the file has prepared one of the network's inputs before these nodes read it, where that makes the last
        of them right.
        """
        rows = rows_of(self.network)
        for name in (each for each, array in given.items() if array is self.inputs.get(each)):
            reader = next(node for node in self.network.nodes if name in node.inputs)
            values = {value: array for value, array, _ in self._sizes.get(self.network.types[name].size, ())}
            for each in prepared(self.network.types[name], self.inputs[name], values, self.unit):
                work.spend(self._cost(nodes))
                compared = self._again(nodes, {**given, name: each.array}, end)
                if compared.symptom is None:
                    cause = Cause(
                        row=rows[reader.name].name,
                        name="input prepared",
                        says=f"the file itself prepares the input first, in its {each.value}; the spec does not",
                        spec=f"reads x, the input {name}",
                        found=f"reads {each.formula}",
                        known=True,
                        ratio=compared.ratio,
                        fields={},
                    )
                    return Reason(cause, name, each.array)
        return None

    def _of_weights(self, nodes: tuple[Node, ...], given: Mapping[str, Array], end: Found, work: Work) -> Reason | None:
        """That the last of these nodes with weights has those of another row, where that makes the last of them right.

        The file's value is then the one that the other's weights go into, or else the one that is named after it.
        """
        own = next((node for node in reversed(nodes) if node.weights), None)
        if own is None:
            return None
        rows = rows_of(self.network)
        shapes = [weight.shape for weight in own.weights]
        for other in self.network.nodes:
            if other is own or type(other.layer) is not type(own.layer):
                continue
            if [weight.shape for weight in other.weights] != shapes:
                continue
            names = zip(own.weights, other.weights, strict=True)
            weights = {**self.weights, **{mine.name: self.weights[theirs.name] for mine, theirs in names}}
            work.spend(self._cost(nodes))
            arrays = [end.array]
            # What reads the same gives the other's value with the other's weights, wherever these are.
            if own is end.node and other.name in self._anchors and other.inputs != own.inputs:
                arrays.append(self._anchors[other.name][1])
            for array in arrays:
                compared = self._again(nodes, given, replace(end, array=array), weights)
                if compared.symptom is None:
                    cause = Cause(
                        row=rows[own.name].name,
                        name="weights of another row",
                        says=f"it has the weights of row {rows[other.name].name!r}",
                        spec=formula(own.layer),
                        found=f"{formula(own.layer)}, with the weights of {rows[other.name].name}",
                        known=True,
                        ratio=compared.ratio,
                        fields={},
                    )
                    return Reason(cause, own.name, array if own is end.node else None)
        return None

    def _behind(self, end: Found, before: Found) -> Found:
        """A node that is right for what the file has before it."""
        return replace(end, compared=self._again((end.node,), {before.node.name: before.array}, end))

    def _wrong(self, culprit: Culprit) -> Iterator[tuple[str, Array]]:
        """What the file has where the mistakes of a culprit are: nodes before it may be read by others too."""
        nodes = {node.name: node for node in self.network.nodes}
        for reason in culprit.reasons:
            if reason.value is not None:
                value = np.asarray(reason.value, np.float64)
                granted = self.granted(value, np.zeros(len(value)))
                shown = self._alike(nodes[reason.node], value, granted) if reason.node in nodes else None
                yield reason.node, reason.value if shown is None else shown.array

    def _cost(self, nodes: tuple[Node, ...]) -> float:
        """What it costs to compute nodes, and what rounding may cost there."""
        return products(nodes, self._count) + self.draws * products(nodes, self._count, WORK_OF_A_VALUE)

    def _again(
        self,
        nodes: tuple[Node, ...],
        given: Mapping[str, Array],
        end: Found,
        weights: Mapping[str, Array] | None = None,
    ) -> Comparison:
        """What the file has for the last of these nodes, held against what they make of other values of the file.

        With other weights, where they are given.
        """
        part, own = part_of(self.network, nodes), self.weights if weights is None else weights
        with np.errstate(all="ignore"):
            *_, (_, value) = interpret(part, own, given)
            predicted = predict(part, own, given, {end.node.name: value}, draws=self.draws, unit=self.unit)
            granted = self.granted(value, predicted[end.node.name])
        return compare(value, end.array, granted)

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
