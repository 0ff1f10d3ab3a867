"""What is wrong, for people: every problem with its place and hint, then how many there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from netspec.errors import Problem

RED, BOLD, CYAN, PLAIN = "\x1b[31m", "\x1b[1m", "\x1b[36m", "\x1b[0m"


def problems_text(problems: Sequence[Problem], *, colour: bool = False) -> str:
    """The problems in their order, each with its place and hint, and a last line with their number."""
    lines = [_coloured(problem) if colour else str(problem) for problem in problems]
    count = len(problems)
    return "\n".join([*lines, "1 problem" if count == 1 else f"{count:,} problems"])


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colour; NO_COLOR says that it does not (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _coloured(problem: Problem) -> str:
    place = "".join(f"{part}: " for part in (problem.position, problem.path) if part)
    text = f"{BOLD}{place}{PLAIN}{RED}{problem.message}{PLAIN}"
    return f"{text}\n  {CYAN}hint:{PLAIN} {problem.hint}" if problem.hint else text
