"""For the tests of others: `assert_consistent("net.yaml")` fails where backends differ or an expectation is not met."""

from __future__ import annotations

import atexit
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from netspec.backend import ExportSettings, find_backend, installed_backends
from netspec.backend.worker import Worker, WorkerDied
from netspec.building.run import ON_CPU
from netspec.building.verify import real_images
from netspec.compile import compile_spec
from netspec.errors import BackendError, NetspecError, SpecError
from netspec.importing.initial import Start
from netspec.report.verdict import verify_text
from netspec.spec.load import load_spec
from netspec.spec.model import Spec, VerifySettings
from netspec.verify import verify
from netspec.verify.golden import check_golden
from netspec.verify.result import Verdict


class Prover:
    """Backends in processes that are kept between specs: a framework loads once for all of them."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    def prove(self, spec: Spec, backends: Sequence[str], seed: int | None = None) -> Verdict:
        """The verdict on artefacts that are exported for it, with the weights that a build would start with.

        Raises SpecError for a spec that is wrong, BackendError for a backend that is not installed.
        """
        network = compile_spec(spec)
        seed = (spec.train.seed if spec.train else 0) if seed is None else seed
        weights = Start(spec, network).weights(seed)
        for name in backends:
            find_backend(name)
        with tempfile.TemporaryDirectory(prefix="netspec-") as folder:
            exported = {
                "network": network,
                "weights": weights,
                "settings": spec.export or ExportSettings(),
            }
            callers = {name: _Exporting(self._worker(name), Path(folder) / name, exported) for name in backends}
            settings = spec.verify or VerifySettings()
            verdict = verify(network, weights, Path(folder), settings, callers, real_images(spec, network, network))
        for name in (name for name, caller in callers.items() if caller.died):
            self._workers.pop(name).close()
        return verdict

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = Worker(name, ON_CPU)
        return self._workers[name]

    def close(self) -> None:
        """End the processes."""
        while self._workers:
            self._workers.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Exporting:
    """A worker that writes its artefacts before it is asked anything about them."""

    def __init__(self, worker: Worker, folder: Path, exported: dict[str, Any]) -> None:
        self._worker, self._folder, self._exported = worker, folder, exported
        self._error: NetspecError | None = None
        self.died = False

    def call(self, method: str, **arguments: Any) -> Any:
        if self._error is not None:
            raise self._error
        try:
            if not self._folder.exists():
                self._folder.mkdir()
                try:
                    self._worker.call("export", folder=self._folder, **self._exported)
                except NetspecError as error:
                    self._error = error
                    raise
            return self._worker.call(method, **arguments)
        except WorkerDied:
            self.died = True
            raise


_SHARED = Prover()
atexit.register(_SHARED.close)


def available_backends() -> list[str]:
    """The registered backends whose libraries are installed."""
    found = []
    for name in installed_backends():
        try:
            find_backend(name)
        except BackendError:
            continue
        found.append(name)
    return found


def assert_consistent(
    path: str | Path,
    *,
    backends: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    variant: str | None = None,
) -> Verdict:
    """Assert that a spec is valid, meets its expectations, and that every backend computes what it means.

    `backends` are all that are installed unless they are named; `overrides` are `key=value` as `--set` takes them.
    Raises AssertionError with the problems of the spec, or with the verdict; BackendError where no backend, or not
    one that is named, is installed. Returns the verdict.
    """
    __tracebackhide__ = True
    chosen = available_backends() if backends is None else list(backends)
    if not chosen:
        raise BackendError("no backend is installed\n  hint: pip install 'netspec[all]'")
    try:
        spec = load_spec(path, overrides, variant)
        check_golden(spec, compile_spec(spec))
    except SpecError as error:
        raise AssertionError(str(error)) from None
    verdict = _SHARED.prove(spec, chosen)
    if not verdict.passed:
        changed = [word for each in overrides for word in ("--set", each)] + (["--variant", variant] if variant else [])
        raise AssertionError(verify_text(verdict, shlex.join(["netspec", "verify", spec.file, *changed])))
    return verdict
