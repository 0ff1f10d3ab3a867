"""Ask one backend for everything that is compared, and turn whatever goes wrong there into failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from netspec.errors import NetspecError, UnsupportedError, VerificationError
from netspec.network import Network
from netspec.reference.table import Array
from netspec.verify.result import Failure, Stage, Symptom
from netspec.worker import WorkerDied

T = TypeVar("T")


class Caller(Protocol):
    """A backend that is called by the names of its methods, wherever it runs."""

    def call(self, method: str, **arguments: Any) -> Any:
        """What the backend's method returns."""
        ...


@dataclass
class Answers:
    """What a backend said; None where it could not, and then `failures` says why."""

    failures: list[Failure] = field(default_factory=list)
    alive: bool = True
    differences: Sequence[str] | None = None
    """What is not as exported in the artefacts; where that cannot be told, they are asked nothing else."""
    counts: Mapping[str, tuple[int, int]] | None = None
    recovered: Mapping[str, Array] | None = None
    outputs: Mapping[str, Mapping[str, Array]] | None = None
    float64: Mapping[str, Array] | None = None
    float32: Mapping[str, Array] | None = None
    single: Mapping[str, Array] | None = None
    """The first sample in a batch of its own, in float32."""

    def ask(self, stage: Stage, question: Callable[[], T]) -> T | None:
        """The answer to a question, or None and a failure; a dead backend is asked no more."""
        if not self.alive:
            return None
        try:
            return question()
        except NetspecError as error:
            self.alive = not isinstance(error, WorkerDied)
            symptom: Symptom = "crash"
            if isinstance(error, UnsupportedError):
                stage, symptom = "render", "unsupported"
            elif isinstance(error, VerificationError):
                symptom = "file"
            failure = Failure(stage=stage, symptom=symptom, message=str(error))
            if failure.message not in [known.message for known in self.failures]:
                self.failures.append(failure)
            return None


def gather(
    backend: Caller, network: Network, folder: Path, inputs: Mapping[str, Array], biting: Future[dict[str, Array]]
) -> Answers:
    """What one backend has to say: of its artefacts in `folder`, and of every row with the biting weights."""
    answers = Answers()
    exported: dict[str, Any] = {"folder": folder, "network": network}
    answers.differences = answers.ask("build", lambda: backend.call("check_artefacts", **exported))
    if answers.differences is not None:
        answers.counts = answers.ask("build", lambda: backend.call("counts", **exported))
        answers.recovered = answers.ask("build", lambda: backend.call("read_weights", **exported))
        answers.outputs = answers.ask("run", lambda: backend.call("run_artefact", **exported, inputs=inputs))
    weights = biting.result()

    def run(precision: str, given: Mapping[str, Array]) -> Mapping[str, Array] | None:
        own: dict[str, Any] = {"network": network, "weights": weights, "inputs": given, "precision": precision}
        return answers.ask("run", lambda: backend.call("run", **own))

    answers.float64 = run("float64", inputs)
    answers.float32 = run("float32", inputs)
    answers.single = run("float32", {name: batch[:1] for name, batch in inputs.items()})
    return answers
