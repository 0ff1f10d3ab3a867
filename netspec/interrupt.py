"""The signals that ask a process to end: in one that trains a wish to do so where nothing is lost, no exception."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM, Signals

SIGNALS = (SIGINT, SIGTERM)
"""Ctrl-C, and what SLURM, Kubernetes, systemd and `kill` send before they end a process by force."""


class Stop(threading.Event):
    """Set once the work under way should end; `by` is the signal that said so."""

    by: Signals = SIGINT


STOP = Stop()
"""The wish of this process."""


class Terminated(KeyboardInterrupt):
    """SIGTERM where there is nothing to wait for: it ends the work as Ctrl-C does."""


def ended_by(number: Signals, *said: str) -> KeyboardInterrupt:
    """What to raise where a signal ends the work at once.

    >>> ended_by(SIGTERM, "in the middle")
    Terminated('in the middle')
    """
    return Terminated(*said) if number == SIGTERM else KeyboardInterrupt(*said)


def status_of(number: Signals) -> int:
    """The exit status of a program that a signal ended, as shells have it.

    >>> status_of(SIGINT), status_of(SIGTERM)
    (130, 143)
    """
    return 128 + number


def listen() -> None:
    """Take the signals of this process as that wish, from now on, and those that `held` held back."""

    def wish(number: int, *_: object) -> None:
        STOP.by = Signals(number)
        STOP.set()

    for number in SIGNALS:
        signal.signal(number, wish)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def held() -> Iterator[None]:
    """A process that is started inside is sent no signal before it does `listen`: it would end with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def on_signals(handler: Callable[[Signals], None]) -> Iterator[None]:
    """The signals call `handler` inside, where this is the thread that they come to."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda number, _: handler(Signals(number))) for number in SIGNALS}
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)
