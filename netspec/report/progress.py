"""How far long work is: its stages and the epochs of a training, on standard error."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Protocol, TextIO

from netspec.progress import Progress
from netspec.report.columns import duration

HEARTBEAT_S = 30.0
"""The shortest time between two lines of a log that say only how far the work is."""
SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy")


class Screen(Protocol):
    """Where progress is shown: lines that stay, and one line for what goes on now."""

    def line(self, text: str) -> None:
        """Add a line that stays."""
        ...

    def now(self, text: str, done: float, total: float) -> None:
        """Say what goes on, and how much of it is done; a total of 0 means that nobody knows."""
        ...


@contextmanager
def build_progress(name: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """A place for the events of a build: live bars where the stream is a terminal, else a line for what is finished,
    and every half a minute without one a line for how far it is.

    The events and their values are `warning` (text, hint), `stage`, `current` and `done` (stage), `training` (images,
    steps of an epoch, and where), `resumed` (epoch, step), `anew` (file), `step` (epoch, epochs; step of total,
    over the whole training), `epoch` (epochs and the columns of a history), `stopping` (by, the name of a signal) and
    `part` (what; done of total); others are passed over.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    screen: AbstractContextManager[Screen] = _live(name, stream) if terminal else nullcontext(_Lines(name, stream))
    with screen as shown:
        yield Events(shown, name)


class Events:
    """Turns the events of a build into lines and bars; stages may overlap, each backend exports side by side."""

    def __init__(self, screen: Screen, name: str) -> None:
        self.screen, self.name = screen, name
        self.started: dict[str, float] = {}
        self._steps = False  # whether the trainer reports steps, which move the bar better than epochs do
        self._trained_s = 0.0
        self._before = 0
        self._lock = threading.Lock()

    def __call__(self, event: str, **values: Any) -> None:
        """Show an event; may be called from several threads."""
        show = {
            "stage": self._begin,
            "done": self._end,
            "current": self._current,
            "training": self._training,
            "stopping": self._stopping,
            "resumed": self._resumed,
            "anew": self._anew,
            "warning": self._warning,
            "epoch": self._epoch,
            "step": self._step,
            "part": self._part,
        }.get(event)
        if show is not None:
            with self._lock:
                show(values)

    def _begin(self, values: Mapping[str, Any]) -> None:
        self.started[values["stage"]] = time.monotonic()
        self.screen.now(", ".join(self.started), 0, 0)

    def _end(self, values: Mapping[str, Any]) -> None:
        stage = values["stage"]
        took = time.monotonic() - self.started.pop(stage, time.monotonic())
        self.screen.line(f"{self.name}: {stage} done in {duration(took)}")
        self.screen.now(", ".join(self.started), 0, 0)

    def _current(self, values: Mapping[str, Any]) -> None:
        self.screen.line(f"{self.name}: {values['stage']} is up to date")

    def _warning(self, values: Mapping[str, Any]) -> None:
        self.screen.line(f"{self.name}: warning: {values['text']}\n  hint: {values['hint']}")

    def _training(self, values: Mapping[str, Any]) -> None:
        images, steps = values["images"], values["steps"]
        self.screen.line(f"{self.name}: training on {images:,} images, {steps:,} steps an epoch, {values['where']}")

    def _stopping(self, values: Mapping[str, Any]) -> None:
        again = "; Ctrl-C again ends it at once" if values["by"] == "SIGINT" else ""
        self.screen.line(f"{self.name}: the training stops after the step under way, and keeps a checkpoint{again}")

    def _resumed(self, values: Mapping[str, Any]) -> None:
        epoch, step = int(values["epoch"]), int(values["step"])
        self._before = epoch - bool(step)
        where = f"epoch {epoch}, step {step}" if step else f"the end of epoch {epoch}"
        self.screen.line(f"{self.name}: training goes on from {where}")

    def _anew(self, values: Mapping[str, Any]) -> None:
        what = "the checkpoint of the training that diverged is discarded"
        self.screen.line(f"{self.name}: training begins anew with {values['file']}; {what}")

    def _epoch(self, values: Mapping[str, Any]) -> None:
        epoch, epochs = int(values["epoch"]), int(values.get("epochs", 0))
        self._trained_s += float(values.get("seconds", 0))
        self.screen.line(f"{self.name}: {epoch_text(values, self._trained_s / (epoch - self._before))}")
        if not self._steps:
            self.screen.now("training", epoch, epochs)

    def _step(self, values: Mapping[str, Any]) -> None:
        self._steps = True
        where, step, total = "", values["step"], values["total"]
        if "epochs" in values:
            epoch, epochs = values["epoch"], values["epochs"]
            steps = total // epochs
            where = f", epoch {epoch} of {epochs}, step {step - (epoch - 1) * steps:,} of {steps:,}"
        self.screen.now(f"training{where}", step, total)

    def _part(self, values: Mapping[str, Any]) -> None:
        self.screen.now(values["what"], values["done"], values["total"])


def epoch_text(values: Mapping[str, Any], usual_s: float) -> str:
    """One epoch as a line: its number, how long it took, how long the rest will at `usual_s` each, and its metrics.

    >>> epoch_text({"epoch": 3, "epochs": 10, "seconds": 2.5, "loss": 0.25, "val_accuracy": 0.9}, usual_s=2.0)
    'epoch  3/10  2.5 s  14 s left  loss 0.2500  val_accuracy 0.9000'
    """
    epoch, epochs = int(values["epoch"]), int(values.get("epochs", 0))
    parts = [f"epoch {epoch:>{len(str(epochs))}}/{epochs}" if epochs else f"epoch {epoch}"]
    if "seconds" in values:
        parts.append(duration(values["seconds"]))
        if epochs > epoch:
            parts.append(f"{duration(usual_s * (epochs - epoch))} left")
    parts += [f"{metric} {values[metric]:.4f}" for metric in SHOWN if metric in values]
    return "  ".join(parts)


class _Lines:
    """A stream that is no terminal: what is finished, a line each, for as long as somebody reads; a sign of life where
    nothing has been for long.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name, self.stream = name, stream
        self._said = time.monotonic()

    def line(self, text: str) -> None:
        self._said = time.monotonic()
        # A log that cannot be written must not end the work that it tells of.
        with suppress(OSError):
            print(text, file=self.stream, flush=True)

    def now(self, text: str, done: float, total: float) -> None:
        # A log has no line that changes.
        if text and total and time.monotonic() - self._said >= HEARTBEAT_S:
            self.line(f"{self.name}: {text}, {done / total:.0%} done")


@contextmanager
def _live(name: str, stream: TextIO) -> Iterator[Screen]:
    """A terminal: lines above one bar that moves, which goes away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=stream)
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(name, total=None)

        class Live:
            def line(self, text: str) -> None:
                console.print(text, markup=False, highlight=False)

            def now(self, text: str, done: float, total: float) -> None:
                if total and bars.tasks[0].total != total:
                    bars.reset(task)
                bars.update(task, description=text or name, completed=done, total=total or None)

        yield Live()
