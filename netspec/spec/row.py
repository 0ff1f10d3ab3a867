"""One row of the layer table, as it was written: nothing is defaulted, no kind is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netspec.errors import Position, Problem
from netspec.notation import Call, Value

OWN_OPTIONS = ("from", "repeat", "when", "frozen")
"""The options that every row has, whatever its kind."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row in any of its notations.

    `size` are the positional values of the size cell, `options` everything that is named, by the names as written.
    `cells` says where each part stands: `type`, `name`, `size`, `activation`, and every option by its name.
    """

    type: str
    name: str | None = None
    label: str | None = None
    size: tuple[Value, ...] = ()
    options: Mapping[str, Value] = field(default_factory=dict)
    activation: str | Call | None = None
    text: str = ""
    path: str = ""
    position: Position | None = field(default=None, compare=False)
    cells: Mapping[str, Position] = field(default_factory=dict, compare=False)
    problem: Problem | None = None
    """Why the row cannot be read; `compile` reports it beside whatever is wrong with the other rows."""

    def place(self, cell: str | None) -> Position | None:
        """Where a cell stands, or the row when the cell is not written."""
        return self.cells.get(cell or "", self.position)
