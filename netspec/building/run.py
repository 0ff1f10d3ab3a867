"""One build under way: what its stages share, and its way to stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from signal import SIGTERM, Signals
from threading import Thread
from typing import TYPE_CHECKING, Any, NoReturn, Self

from netspec import __version__
from netspec.backend import Backend
from netspec.backend.worker import Worker
from netspec.building.options import BACKENDS, Options
from netspec.compile.pixels import exported_network
from netspec.importing.initial import Start
from netspec.interrupt import ended_by, on_signals
from netspec.memory import fits_together
from netspec.outcome import Outcome
from netspec.progress import Progress
from netspec.spec.model import VerifySettings
from netspec.storage.stages import WEIGHTS, BuildFolder
from netspec.weights import load

if TYPE_CHECKING:
    from netspec.tensors import Weights

# Verification judges arithmetic, so it runs where float32 is float32: on the CPU (a GPU's TF32 has 10 bits). Each of
# the backends and the reference has its share of the cores: threads that wait for others in turns take them away.
SHARE = str(max(1, (os.cpu_count() or 1) // (len(BACKENDS) + 1)))
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": SHARE, "OPENBLAS_NUM_THREADS": SHARE}
# TensorFlow's allocator for oneDNN keeps whatever memory it once had (4 GiB for VGG-16, 1.2 GiB without it).
SPARING = {"TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "0")}


class Run(AbstractContextManager["Run"]):
    """One build under way: its stages share the network, the folder and the workers."""

    def __init__(
        self,
        start: Start,
        options: Options,
        settings: VerifySettings,
        backends: Mapping[str, Backend],
        folder: BuildFolder,
        progress: Progress,
    ) -> None:
        self.start, self.options, self.verified, self.backends = start, options, settings, backends
        spec, network = self.spec, self.network = start.spec, start.network
        self.exported = exported_network(spec, network)
        self.folder, self.progress = folder, progress
        self.outcome = Outcome(folder.path)
        self.workers: dict[str, Worker] = {}
        self.training: Worker | None = None
        """The worker that trains, while it does."""
        self.asked: Signals | None = None
        """The signal that asked the training to end."""
        self._closing = ExitStack()
        self.libraries = {name: dict(backend.versions()) for name, backend in backends.items()}
        self.versions = {"netspec": __version__}
        for versions in self.libraries.values():
            self.versions |= versions
        folder.facts = {"name": spec.name, "network": network.digest, "versions": self.versions}
        if Path(spec.file).is_file():
            folder.facts["spec"] = os.path.relpath(Path(spec.file).resolve(), folder.path.resolve())

    def __enter__(self) -> Self:
        self._closing.enter_context(on_signals(self._interrupt))
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _interrupt(self, by: Signals) -> None:
        if self.training is not None and (by == SIGTERM or self.asked is None):
            # It ends after the step under way, with a checkpoint. Who presses Ctrl-C again does not want to wait; a
            # scheduler that sends SIGTERM again, as to every process of a group, means no more by it.
            first, self.asked = self.asked is None, self.asked or by
            self.training.interrupt(by)
            if first:
                # Who shows progress may hold a lock in this thread, which a signal's handler would wait for in vain.
                Thread(target=self.progress, args=["stopping"], kwargs={"by": by.name}, daemon=True).start()
            return
        self._end(by)

    def _end(self, by: Signals) -> NoReturn:
        # Threads wait for the workers, and the interpreter waits for the threads: nothing ends before they do.
        for worker in list(self.workers.values()):
            worker.kill()
        raise ended_by(by, "what is done is kept, and the same command goes on from there")

    def trained(self) -> None:
        """Let go of the training, which has a checkpoint of its end; end here where it was asked to end too late."""
        self.training = None
        if self.asked is not None:
            self._end(self.asked)

    def worker(self, name: str, environment: dict[str, str] = ON_CPU) -> Worker:
        """The process of a backend, started when it is first asked for."""
        if name not in self.workers:
            if environment is ON_CPU and not fits_together(self.network):
                environment = {**SPARING, **ON_CPU}
            self.workers[name] = self._closing.enter_context(Worker(name, environment))
        return self.workers[name]

    def stage(
        self,
        name: str,
        key: str | Callable[[], str],
        work: Callable[[Path], None],
        *,
        facts: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        stale: bool = False,
        durable: bool = False,
    ) -> None:
        """Run a stage unless it is current and not forced; one that runs anyway may know its key only at its end.

        `facts` may be known only at the end too. What is `durable` is on the disk afterwards, whatever happens to the
        machine.
        """
        anyway = stale or self.options.forces(name)
        if not anyway and self.folder.current(name, key if isinstance(key, str) else key()):
            self.progress("current", stage=name)
            return
        self.progress("stage", stage=name)
        with self.folder.stage(name, key, facts, durable=durable) as partial:
            work(partial)
        self.outcome.ran.append(name)
        self.progress("done", stage=name)

    @property
    def near(self) -> Path:
        """The folder that the spec lies in."""
        return Path(self.spec.file).parent

    @cached_property
    def weights(self) -> Weights:
        """The weights of the folder, once their stage has run."""
        return load(self.folder.path / WEIGHTS, self.network)

    @property
    def weights_digest(self) -> str:
        """The sha256 of the weights' file, which their stage has just written or looked at."""
        return self.folder.stages["weights"].files[WEIGHTS]
