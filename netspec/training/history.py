"""What happened in every epoch: rows of plain numbers, which of them was the best, and their file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from signal import SIGINT, Signals
from typing import TYPE_CHECKING

from netspec.errors import NetspecError
from netspec.interrupt import status_of
from netspec.storage.atomic import replacing
from netspec.training.settings import Monitor

if TYPE_CHECKING:
    from netspec.tensors import Weights

COLUMNS = ("epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")
"""What every row of a history holds.

`epoch` counts from 1, `learning_rate` is that of the epoch's last step, `loss` and `accuracy` are means over
the epoch's training images as they passed (dropout on), `val_*` are of the validation images after the epoch (dropout
off), `seconds` is how long the epoch took, validation included.
"""

Row = Mapping[str, float]


class DivergedError(NetspecError):
    """A training whose loss or weights are not finite; nothing of it is worth keeping but what was before.

    `weights` are the canonical ones of the best epoch until then, and `row` its row of the history, where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str, weights: Weights | None = None, row: Row | None = None) -> None:
        super().__init__(message, hint, weights, row)  # what pickle gives back to __init__
        self.message, self.hint, self.weights, self.row = message, hint, weights or {}, row or {}

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}"

    def kept_at(self, path: Path, monitor: Monitor) -> DivergedError:
        """The same, which says that the weights of the best epoch lie there."""
        hint = f"{self.hint}; --weights {path} begins with those of epoch {self.row['epoch']:g}"
        return DivergedError(f"{self.message}\n  {self._best(monitor)} are kept: {path}", hint, self.weights, self.row)

    def not_kept_at(self, path: Path, monitor: Monitor, error: OSError) -> DivergedError:
        """The same, which says that the weights of the best epoch could not be written there, and why."""
        lost = f"{self._best(monitor)} could not be kept: {path} cannot be written: {error.strerror or error}"
        return DivergedError(f"{self.message}\n  {lost}", self.hint, self.weights, self.row)

    def _best(self, monitor: Monitor) -> str:
        return f"the weights of epoch {self.row['epoch']:g}, the best until then ({monitor} {self.row[monitor]:.4g}),"


class StoppedError(NetspecError):
    """The training was interrupted by a signal, and ended where it can go on."""

    def __init__(self, message: str, by: Signals = SIGINT) -> None:
        super().__init__(message, by)  # what pickle gives back to __init__
        self.message, self.by, self.exit_code = message, by, status_of(by)

    def __str__(self) -> str:
        return self.message


def is_better(monitor: Monitor, new: float, old: float | None) -> bool:
    """Whether an epoch whose monitored value is `new` beats the best so far; a value that is not finite never does.

    >>> is_better("val_loss", 0.2, 0.3), is_better("val_accuracy", 0.2, 0.2), is_better("val_loss", 0.2, None)
    (True, False, True)
    """
    if not isfinite(new):
        return False
    return old is None or (new > old if monitor.endswith("accuracy") else new < old)


def best_epoch(history: Sequence[Row], monitor: Monitor) -> int:
    """The number of the best epoch, the first of equals; raises DivergedError when no epoch's value is finite."""
    best: Row | None = None
    for row in history:
        if is_better(monitor, row[monitor], best[monitor] if best else None):
            best = row
    if best is None:
        raise DivergedError(
            f"{monitor} was not finite in any of {len(history)} epochs: the training diverged",
            "a smaller learning_rate",
        )
    return int(best["epoch"])


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write the rows as CSV; the file is there whole or not at all."""
    names = [name for name in COLUMNS if any(name in row for row in history)]
    names += sorted({name for row in history for name in row} - set(names))
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_written(row[name]) if name in row else "" for name in names] for row in history)


def _written(value: float) -> str:
    return str(int(value)) if isfinite(value) and value == int(value) and abs(value) < 1e15 else repr(float(value))


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows that `write_history` wrote, every number exactly as it was."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
