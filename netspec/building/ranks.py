"""Processes that share a training: the first builds, the others only train, and end with it."""

from __future__ import annotations

import threading
from signal import SIGTERM, Signals
from typing import Any

from netspec.backend import Distributed, find_backend
from netspec.backend.worker import Worker
from netspec.building.options import Options
from netspec.errors import BackendError
from netspec.interrupt import ended_by, on_signals
from netspec.outcome import Outcome
from netspec.spec.model import Spec
from netspec.training.history import StoppedError
from netspec.training.ranks import Place


def check_trainer(spec: Spec, options: Options, place: Place) -> None:
    """Raise BackendError where processes cannot share the training."""
    if options.train and spec.train is not None and not isinstance(find_backend(options.trainer), Distributed):
        raise BackendError(
            f"the {options.trainer} backend trains in one process, and there are {place.size}\n"
            "  hint: --backend torch, or start it without torchrun"
        )


def join(spec: Spec, options: Options, place: Place) -> Outcome:
    """Train with the first process, where it trains, which has all that comes of it.

    Raises BackendError where that ends before its time.
    """
    outcome = Outcome(options.folder / spec.name, joined=True)
    if not options.train or spec.train is None:
        return outcome
    with Worker(options.trainer) as worker:
        met, asked = threading.Event(), threading.Event()

        def interrupt(by: Signals) -> None:
            if met.is_set() and (by == SIGTERM or not asked.is_set()):
                # All end after the same step. Who presses Ctrl-C again does not want to wait.
                asked.set()
                worker.interrupt(by)
                return
            worker.kill()
            raise ended_by(by)

        def progress(event: str, **_: Any) -> None:
            if event == "joined":
                met.set()

        with on_signals(interrupt):
            try:
                worker.call("join", progress=progress, device=options.device)
            except StoppedError as stopped:
                raise StoppedError(f"rank {place.rank} stopped with the others", stopped.by) from stopped
    return outcome
