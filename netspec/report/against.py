"""What `netspec verify --against` found out of files that others made: the verdict, the rows, the reason."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from netspec.report.cause import cause_lines, set_lines
from netspec.report.columns import aligned
from netspec.report.verdict import error_text, exceeds, ratio_text
from netspec.verify.result import AgainstVerdict, FileVerdict, Symptom

ROWS_SHOWN = 30
"""More rows than these are left out, but for those around the first that differs."""


def against_text(verdict: AgainstVerdict, spec: str, options: Sequence[str] = ()) -> str:
    """The verdict on every file; `spec` is the file of the spec and `options` are those that were given beside the
    files, word by word, for commands that show it again.
    """
    texts = []
    for file in verdict.files:
        again = shlex.join(["netspec", "verify", spec, "--against", file.file, *options])
        texts.append("\n".join(_file_lines(verdict.network, file, again)))
    if len(verdict.files) > 1:
        texts.append("\n".join(_summary(verdict.files)))
    return "\n\n".join(texts)


def _summary(files: Sequence[FileVerdict]) -> Iterator[str]:
    """A line for each of several files."""
    yield "All files"
    lines = ([state_of(file), file.file, ", ".join(_reasons(file)) or "-"] for file in files)
    yield from (f"  {line}" for line in aligned([["", "file", "what it does instead"], *lines]))


def _reasons(file: FileVerdict) -> list[str]:
    """What the file does instead, and where, as far as that was found out."""
    causes = [file.cause, *(each.cause for each in file.further)]
    found = [f"{cause.name} at row {cause.row!r}" for cause in causes if cause is not None]
    return found or ([f"first at row {file.first_row!r}"] if file.first_row else [])


def state_of(file: FileVerdict) -> str:
    """The verdict on a file in one word or two."""
    return "EQUAL" if file.passed else "NOT EQUAL" if file.differs else "NOT PROVEN"


def _file_lines(network: str, file: FileVerdict, command: str) -> Iterator[str]:
    name = Path(file.file).name
    said = {
        "EQUAL": f"{name} computes {network}",
        "NOT EQUAL": f"{name} does not compute {network}" + "".join(f": {each}" for each in _reasons(file)[:1]),
        "NOT PROVEN": f"{name} {_unproven(file, network)}" if file.failures else "",
    }
    state = state_of(file)
    yield f"{state}. {said[state]}"
    if file.runtime is not None:
        yield f"  run by   {file.runtime}"
    if file.weights is not None:
        yield f"  weights  {file.weights}"
    yield from (f"  note     {note}" for note in file.notes)
    if file.outputs:
        yield ""
        yield f"Outputs, the worst of {len(file.samples)} inputs, as a share of what rounding may cost"
        rows = [
            [each.output, each.port, error_text(each.measure), ratio_text(each.measure) + "!" * exceeds(each.measure)]
            for each in file.outputs
        ]
        yield from (f"  {line}" for line in aligned([["output", "in the file", "error", "share"], *rows], right=(2, 3)))
    if file.rows and all(row.passed for row in file.rows):
        most = max(file.rows, key=lambda row: row.measure.ratio or 0.0).measure
        yield f"  {len(file.rows)} rows whose values it shows agree too, at most {ratio_text(most)}"
    elif file.rows:
        yield ""
        yield from _rows(file)
    if not file.passed:
        yield ""
        yield from _failures(file, command)


def _unproven(file: FileVerdict, network: str) -> str:
    """Why nothing of a file was compared, or not all of it."""
    if file.outputs:
        return f"computes {network}, but for what cannot be told from it"
    said: dict[Symptom, str] = {"file": "was refused", "weights": "was not run: its weights are not those of the rows"}
    return said.get(file.failures[-1].symptom, "did not answer")


def _rows(file: FileVerdict) -> Iterator[str]:
    """The rows that the file shows; of many those up to the first that differs, and the next."""
    wrong = next((place for place, row in enumerate(file.rows) if not row.passed), len(file.rows) - 1)
    start = max(0, wrong + 2 - ROWS_SHOWN)
    shown = file.rows[start : start + ROWS_SHOWN]
    yield f"Rows whose values were found in it ({len(file.rows)})"
    if start:
        yield f"  the {start} before these agree"
    lines = [
        [
            row.row if row.whole else f"{row.row}, before its activation",
            row.value,
            ratio_text(row.measure) + "!" * (not row.passed),
        ]
        for row in shown
    ]
    yield from (f"  {line}" for line in aligned([["row", "in the file", "share"], *lines], right=(2,)))
    if left := len(file.rows) - start - len(shown):
        yield f"  and {left} more"


def _failures(file: FileVerdict, command: str) -> Iterator[str]:
    for failure in file.failures:
        place = f" at row {failure.row!r}" if failure.row else ""
        first, *rest = failure.message.splitlines() or [""]
        yield f"{failure.symptom}{place} ({failure.stage}): {first}"
        yield from (f"  {line}" for line in rest)
    if file.alone is False:
        yield f"row {file.first_row!r} is right for what the file computed before it: it carries on smaller errors"
    if file.cause is not None:
        yield from cause_lines(file.cause)
    for each in file.further:
        yield f"row {each.row!r} is wrong as well, for what the file computed before it"
        if each.cause is not None:
            yield from cause_lines(each.cause)
    causes = [file.cause, *(each.cause for each in file.further)]
    yield from set_lines([cause for cause in causes if cause is not None], command)
    # The same again would say the same of weights that cannot be told.
    told = any(failure.symptom == "weights" for failure in file.failures)
    yield f"again: {command}{' --weights FILE' if told else ''}"
