"""How what the reference computes changes along a direction: it has no backward pass that could be wrong.

It is computed twice, at both sides of a point. Steps of several sizes say how far that can be trusted: a large one is
wrong by the curve, a small one by rounding, and either by a kink that it steps over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from netspec.layers import BatchNorm
from netspec.network import Node
from netspec.reference import evaluate_parts
from netspec.reference.interpreter import node_weights
from netspec.verify.budget import Rounding
from netspec.verify.gates import BUDGET_FACTOR, FLOAT64_UNIT, SLOPE_GATE
from netspec.verify.tally import size_of

if TYPE_CHECKING:
    from netspec.network import Network
    from netspec.reference.table import Array, Values

STEPS = (1e-6, 1e-7, 1e-8, 1e-9)
"""Sizes of the steps, relative to the size of what is moved; the next is tried where two before do not agree."""
CLEAR = SLOPE_GATE / BUDGET_FACTOR
"""Two steps whose slopes differ by no more than this share are trusted."""
NOISY = 2
"""Runs that say what rounding does to the derived number."""
KINK = 1e-2
"""Slopes to both sides that differ by this share are those of a kink, not of a curve."""


@dataclass(frozen=True)
class Problem:
    """What is derived: the sum of outputs * cotangents, of a network as it is evaluated or trained.

    In training a BatchNorm that is not frozen takes the batch's statistics. `names` are the inputs and weights by which
    it is derived.
    """

    mode: Literal["evaluation", "training"]
    network: Network
    inputs: Mapping[str, Array]
    cotangents: Mapping[str, Array]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slope:
    """How the derived number changes along a direction, and how far that may be off."""

    value: float
    doubt: float


class Surface:
    """The reference around one point: what it computes there, and again from where something is moved."""

    def __init__(self, problem: Problem, weights: Mapping[str, Array]) -> None:
        self.problem, self.weights = problem, weights
        self.values: dict[str, Values] = {name: given.astype(np.float64) for name, given in problem.inputs.items()}
        self.own = {node.name: node_weights(node, weights) for node in problem.network.nodes}
        with np.errstate(all="ignore"):
            for node in problem.network.nodes:
                self.values[node.name] = self._value(node, self.values, self.own[node.name])

    def _value(
        self,
        node: Node,
        values: Mapping[str, Values],
        own: Mapping[str, Values],
        rounding: Rounding | None = None,
    ) -> Values:
        read = tuple(values[name] for name in node.inputs)
        if self.problem.mode == "training" and isinstance(node.layer, BatchNorm) and not node.frozen:
            axes = tuple(range(read[0].ndim - 1))
            own = {**own, "mean": read[0].mean(axes), "var": read[0].var(axes)}
        value = evaluate_parts(node, read, own)
        return value if rounding is None else rounding.result(node, value, read, own)

    @cached_property
    def rounding(self) -> float:
        """How far float64's own rounding leads the derived number, by runs with noise of that size."""
        cotangents = self.problem.cotangents
        squares = sum(size_of(value * cotangents[name]) ** 2 for name, value in self.outputs.items())
        found = [FLOAT64_UNIT * sqrt(squares)]
        for draw in range(NOISY):
            rounding, noisy = Rounding(draw, FLOAT64_UNIT), {name: self.values[name] for name in self.problem.inputs}
            with np.errstate(all="ignore"):
                for node in self.problem.network.nodes:
                    noisy[node.name] = self._value(node, noisy, self.own[node.name], rounding)
            found.append(abs(self._derived({name: noisy[value] for name, value in self._ends.items()})))
        return max(found)

    @property
    def _ends(self) -> Mapping[str, str]:
        return self.problem.network.outputs

    def _derived(self, outputs: Mapping[str, Values]) -> float:
        """How much the derived number is more with these outputs than at the point."""
        here, cotangents = self.outputs, self.problem.cotangents
        return sum(float(((value - here[name]) * cotangents[name]).sum()) for name, value in outputs.items())

    @property
    def outputs(self) -> Mapping[str, Values]:
        """What the network computes at the point."""
        return {name: self.values[value] for name, value in self._ends.items()}

    def size(self, name: str) -> float:
        """The size of the numbers of a weight, an input or a node's result: the root mean square."""
        array = self._array(name)
        return size_of(array) / float(np.sqrt(max(array.size, 1))) or 1.0

    def direction(self, name: str, random: np.random.Generator) -> Values:
        """A random direction of a weight, an input or a node's result, of its own size.

        Numbers of a result that are equal move together, for a pool between them has no slope where they part.
        """
        array = self._array(name)
        if name in self.own:
            distinct, places = np.unique(array, return_inverse=True)
            drawn: Values = random.standard_normal(len(distinct))[places.reshape(array.shape)]
        else:
            drawn = random.standard_normal(array.shape)
        return drawn * self.size(name)

    def _array(self, name: str) -> Array:
        return self.weights[name] if name in self.weights else self.values[name]

    def slope(self, directions: Mapping[str, Values]) -> Slope:
        """Along these directions together, by names of weights, inputs and nodes; from the two clearest steps.

        `a>b` names what node b reads of a value a: it moves for that reader alone.
        """
        found: list[float] = []
        best = Slope(0.0, np.inf)
        for step in STEPS:
            after, before = self._differences(directions, step)
            found.append((after + before) / 2)
            # On a kink the slopes to both sides stay apart, however small the step.
            apart = abs(after - before)
            kink = apart if apart > KINK * (abs(after) + abs(before)) else 0.0
            doubts = [max(abs(found[-1] - other), kink, self.rounding / step) for other in found[:-1]]
            pairs = (Slope((found[-1] + other) / 2, doubt) for other, doubt in zip(found[:-1], doubts, strict=True))
            best = min([best, *pairs], key=lambda each: each.doubt)
            if best.doubt <= CLEAR * abs(best.value):
                break
        return best

    def _differences(self, directions: Mapping[str, Values], step: float) -> tuple[float, float]:
        """The slopes of a step forward and of a step back."""
        there = (self._moved({name: size * along for name, along in directions.items()}) for size in (step, -step))
        after, before = map(self._derived, there)
        return after / step, before / -step

    def _moved(self, moves: Mapping[str, Values]) -> Mapping[str, Values]:
        """The outputs, after weights, inputs and nodes' results moved."""
        changed = {name: self.values[name] + move for name, move in moves.items() if name in self.problem.inputs}
        with np.errstate(all="ignore"):
            for node in self.problem.network.nodes:
                own = {
                    short: value + moves[name] if (name := f"{node.name}.{short}") in moves else value
                    for short, value in self.own[node.name].items()
                }
                edges = {name: moves[edge] for name in node.inputs if (edge := f"{name}>{node.name}") in moves}
                moved = any(weight.name in moves for weight in node.weights)
                if moved or edges or any(name in changed for name in node.inputs):
                    read = {name: changed.get(name, self.values[name]) for name in node.inputs}
                    read |= {name: read[name] + move for name, move in edges.items()}
                    changed[node.name] = self._value(node, read, own)
                if node.name in moves:
                    changed[node.name] = changed.get(node.name, self.values[node.name]) + moves[node.name]
        return {name: changed.get(value, self.values[value]) for name, value in self._ends.items()}
