"""The learning rate of every step: a pure function, computed in Python's float64 for every backend."""

from __future__ import annotations

from math import cos, pi

from netspec.training.settings import TrainSettings


def learning_rate(settings: TrainSettings, step: int, total_steps: int) -> float:
    """The learning rate of update `step`, counted from 0, of `total_steps` in the whole training.

    cosine: lr * (final + (1 - final) * (1 + cos(pi * step / total_steps)) / 2), which holds at the end (Loshchilov &
    Hutter 2017, without restarts). step: lr * factor^k, where k `every`-epoch spans have passed.

    >>> learning_rate(TrainSettings(schedule="cosine"), step=50, total_steps=100)
    0.0005
    """
    base, schedule = settings.optimizer.learning_rate, settings.schedule
    if schedule.name == "cosine":
        falling = (1 + cos(pi * min(step / total_steps, 1.0))) / 2
        return base * (schedule.final + (1 - schedule.final) * falling)
    if schedule.name == "step":
        spans = step * settings.epochs // (schedule.every * total_steps)
        return base * schedule.factor**spans
    return base
