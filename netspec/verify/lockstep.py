"""Lock-step training: every backend takes the same updates from the same weights, on the same batches and masks.

In float64 each goes on from its own state, as a training does, and all of them must stay together; every loss and every
update is held against the reference as well, fed with the backend's own outputs and gradients. In float32 each update
begins from the first backend's float64 state, rounded; `netspec.verify.resync` judges it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from netspec.errors import NetspecError, UnsupportedError
from netspec.network import Network
from netspec.reference.table import Array
from netspec.tensors import Precision
from netspec.training.schedule import Plateau, learning_rate
from netspec.training.settings import TrainSettings
from netspec.training.stepping import Batch, State, Update
from netspec.verify.formulas import Formulas
from netspec.verify.gates import LOCKSTEP_GATE, UPDATE_GATE, VANISHING
from netspec.verify.gather import Caller
from netspec.verify.masks import with_masks
from netspec.verify.result import Difference, Failure, LockstepVerdict
from netspec.verify.resync import Resync
from netspec.verify.tally import Key, Tally, measured, moved, size_of
from netspec.weights import stream

BATCH = 8
"""How many images each batch has."""
SHOWN = 20
"""How many differences a verdict holds."""


def lockstep(
    network: Network,
    weights: Mapping[str, Array],
    settings: TrainSettings,
    steps: int,
    workers: Mapping[str, Caller],
    seed: int = 0,
) -> LockstepVerdict:
    """Let every backend take `steps` updates; it ends with the first after which something differs.

    The schedule, whatever the number of epochs, passes by as a whole. A weight whose gradient is zero but for rounding
    (a bias in front of a BatchNorm) is given to all backends as the first has it, and not compared: rounding decides
    where it goes.
    """
    with ThreadPoolExecutor(max(len(workers), 1)) as threads:
        run = _Run(network, settings, steps, workers, seed, threads)
        differences: list[Difference] = []
        failures: list[Failure] = []
        agreed = 0
        try:
            for differences in run.updates(weights):
                if differences:
                    break
                agreed += 1
        except NetspecError as error:
            symptom = "unsupported" if isinstance(error, UnsupportedError) else "crash"
            failures = [Failure(stage="run", symptom=symptom, message=str(error))]
    return LockstepVerdict(
        passed=not differences and not failures,
        steps=steps,
        agreed=agreed,
        backends=tuple(workers),
        loss=settings.loss.name,
        optimizer=settings.optimizer.name,
        schedule=settings.schedule.name,
        float64=run.tally.worst,
        float32=run.resync.tally.worst,
        synchronised=tuple(run.vanishing),
        differences=tuple(differences[:SHOWN]),
        failures=tuple(failures),
    )


class _Run:
    """A lock-step training under way."""

    def __init__(
        self,
        network: Network,
        settings: TrainSettings,
        steps: int,
        workers: Mapping[str, Caller],
        seed: int,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.settings, self.steps, self.workers, self.seed, self.threads = settings, steps, workers, seed, threads
        self.masked = with_masks(network)
        self.network = self.masked.network
        self.formulas = Formulas(self.network, settings)
        self.first = next(iter(workers))
        self.tally = Tally("float64")
        self.plateau = Plateau(settings.schedule, larger=False)
        self.vanishing: dict[str, None] = {}
        self.rate = 0.0
        self.resync = Resync(self.network, self.formulas, seed, partial(self._ask, self.first))

    def updates(self, weights: Mapping[str, Array]) -> Iterator[list[Difference]]:
        """Take every update; what differs after it."""
        start = State({name: np.asarray(array, np.float64) for name, array in weights.items()})
        states = dict.fromkeys(self.workers, start)
        for step in range(self.steps):
            batches = self._batches(step)
            self.rate = self._rate(step)
            found = self._all(states, "float64", batches)
            self._note_vanishing(found)
            differences = [
                *(each for name in found for each in self._by_formula(step, name, states[name], found[name], batches)),
                *self._apart(step, found),
            ]
            if not differences:
                same = partial(self._from_one, batches)
                differences += self.resync.judge(step, states[self.first], batches, self.rate, same, self.vanishing)
            yield differences
            states = {name: self._synchronised(update.state, found[self.first].state) for name, update in found.items()}
            self._see(step, found[self.first].loss)

    def _batches(self, step: int) -> list[Batch]:
        """The batches of an update: normal inputs, labels of any class, masks."""
        found = []
        for part in range(self.settings.accumulate):
            at = step * self.settings.accumulate + part
            random = stream(self.seed, f"lockstep {at}")
            inputs = {
                name: random.standard_normal((BATCH, *given.shape))
                for name, given in self.network.inputs.items()
                if name not in self.masked.dropouts
            }
            labels = random.integers(0, max(self.network.output_type.size, 2), BATCH)
            found.append(Batch({**inputs, **self.masked.draw(BATCH, self.seed, at)}, labels))
        return found

    def _rate(self, step: int) -> float:
        base, schedule = self.settings.optimizer.learning_rate, self.settings.schedule
        return learning_rate(base, schedule, step, self.steps, self.settings.epochs, self.plateau.factor)

    def _see(self, step: int, loss: float) -> None:
        """A plateau sees the loss at the end of every epoch's share of the updates."""
        epochs = self.settings.epochs
        if (step + 1) * epochs // self.steps > step * epochs // self.steps:
            self.plateau.see(loss)

    def _ask(self, name: str, network: Network, state: State, precision: Precision, batches: Sequence[Batch]) -> Update:
        found: Update = self.workers[name].call(
            "update",
            network=network,
            settings=self.settings,
            state=state,
            batches=batches,
            rate=self.rate,
            precision=precision,
        )
        return found

    def _all(self, states: Mapping[str, State], precision: Precision, batches: Sequence[Batch]) -> dict[str, Update]:
        """The update of every backend, side by side."""
        asked = {
            name: self.threads.submit(self._ask, name, self.network, state, precision, batches)
            for name, state in states.items()
        }
        return {name: each.result() for name, each in asked.items()}

    def _from_one(self, batches: Sequence[Batch], state: State) -> dict[str, Update]:
        """The float32 update of every backend from the same state."""
        return self._all(dict.fromkeys(self.workers, state), "float32", batches)

    def _note_vanishing(self, found: Mapping[str, Update]) -> None:
        """Note the weights whose gradient is zero in every backend but for rounding, and not in all of them exactly."""
        names = found[self.first].gradients
        sizes = {name: max(_mean_size(update.gradients[name]) for update in found.values()) for name in names}
        largest = max(sizes.values(), default=0.0)
        self.vanishing.update({name: None for name, size in sizes.items() if 0 < size <= VANISHING * largest})

    def _by_formula(
        self, step: int, name: str, before: State, found: Update, batches: Sequence[Batch]
    ) -> Iterator[Difference]:
        """Where the loss or the update is not what the reference makes of the backend's own outputs and gradients."""
        loss = np.array([self.formulas.loss(found.outputs, batches, before.weights)])
        granted = UPDATE_GATE * max(size_of(loss), 1.0)
        own = ((name, np.array([found.loss])), ("reference", loss))
        yield from self.tally.check(step, Key("loss"), *own, granted)
        values = moved(found.state)
        for key, expected in moved(self.formulas.update(before, found.gradients, self.rate)).items():
            granted = UPDATE_GATE * size_of(expected)
            yield from self.tally.check(step, key, (name, values[key]), ("reference", expected), granted)

    def _apart(self, step: int, found: Mapping[str, Update]) -> Iterator[Difference]:
        """Where a backend is no longer where the first one is."""
        standard = measured(found[self.first]) | moved(found[self.first].state)
        for name, update in found.items():
            values = measured(update) | moved(update.state)
            for key, expected in standard.items():
                if name != self.first and key.weight not in self.vanishing:
                    granted = LOCKSTEP_GATE * size_of(expected) + VANISHING * _deviation(key, standard)
                    yield from self.tally.check(step, key, (name, values[key]), (self.first, expected), granted)

    def _synchronised(self, own: State, first: State) -> State:
        """The state to go on from: a backend's own, but that of the first where rounding decides."""
        if not self.vanishing:
            return own
        weights = {name: (first if name in self.vanishing else own).weights[name] for name in own.weights}
        slots = {name: (first if name in self.vanishing else own).slots[name] for name in own.slots}
        return State(weights, slots, own.update)


def _deviation(key: Key, found: Mapping[Key, Array]) -> float:
    """For a running mean the size of the deviations around it: what a mean of zero is made of, but for rounding."""
    row, _, name = key.weight.rpartition(".")
    variance = found.get(Key("statistic", f"{row}.var"))
    return size_of(np.sqrt(variance)) if name == "mean" and variance is not None else 0.0


def _mean_size(array: Array) -> float:
    """The root mean square."""
    return size_of(array) / float(np.sqrt(max(array.size, 1)))
