"""What is wrong as annotations of GitHub Actions, which shows them at the lines of the spec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netspec.errors import NetspecError, Position, Problem, SpecError
from netspec.network import Network
from netspec.report.cause import cause_text
from netspec.verify.result import (
    AgainstVerdict,
    BackendVerdict,
    Cause,
    Failure,
    FileVerdict,
    LockstepVerdict,
    Verdict,
    difference_text,
)


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
    found = [line for backend in verdict.backends for line in _backend(backend, network, file)]
    if verdict.lockstep is not None:
        found += _lockstep(verdict.lockstep, network, file)
    return "\n".join(found)


def against_github(verdict: AgainstVerdict, network: Network, spec: str) -> str:
    """Every failure of the files that others made, at the line of its row in the spec, or of the spec."""
    return "\n".join(line for file in verdict.files for line in _file(file, network, spec))


def _backend(backend: BackendVerdict, network: Network, file: str) -> Iterator[str]:
    for failure in backend.failures:
        cause = backend.cause if backend.cause is not None and backend.cause.row == failure.row else None
        title = f"netspec: {backend.backend} {failure.symptom}"
        yield annotation(_told(failure, cause), _place(network, failure.row, file), title)


def _file(file: FileVerdict, network: Network, spec: str) -> Iterator[str]:
    name = Path(file.file).name
    for failure in file.failures:
        row = failure.row or file.first_row
        title = f"netspec: {name} {failure.symptom}"
        yield annotation(_told(failure, file.cause), _place(network, row, spec), title)
    for each in file.further:
        why = f": {cause_text(each.cause)}" if each.cause is not None else ""
        message = f"row {each.row!r} is wrong as well, for what the file computed before it{why}"
        yield annotation(message, _place(network, each.row, spec), f"netspec: {name} value")


def _lockstep(found: LockstepVerdict, network: Network, file: str) -> Iterator[str]:
    rows = {weight.name: node.row for node in network.nodes for weight in node.weights}
    for each in found.differences:
        place = _place(network, rows.get(each.name.split(",")[0]), file)
        yield annotation(difference_text(each), place, f"netspec: training {each.quantity}")
    for failure in found.failures:
        yield annotation(
            _told(failure, None), _place(network, failure.row, file), f"netspec: training {failure.symptom}"
        )


def _told(failure: Failure, cause: Cause | None) -> str:
    row = f"row {failure.row!r}: " if failure.row else ""
    return f"{row}{failure.message}" + (f"\n{cause_text(cause)}" if cause is not None else "")


def _place(network: Network, row: str | None, file: str) -> Position:
    """The line of a row in the spec, or the first one."""
    places = {each.name: each.nodes[0].position for each in network.rows}
    return places.get(row or "") or Position(file, 1, 1)
