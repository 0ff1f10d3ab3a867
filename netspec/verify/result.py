"""What verification found, as plain values: per backend and per row the counts, the errors and what was granted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

Stage = Literal["compile", "render", "build", "run", "compare"]
Symptom = Literal["crash", "unsupported", "shape", "count", "value", "not finite", "file"]
UNANSWERED: frozenset[Symptom] = frozenset({"crash", "unsupported"})
"""The symptoms of a backend that gave nothing to compare."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Measure(_Result):
    """How far a value is from the reference, at the sample that fares worst."""

    error: float | None
    """Relative L2 error of that sample (absolute where the reference is zero); null when there is none to state."""
    granted: float
    """The largest error that is granted there: the gate in float64, the budget in float32."""
    ratio: float | None
    """The error over what is granted: 1 at most."""
    sample: str
    """The input: `normal 1`, `ramp`, `zeros`, ..."""


class Failure(_Result):
    """One thing that went wrong: at which stage, with which symptom, at which row when it is one row's."""

    stage: Stage
    symptom: Symptom
    message: str
    row: str | None = None


class RowVerdict(_Result):
    """One row of one backend."""

    row: str
    kind: str
    passed: bool
    trainable: int
    non_trainable: int
    counted: tuple[int, int] | None
    """(trainable, non-trainable) numbers in the backend's own artefact; null where it was not asked."""
    float64: Measure | None
    float32: Measure | None


class ArtefactVerdict(_Result):
    """One exported file, loaded afresh by its stock library."""

    file: str
    passed: bool
    output: Measure | None
    """Its output for the network's own weights, in float32."""


class BackendVerdict(_Result):
    """One backend."""

    backend: str
    passed: bool
    rows: tuple[RowVerdict, ...]
    artefacts: tuple[ArtefactVerdict, ...]
    failures: tuple[Failure, ...]
    first_row: str | None = None
    """The first row that diverges."""
    alone: bool | None = None
    """Whether that row diverges even when given the reference's own input; if not, it carries on earlier errors."""

    @property
    def differs(self) -> bool:
        """Whether something was compared and found to be wrong."""
        return any(failure.symptom not in UNANSWERED for failure in self.failures)

    @property
    def unproven(self) -> bool:
        """Whether it failed without differing: it crashed, or has no rule, before everything could be compared."""
        return not self.passed and not self.differs


class Verdict(_Result):
    """The whole verification."""

    network: str
    passed: bool
    parameters: int
    trainable: int
    non_trainable: int
    samples: tuple[str, ...]
    backends: tuple[BackendVerdict, ...]

    @property
    def differs(self) -> bool:
        """Whether a backend was found to compute something else."""
        return any(backend.differs for backend in self.backends)

    @property
    def unproven(self) -> bool:
        """Whether it failed for no other reason than that a backend did not answer."""
        return not self.passed and not self.differs

    def to_json(self) -> str:
        """The verdict as a JSON document."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The verdict that `to_json` wrote."""
        return cls.model_validate_json(text)

    def summary(self) -> tuple[str, ...]:
        """One line a backend: that it agrees, or its first failure."""
        return tuple(_summary(backend, len(self.samples)) for backend in self.backends)


def _summary(verdict: BackendVerdict, samples: int) -> str:
    if verdict.passed:
        ratios = [row.float32.ratio for row in verdict.rows if row.float32 and row.float32.ratio is not None]
        most = f", at most {max(ratios):.0%} of what rounding may cost" if ratios else ""
        return f"{verdict.backend}: {len(verdict.rows)} rows agree on {samples} samples{most}"
    first = next((found for found in verdict.failures if found.row == verdict.first_row), verdict.failures[0])
    place = f" at row {first.row!r}" if first.row else ""
    return f"{verdict.backend}: {first.symptom}{place} ({first.stage}): {first.message}"
