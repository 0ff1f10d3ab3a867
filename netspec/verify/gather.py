"""Ask one backend for everything that is compared, and turn whatever goes wrong there into failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from netspec.backend.worker import WorkerDied
from netspec.errors import NetspecError, UnsupportedError, VerificationError
from netspec.network import Network
from netspec.reference.table import Array
from netspec.tensors import Precision
from netspec.training.stepping import Gradients
from netspec.verify.compare import Comparison
from netspec.verify.pieces import Piece, Reference
from netspec.verify.recovered import weight_failures
from netspec.verify.result import Failure, Stage, Symptom

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
    weight_failures: Sequence[Failure] = ()
    """What is wrong with the weights that were read back from the artefacts."""
    outputs: Mapping[str, Mapping[str, Array]] | None = None
    """Those of every exported file."""
    levels: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    """The same of files that were run with less optimisation, by the file's name and the level."""
    rows: dict[Precision, dict[str, Comparison]] = field(default_factory=dict)
    """How far every row is from the reference at the sample that fares worst, where the backend could run."""
    gradients: Sequence[Gradients] = ()
    """What the backend derived, where it does."""
    gradient_failures: Sequence[Failure] = ()
    """What is wrong with that."""

    @property
    def derives(self) -> bool:
        """Whether it derived, and computes what it should: what differs already is derived differently."""
        exact = self.rows.get("float64", {}).values()
        return bool(self.gradients) and all(found.symptom is None for found in exact)

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


def ask_artefacts(
    backend: Caller,
    network: Network,
    weights: Mapping[str, Array],
    folder: Path,
    inputs: Mapping[str, Array],
    turn: AbstractContextManager[Any],
    *,
    levels: bool,
) -> Answers:
    """What one backend has to say, inside `turn`, of its artefacts in `folder`, which carry these weights.

    With `levels` they are run at every level of optimisation that its runtime has.
    """
    answers = Answers()
    exported: dict[str, Any] = {"folder": folder, "network": network}
    with turn:
        answers.differences = answers.ask("build", lambda: backend.call("check_artefacts", **exported))
        if answers.differences is not None:
            answers.counts = answers.ask("build", lambda: backend.call("counts", **exported))
            recovered = answers.ask("build", lambda: backend.call("read_weights", **exported))
            if recovered is not None:
                answers.weight_failures = list(weight_failures(network, weights, recovered))
            answers.outputs = answers.ask("run", lambda: backend.call("run_artefact", **exported, inputs=inputs))
            if levels and answers.outputs is not None:
                answers.levels = answers.ask("run", lambda: backend.call("run_levels", **exported, inputs=inputs)) or {}
    return answers


def ask_rows(
    backend: Caller,
    answers: Answers,
    network: Network,
    weights: Mapping[str, Array],
    piece: Piece,
    reference: Future[Reference],
    turn: AbstractContextManager[Any],
) -> None:
    """Every row of one backend for a piece of the samples, in both precisions, compared at once and let go.

    Inside `turn` the backend computes and its values are held; the reference is awaited there.
    """

    def run(precision: Precision, count: int) -> None:
        given = {name: batch[:count] for name, batch in piece.inputs.items()}
        own: dict[str, Any] = {"network": network, "weights": weights, "inputs": given, "precision": precision}
        with turn:
            values = answers.ask("run", lambda: backend.call("run", **own))
            if values is None:
                answers.rows.pop(precision, None)
                return
            found = answers.rows.setdefault(precision, {})
            for row in network.rows:
                compared = reference.result().compare(row.name, values, precision, count)
                compared = replace(compared, sample=piece.start + compared.sample)
                known = found.get(row.name)
                found[row.name] = compared if known is None else max(known, compared, key=lambda each: each.ratio)

    precisions: tuple[Precision, ...] = ("float64", "float32")
    for precision in precisions:
        if piece.start == 0 or precision in answers.rows:  # what failed for one piece is not asked for the next
            run(precision, piece.count)
    if piece.start == 0 and piece.count > 1 and "float32" in answers.rows:
        run("float32", 1)
