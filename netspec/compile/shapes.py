"""The shapes of the rows so far, found out when a cell first computes with one: `input.channels`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netspec.compile.fields import FieldProblems, read_row
from netspec.compile.fit import check_arity, check_rank
from netspec.compile.placed import Placed
from netspec.errors import LayerError
from netspec.layers import Layer
from netspec.tensors import TensorType

Defaults = Mapping[int, Mapping[type[Layer], Mapping[str, Any]]]
"""The fields that `defaults` gives each kind, by the id of the spec that says so."""


class Shapes:
    """The types of inputs and rows, by full name.

    Rows are looked at in their order and once each, no earlier than one of them is asked for: most specs never ask.
    """

    def __init__(self, inputs: Mapping[str, TensorType], defaults: Defaults) -> None:
        self.defaults = defaults
        self.types: dict[str, TensorType | None] = dict(inputs)
        self.waiting: list[Placed] = []

    def add(self, placed: Placed) -> None:
        """One more row; all that it reads are there."""
        self.waiting.append(placed)

    def of(self, name: str) -> TensorType | None:
        """The type of what a row or an input gives; None where it is not known, since it or a row above is wrong."""
        for placed in self.waiting:
            self.types[placed.name] = self._given(placed)
        self.waiting.clear()
        return self.types.get(name)

    def _given(self, placed: Placed) -> TensorType | None:
        types = tuple(given for source in placed.sources if (given := self.types.get(source)) is not None)
        if placed.waits is not None or len(types) < len(placed.sources):
            return None
        try:
            written = read_row(placed.row, self.defaults[id(placed.spec)], placed.spec.blocks)
            check_arity(written, placed.sources)
            check_rank(written, types)
            for layer in (written.layer, written.activation):
                if layer is not None:
                    types = (layer.resolve(types).output(types),)
        except (FieldProblems, LayerError):
            return None  # the walk along the rows says why
        return types[0]
