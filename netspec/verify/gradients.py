"""Gradients: what every backend that trains derives, against the other's and against differences of the reference.

Derived is sum(outputs * cotangents), with cotangents of N(0, 1): one number whatever the outputs are. It is derived in
float64, with biting weights and ordinary inputs, as the network is evaluated, and where it has a BatchNorm that is
trained with the batch's statistics as well. Where two backends differ, the reference's slope along the direction of
their difference shows which of them is wrong, and its slopes along the results of rows show where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.errors import BackendError
from netspec.layers import BatchNorm
from netspec.memory import fits_together
from netspec.network import Network
from netspec.training.stepping import Gradients
from netspec.verify.gates import BUDGET_FACTOR, FLOAT64_UNIT, GRADIENT_GATE, SLOPE_GATE, VANISHING
from netspec.verify.masks import with_masks
from netspec.verify.result import Failure, GradientsVerdict, GradientVerdict, Share
from netspec.verify.rounding import NONE, UNBOUNDED, Roundings, least, roundings
from netspec.verify.samples import work_of_a_sample
from netspec.verify.slopes import Problem, Slope, Surface
from netspec.verify.tally import size_of
from netspec.weights import stream

if TYPE_CHECKING:
    from netspec.reference.table import Array, Values
    from netspec.verify.gather import Answers, Caller

SAMPLES = ((4e7, 4), (3e8, 2))
"""How many samples are derived of a network whose sample takes no more than so many products; of others one."""
LEAST = 2
"""Samples without which a batch has no statistics."""
SLOPE_WORK = 3e8
"""What the reference's slopes may cost, in products, where more than one direction is taken."""
SLOPE_LIMIT = 2e9
"""The most that a sample may take, in products, of a network whose slopes are taken."""
UNCLEAR = 1e-3
"""A slope that is doubtful by more than this share of the gradient shows nothing."""
SMALL = 1e-2
"""Whose part in the derived number is this much smaller than the largest is compared with that share of the largest."""
NOTHING = 1e-9
"""A part this much smaller is rounding of zero; errors are stated relative to the largest."""

READINGS = 6
"""Directions by which the readers of a value are told apart."""


@dataclass(frozen=True)
class Plan:
    """What backends are asked, along how many directions the reference's slope is taken, what was left out and why."""

    problems: tuple[Problem, ...]
    directions: int
    seed: int
    notes: tuple[str, ...] = ()


def plan(network: Network, seed: int) -> Plan:
    """What is asked of a network, by what it costs."""
    if not fits_together(network):
        return Plan((), 0, seed, ("gradients were not compared: the weights take too much memory",))
    work = work_of_a_sample(network)
    count = next((count for limit, count in SAMPLES if work <= limit), 1)
    problems, notes = [_evaluated(network, count, seed)], []
    if any(isinstance(node.layer, BatchNorm) and not node.frozen for node in network.nodes):
        if count >= LEAST:
            problems.append(_trained(network, count, seed))
        else:
            most = max(limit for limit, count in SAMPLES if count >= LEAST)
            notes.append(f"with a batch's statistics nothing was derived: {_dear(work, most)}")
    if work > SLOPE_LIMIT:
        notes.append(f"gradients were not held against slopes of the reference: {_dear(work, SLOPE_LIMIT)}")
        return Plan(tuple(problems), 0, seed, tuple(notes))
    # The point itself, then two steps for each direction, to both sides, each through half of the network.
    directions = (SLOPE_WORK / (len(problems) * count * work) - 1) / 2
    return Plan(tuple(problems), max(1, int(directions)), seed, tuple(notes))


def _dear(work: float, most: float) -> str:
    return f"the network costs too much ({work:.1e} products a sample, with what its values cost; at most {most:.1e})"


def _evaluated(network: Network, count: int, seed: int) -> Problem:
    random = stream(seed, "gradients evaluation")
    inputs = _normal(random, count, network.inputs)
    names = (*inputs, *_weights(network))
    return Problem("evaluation", network, inputs, _normal(random, count, _ends(network)), names)


def _trained(network: Network, count: int, seed: int) -> Problem:
    """The network with masks in the place of its dropout."""
    random, masked = stream(seed, "gradients training"), with_masks(network)
    inputs = _normal(random, count, network.inputs)
    names = (*inputs, *_weights(network))
    given = {**inputs, **masked.draw(count, seed, 0)}
    return Problem("training", masked.network, given, _normal(random, count, _ends(network)), names)


def _weights(network: Network) -> Iterator[str]:
    return (weight.name for weight in network.weights() if weight.trainable)


def _ends(network: Network) -> dict[str, Any]:
    return {name: network.types[value] for name, value in network.outputs.items()}


def _normal(random: np.random.Generator, count: int, types: Mapping[str, Any]) -> dict[str, Values]:
    return {name: random.standard_normal((count, *type_.shape)) for name, type_ in types.items()}


def ask_gradients(
    backend: Caller, answers: Answers, problems: Sequence[Problem], weights: Mapping[str, Array]
) -> Sequence[Gradients]:
    """What a backend derives of every problem; nothing where it could not, and then `answers` has a failure."""
    found = answers.ask("run", lambda: [derive(backend, problem, weights, rows=False) for problem in problems])
    return found or ()


def derive(backend: Caller, problem: Problem, weights: Mapping[str, Array], *, rows: bool) -> Gradients:
    """What a backend derives of a problem; with `rows` by the results of rows too."""
    found: Gradients = backend.call(
        "gradients",
        network=problem.network,
        weights=weights,
        inputs=problem.inputs,
        cotangents=problem.cotangents,
        training=problem.mode == "training",
        rows=rows,
    )
    return found


class Slopes:
    """The reference's slopes for one problem, along random directions of the weights and inputs.

    Where there may be fewer directions than names, some names are moved together; `groups` has them.
    """

    def __init__(self, problem: Problem, weights: Mapping[str, Array], directions: int, seed: int) -> None:
        self.problem, self.surface, self.seed = problem, Surface(problem, weights), seed
        parts = np.array_split(np.arange(len(problem.names)), min(directions, len(problem.names)))
        self.groups = [tuple(problem.names[index] for index in part) for part in parts]
        self.directions = {name: self._direction(name) for name in problem.names}
        self.found = {group: self._slope(group) for group in self.groups}

    def _direction(self, name: str) -> Values:
        return self.surface.direction(name, stream(self.seed, f"direction {self.problem.mode} {name}"))

    def _slope(self, group: tuple[str, ...]) -> Slope:
        return self.surface.slope({name: self.directions[name] for name in group})

    def compare(
        self, gradients: Mapping[str, Array], rounding: Callable[[str], float]
    ) -> dict[str, tuple[Share, Slope, float]]:
        """For every name: how far its gradient is off, the reference's slope and the gradient's own.

        What `rounding` alone makes of a gradient is granted too. A group whose gradients are wrong together is divided
        until the wrong ones are found.
        """
        largest = max(self._part(gradients, (name,)) for name in self.problem.names)
        found: dict[str, tuple[Share, Slope, float]] = {}
        waiting = list(self.groups)
        while waiting:
            group = waiting.pop()
            if group not in self.found:
                self.found[group] = self._slope(group)
            slope = self.found[group]
            own = sum(float((gradients[name] * self.directions[name]).sum()) for name in group)
            doubt = slope.doubt + sum((rounding(name) * self.surface.size(name)) ** 2 for name in group) ** 0.5
            share = shared(abs(own - slope.value), doubt, self._part(gradients, group), largest)
            if share.exceeds and len(group) > 1:
                middle = len(group) // 2
                waiting += [group[:middle], group[middle:]]
            else:
                found |= dict.fromkeys(group, (share, slope, own))
        return {name: found[name] for name in self.problem.names}

    def _part(self, gradients: Mapping[str, Array], group: tuple[str, ...]) -> float:
        """How much the derived number changes where the group moves by its own size."""
        return float(np.sqrt(sum((size_of(gradients[name]) * self.surface.size(name)) ** 2 for name in group)))

    def outputs_off(self, outputs: Mapping[str, Array], rounding: Callable[[str], float]) -> Iterator[str]:
        """Every output that is not the reference's, and not by `rounding` alone: which and how far, in words.

        What is large beside the largest value on the way is more than rounding.
        """
        largest = max(map(self.surface.size, self.surface.values))
        for name, value in outputs.items():
            right = self.surface.outputs[name]
            error, size = size_of(value - right), size_of(right)
            most = GRADIENT_GATE * largest * right.size**0.5
            granted = max(GRADIENT_GATE * size, min(BUDGET_FACTOR * rounding(name), most))
            if not error <= granted:
                which = f"output {name!r}" if len(outputs) > 1 else "the output"
                scale = size or 1.0
                yield f"{which} is off by {error / scale:.1e} in float64, granted {granted / scale:.1e}"

    def first_off(self, derived: Gradients) -> str | None:
        """The first row whose value is not the reference's."""
        for row in self.problem.network.rows:
            right = self.surface.values[row.result]
            value = derived.values.get(row.name)
            if value is not None and not size_of(value - right) <= GRADIENT_GATE * size_of(right):
                return row.name
        return None

    def last_off(self, derived: Gradients) -> str | None:
        """The row behind the last row by whose result the derived number is derived wrongly; None if there is none."""
        network, wrong = self.problem.network, None
        for row in network.rows:
            if row.name in derived.rows and network.consumers[row.result]:
                along = self._direction(row.result)
                slope = self.surface.slope({row.result: along})
                gradient = derived.rows[row.name]
                part = size_of(gradient) * self.surface.size(row.result)
                share = shared(abs(float((gradient * along).sum()) - slope.value), slope.doubt, part, part)
                if share.exceeds:
                    wrong = row.result
        return self._reader(wrong, derived.rows[self.rows[wrong]]) if wrong else None

    @cached_property
    def rows(self) -> Mapping[str, str]:
        """The row of every node."""
        return {node.name: node.row for node in self.problem.network.nodes}

    def _reader(self, value: str, gradient: Array) -> str:
        """The row that reads a value and derives it wrongly: what it adds to the slope is what is missing there."""
        readers = self.problem.network.consumers[value]
        if len(readers) == 1:
            return self.rows[readers[0]]
        random = stream(self.seed, f"readers {value}")
        directions = [self.surface.direction(value, random) for _ in range(READINGS)]
        shares = np.array(
            [[self.surface.slope({f"{value}>{reader}": along}).value for along in directions] for reader in readers]
        )
        missing = shares.sum(0) - np.array([float((gradient * along).sum()) for along in directions])
        alike = np.abs(shares @ missing) / np.maximum(np.linalg.norm(shares, axis=1), np.finfo(np.float64).tiny)
        return self.rows[readers[int(np.argmax(alike))]]


def shared(error: float, doubt: float, part: float, largest: float) -> Share:
    """The error of a slope, relative to the gradient's part; without a ratio where nothing can be said."""
    granted = SLOPE_GATE * part + VANISHING * largest + BUDGET_FACTOR * doubt
    scale = (part if part > NOTHING * largest else largest) or 1.0
    unclear = granted > UNCLEAR * max(part, SMALL * largest) and 0 < error <= granted
    return Share(error=error / scale, granted=granted / scale, ratio=None if unclear else ratio_of(error, granted))


def ratio_of(error: float, granted: float) -> float:
    """The error over what is granted."""
    return 0.0 if error == 0 else error / granted if granted > 0 else float("inf")


@dataclass(frozen=True)
class Derivation:
    """A backend that derived every problem, and where to ask it again."""

    caller: Caller
    found: Sequence[Gradients]


def judge_gradients(
    planned: Plan, slopes: Sequence[Slopes], weights: Mapping[str, Array], derived: Mapping[str, Derivation]
) -> tuple[GradientsVerdict, dict[str, list[Failure]]]:
    """What was found, and the failures of every backend: at most one for each problem."""
    judges = [
        _judge(problem, index, planned.seed, slopes[index : index + 1], weights, derived)
        for index, problem in enumerate(planned.problems if derived else ())
    ]
    failures: dict[str, list[Failure]] = {name: [] for name in derived}
    for judge in judges:
        off = judge.outputs_off()
        for name, message in off.items():
            row = _culprit(judge, derived[name].caller, weights, Slopes.first_off)
            failures[name].append(Failure(stage="compare", symptom="gradient", message=message, row=row))
        for name, (wrong, message) in judge.blamed(weights).items():
            if name not in off:  # what differs already is derived differently
                row = _culprit(judge, derived[name].caller, weights, Slopes.last_off) or judge.row(wrong)
                failures[name].append(Failure(stage="compare", symptom="gradient", message=message, row=row))
    return GradientsVerdict(
        backends=tuple(derived),
        samples=len(next(iter(planned.problems[0].inputs.values()))) if planned.problems else 0,
        slopes=sum(len(each.groups) for each in slopes),
        weights=tuple(measure for judge in judges for measure in judge.measures()),
        notes=planned.notes,
    ), failures


def _judge(
    problem: Problem,
    index: int,
    seed: int,
    slopes: Sequence[Slopes],
    weights: Mapping[str, Array],
    derived: Mapping[str, Derivation],
) -> _Judge:
    """The judge of one problem, who knows what rounding makes there if that may change what is blamed."""
    found = {name: each.found[index] for name, each in derived.items()}
    strict = _Judge(problem, found, slopes, NONE)
    blamed = strict.blamed_names()
    if not blamed or blamed == _Judge(problem, found, slopes, UNBOUNDED).blamed_names():
        return strict
    noisy = []
    for name, exact in found.items():

        def again(disturbed: Problem, weights: Mapping[str, Array], caller: Caller = derived[name].caller) -> Gradients:
            return derive(caller, disturbed, weights, rows=False)

        try:
            noisy.append(roundings(problem, weights, exact, again, seed))
        except BackendError:
            return strict
    return _Judge(problem, found, slopes, least(noisy))


def _culprit(
    judge: _Judge,
    caller: Caller,
    weights: Mapping[str, Array],
    find: Callable[[Slopes, Gradients], str | None],
) -> str | None:
    """The row whose own value or derivative is wrong, where that can be found."""
    if judge.slopes is None:
        return None
    try:
        return find(judge.slopes, derive(caller, judge.problem, weights, rows=True))
    except BackendError:
        return None


class _Judge:
    """One problem: what every backend derived, against the first one's and the reference's slopes."""

    def __init__(
        self, problem: Problem, derived: Mapping[str, Gradients], slopes: Sequence[Slopes], roundings: Roundings
    ) -> None:
        self.problem, self.slopes, self.roundings = problem, slopes[0] if slopes else None, roundings
        self.first, self.others = next(iter(derived)), tuple(derived)[1:]
        self.gradients = {name: {**found.inputs, **found.weights} for name, found in derived.items()}
        self.sizes = {name: size_of(self.gradients[self.first][name]) for name in problem.names}
        self.apart = {name: self._apart(name) for name in self.others}
        self.off = (
            {name: self.slopes.compare(found, self._rounding) for name, found in self.gradients.items()}
            if self.slopes
            else {}
        )
        self.outputs = {name: found.outputs for name, found in derived.items()}

    @cached_property
    def largest(self) -> float:
        """The root mean square of the numbers of the largest gradient."""
        return max(self.sizes[name] / self._root(name) for name in self.problem.names)

    @cached_property
    def ends(self) -> float:
        """The same of the outputs' own gradients."""
        return max(size_of(each) / sqrt(max(each.size, 1)) for each in self.problem.cotangents.values())

    def _root(self, name: str) -> float:
        return sqrt(max(self.gradients[self.first][name].size, 1))

    def _rounding(self, name: str) -> float:
        """What rounding makes of a gradient, as far as that is small: what it decides is more than rounding."""
        most = GRADIENT_GATE * max(self.largest, self.ends) * self._root(name)
        return min(self.roundings.of("gradient", name), most / BUDGET_FACTOR)

    def row(self, name: str) -> str:
        """The row that has a weight, or reads an input first."""
        network = self.problem.network
        if name in network.inputs:
            reader = network.consumers[name][0]
            return next(node.row for node in network.nodes if node.name == reader)
        return next(node.row for node in network.nodes for weight in node.weights if weight.name == name)

    def _apart(self, name: str) -> dict[str, Share]:
        """How far a backend's gradients are from the first one's."""
        own, first, found = self.gradients[name], self.gradients[self.first], {}
        for each, size in self.sizes.items():
            of_largest = self.largest * self._root(each)
            # Where none of the outputs' own gradients arrives, rounding of those is all that there is.
            rounding = max(self._rounding(each), FLOAT64_UNIT * self.ends * self._root(each))
            error = size_of(own[each] - first[each])
            granted = GRADIENT_GATE * size + VANISHING * of_largest + BUDGET_FACTOR * rounding
            scale = (size if size > NOTHING * of_largest else of_largest) or 1.0
            found[each] = Share(error=error / scale, granted=granted / scale, ratio=ratio_of(error, granted))
        return found

    def measures(self) -> Iterator[GradientVerdict]:
        """One for every input and trained weight."""
        for name in self.problem.names:
            yield GradientVerdict(
                name=name,
                row=self.row(name),
                mode=self.problem.mode,
                apart={backend: shares[name] for backend, shares in self.apart.items()},
                slopes={backend: shares[name][0] for backend, shares in self.off.items()},
            )

    def outputs_off(self) -> dict[str, str]:
        """For every backend that computes something else on the way, where that is not judged row by row: in words."""
        if self.slopes is None or self.problem.mode == "evaluation":
            return {}
        found = {}
        for backend, outputs in self.outputs.items():
            if said := next(self.slopes.outputs_off(outputs, partial(self.roundings.of, "output")), None):
                found[backend] = f"with the batch's statistics {said}"
        return found

    def blamed_names(self) -> set[tuple[str, str]]:
        """What is more than is granted, by backend and weight, input or output."""
        of_slopes = {
            backend: {name: share for name, (share, _, _) in shares.items()} for backend, shares in self.off.items()
        }
        return {(backend, "") for backend in self.outputs_off()} | {
            (backend, name)
            for found in (of_slopes, self.apart)
            for backend, shares in found.items()
            for name, share in shares.items()
            if share.exceeds
        }

    def blamed(self, weights: Mapping[str, Array]) -> dict[str, tuple[str, str]]:
        """For every backend that derives wrongly: by which weight or input, the last there is, and in words."""
        found: dict[str, tuple[str, str]] = {}
        for backend, shares in self.off.items():
            if wrong := [name for name, (share, _, _) in shares.items() if share.exceeds]:
                share, slope, own = shares[wrong[-1]]
                found[backend] = (
                    wrong[-1],
                    (
                        f"{self._called(wrong[-1])} along a random direction is {own:.9g} in {backend}, "
                        f"{slope.value:.9g} by differences of the reference (error {share.error:.1e}, granted "
                        f"{share.granted:.1e}){self._beside(wrong)}"
                    ),
                )
        for backend, distances in self.apart.items():
            wrong = [name for name, share in distances.items() if share.exceeds]
            pair = (self.first, backend)
            if wrong and not any(name in found for name in pair):
                text = f"{self._difference(backend, wrong[-1], distances[wrong[-1]])}{self._beside(wrong)}"
                found |= dict.fromkeys(self._wrong(backend, wrong[-1], weights), (wrong[-1], text))
        return found

    def _wrong(self, backend: str, name: str, weights: Mapping[str, Array]) -> Sequence[str]:
        """Which of a backend and the first is further from the reference along their difference; both if unclear."""
        own, first = (self.gradients[each][name] for each in (backend, self.first))
        difference = own - first
        surface = self.slopes.surface if self.slopes else Surface(self.problem, weights)
        along = difference / size_of(difference) * surface.size(name)
        slope = surface.slope({name: along})
        off = [abs(float((gradient * along).sum()) - slope.value) for gradient in (own, first)]
        if BUDGET_FACTOR * slope.doubt > abs(off[0] - off[1]):
            return (backend, self.first)
        return (backend,) if off[0] > off[1] else (self.first,)

    def _called(self, name: str) -> str:
        mode = "" if self.problem.mode == "evaluation" else ", with the batch's statistics,"
        return f"the gradient{mode} of {name}"

    def _beside(self, wrong: Sequence[str]) -> str:
        return f"; so is that of {len(wrong) - 1:,} more" if len(wrong) > 1 else ""

    def _difference(self, backend: str, name: str, share: Share) -> str:
        own, first = (self.gradients[each][name] for each in (backend, self.first))
        place = np.unravel_index(int(np.argmax(np.abs(own - first))), own.shape)
        at = ", ".join(map(str, map(int, place)))
        return (
            f"{self._called(name)} at [{at}] is {float(own[place]):.9g} in {backend}, {float(first[place]):.9g} in "
            f"{self.first} (error {share.error:.1e}, granted {share.granted:.1e})"
        )
