"""The verdict as part of the page: a box, then every row on every backend with bars of error over budget."""

from __future__ import annotations

from html import escape

from netspec.report.gradients import gradients_section
from netspec.report.lockstep import lockstep_section
from netspec.report.markup import html_table
from netspec.report.verdict import (
    counts_differ,
    error_text,
    exceeds,
    failure_lines,
    ratio_text,
    state_text,
    verdict_line,
)
from netspec.verify.result import Measure, RowVerdict, Verdict


def verdict_section(verdict: Verdict) -> str:
    """The section of a page that says whether the backends are equal, and by how much."""
    kind = "verdict" if verdict.passed else "verdict failed"
    failed = (backend for backend in verdict.backends if not backend.passed)
    failures = "".join("<pre>" + escape("\n".join(failure_lines(backend))) + "</pre>" for backend in failed)
    note = (
        "<p>The rows were computed with weights that bring mistakes to light, the exported files with their own. "
        f"Each error is relative, and the worst of these inputs: {escape(', '.join(verdict.samples))}. "
        "A float32 bar is the share of what rounding may cost in this network: a full one has used all of it.</p>"
    )
    return (
        f'<section>\n<h2>Verification</h2>\n<div class="{kind}">{escape(verdict_line(verdict))}{failures}</div>\n'
        f"{note}\n{_rows(verdict)}\n{_artefacts(verdict)}\n{gradients_section(verdict.gradients)}{lockstep_section(verdict.lockstep)}</section>"
    )


def _rows(verdict: Verdict) -> str:
    """One line a row, as the text has it; two columns a backend."""
    backends = [backend for backend in verdict.backends if backend.rows]
    found = [{row.row: row for row in backend.rows} for backend in backends]
    header = ["row", "kind"]
    for backend in backends:
        name = escape(backend.backend)
        state = f'<span class="{"good" if backend.passed else "bad"}">{state_text(backend)}</span>'
        header += [f"{name} {state}<br>float64", "<br>float32"]
    kinds = {row.row: row.kind for rows in found for row in rows.values()}
    lines = [
        [f"<code>{escape(name)}</code>", escape(kind), *(cell for rows in found for cell in _cells(rows.get(name)))]
        for name, kind in kinds.items()
    ]
    return html_table(header, lines, right=range(2, 2 + 2 * len(backends), 2)) if lines else ""


def _cells(row: RowVerdict | None) -> tuple[str, str]:
    """The float64 error of a row (or the counts, when they are wrong) and its float32 bar."""
    if row is None:
        return "-", "-"
    if counts_differ(row) and row.counted is not None:
        counted, meant = (
            f"{trained:,} + {kept:,}" for trained, kept in (row.counted, (row.trainable, row.non_trainable))
        )
        return f'<span class="bad">{counted} weights instead of {meant}</span>', _bar(row.float32)
    return _marked(error_text(row.float64), exceeds(row.float64)), _bar(row.float32)


def _artefacts(verdict: Verdict) -> str:
    rows = [
        [
            f"<code>{escape(backend.backend)}/{escape(artefact.file)}</code>",
            _marked("agrees" if artefact.passed else "differs", not artefact.passed),
            error_text(artefact.output),
            _bar(artefact.output),
        ]
        for backend in verdict.backends
        for artefact in backend.artefacts
    ]
    header = ["exported file, loaded afresh", "output", "float32 error", "of what rounding may cost"]
    return f"<h3>Exported files</h3>\n{html_table(header, rows, right=(2,))}" if rows else ""


def _marked(text: str, bad: bool) -> str:
    return f'<span class="bad">{text}</span>' if bad else text


def _bar(measure: Measure | None) -> str:
    """How much of what is granted is used: a bar, and the share in words."""
    if measure is None:
        return "-"
    share = 1.0 if measure.ratio is None else min(measure.ratio, 1.0)
    over = " over" if exceeds(measure) else ""
    title = f"{error_text(measure)} of {measure.granted:.1e}, worst at {escape(measure.sample, quote=True)}"
    bar = f'<span class="bar{over}" title="{title}"><i style="width:{share:.1%}"></i></span>'
    return f"{bar} {ratio_text(measure)}"
