"""A wrong value of a file, judged alone: by what the reference makes of that which the file has before it, and why.

The part that is to blame ends with it, and begins after values of the file that are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from netspec.network import Network, Node
from netspec.reference import interpret
from netspec.reference.table import Array
from netspec.verify.against.prepared import prepared
from netspec.verify.against.shown import Found, Shown
from netspec.verify.budget import predict
from netspec.verify.causes import Reason, SpentError, Work, judge_of, pair_of_reasons, products, single_reason
from netspec.verify.causes.explain import WEIGHTS_OF_ANOTHER, Granted, of_other_row, part_of, rows_of
from netspec.verify.causes.written import formula
from netspec.verify.compare import Comparison, compare
from netspec.verify.result import Cause
from netspec.verify.samples import WORK_OF_A_VALUE


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


@dataclass(frozen=True)
class Question:
    """A network with its weights and inputs, what a file computed for them, and what rounding may cost."""

    network: Network
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    shown: Shown
    granted: Granted
    draws: int
    unit: float


@dataclass(frozen=True)
class Judging(Question):
    """How the values of a file are judged."""

    work: Work
    """What it may cost."""
    told: dict[str, Array]
    """The values of the file that are known to be those of nodes; a part begins after these."""

    def culprit(self, first: Found, *, thorough: bool) -> Culprit | None:
        """A wrong node, or one before it that is wrong instead, and why.

        Without `thorough` only single mistakes are tried that need no number to be searched for. None where the work
        does not suffice to say anything.
        """
        alone: bool | None = None
        reason: Reason | None = None
        try:
            first = self._narrowed(first)
            nodes, given = self._part(first.node)
            self._spend(nodes)
            alone = self.again(nodes, given, first).symptom is not None
            if not alone:
                return Culprit(first, alone)
            reason = self._of_inputs(nodes, given, first)
            if reason is not None:
                return Culprit(first, alone, (reason,))
            asked = (self.network, nodes, self.weights, given, first.array, self.granted, first.compared.sample)
            judge = judge_of(*asked, self.work, self.unit)
            if judge is None:
                return Culprit(first, alone)
            reason = single_reason(judge, self.network, thorough=thorough)
            if thorough and (reason is None or not reason.cause.known):
                if (other := self._of_weights(nodes, given, first)) is not None:
                    return Culprit(first, alone, (other,))
                pair = pair_of_reasons(judge, self.network)
                if pair is not None:
                    return Culprit(first, alone, pair)
        except SpentError:
            pass  # what is known of it is said
        return Culprit(first, alone, (reason,) if reason is not None else ()) if alone else None

    def _narrowed(self, end: Found) -> Found:
        """A wrong node, or the one before it, where the file has a value there for which the first one is right.

        Nodes without weights are no proof: a ReLU gives its own result again.
        """
        name, nodes = end.node.inputs[0], {node.name: node for node in self.network.nodes}
        if len(end.node.inputs) > 1 or not end.node.weights or name in self.told or name not in nodes:
            return end
        for value, array in self.shown.readings(nodes[name].output):
            if value == end.value:
                continue
            self._spend((end.node,))
            if self.again((end.node,), {name: array}, end).symptom is None:
                part = self._part(nodes[name])
                self._spend(part[0])
                found = Found(nodes[name], value, array, end.compared)
                compared = self.again(*part, found)
                return end if compared.symptom is None else replace(found, compared=compared)
        return end

    def _of_inputs(self, nodes: tuple[Node, ...], given: Mapping[str, Array], end: Found) -> Reason | None:
        """That the file has prepared one of the network's inputs before these nodes read it, where that makes the last
        of them right.
        """
        rows = rows_of(self.network)
        for name in (each for each, array in given.items() if array is self.inputs.get(each)):
            reader = next(node for node in self.network.nodes if name in node.inputs)
            for each in prepared(self.inputs[name], self.shown.readings(self.network.types[name]), self.unit):
                self._spend(nodes)
                compared = self.again(nodes, {**given, name: each.array}, end)
                if compared.symptom is None:
                    cause = Cause(
                        row=rows[reader.name].name,
                        name="input prepared",
                        says=f"the file itself prepares the input first, in its value {each.value}; the spec does not",
                        spec=f"reads x, the input {name}",
                        found=f"reads {each.formula}",
                        known=True,
                        ratio=compared.ratio,
                        fields={},
                    )
                    return Reason(cause, name, each.array)
        return None

    def _of_weights(self, nodes: tuple[Node, ...], given: Mapping[str, Array], end: Found) -> Reason | None:
        """That a wrong node and another have each other's weights, where the value that the other's go into shows it.

        Weights that have another place in the file alone are found as any other mistake of its values.
        """
        own, rows = end.node, rows_of(self.network)
        shapes = [weight.shape for weight in own.weights]
        for other in self.network.nodes:
            # What reads the same gives the other's value with the other's weights, wherever these are.
            if other.name not in self.shown.anchors or type(other.layer) is not type(own.layer):
                continue
            if not shapes or [weight.shape for weight in other.weights] != shapes or other.inputs == own.inputs:
                continue
            array = self.shown.anchors[other.name][1]
            names = zip(own.weights, other.weights, strict=True)
            weights = {**self.weights, **{mine.name: self.weights[theirs.name] for mine, theirs in names}}
            self._spend(nodes)
            compared = self.again(nodes, given, replace(end, array=array), weights)
            if compared.symptom is None:
                says, found = of_other_row(own, rows[other.name].name)
                cause = Cause(
                    row=rows[own.name].name,
                    name=WEIGHTS_OF_ANOTHER,
                    says=says,
                    spec=formula(own.layer),
                    found=found,
                    known=True,
                    ratio=compared.ratio,
                    fields={},
                )
                return Reason(cause, own.name, array)
        return None

    def again(
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

    def _part(self, end: Node) -> tuple[tuple[Node, ...], dict[str, Array]]:
        """The nodes that lead to one, back to values of the file that are told, and those values."""
        nodes = {node.name: node for node in self.network.nodes}
        inside, given, waiting = {end.name}, {}, [*end.inputs]
        while waiting:
            name = waiting.pop()
            if name in inside or name in given:
                continue
            if name in self.told:
                given[name] = self.told[name]
            elif name in nodes:
                inside.add(name)
                waiting += nodes[name].inputs
            else:
                given[name] = self.inputs[name]
        return tuple(node for node in self.network.nodes if node.name in inside), given

    def _spend(self, nodes: tuple[Node, ...]) -> None:
        """Take what it costs to compute nodes, and what rounding may cost there, off the work; raises SpentError."""
        count = self.shown.count
        self.work.spend(products(nodes, count) + self.draws * products(nodes, count, WORK_OF_A_VALUE))
