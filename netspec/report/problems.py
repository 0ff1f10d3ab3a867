"""What is wrong, for people and for programs: every problem with its place and hint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TextIO

from netspec.errors import NetspecError, Problem, SpecError

RED, BOLD, CYAN, PLAIN = "\x1b[31m", "\x1b[1m", "\x1b[36m", "\x1b[0m"


def problems_text(problems: Sequence[Problem], *, colour: bool = False) -> str:
    """The problems in their order, each with its place and hint, and a last line with their number."""
    lines = [_coloured(problem) if colour else str(problem) for problem in problems]
    count = len(problems)
    return "\n".join([*lines, "1 problem" if count == 1 else f"{count:,} problems"])


def error_text(error: NetspecError, *, colour: bool = False) -> str:
    """Any error: its problems where it holds some, else its message."""
    return problems_text(error.problems, colour=colour) if isinstance(error, SpecError) else f"netspec: {error}"


def error_json(error: NetspecError) -> dict[str, Any]:
    r"""Any error as plain data: `{"problems": [...]}`; one that holds no problems is one itself.

    >>> error_json(NetspecError("no space\n  hint: make some"))["problems"][0]["hint"]
    'make some'
    """
    if isinstance(error, SpecError):
        return {"problems": [_problem_json(problem) for problem in error.problems]}
    message, _, hint = str(error).partition("\n  hint: ")
    return {"problems": [_problem_json(Problem(message, hint or None))]}


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colour; NO_COLOR says that it does not (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _coloured(problem: Problem) -> str:
    place = "".join(f"{part}: " for part in (problem.position, problem.path) if part)
    text = f"{BOLD}{place}{PLAIN}{RED}{problem.message}{PLAIN}"
    return f"{text}\n  {CYAN}hint:{PLAIN} {problem.hint}" if problem.hint else text


def _problem_json(problem: Problem) -> dict[str, Any]:
    place = problem.position
    return {
        "message": problem.message,
        "hint": problem.hint,
        "path": problem.path,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
    }
