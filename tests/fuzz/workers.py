"""The backends that specs are asked about, each in a process that is kept between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from netspec.backend.worker import Worker, WorkerDied, within
from netspec.building.run import ON_CPU

ENVIRONMENT = {**ON_CPU, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Of the processes: networks as small as these are not worth a second thread."""
LIMIT_S = 300
"""How long a backend may take for one answer."""


class Asked:
    """A backend's process that is asked about one spec; it is ended where an answer takes too long."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self.died = worker, False

    def call(self, method: str, **arguments: Any) -> Any:
        """What the backend's method returns; raises WorkerDied where it does not."""
        try:
            with within(self._worker, LIMIT_S):
                return self._worker.call(method, **arguments)
        except WorkerDied:
            self.died = True
            raise


class Workers:
    """A process a backend, kept between specs; one that died, or has done `renew` specs, is replaced."""

    def __init__(self, backends: Sequence[str], renew: int = 200) -> None:
        self.backends, self.renew = tuple(backends), renew
        self._started: dict[str, Worker] = {}
        self._done = 0

    def worker(self, backend: str) -> Worker:
        """The process of a backend."""
        if backend not in self._started:
            self._started[backend] = Worker(backend, ENVIRONMENT)
        return self._started[backend]

    @contextmanager
    def lent(self, only: str = "") -> Iterator[Mapping[str, Asked]]:
        """The workers for one spec, or one of them."""
        if self._done >= self.renew:
            self.close()
        self._done += 1
        lent = {name: Asked(self.worker(name)) for name in self.backends if only in ("", name)}
        try:
            yield lent
        finally:
            for name, asked in lent.items():
                if asked.died:
                    self.drop(name)

    def drop(self, backend: str) -> None:
        """Let go of a worker that died."""
        self._started.pop(backend).close()

    def close(self) -> None:
        """End all of them."""
        for worker in self._started.values():
            worker.close()
        self._started, self._done = {}, 0
