"""Why a row is wrong, for people: the sentence, both formulas side by side, and how to see it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.verify.result import Cause


def cause_lines(cause: Cause) -> Iterator[str]:
    r"""The cause in a few lines, with the formula that the spec means above the one that was found.

    >>> cause = Cause(row="norm", name="another epsilon", says="epsilon is 1e-05, not 0.001",
    ...               spec="x / sqrt(v + 0.001)", found="x / sqrt(v + 1e-05)", known=True,
    ...               ratio=0.02, fields={"epsilon": "1e-05"})
    >>> print("\n".join(cause_lines(cause)))
    cause: another epsilon at row 'norm': epsilon is 1e-05, not 0.001
      the spec means  x / sqrt(v + 0.001)
      what came out   x / sqrt(v + 1e-05)
      which gives the measured values within rounding: 2% of what that may cost is left
    """
    if not cause.known:
        yield f"seen at row {cause.row!r}: {cause.name}: {cause.says}"
        yield f"  the spec means  {cause.spec}"
        yield f"  what came out   {cause.found}"
        return
    yield f"cause: {cause.name} at row {cause.row!r}: {cause.says}"
    yield f"  the spec means  {cause.spec}"
    yield f"  what came out   {cause.found}"
    yield f"  which gives the measured values within rounding: {cause.ratio or 0:.0%} of what that may cost is left"


def cause_text(cause: Cause) -> str:
    """The cause in one sentence."""
    return f"{cause.name}: {cause.says}"


def set_lines(causes: Sequence[Cause], command: str) -> Iterator[str]:
    """The command that shows that the file computes the spec once that says otherwise, where it can say all of it.

    `command` is the one that found the causes.
    """
    if causes and all(cause.fields and "." not in cause.row for cause in causes):  # a block's row is every use's
        sets = [f"--set '{_set(cause.row, *field)}'" for cause in causes for field in cause.fields.items()]
        yield f"  the spec would mean it with: {command} {' '.join(sets)}"


def _set(row: str, field: str, value: str) -> str:
    return f"layers.{row}.{field}={value}"
