"""Single updates in float32, each from the float64 state of a lock-step training, judged by what rounding may cost.

The loss, gradients and statistics that float32 gives are held against those of float64 from the same rounded state.
What they may be off by is measured: the float64 update is computed again with every weight, every input and every value
on the way, forward and back, off by 2u * N(0, 1). What a channel sums up over n places has a rounding for each addition
as well: where the terms have random signs and are added one after the other, those amount to u * n / sqrt(6) terms,
which is sqrt(n / 24) times what rounding each of the terms brings. `BUDGET_FACTOR` times the root mean square of all
that, over all steps so far, is granted.

What a backend's optimiser makes of its own float32 gradients is held against the reference's float64 update of the
same, and granted likewise what errors of 2u in gradient, weight and slots change there; or what it changes that all
gradients are larger and all slots smaller by that factor, or the other way round, which shows where a sign stands on an
edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from netspec.training.stepping import Batch, State, Update
from netspec.verify.formulas import Formulas
from netspec.verify.gates import BUDGET_FACTOR, FLOOR_UNITS, UNIT
from netspec.verify.masks import with_noise
from netspec.verify.tally import Key, Tally, measured, moved, size_of

if TYPE_CHECKING:
    from netspec.network import Network
    from netspec.reference.table import Array, Values
    from netspec.tensors import Precision
    from netspec.verify.result import Difference

    Ask = Callable[[Network, State, Precision, Sequence[Batch]], Update]
    """An update of a network by a backend, from a state."""
    Change = Callable[[Array], Values]

FIRST_DRAWS, DRAWS = 8, 1
"""Disturbed updates in the first step and in each one after it; a value of few numbers needs them, as in `gates`."""


class Resync:
    """The judge of the float32 updates; `exact` is the backend whose float64 updates are the standard."""

    def __init__(self, network: Network, formulas: Formulas, seed: int, exact: Ask) -> None:
        self.network, self.formulas, self.exact = network, formulas, exact
        self.noised = with_noise(network)
        self.places = {weight.name: prod(node.output.spatial) for node in network.nodes for weight in node.weights}
        self.tally = Tally("float32")
        self.random = np.random.Generator(np.random.SFC64(seed))
        self.squares: dict[Key, float] = {}
        self.draws = 0

    def judge(
        self,
        step: int,
        before: State,
        batches: Sequence[Batch],
        rate: float,
        updates: Callable[[State], Mapping[str, Update]],
        ignored: Mapping[str, None],
    ) -> Iterator[Difference]:
        """What is further off than rounding explains, in the float32 `updates` of every backend from a state.

        `ignored` are weights whose gradients are nothing but rounding.
        """
        start = rounded(before)
        found = updates(start)
        exact = self.exact(self.network, start, "float64", batches)
        standard = measured(exact)
        self._disturb(start, batches, standard)
        for name, update in found.items():
            values = measured(update)
            for key, expected in standard.items():
                if key.weight not in ignored:
                    share = max(
                        (self.squares[key] / self.draws) ** 0.5 * self._growth(key, expected, batches),
                        FLOOR_UNITS * UNIT,
                    )
                    granted = BUDGET_FACTOR * share * size_of(expected)
                    yield from self.tally.check(step, key, (name, values[key]), ("float64", expected), granted)
            yield from self._by_formula(step, name, start, update, rate)

    def _disturb(self, start: State, batches: Sequence[Batch], standard: Mapping[Key, Array]) -> None:
        """Add to what is known of how far rounding leads, relative to the size of each value."""
        draws = DRAWS if self.draws else FIRST_DRAWS
        for _ in range(draws):
            weights = {name: self.noisy(array) for name, array in start.weights.items()}
            given = [Batch(self._noisy_inputs(batch), batch.labels) for batch in batches]
            state = replace(start, weights=weights)
            disturbed = measured(self.exact(self.noised.network, state, "float64", given))
            for key, expected in standard.items():
                size = size_of(expected)
                share = size_of(disturbed[key] - expected) / size if size else 0.0
                self.squares[key] = self.squares.get(key, 0.0) + share**2
        self.draws += draws

    def _noisy_inputs(self, batch: Batch) -> dict[str, Array]:
        inputs = {name: self.noisy(array) for name, array in batch.inputs.items()}
        return inputs | self.noised.draw(len(batch), 2 * UNIT, self.random)

    def _growth(self, key: Key, value: Array, batches: Sequence[Batch]) -> float:
        """How much more the additions over a channel's places may bring than rounding each term; 1 for products."""
        if key.weight not in self.places or value.ndim > 1:
            return 1.0
        return max(1.0, sqrt(len(batches[0]) * self.places[key.weight] / 24))

    def noisy(self, values: Array) -> Values:
        """The values, each off by about 2u of itself."""
        noisy: Values = values * (1 + 2 * UNIT * self.random.standard_normal(values.shape))
        return noisy

    def _by_formula(self, step: int, name: str, start: State, found: Update, rate: float) -> Iterator[Difference]:
        """Where the update is not the reference's of the backend's own gradients."""

        def update(gradient: Change, slot: Change, weight: Change) -> Mapping[Key, Array]:
            gradients = {name: gradient(array) for name, array in found.gradients.items()}
            weights = {name: weight(array) for name, array in start.weights.items()}
            slots = {
                name: {each: slot(array.astype(np.float64)) for each, array in own.items()}
                for name, own in start.slots.items()
            }
            return moved(self.formulas.update(State(weights, slots, start.update), gradients, rate))

        def scaled(by: float) -> Change:
            return lambda values: values * (1 + 2 * BUDGET_FACTOR * UNIT * by)

        def same(values: Array) -> Values:
            return values.astype(np.float64)

        expected, values = update(same, same, same), moved(found.state)
        disturbed = [update(self.noisy, self.noisy, self.noisy) for _ in range(2)]
        aside = [update(scaled(by), scaled(-by), same) for by in (1, -1)]
        for key, value in expected.items():
            mean = float(np.sqrt(np.mean([size_of(each[key] - value) ** 2 for each in disturbed])))
            share = BUDGET_FACTOR * max(mean, FLOOR_UNITS * UNIT * size_of(value))
            granted = max(share, *(size_of(each[key] - value) for each in aside))
            yield from self.tally.check(step, key, (name, values[key]), ("reference", value), granted)


def rounded(state: State) -> State:
    """The state, rounded to float32."""
    weights = {name: array.astype(np.float32) for name, array in state.weights.items()}
    slots = {name: {slot: array.astype(np.float32) for slot, array in own.items()} for name, own in state.slots.items()}
    return State(weights, slots, state.update)
