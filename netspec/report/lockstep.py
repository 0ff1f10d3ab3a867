"""The training in lock-step, for people: how far the backends went together, and what differs first."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from netspec.report.columns import aligned, share_text
from netspec.report.markup import html_table
from netspec.verify.result import LockstepVerdict, difference_text

DIFFERENCES_SHOWN = 5
HEADER = ["value", "float64", "float32"]
UNIT = "the largest errors, as a share of what is granted: 100% is the limit"
HINTS = {
    "loss": "compare the loss and its options, the regulariser, and what the loss reads",
    "gradient": "the backward pass differs: compare the rows that read this weight, and frozen rows",
    "statistic": "compare how running statistics move: momentum, and a variance over n or n - 1",
    "slot": "compare the optimiser's constants, decay and clipping: what it keeps is wrong, before any weight is",
    "weight": "compare the optimiser's last step: epsilon, bias corrections, the learning rate",
}


def lockstep_state(found: LockstepVerdict) -> str:
    """What came out, in a clause."""
    if found.passed:
        return f"training agrees for {found.steps:,} updates"
    if found.differs:
        return f"training differs after update {found.agreed + 1:,}"
    return "training was not compared to its end"


def lockstep_lines(found: LockstepVerdict) -> Iterator[str]:
    """The kinds of values with their errors, then what differs or failed and what to do about it."""
    yield f"Training in lock-step: {title(found)}"
    yield f"  {UNIT}"
    yield from (f"  {line}" for line in aligned([HEADER, *rows(found)], right=(1, 2)))
    if found.synchronised:
        yield f"  not compared, for their gradient is zero but for rounding: {', '.join(found.synchronised)}"
    for each in found.differences[:DIFFERENCES_SHOWN]:
        yield f"  {difference_text(each)}"
    if found.differences:
        yield f"  hint: {HINTS[found.differences[0].quantity]}"
    for failure in found.failures:
        yield f"  {failure.symptom} ({failure.stage}): {failure.message}"


def title(found: LockstepVerdict) -> str:
    """What was trained, how long, and what came of it."""
    how = f"{found.loss}, {found.optimizer}, {found.schedule}"
    together = f"{found.agreed:,} of {found.steps:,} updates agree"
    return f"{' and '.join(found.backends)} with {how}: {together}"


def rows(found: LockstepVerdict) -> list[list[str]]:
    """One line for each kind of value: the largest error as a share of what is granted, in both precisions."""
    kinds = [kind for kind in HINTS if kind in found.float64 or kind in found.float32]
    return [[kind, _share(found.float64.get(kind)), _share(found.float32.get(kind))] for kind in kinds]


def lockstep_section(found: LockstepVerdict | None) -> str:
    """The same as a part of the page; nothing where training was not asked for."""
    if found is None:
        return ""
    last = "".join(f"<p>{escape(line.strip())}</p>" for line in list(lockstep_lines(found))[3 + len(rows(found)) :])
    note = (
        "<p>Every backend took the same updates from the same weights, on the same batches with the same dropout "
        "masks. In float64 each went on from its own state, held against the other and against the reference's "
        "formulas; in float32 each update began from the float64 state, and is granted what rounding may cost. "
        f"Shown are {UNIT}.</p>"
    )
    table = html_table(HEADER, rows(found), right=(1, 2))
    return f"<h3>Training in lock-step</h3>\n<p>{escape(title(found))}</p>\n{note}\n{table}\n{last}\n"


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else share_text(ratio)
