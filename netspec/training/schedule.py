"""The learning rate of every update: a pure function, computed in Python's float64 for every backend."""

from __future__ import annotations

from math import cos, pi
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from netspec.training.named import Named, NotNegative, Positive

if TYPE_CHECKING:
    from collections.abc import Mapping

ScheduleName = Literal["constant", "cosine", "step", "one_cycle", "exponential", "plateau"]
Share = Annotated[float, Field(ge=0, le=1)]

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"warmup": 0.0},
    "cosine": {"final": 0.0, "warmup": 0.0},
    "step": {"every": 10, "at": (), "factor": 0.1, "warmup": 0.0},
    "one_cycle": {"start": 0.04, "peak": 0.3, "final": 4e-6, "warmup": 0.0},
    "exponential": {"factor": 0.95, "every": 1, "warmup": 0.0},
    "plateau": {"factor": 0.1, "patience": 10, "min_delta": 1e-4, "minimum": 0.0, "warmup": 0.0},
}


class Schedule(Named):
    """How the learning rate changes from update to update; `netspec.training.schedule` computes it."""

    what: ClassVar[str] = "schedule"
    choices: ClassVar[Mapping[str, Mapping[str, Any]]] = SCHEDULES
    synonyms: ClassVar[Mapping[str, str]] = {
        "cosinedecay": "cosine",
        "cosineannealing": "cosine",
        "multistep": "step",
        "onecycle": "one_cycle",
        "exponentialdecay": "exponential",
        "reducelronplateau": "plateau",
    }

    name: ScheduleName = "constant"
    """`constant`, `cosine` (down to `final` over the whole training, where it stays), `step`, `one_cycle` (up from
    `start` to the learning rate, then down to `final`, each as half a cosine), `exponential` or `plateau`."""
    final: Share = 0.0
    """`cosine`, `one_cycle`: the fraction of the learning rate at the end; 4e-6 for one_cycle when not given."""
    start: Share = 0.04
    """`one_cycle`: the fraction of the learning rate at the beginning."""
    peak: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """`one_cycle`: after which fraction of the training the learning rate is reached."""
    every: Annotated[int, Field(ge=1)] = 10
    """`step`: after this many epochs the learning rate is multiplied by `factor`, each time; 10 when not given.
    `exponential`: over this many epochs it is, smoothly; 1 when not given."""
    at: tuple[Positive, ...] = ()
    """`step`: the epochs after which the learning rate is multiplied by `factor`, instead of `every`: `[30, 60]`."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """`step`, `exponential`, `plateau`: what it is multiplied by; 0.95 for exponential when not given."""
    patience: Annotated[int, Field(ge=1)] = 10
    """`plateau`: after this many epochs in a row that were no better the learning rate is multiplied by `factor`."""
    min_delta: NotNegative = 1e-4
    """`plateau`: by how much more than this an epoch's monitored value must beat the best one to be better."""
    minimum: NotNegative = 0.0
    """`plateau`: the learning rate falls no lower."""
    warmup: NotNegative = 0.0
    """Over this many epochs the learning rate of the schedule is multiplied by a factor that rises evenly to 1."""

    @property
    def steady(self) -> bool:
        """Whether the learning rate is the same for every update of an epoch."""
        return self.name in ("constant", "plateau") and not self.warmup

    def too_long(self, epochs: int) -> str | None:
        """What of this schedule would never happen in a training of so many epochs, in words; None when all does."""
        if self.warmup >= epochs:
            return f"the warm-up takes {self.warmup:g} epochs, but there are {epochs}"
        if self.name == "step" and self.at and max(self.at) >= epochs:
            return f"step switches after {max(self.at):g} epochs, but there are {epochs}"
        if self.name == "step" and not self.at and self.every >= epochs:
            return f"step first switches after {self.every} epochs, but there are {epochs}"
        if self.name == "plateau" and self.patience >= epochs:
            return f"plateau waits for {self.patience} epochs after the best one, but there are {epochs}"
        return None


class Plateau:
    """How far a plateau schedule has let the learning rate fall, from the monitored value of every epoch.

    `larger` says whether a larger value is better. The differences are absolute, and the rate falls as soon as
    `patience` epochs in a row were no better; then the count begins again.
    """

    def __init__(self, schedule: Schedule, *, larger: bool) -> None:
        self.schedule, self.larger = schedule, larger
        self.factor, self.best, self.waited = 1.0, float("inf"), 0

    def see(self, value: float) -> None:
        """Take in the value of the epoch that has ended; one that is not a number is no better."""
        value = -value if self.larger else value
        if value < self.best - self.schedule.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.schedule.patience:
            self.factor, self.waited = self.factor * self.schedule.factor, 0


def learning_rate(base: float, schedule: Schedule, update: int, total: int, epochs: int, fallen: float = 1.0) -> float:
    """The learning rate of `update`, counted from 0, of `total` in a training of `epochs`, from `base`.

    With t the update and T the total: cosine is lr * (final + (1 - final) * (1 + cos(pi * t / T)) / 2) and holds at
    the end (Loshchilov & Hutter 2017, without restarts); step is lr * factor^k once k boundaries are reached, with the
    very update that reaches one; exponential lr * factor^(t / (updates in `every` epochs)); one_cycle rises from start
    to 1 over peak * T updates, then falls to final (Smith & Topin 2018, with cosines). plateau is lr * `fallen`, the
    factor of a `Plateau`. Over the W updates of the warm-up, all is multiplied by (t + 1) / W (Goyal et al. 2017).

    >>> learning_rate(1e-3, Schedule(name="cosine"), update=50, total=100, epochs=10)
    0.0005
    """
    rate = base * _share(schedule, update, total, epochs)
    if schedule.name == "plateau":
        rate = max(base * fallen, min(base, schedule.minimum))
    rising = schedule.warmup * total / epochs
    return rate * (update + 1) / rising if update + 1 < rising else rate


def _share(schedule: Schedule, update: int, total: int, epochs: int) -> float:
    """The fraction of the base rate, without warm-up."""
    match schedule.name:
        case "cosine":
            return _half_cosine(1.0, schedule.final, min(update / total, 1.0))
        case "step":
            # In whole numbers where the epochs are: a boundary is reached by its very update.
            passed = (
                sum(update * epochs >= boundary * total for boundary in schedule.at)
                if schedule.at
                else update * epochs // (schedule.every * total)
            )
            return schedule.factor**passed
        case "exponential":
            return float(schedule.factor ** (update * epochs / (schedule.every * total)))
        case "one_cycle":
            peak = schedule.peak * total
            if update < peak:
                return _half_cosine(schedule.start, 1.0, update / peak)
            return _half_cosine(1.0, schedule.final, min((update - peak) / (total - peak), 1.0))
        case _:
            return 1.0


def _half_cosine(first: float, last: float, part: float) -> float:
    """From one value to another along half a cosine; `part` goes from 0 to 1."""
    return last + (first - last) * (1 + cos(pi * part)) / 2
