"""The verdict of a verification, for people: what came out, every row's errors, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.report.cause import cause_lines
from netspec.report.columns import aligned, share_text
from netspec.report.gradients import gradients_lines
from netspec.report.lockstep import lockstep_lines, lockstep_state
from netspec.verify.result import BackendVerdict, Measure, RowVerdict, Verdict

AGAIN = "netspec verify SPEC"
FAILURES_SHOWN = 5
WIDTH = 80
BARS = range(4, 11)
"""How short and how long a bar may be, in columns."""
BAR = "A bar is the worst of a row's errors; a full one has used all that is granted."
SILENT = "did not answer"
ADVICE = {
    "crash": "the message above says how it ended (killed: too little memory?); run again, or see `netspec doctor`",
    "unsupported": "choose another layer for this row, or leave this backend out with --targets",
    "shape": "the backend's result has another shape than the spec means: its rule for this kind of row is wrong",
    "count": "the backend keeps more or fewer weights than the spec means: compare its source with `netspec show`",
    "weights": "the file's weights are not those of the rows: --weights or --mapping say which they are",
    "value": "compare this row in the emitted source with its meaning: padding, epsilon, order of axes, activation",
    "file": "an exported file was changed, is damaged or is missing: `netspec build` writes it anew",
    "gradient": "what this row derives, or computes in training, is wrong: is a value taken for a constant?",
    "not finite": "a value overflowed: are the inputs scaled, and the weights finite?",
}
LEGEND = (
    "f64: relative error in float64. f32: error in float32, as a share of what",
    "rounding may cost here. The worst of {samples} inputs; ! marks what is not granted.",
    "Rows run with weights that bring mistakes to light, exported files with their own.",
)


def verify_text(verdict: Verdict, again: str = AGAIN, earlier: str | None = None, width: int = WIDTH) -> str:
    """The verdict, then the errors of every row on every backend, then what failed and what to do about it.

    `again` is the command that shows it again; `earlier` says of a verdict that is repeated when it was made.
    The rows' bars are as long as `width` columns have room for.
    """
    summary = (line.replace("\n", "\n    ") for line in verdict.summary())
    counts = f"  {verdict.parameters:,} parameters, {verdict.trainable:,} of them trainable"
    lines = [verdict_line(verdict, earlier)]
    if earlier is not None:
        lines.append("  nothing that it rests on has changed since; --force proves it anew")
    lines += [counts, *(f"  {line}" for line in summary), "", *_rows(verdict, width)]
    lines += [line.format(samples=len(verdict.samples)) for line in LEGEND]
    derived = gradients_lines(verdict.gradients) if verdict.gradients is not None else ()
    trained = lockstep_lines(verdict.lockstep) if verdict.lockstep is not None else ()
    for section in map(list, (_artefacts(verdict), derived, trained)):
        lines += ["", *section] if section else []
    if verdict.lockstep is not None and not verdict.lockstep.passed:
        lines.append(f"  again: {again} --train-steps {verdict.lockstep.steps}")
    for backend in verdict.backends:
        if not backend.passed:
            lines += ["", *failure_lines(backend, again)]
    return "\n".join(lines)


def verdict_line(verdict: Verdict, earlier: str | None = None) -> str:
    """The verdict in one sentence, and when it was made where that was by an `earlier` command."""
    good = [backend.backend for backend in verdict.backends if backend.passed]
    computing = f"{_listed(good)} {'compute' if len(good) > 1 else 'computes'} the spec"
    if verdict.passed:
        trained = f"; {lockstep_state(verdict.lockstep)}" if verdict.lockstep is not None else ""
        return f"{verdict.network}: EQUAL{f', {earlier}' if earlier else ''}. {computing}{trained}"
    differing = [backend.backend for backend in verdict.backends if backend.differs]
    silent = [backend.backend for backend in verdict.backends if backend.unproven]
    said = []
    if differing:
        said.append(f"{_listed(differing)} {'differ' if len(differing) > 1 else 'differs'}")
    if silent:
        said.append(f"{_listed(silent)} {SILENT}")
    if verdict.lockstep is not None and not verdict.lockstep.passed:
        said.append(lockstep_state(verdict.lockstep))
    said.append(computing if good else "none computes the spec" if differing else "nothing is proven")
    return f"{verdict.network}: {'NOT EQUAL' if verdict.differs else 'NOT PROVEN'}. {'; '.join(said)}"


def state_text(backend: BackendVerdict) -> str:
    """What came out for a backend, as a verb: `agrees`, `differs`, `did not answer`."""
    return "agrees" if backend.passed else "differs" if backend.differs else SILENT


def failure_lines(backend: BackendVerdict, again: str = AGAIN) -> Iterator[str]:
    """What failed on a backend, where it begins, why, and what to do."""
    yield f"{backend.backend} {state_text(backend)}" + (
        f", first at row {backend.first_row!r}" if backend.first_row else ""
    )
    for failure in backend.failures[:FAILURES_SHOWN]:
        place = f" at row {failure.row!r}" if failure.row else ""
        first, *rest = failure.message.splitlines() or [""]
        yield f"  {failure.symptom}{place} ({failure.stage}): {first}"
        yield from (f"    {line}" for line in rest)
    hidden = len(backend.failures) - FAILURES_SHOWN
    if hidden > 0:
        yield f"  and {hidden} more in verify.json"
    if backend.alone is not None:
        row = f"row {backend.first_row!r}"
        yield (
            f"  {row} differs even when it is given the reference's own input, so the fault is in that row"
            if backend.alone
            else f"  {row} agrees when it is given the reference's own input, so it carries on what came before"
        )
    if backend.cause is not None:
        yield from (f"  {line}" for line in cause_lines(backend.cause))
    yield f"  again: {again} --targets {backend.backend}"
    for symptom in dict.fromkeys(failure.symptom for failure in backend.failures):
        if symptom in ("value", "not finite") and backend.cause is not None and backend.cause.known:
            continue  # what there is to look for has been found
        yield f"  hint: {ADVICE[symptom]}"


def error_text(measure: Measure | None) -> str:
    """The error of a measure: `2.1e-16`, or `lost` where there is no number."""
    if measure is None:
        return "-"
    return "lost" if measure.error is None else f"{measure.error:.1e}"


def ratio_text(measure: Measure | None) -> str:
    """The error of a measure as a share of what is granted: `34%`."""
    if measure is None:
        return "-"
    return "lost" if measure.ratio is None else share_text(measure.ratio)


def exceeds(measure: Measure | None) -> bool:
    """Whether a measure is more than what is granted."""
    return measure is not None and (measure.ratio is None or measure.ratio > 1)


def counts_differ(row: RowVerdict) -> bool:
    """Whether the backend counted other numbers of weights than the spec means."""
    return row.counted is not None and tuple(row.counted) != (row.trainable, row.non_trainable)


def _rows(verdict: Verdict, width: int) -> list[str]:
    """One line a row; two columns a backend, and a bar where there is room for it."""
    backends = [backend for backend in verdict.backends if backend.rows]
    if not backends:
        return []
    found = [{row.row: row for row in backend.rows} for backend in backends]
    names = list(dict.fromkeys(name for rows in found for name in rows))
    lines = [
        ["row", *(cell for backend in backends for cell in (backend.backend, ""))],
        ["", *("f64", "f32") * len(backends)],
        *([name, *(cell for rows in found for cell in _cells(rows.get(name)))] for name in names),
    ]
    first, second, *rest = aligned(lines, right=range(1, 1 + 2 * len(backends)))
    wide = max(map(len, (first, second, *rest)))
    length = min(width - wide - 2, BARS[-1])
    if length in BARS:
        bars = [bar([rows[name] for rows in found if name in rows], length) for name in names]
        rest = [f"{line.ljust(wide)}  {each}".rstrip() for line, each in zip(rest, bars, strict=True)]
        wide += 2 + length
        rest.append(BAR)
    return [first, second, "-" * wide, *rest]


def bar(rows: Sequence[RowVerdict], length: int) -> str:
    """How much of what is granted the worst error of a row takes, as a bar; nothing where nothing was measured."""
    measures = [measure for row in rows for measure in (row.float64, row.float32) if measure is not None]
    if not measures:
        return ""
    worst = max(1.0 if measure.ratio is None else measure.ratio for measure in measures)
    filled = min(round(worst * length), length)
    return "#" * filled + "." * (length - filled)


def _cells(row: RowVerdict | None) -> tuple[str, str]:
    if row is None:
        return "-", "-"
    if counts_differ(row):
        return "count!", ratio_text(row.float32)
    double, single = row.float64, row.float32
    return error_text(double) + "!" * exceeds(double), ratio_text(single) + "!" * exceeds(single)


def _artefacts(verdict: Verdict) -> list[str]:
    """Every exported file, with its own error."""
    rows = [
        [f"{backend.backend}/{artefact.file}", "agrees" if artefact.passed else "DIFFERS", ratio_text(artefact.output)]
        for backend in verdict.backends
        for artefact in backend.artefacts
    ]
    return ["Exported files, loaded afresh", *(f"  {line}" for line in aligned(rows, right=(2,)))] if rows else []


def _listed(names: list[str]) -> str:
    """Names as a sentence has them.

    >>> _listed(["torch", "keras", "onnx"])
    'torch, keras and onnx'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
