"""Try every hypothesis on a part of a network that gave other values than the reference, and say which one fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from netspec.errors import NetspecError
from netspec.network import Network, Node, Row
from netspec.reference import evaluate_parts
from netspec.reference.interpreter import node_weights
from netspec.reference.table import Array, Values
from netspec.verify.budget import norms, predict
from netspec.verify.causes.hypothesis import Alternative, Call
from netspec.verify.causes.signature import signature
from netspec.verify.causes.table import hypotheses
from netspec.verify.causes.work import Work, products
from netspec.verify.causes.written import formula, number, written_activation
from netspec.verify.gates import DRAWS, UNIT
from netspec.verify.result import Cause
from netspec.verify.samples import WORK_OF_A_VALUE

OUTPUT = "output"
WORK = 2e9
"""What the samples that are tried cost at most in products, unless two cost more."""
EQUALLY_GOOD = 1.5
"""Of explanations whose remaining errors are as near to each other as that, the likelier counts."""
NEARLY_NOTHING = 0.1
"""A share of what is granted below which one error is as good as another."""
SEARCHED = 80
"""Steps of the search for a number, each of which narrows the range by the golden ratio."""

Granted = Callable[[Values, Values], Values]
"""The largest L2 error of every sample, from the right values and the error that float32 is predicted to make."""


WEIGHTS_OF_ANOTHER = "weights of another row"


def part_of(network: Network, nodes: tuple[Node, ...]) -> Network:
    """These nodes of a network, which stand in its order, as a network that gives the value of the last one.

    What they read of others are its inputs, by the names that the values have.
    """
    own = {node.name for node in nodes}
    read = [name for node in nodes for name in node.inputs if name not in own]
    inputs = {name: network.types[name] for name in dict.fromkeys(read)}
    # Every node is a row, so that a prediction is made for the last one alone.
    rows = tuple(replace(node, row=node.name) for node in nodes)
    return replace(network, inputs=inputs, nodes=rows, outputs={OUTPUT: nodes[-1].name}, uses=())


@dataclass(frozen=True)
class Trial:
    """A part of a network with what it read: its right values, and what was measured instead."""

    part: Network
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    measured: Array
    granted: Granted
    rows: Mapping[str, str]
    """What the row of each of the whole network's nodes is called."""
    work: Work = field(default_factory=Work)

    def values(self) -> dict[str, Values]:
        """The right value of everything in it."""
        found: dict[str, Values] = {name: np.asarray(given, np.float64) for name, given in self.inputs.items()}
        for node in self.part.nodes:
            found[node.name] = self.call(node, found).value()
        return found

    def call(self, node: Node, values: Mapping[str, Values]) -> Call:
        """A node with what it reads."""
        return Call(node, tuple(values[name] for name in node.inputs), node_weights(node, self.weights))

    def relatives(self, node: Node) -> Iterator[tuple[str, dict[str, Values]]]:
        """The other nodes of the network that have weights of these names and shapes, and those."""
        own = {name: array.shape for name, array in node_weights(node, self.weights).items()}
        for other, theirs in self.weights_of.items():
            if own and other != node.name and {name: array.shape for name, array in theirs.items()} == own:
                yield other, {name: np.asarray(array, np.float64) for name, array in theirs.items()}

    @cached_property
    def weights_of(self) -> Mapping[str, Mapping[str, Array]]:
        """The weights of every node of the network, by their names without the node."""
        found: dict[str, dict[str, Array]] = {}
        for name, array in self.weights.items():
            node, _, short = name.rpartition(".")
            found.setdefault(node, {})[short] = array
        return found

    def after(self, node: Node, value: Values, values: Mapping[str, Values]) -> dict[str, Values]:
        """Everything in it where a node gives another value."""
        changed = {**values, node.name: value}
        touched = {node.name}
        self.work.spend(products([node], len(value)))
        start = self.part.nodes.index(node) + 1
        for later in self.part.nodes[start:]:
            if touched & set(later.inputs):
                self.work.spend(products([later], len(value)))
                call = self.call(later, changed)
                changed[later.name] = evaluate_parts(later, call.inputs, call.weights)
                touched.add(later.name)
        return changed


def explain(
    network: Network,
    nodes: tuple[Node, ...],
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    measured: Array,
    granted: Granted,
    worst: int,
) -> Cause | None:
    """What may have been done instead by one of these nodes of a network, so that the last one gave `measured`.

    `inputs` are what they read, by the names of the values, channels last; `worst` is the sample that fares worst.
    The hypotheses are tried on every node in turn. Without one that fits within what rounding may cost, the cause is
    what can be seen in the numbers, and None where nothing can.
    """
    judge = judge_of(network, nodes, weights, inputs, measured, granted, worst)
    reason = None if judge is None else single_reason(judge, network)
    return None if reason is None else reason.cause


def single_reason(judge: Judge, network: Network, *, thorough: bool = True) -> Reason | None:
    """What `explain` says, and what the node to blame gives by it.

    Numbers are not searched for, and nothing is looked for in them, without `thorough`. What is tried is taken off the
    judge's work: raises SpentError where that does not suffice.
    """
    last = judge.trial.part.nodes[-1]
    with np.errstate(all="ignore"):
        found = list(explanations(judge, judge.values, judge.trial.part.nodes, fitted=thorough))
        if found:
            return judge.reason(best(found), network)
        if not thorough:
            return None
        seen = signature(judge.right, judge.trial.measured, judge.fits, judge.predicted, last.output)
    if seen is None:
        return None
    cause = Cause(
        row=rows_of(network)[last.name].name,
        name=seen.name,
        says=seen.says,
        spec=f"y = {formula(last.layer)}",
        found=seen.formula,
        known=False,
        ratio=None,
        fields={},
    )
    return Reason(cause, last.name)


def rows_of(network: Network) -> dict[str, Row]:
    """The row of every node."""
    return {node.name: row for row in network.rows for node in row.nodes}


def best(found: Sequence[Explanation]) -> Explanation:
    """The likeliest of those that fit equally well."""
    least = min(each.ratio for each in found)
    near = max(least * EQUALLY_GOOD, NEARLY_NOTHING)
    return min((each for each in found if each.ratio <= near), key=lambda each: each.place)


def judge_of(
    network: Network,
    nodes: tuple[Node, ...],
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    measured: Array,
    granted: Granted,
    worst: int,
    work: Work | None = None,
    unit: float = UNIT,
) -> Judge | None:
    """Who says whether other values are those that were measured; None where these are right, or no batch at all.

    The arguments are those of `explain`; raises SpentError where the `work` does not suffice.
    """
    if not measured.ndim or len(measured) != len(next(iter(inputs.values()))):
        return None
    part = part_of(network, nodes)
    chosen = _samples(part, len(measured), worst)
    whole = len(chosen) == len(measured)
    given = {name: array[chosen] for name, array in inputs.items()}
    rows = {name: row.name for name, row in rows_of(network).items()}
    trial = Trial(part, weights, given, measured[chosen], granted, rows, work or Work())
    trial.work.spend(products(part.nodes, len(chosen)))
    trial.work.spend(DRAWS * products(part.nodes, len(chosen), WORK_OF_A_VALUE))
    with np.errstate(all="ignore"):
        values = trial.values()
        right = {nodes[-1].name: values[nodes[-1].name]}
        judge = Judge(trial, values, predict(part, weights, trial.inputs, right, unit=unit)[nodes[-1].name], whole)
        return None if judge.fits(judge.right) else judge


def _samples(part: Network, count: int, worst: int) -> list[int]:
    """The samples that are tried: all, or of what costs much the worst and a few others."""
    most = max(2, int(WORK // max(part.macs + sum(node.output.size for node in part.nodes), 1)))
    others = [index for index in range(count) if index != worst]
    return sorted([worst, *others[: most - 1]])


@dataclass(frozen=True)
class Judge:
    """Whether values are those that were measured."""

    trial: Trial
    values: Mapping[str, Values]
    """The right ones of everything in the part."""
    predicted: Values
    """What rounding is predicted to cost at the last one."""
    whole: bool
    """Whether all samples are tried."""

    def reason(self, explanation: Explanation, network: Network) -> Reason:
        """An explanation as it is said, with what it makes of its node, where that is not the last one."""
        asked = self.whole and explanation.node is not self.trial.part.nodes[-1]
        value = explanation.alternative.value(*explanation.number) if asked else None
        return Reason(explanation.cause(rows_of(network)), explanation.node.name, value)

    @property
    def right(self) -> Values:
        """What should have been measured."""
        return self.values[self.trial.part.nodes[-1].name]

    def ratio(self, values: Array) -> float:
        """The largest error over what is granted; infinite for another shape, or where numbers are missing."""
        measured = self.trial.measured
        if values.shape != measured.shape:
            return float("inf")
        # Where both overflow they are alike.
        lost = ~np.isfinite(measured)
        if lost.any() and not np.array_equal(lost, ~np.isfinite(values)):
            return float("inf")
        theirs, ours = np.where(lost, 0.0, measured), np.where(lost, 0.0, values)
        sizes = norms(self.right) if np.isfinite(self.right).all() else np.ones(len(self.right))
        # What is larger than it should be rounds as much more.
        grown = np.maximum(norms(ours) / np.where(sizes > 0, sizes, 1.0), 1.0)
        granted = self.trial.granted(ours, self.predicted * grown)
        errors = norms(theirs - ours)
        ratios = np.where(errors == 0, 0.0, errors / granted)
        return float(ratios.max()) if np.isfinite(ratios).all() else float("inf")

    def fits(self, values: Array) -> bool:
        """Whether they are alike within rounding."""
        return self.ratio(values) <= 1


@dataclass(frozen=True)
class Reason:
    """Why a part of a network gave other values, as it is said, and the node to blame."""

    cause: Cause
    node: str
    value: Values | None = None
    """What the node gives then, for every sample; None where that was measured, or is not known."""


@dataclass(frozen=True)
class Explanation:
    """An alternative at a node with which the part gives what was measured."""

    place: int
    """Where it stands in the tables."""
    ratio: float
    node: Node
    name: str
    alternative: Alternative
    number: tuple[float, ...]

    def cause(self, rows: Mapping[str, Row]) -> Cause:
        """The explanation in words."""
        says, row = self.alternative.says, rows[self.node.name]
        other: dict[str, Any] = dict(self.alternative.fields(*self.number))
        fields = {name: number(value) for name, value in other.items()}
        if other and self.node.name != row.nodes[0].name:  # a row says its activation in one cell
            fields = {"activation": written_activation(self.node.layer.replace(**other))}
        return Cause(
            row=row.name,
            name=self.name,
            says=says.format(*(f"{value:.6g}" for value in self.number)) + self.alternative.remark(*self.number)
            if self.number
            else says,
            spec=formula(self.node.layer),
            found=self.alternative.formula(*self.number),
            known=True,
            ratio=self.ratio,
            fields=fields,
        )


def explanations(
    judge: Judge, values: Mapping[str, Values], nodes: Sequence[Node], *, fitted: bool = True
) -> Iterator[Explanation]:
    """Every alternative at one of these nodes that gives what was measured, where the others have these values.

    Numbers, and weights that other rows have, are only searched for with `fitted`, where nothing else explains it.
    """
    known, place = False, 0
    for place, node, hypothesis, alternative in alternatives(judge.trial, values, nodes):
        if alternative.fitted and (known or not fitted):
            continue  # a number that nobody takes by default, where such a one explains it

        def measured(*given: float, alternative: Alternative = alternative, node: Node = node) -> float:
            found = changed(judge.trial, values, node, alternative, given)
            return float("inf") if found is None else judge.ratio(found[judge.trial.part.nodes[-1].name])

        numbers = (_searched(measured, *alternative.fitted),) if alternative.fitted else ()
        ratio = measured(*numbers)
        if ratio <= 1:
            known = True
            yield Explanation(place, ratio, node, hypothesis, alternative, numbers)
    if fitted and not known:
        yield from _of_other_rows(judge, values, nodes, place + 1)


def _of_other_rows(
    judge: Judge, values: Mapping[str, Values], nodes: Sequence[Node], place: int
) -> Iterator[Explanation]:
    """Nodes that give what was measured with the weights of another node, where those have the same shapes."""
    for node in reversed(nodes):
        for other, theirs in judge.trial.relatives(node):
            made = judge.trial.call(node, values).weighted(**theirs)
            says, written = of_other_row(node, judge.trial.rows[other])
            taken = Alternative(says, lambda written=written: written, made.value)
            found = changed(judge.trial, values, node, taken)
            ratio = float("inf") if found is None else judge.ratio(found[judge.trial.part.nodes[-1].name])
            if ratio <= 1:
                yield Explanation(place, ratio, node, WEIGHTS_OF_ANOTHER, taken, ())


def of_other_row(node: Node, row: str) -> tuple[str, str]:
    """That a node computes with the weights of another row: in words, and as a formula."""
    return f"it has the weights of row {row!r}", f"{formula(node.layer)}, with the weights of {row}"


def alternatives(
    trial: Trial, values: Mapping[str, Values], nodes: Sequence[Node]
) -> Iterator[tuple[int, Node, str, Alternative]]:
    """Everything that may have been done at these nodes, the likeliest first: its place, node, name and itself."""
    place = 0
    for node in reversed(nodes):  # the last one is the likeliest
        call = trial.call(node, values)
        for hypothesis in hypotheses(node.layer):
            for alternative in _made(hypothesis.alternatives, call):
                place += 1
                yield place, node, hypothesis.name, alternative


def _made(made: Callable[[Call], Any], call: Call) -> list[Alternative]:
    try:
        return list(made(call))
    except (ValueError, LookupError, TypeError, ArithmeticError, NetspecError):
        return []  # it makes no sense for this node


def changed(
    trial: Trial, values: Mapping[str, Values], node: Node, alternative: Alternative, given: tuple[float, ...] = ()
) -> dict[str, Values] | None:
    """Everything in the part with an alternative at a node; None where it makes no sense for these shapes."""
    try:
        return trial.after(node, alternative.value(*given), values)
    except (ValueError, LookupError, TypeError, ArithmeticError, NetspecError):
        return None


def _searched(error: Callable[[float], float], least: float, most: float) -> float:
    """The number between these for which an error is smallest, which has one valley: by golden sections of logs."""
    low, high = np.log(least), np.log(most)
    share = (5**0.5 - 1) / 2
    first, second = high - share * (high - low), low + share * (high - low)
    left, right = error(float(np.exp(first))), error(float(np.exp(second)))
    if left == right == float("inf"):
        return least  # it makes no sense for these shapes
    for _ in range(SEARCHED):
        if left <= right:
            high, second, right = second, first, left
            first = high - share * (high - low)
            left = error(float(np.exp(first)))
        else:
            low, first, left = first, second, right
            second = low + share * (high - low)
            right = error(float(np.exp(second)))
    return float(np.exp((low + high) / 2))
