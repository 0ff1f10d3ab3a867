"""Backends in processes of their own: frameworks never meet, load side by side, and may die alone.

The parent sends pickled calls of a backend's methods over the worker's standard input and reads pickled answers
from a pipe of its own, so that whatever a framework prints cannot disturb them. Both ends are this program.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from signal import SIGINT, Signals
from types import TracebackType
from typing import IO, Any, Self

from netspec.backend.registry import find_backend
from netspec.errors import BackendError, FolderError, NetspecError
from netspec.interrupt import held, listen
from netspec.memory import fits_together, give_back, values_bytes
from netspec.network import Network
from netspec.progress import Progress

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow announces its CPU features at import otherwise
    "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
    # JAX lets a GPU round what float32 multiplies to TensorFloat-32 otherwise.
    "JAX_DEFAULT_MATMUL_PRECISION": os.environ.get("JAX_DEFAULT_MATMUL_PRECISION", "float32"),
    "JAX_ENABLE_X64": os.environ.get("JAX_ENABLE_X64", "1"),  # without which JAX has no float64 at all
    # JAX takes three quarters of a GPU's memory at once otherwise.
    "XLA_PYTHON_CLIENT_PREALLOCATE": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),
    "PYTHONUNBUFFERED": "1",
}


LARGE_BYTES = 2**28
"""Values that took more are given back to the system; for less it is not worth the milliseconds."""
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class WorkerDied(BackendError):
    """The worker's process ended in the middle of a call."""


class WorkerFailed(BackendError):
    """The backend raised in the middle of a call; `details` is the traceback there."""

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message, details)  # what pickle gives back to __init__
        self.message, self.details = message, details

    def __str__(self) -> str:
        return self.message


class Worker:
    """A process that holds one backend and answers calls of its methods, one at a time.

    `backend` is a registered name, or `module:attribute` of a backend object. The process starts at once, so that
    its framework loads while the caller goes on; `environment` is added to this process's own.
    """

    def __init__(self, backend: str, environment: dict[str, str] | None = None) -> None:
        self.backend = backend
        self._lock = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker, closed in close()
        answers, theirs = os.pipe()
        with held():
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from netspec.backend.worker import main; main()", backend, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=(theirs,),
                env={**os.environ, **ENVIRONMENT, **(environment or {})},
            )
        os.close(theirs)
        self._answers: IO[bytes] = os.fdopen(answers, "rb")

    @property
    def pid(self) -> int:
        """The process's identifier."""
        return self._process.pid

    def call(self, method: str, progress: Progress | None = None, **arguments: Any) -> Any:
        """Call a method of the backend and wait for what it returns.

        `progress` receives the events that the method reports, when it takes a `progress` argument. Raises the
        netspec errors that the method raised, WorkerFailed for any other, WorkerDied when the process ended.
        """
        with self._lock:
            try:
                assert self._process.stdin is not None
                pickle.dump((method, arguments, progress is not None), self._process.stdin, protocol=5)
                self._process.stdin.flush()
                while True:
                    kind, content = pickle.load(self._answers)  # noqa: S301 - written by our own child process
                    if kind == "event" and progress is not None:
                        event, values = content
                        progress(event, **values)
                    elif kind == "answer":
                        return content
                    elif kind == "error":
                        raise content
            except (BrokenPipeError, EOFError, pickle.UnpicklingError) as error:
                raise WorkerDied(self._obituary()) from error

    def _obituary(self) -> str:
        status = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read()[-2000:].decode(errors="replace").strip()
        if status < 0:
            named = {each.value: each.name for each in signal.Signals}
            how = f"was killed by {named.get(-status, f'signal {-status}')}"  # those for real time have no names
            if -status == signal.SIGKILL:
                how += " (out of memory?)"
        else:
            how = f"ended with status {status}"
        lines = "\n    ".join(said.splitlines()[-8:])
        return f"the {self.backend} worker {how}" + (f"; it last said:\n    {lines}" if lines else "")

    def interrupt(self, by: Signals = SIGINT) -> None:
        """Ask the call under way to end where nothing is lost, and say which signal asks for it."""
        self._process.send_signal(by)

    def kill(self) -> None:
        """End the process at once; a call under way in another thread ends with WorkerDied."""
        self._process.kill()

    def close(self) -> None:
        """End the process and let go of all that belongs to it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):  # what was left in the buffer has no reader any more
                self._process.stdin.close()
        self._answers.close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def within(worker: Worker, limit_s: float | None) -> Iterator[None]:
    """A worker that is still at work after so many seconds is killed: the call raises WorkerDied, which says so."""
    if limit_s is None:
        yield
        return
    ended = threading.Event()

    def end() -> None:
        ended.set()
        worker.kill()

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except WorkerDied:
        if ended.is_set():
            raise WorkerDied(f"it was not done after {limit_s:g} seconds, and was ended") from None
        raise
    finally:
        timer.cancel()


def serve(name: str, answers: IO[bytes]) -> None:
    """Answer calls from standard input until it ends."""

    def send(kind: str, content: Any) -> None:
        pickle.dump((kind, content), answers, protocol=5)
        answers.flush()

    def report(event: str, **values: Any) -> None:
        send("event", (event, values))

    try:
        backend = _load(name)
    except NetspecError as error:
        backend = error
    while True:
        try:
            method, arguments, listens = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent process
        except EOFError:
            return
        if isinstance(backend, NetspecError):
            send("error", backend)
            continue
        try:
            extra = {"progress": report} if listens else {}
            send("answer", getattr(backend, method)(**arguments, **extra))
        except NetspecError as error:
            send("error", error)
        except Exception as error:  # noqa: BLE001 - whatever a framework raises is the caller's to report
            if isinstance(error, OSError) and error.errno in UNWRITABLE:
                send("error", FolderError(f"the {name} backend could not write: {error.strerror}"))
                continue
            import traceback

            summary = f"the {name} backend failed in {method}: {type(error).__name__}: {error}"
            send("error", WorkerFailed(summary, traceback.format_exc()))
        finally:
            _let_go(arguments)


def _let_go(arguments: dict[str, Any]) -> None:
    """Hold no weights, values or model of a large network until the next call: other processes need the memory."""
    network, inputs = arguments.get("network"), arguments.get("inputs")
    samples = max(map(len, inputs.values()), default=0) if isinstance(inputs, dict) else 0
    arguments.clear()
    if isinstance(network, Network) and (not fits_together(network) or values_bytes(network, samples) > LARGE_BYTES):
        gc.collect()  # frameworks' models refer to themselves in circles
        give_back()


def _load(name: str) -> Any:
    if ":" not in name:
        return find_backend(name)
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


def end_with_parent() -> None:
    """Let this process end when the one that started it does, as where that was killed.

    A pipe between them would be gone then, but a call under way would go on writing until it is done.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """The worker's own program: the backend's name and the pipe for answers are its arguments."""
    end_with_parent()
    listen()
    serve(sys.argv[1], os.fdopen(int(sys.argv[2]), "wb"))
