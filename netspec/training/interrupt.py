"""Ctrl-C in a process that trains: a wish to end where nothing is lost, not an exception in the middle of a step."""

from __future__ import annotations

import signal
import threading

STOP = threading.Event()
"""Set once the work under way should end."""


def listen() -> None:
    """Take the interrupts of this process as that wish, from now on."""
    signal.signal(signal.SIGINT, lambda *_: STOP.set())
