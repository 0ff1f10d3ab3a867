"""What the walk over the rows gives: every row in its place, with its full name and sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netspec.errors import Problem, Used
from netspec.notation import Value
from netspec.spec.model import Grouped, Spec
from netspec.spec.row import Row

INPUT, OUTPUT = "input", "output"
UNKNOWN = ""
"""The name of a row that could not be read: what reads it is checked by itself, but has no shape."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A row in its place: its full name, the rows or inputs that it reads, and nothing left to be computed."""

    name: str
    row: Row
    sources: tuple[str, ...]
    spec: Spec
    """The spec whose defaults it has."""
    frozen: bool = False
    used: tuple[Used, ...] = ()
    """The rows that used the blocks it stands in, the innermost first."""
    absent: tuple[tuple[str, str], ...] = ()
    """The rows it names that are left out, each with the full name of what stands for it."""
    known: Mapping[str, Value] = field(default_factory=dict)
    """The parameters and variables that it could name."""
    waits: Problem | None = None
    """Why it cannot be told what it is: a cell computes with a shape that is not known."""


@dataclass(frozen=True, slots=True)
class Unrolled:
    """All rows of a spec, the blocks that they were, and the row that each output is."""

    rows: tuple[Placed, ...]
    uses: Mapping[str, Grouped]
    outputs: Mapping[str, str]
