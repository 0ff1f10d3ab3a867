"""How what the reference computes changes along a direction: it has no backward pass that could be wrong.

It is computed twice, at both sides of a point. Steps of several sizes say how far that can be trusted: a large one is
wrong by the curve, a small one by rounding, and either by a kink that it steps over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netspec.layers import BatchNorm
from netspec.network import Node
from netspec.reference import evaluate_parts
from netspec.reference.interpreter import node_weights
from netspec.verify.gates import BUDGET_FACTOR, SLOPE_GATE
from netspec.verify.tally import size_of

if TYPE_CHECKING:
    from netspec.network import Network
    from netspec.reference.table import Array, Values

STEPS = (1e-6, 1e-7, 1e-5, 1e-8)
"""Sizes of the steps, relative to the size of what is moved, in the order in which they are tried."""
CLEAR = SLOPE_GATE / BUDGET_FACTOR
"""Two steps whose slopes differ by no more than this share are trusted."""


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

    def _value(self, node: Node, values: Mapping[str, Values], own: Mapping[str, Values]) -> Values:
        read = tuple(values[name] for name in node.inputs)
        if self.problem.mode == "training" and isinstance(node.layer, BatchNorm) and not node.frozen:
            axes = tuple(range(read[0].ndim - 1))
            own = {**own, "mean": read[0].mean(axes), "var": read[0].var(axes)}
        return evaluate_parts(node, read, own)

    @property
    def outputs(self) -> Mapping[str, Values]:
        """What the network computes at the point."""
        return {name: self.values[value] for name, value in self.problem.network.outputs.items()}

    def size(self, name: str) -> float:
        """The size of the numbers of a weight, an input or a node's result: the root mean square."""
        array = self._array(name)
        return size_of(array) / float(np.sqrt(max(array.size, 1))) or 1.0

    def direction(self, name: str, random: np.random.Generator) -> Values:
        """A random direction of a weight, an input or a node's result, of its own size."""
        drawn: Values = random.standard_normal(self._array(name).shape) * self.size(name)
        return drawn

    def _array(self, name: str) -> Array:
        return self.weights[name] if name in self.weights else self.values[name]

    def slope(self, directions: Mapping[str, Values]) -> Slope:
        """Along these directions together, by names of weights, inputs and nodes; from the two clearest steps."""
        found: list[float] = []
        best = Slope(0.0, np.inf)
        for step in STEPS:
            found.append(self._difference(directions, step))
            pairs = (Slope((found[-1] + before) / 2, abs(found[-1] - before)) for before in found[:-1])
            best = min([best, *pairs], key=lambda each: each.doubt)
            if best.doubt <= CLEAR * abs(best.value):
                break
        return best

    def _difference(self, directions: Mapping[str, Values], step: float) -> float:
        after, before = (
            self._moved({name: sign * step * along for name, along in directions.items()}) for sign in (1, -1)
        )
        cotangents = self.problem.cotangents
        return sum(float(((after[name] - before[name]) * cotangents[name]).sum()) for name in after) / (2 * step)

    def _moved(self, moves: Mapping[str, Values]) -> Mapping[str, Values]:
        """The outputs, after weights, inputs and nodes' results moved."""
        changed = {name: self.values[name] + move for name, move in moves.items() if name in self.problem.inputs}
        with np.errstate(all="ignore"):
            for node in self.problem.network.nodes:
                own = {
                    short: value + moves[name] if (name := f"{node.name}.{short}") in moves else value
                    for short, value in self.own[node.name].items()
                }
                moved = any(weight.name in moves for weight in node.weights)
                if moved or any(name in changed for name in node.inputs):
                    read = {name: changed.get(name, self.values[name]) for name in node.inputs}
                    changed[node.name] = self._value(node, read, own)
                if node.name in moves:
                    changed[node.name] = changed.get(node.name, self.values[node.name]) + moves[node.name]
        outputs = self.problem.network.outputs
        return {name: changed.get(value, self.values[value]) for name, value in outputs.items()}
