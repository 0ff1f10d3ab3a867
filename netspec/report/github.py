"""What is wrong as annotations of GitHub Actions, which shows them at the lines of the spec."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.errors import NetspecError, Position, Problem, SpecError
from netspec.network import Network
from netspec.report.cause import cause_text
from netspec.verify.result import Verdict


def annotation(message: str, place: Position | None, title: str = "netspec") -> str:
    r"""One error, at a place where there is one.

    >>> annotation("100% wrong\nhint: do it right", Position("a,b.yaml", 3, 5))
    '::error file=a%2Cb.yaml,line=3,col=5,title=netspec::100%25 wrong%0Ahint: do it right'
    """
    where = {"file": place.file, "line": str(place.line), "col": str(place.column)} if place else {}
    properties = ",".join(f"{name}={_property(value)}" for name, value in (where | {"title": title}).items())
    return f"::error {properties}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def error_github(error: NetspecError) -> str:
    """Any error, an annotation for each of its problems."""
    if not isinstance(error, SpecError):
        return annotation(str(error), None)
    return "\n".join(annotation(_said(problem), problem.position) for problem in error.problems)


def _said(problem: Problem) -> str:
    said = f"{problem.path}: {problem.message}" if problem.path else problem.message
    return "\n".join([said, *problem.uses(), *([f"hint: {problem.hint}"] if problem.hint else [])])


def verdict_github(verdict: Verdict, network: Network, file: str) -> str:
    """Every failure of a verification, at the line of its row, or of the file where it is no row's."""
    return "\n".join(_failures(verdict, {row.name: row.nodes[0].position for row in network.rows}, file))


def _failures(verdict: Verdict, places: dict[str, Position | None], file: str) -> Iterator[str]:
    for backend in verdict.backends:
        for failure in backend.failures:
            place = places.get(failure.row or "") or Position(file, 1, 1)
            row = f"row {failure.row!r}: " if failure.row else ""
            cause = backend.cause
            why = f"\n{cause_text(cause)}" if cause is not None and cause.row == failure.row else ""
            yield annotation(f"{row}{failure.message}{why}", place, f"netspec: {backend.backend} {failure.symptom}")
