"""What is here: the versions and devices of every registered backend, each asked in a process of its own."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from netspec import __version__
from netspec.backend.registry import find_backend, installed_backends
from netspec.backend.worker import Worker
from netspec.errors import BackendError


def examine() -> dict[str, Any]:
    """`{"netspec", "python", "platform", "backends": {name: {"installed", "versions", "devices", "problem"}}}`."""
    names = installed_backends()
    with ThreadPoolExecutor(max(1, len(names))) as threads:
        backends = dict(zip(names, threads.map(_examine_backend, names), strict=True))
    return {
        "netspec": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "backends": backends,
    }


def _examine_backend(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"installed": False, "versions": {}, "devices": [], "problem": None}
    try:
        found["versions"] = dict(find_backend(name).versions())
        with Worker(name) as worker:
            found["devices"] = list(worker.call("devices"))
        found["installed"] = True
    except BackendError as error:
        found["problem"] = str(error)
    return found
