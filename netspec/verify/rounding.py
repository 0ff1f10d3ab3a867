"""How far float64's own rounding may lead what backends derive, where that is not in proportion to what they derive.

Where a BatchNorm takes the statistics of a batch in which a channel is the same everywhere, it makes nothing but
rounding of it, up to 1/sqrt(epsilon) times as large, and each library its own. So the network is derived again while
every weight, every input and every value on the way, forward and back, is off by 2u * N(0, 1).
The mean that is taken off may be wrong by more: numbers that are alike round to the same side, each time that one is
added (`budget.growth`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, prod
from typing import TYPE_CHECKING, Literal

from netspec.layers import BatchNorm
from netspec.training.stepping import Gradients
from netspec.verify.budget import growth
from netspec.verify.gates import DRAWS, FLOAT64_UNIT
from netspec.verify.masks import with_noise
from netspec.verify.slopes import Problem
from netspec.verify.tally import size_of
from netspec.weights import stream

if TYPE_CHECKING:
    from netspec.reference.table import Array, Values

    Derive = Callable[[Problem, Mapping[str, Array]], Gradients]
    """What a backend derives of a problem with these weights."""
    What = tuple[Literal["output", "gradient"], str]
    """An output, or the gradient by a weight or an input."""


@dataclass(frozen=True)
class Roundings:
    """The L2 errors that rounding is predicted to cause, of a whole batch: of each output and of each gradient."""

    errors: Mapping[What, float] = field(default_factory=dict)
    otherwise: float = 0.0
    """That of all others."""

    def of(self, kind: Literal["output", "gradient"], name: str) -> float:
        """That of one output, or of the gradient by one weight or input."""
        return self.errors.get((kind, name), self.otherwise)


NONE = Roundings()
"""Where errors are in proportion."""
UNBOUNDED = Roundings(otherwise=inf)


def least(found: Sequence[Roundings]) -> Roundings:
    """What every backend is prone to: a wrong one is not granted what it makes of rounding by its mistake."""
    return Roundings({what: min(each.errors[what] for each in found) for what in found[0].errors})


def roundings(problem: Problem, weights: Mapping[str, Array], exact: Gradients, derive: Derive, seed: int) -> Roundings:
    """How far a backend's outputs and gradients are off `exact` in noisy runs of its own, as a root mean square."""
    noised, random = with_noise(problem.network), stream(seed, f"rounding {problem.mode}")

    def noisy(arrays: Mapping[str, Array]) -> dict[str, Values]:
        return {name: array * (1 + size * random.standard_normal(array.shape)) for name, array in arrays.items()}

    size = 2 * FLOAT64_UNIT
    count = len(next(iter(problem.inputs.values())))
    right = _results(exact)
    squares: defaultdict[What, float] = defaultdict(float)
    for _ in range(DRAWS):
        inputs = noisy(problem.inputs) | noised.draw(count, size, random)
        disturbed = replace(problem, network=noised.network, inputs=inputs, cotangents=noisy(problem.cotangents))
        found = _results(derive(disturbed, noisy(weights)))
        for what, value in right.items():
            squares[what] += size_of(found[what] - value) ** 2
    trained = (node for node in problem.network.nodes if isinstance(node.layer, BatchNorm) and not node.frozen)
    means = max((growth(count * prod(node.input_type.spatial)) for node in trained), default=1.0)
    return Roundings({what: means * (total / DRAWS) ** 0.5 for what, total in squares.items()})


def _results(derived: Gradients) -> dict[What, Array]:
    found: dict[What, Array] = {("output", name): each for name, each in derived.outputs.items()}
    return found | {("gradient", name): each for name, each in (*derived.inputs.items(), *derived.weights.items())}
