"""What is here: the versions and devices of every registered backend, each asked in a process of its own."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from netspec import __version__
from netspec.backend.registry import find_backend, installed_backends
from netspec.backend.worker import Worker
from netspec.errors import BackendError


def examine() -> dict[str, Any]:
    """`{"netspec", "python", "platform", "backends": {name: {"installed", "versions", "devices", "problem"}}}`."""
    names = installed_backends()
    # Whoever ends this before it is done waits for the threads, and these for the workers: they end first.
    with ThreadPoolExecutor(max(1, len(names))) as threads, ExitStack() as closing:
        begun = [_begin(name, closing) for name in names]
        backends = dict(zip(names, threads.map(_devices, begun), strict=True))
    return {
        "netspec": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "backends": backends,
    }


def _begin(name: str, closing: ExitStack) -> tuple[dict[str, Any], Worker | None]:
    """What is known of a backend without asking it, and its process, which loads the framework; None without one."""
    found: dict[str, Any] = {"installed": False, "versions": {}, "devices": [], "problem": None}
    try:
        found["versions"] = dict(find_backend(name).versions())
    except BackendError as error:
        return {**found, "problem": str(error)}, None
    return found, closing.enter_context(Worker(name))


def _devices(begun: tuple[dict[str, Any], Worker | None]) -> dict[str, Any]:
    found, worker = begun
    if worker is None:
        return found
    try:
        return {**found, "devices": list(worker.call("devices")), "installed": True}
    except BackendError as error:
        return {**found, "problem": str(error)}
