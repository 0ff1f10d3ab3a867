"""Plant every fact in turn, verify as a user would, and see whether it is found at its row."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from netspec.backend import ExportSettings
from netspec.backend.worker import Worker
from netspec.spec.model import VerifySettings
from netspec.training.settings import TrainSettings
from netspec.verify import verify
from netspec.verify.lockstep import lockstep
from netspec.verify.result import Verdict, difference_text
from netspec.weights import draw
from tests.mutations.facts import FACTS, Rulewise, Trainwise
from tests.mutations.specs import network

STEPS = 5
"""Updates in lock-step."""
SETTINGS = VerifySettings()


@dataclass(frozen=True)
class Finding:
    """What verification said of a planted fact."""

    fact: str
    backend: str
    section: str
    found: bool
    said: str


class Range:
    """Workers whose rules can be spoilt, with what they export while those are sound."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.folder = tempfile.TemporaryDirectory(prefix="netspec-mutations-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.close()
        self.folder.cleanup()

    def worker(self, backend: str) -> Worker:
        """The worker of a backend, started when it is first needed."""
        if backend not in self.workers:
            self.workers[backend] = Worker(f"tests.mutations.planted:{backend}")
        return self.workers[backend]

    def verdict(self, name: str, backend: str) -> Verdict:
        """The verdict on one backend, as its rules are now, by ordinary settings."""
        worker, network_ = self.worker(backend), network(name)
        weights = draw(network_, 4)
        folder = Path(self.folder.name) / name
        if not (folder / backend).exists():
            (folder / backend).mkdir(parents=True)
            exported: dict[str, Any] = {"network": network_, "weights": weights, "settings": ExportSettings()}
            worker.call("export", folder=folder / backend, **exported)
        return verify(network_, weights, folder, SETTINGS, {backend: worker})

    def find(self, name: str, backend: str) -> Finding:
        """Plant a fact, and verify."""
        fact = FACTS[name]
        if isinstance(fact, Rulewise):
            self.worker(backend).call("plant", fact=None)
            if not (Path(self.folder.name) / fact.network / backend).exists():
                sound = self.verdict(fact.network, backend)
                assert sound.passed, sound.summary()
        self.worker(backend).call("plant", fact=name)
        try:
            found, said = self._rule(fact, backend) if isinstance(fact, Rulewise) else self._training(fact, backend)
        finally:
            self.worker(backend).call("plant", fact=None)
        return Finding(name, backend, fact.section, found, said)

    def _rule(self, fact: Rulewise, backend: str) -> tuple[bool, str]:
        [verdict] = self.verdict(fact.network, backend).backends
        if verdict.passed:
            return False, "nothing was found"
        first = next((each for each in verdict.failures if each.row == verdict.first_row), verdict.failures[0])
        symptoms = {"gradient"} if fact.gradient else {"value", "shape", "not finite"}
        found = verdict.first_row == fact.row and first.symptom in symptoms
        return found, f"{first.symptom} at {verdict.first_row}: {first.message}"

    def _training(self, fact: Trainwise, backend: str) -> tuple[bool, str]:
        network_ = network("trained")
        workers = {name: self.worker(name) for name in ("torch", "keras")}
        settings = TrainSettings.model_validate(fact.training)
        found = lockstep(network_, draw(network_, 4), settings, STEPS, workers)
        if not found.differences:
            return False, found.failures[0].message if found.failures else "nothing was found"
        blamed = [each for each in found.differences if backend in (each.left, each.right)]
        named = not fact.found or any(fact.found in (each.name, each.quantity) for each in blamed)
        return bool(blamed) and named, difference_text(found.differences[0])


def score(chosen: Mapping[str, Rulewise | Trainwise], only: str = "") -> Iterator[Finding]:
    """The findings for these facts, on every backend that can be wrong so or on one."""
    with Range() as range_:
        order = sorted(chosen.items(), key=lambda item: getattr(item[1], "network", "trained"))
        for backend in ("torch", "keras", "onnx"):
            for name, fact in order:
                if backend in fact.backends and only in ("", backend):
                    yield range_.find(name, backend)
