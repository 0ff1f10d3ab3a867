"""Judge one backend: hold its answers against the reference, row by row, and name the first that diverges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netspec.errors import BackendError
from netspec.network import Network, Row
from netspec.reference.table import Array, Values
from netspec.tensors import Precision
from netspec.verify.budget import budget
from netspec.verify.compare import Comparison, compare
from netspec.verify.gather import Answers, Caller
from netspec.verify.isolated import Alone
from netspec.verify.result import ArtefactVerdict, BackendVerdict, Failure, Measure, RowVerdict


@dataclass(frozen=True)
class Standard:
    """What every backend is held against, beside the rows, which `gather` compares piece by piece."""

    network: Network
    samples: tuple[str, ...]
    """What each sample is called."""
    outputs: Mapping[str, Values]
    """The network's outputs with its own weights, for the samples that the artefacts are given."""
    outputs_predicted: Mapping[str, Values]
    alone: Callable[[Caller, str, Comparison, Precision], Alone]
    """A row of a backend, compared again where every row reads what the reference computed."""


@dataclass(frozen=True)
class _Judged:
    """One row: what was counted, and its comparisons where there are values."""

    row: Row
    counted: tuple[int, int] | None
    float64: Comparison | None
    float32: Comparison | None

    @property
    def miscounted(self) -> bool:
        return self.counted is not None and self.counted != (self.row.trainable, self.row.non_trainable)

    @property
    def diverges(self) -> Precision | None:
        """The precision in which the row's value is wrong, float64 first."""
        found: Mapping[Precision, Comparison | None] = {"float64": self.float64, "float32": self.float32}
        for precision, each in found.items():
            if each is not None and each.symptom is not None:
                return precision
        return None

    def verdict(self, samples: Sequence[str]) -> RowVerdict:
        return RowVerdict(
            row=self.row.name,
            kind=self.row.kind,
            passed=self.float64 is not None and self.float32 is not None and not (self.diverges or self.miscounted),
            trainable=self.row.trainable,
            non_trainable=self.row.non_trainable,
            counted=self.counted,
            float64=measure(self.float64, samples),
            float32=measure(self.float32, samples),
        )


def judge(name: str, backend: Caller, standard: Standard, answers: Answers) -> BackendVerdict:
    """Everything that a backend said, compared; it is asked again only where a row diverges."""
    judged = _rows(standard, answers)
    rows = tuple(found.verdict(standard.samples) for found in judged)
    first = next((found for found in judged if found.diverges), None)
    asked = _alone(backend, standard, first) if first and answers.alive else None
    alone = asked.found.symptom is not None if asked else None
    artefacts, artefact_failures = _artefacts(standard, answers)
    # Outputs that are exchanged are derived with each other's cotangents, which says nothing of rows that agree.
    exchanged = first is None and bool(artefact_failures) and _any_exchanged(standard, answers)
    failures = (
        *answers.failures,
        *_count_failures(standard, answers, judged),
        *([_divergence(first, standard.samples, alone)] if first else []),
        *(() if exchanged else answers.gradient_failures),
        *answers.weight_failures,
        *artefact_failures,
        *_file_failures(answers),
    )
    blamed = {failure.row for failure in failures}
    first_row = next((row.row for row in rows if row.row in blamed), None)
    return BackendVerdict(
        backend=name,
        passed=not failures,
        rows=rows,
        artefacts=artefacts,
        failures=failures,
        first_row=first_row,
        alone=alone if first and first.row.name == first_row else None,
        cause=asked.cause if asked and first and first.row.name == first_row else None,
    )


def measure(found: Comparison | None, samples: Sequence[str]) -> Measure | None:
    """A comparison as the verdict states it; a value without a shape or a number has no error to state."""
    if found is None:
        return None
    stated = found.symptom in (None, "value")
    return Measure(
        error=found.error if stated else None,
        granted=found.granted,
        ratio=found.ratio if stated and found.ratio < float("inf") else None,
        sample=samples[found.sample],
    )


def _rows(standard: Standard, answers: Answers) -> list[_Judged]:
    judged = []
    for row in standard.network.rows:
        counted = None if answers.counts is None else answers.counts.get(row.name, (0, 0))
        double, single = (answers.rows.get(each, {}).get(row.name) for each in ("float64", "float32"))
        judged.append(_Judged(row, counted, double, single))
    return judged


def _alone(backend: Caller, standard: Standard, first: _Judged) -> Alone | None:
    """A row that diverges, where every row reads what the reference computed; None when that cannot be asked."""
    precision = first.diverges
    assert precision is not None
    found = first.float64 if precision == "float64" else first.float32
    assert found is not None
    try:
        return standard.alone(backend, first.row.name, found, precision)
    except BackendError:
        return None


def _divergence(first: _Judged, samples: Sequence[str], alone: bool | None) -> Failure:
    found = first.float64 if first.diverges == "float64" else first.float32
    assert found is not None
    assert found.symptom is not None
    text = found.message
    if found.symptom == "value":
        text = (
            f"{first.diverges} error {found.error:.1e} for input {samples[found.sample]!r}, "
            f"granted {found.granted:.1e}; {found.message}"
        )
    if alone is False:
        text += "; given the reference's own input, the row agrees, so earlier errors are carried on"
    return Failure(stage="compare", symptom=found.symptom, message=text, row=first.row.name)


def _count_failures(standard: Standard, answers: Answers, judged: Sequence[_Judged]) -> Iterator[Failure]:
    for found in judged:
        if found.miscounted and found.counted is not None:
            has = f"{found.counted[0]:,} trained and {found.counted[1]:,} other weights"
            message = f"the artefact has {has}, inferred were {found.row.trainable:,} and {found.row.non_trainable:,}"
            yield Failure(stage="compare", symptom="count", message=message, row=found.row.name)
    known = {row.name for row in standard.network.rows}
    for name, counted in (answers.counts or {}).items():
        if name not in known:
            message = f"the artefact has {sum(counted):,} weights in {name!r}, which is no row"
            yield Failure(stage="compare", symptom="count", message=message)


def _file_failures(answers: Answers) -> Iterator[Failure]:
    for found in answers.differences or ():
        yield Failure(stage="compare", symptom="file", message=found)


def _artefacts(standard: Standard, answers: Answers) -> tuple[tuple[ArtefactVerdict, ...], list[Failure]]:
    """Every exported file's outputs for the network's own weights, in float32.

    A level of optimisation is judged where it may be what makes the difference: a file that is wrong is so at each.
    """
    found = [_artefact(standard, *each) for each in (answers.outputs or {}).items()]
    if all(verdict.passed for verdict, _ in found):
        found += [_artefact(standard, *each) for each in answers.levels.items()]
    failures = [failure for _, failure in found if failure is not None]
    if answers.outputs is not None and not answers.outputs:
        failures.append(Failure(stage="build", symptom="crash", message="no exported file could be run"))
    return tuple(verdict for verdict, _ in found), failures


def _artefact(standard: Standard, file: str, outputs: Mapping[str, Array]) -> tuple[ArtefactVerdict, Failure | None]:
    """The file at the output that fares worst."""
    compared = {
        name: compare(expected, outputs[name], budget(expected, standard.outputs_predicted[name]))
        for name, expected in standard.outputs.items()
    }
    worst, found = max(compared.items(), key=lambda each: (each[1].symptom is not None, each[1].ratio))
    verdict = ArtefactVerdict(file=file, passed=found.symptom is None, output=measure(found, standard.samples))
    if found.symptom is None:
        return verdict, None
    which = f", output {worst!r}" if len(compared) > 1 else ""
    message = f"{file}, loaded afresh{which}: {found.message}"
    if found.symptom == "value":
        message += f" (error {found.error:.1e}, granted {found.granted:.1e})"
        message += _exchanged(standard, worst, outputs[worst])
    return verdict, Failure(stage="compare", symptom=found.symptom, message=message)


def _exchanged(standard: Standard, output: str, measured: Array) -> str:
    """That an output is what another one should be, where it is."""
    for other, expected in standard.outputs.items():
        granted = budget(expected, standard.outputs_predicted[other])
        if other != output and compare(expected, measured, granted).symptom is None:
            return f"; it is what output {other!r} should be: outputs are exchanged"
    return ""


def _any_exchanged(standard: Standard, answers: Answers) -> bool:
    """Whether an exported file gives one output in the place of another."""
    return any(
        _exchanged(standard, name, measured)
        for outputs in (answers.outputs or {}).values()
        for name, measured in outputs.items()
    )
