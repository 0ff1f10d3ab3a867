"""Pieces of the samples that are compared: as many at a time as fit into memory, each with its own reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netspec.memory import values_bytes
from netspec.network import Network
from netspec.reference.table import Array, Values
from netspec.tensors import Precision
from netspec.verify.budget import budget, gate
from netspec.verify.compare import Comparison, compare
from netspec.verify.gates import FLOAT64_UNIT

PIECE_BYTES = 2 * 2**30
"""What the values of a piece may take where they are compared, unless a single sample takes more."""


@dataclass(frozen=True)
class Piece:
    """Some of the samples, one behind the other."""

    start: int
    count: int
    inputs: Mapping[str, Array]


@dataclass(frozen=True)
class Reference:
    """What the reference computes for a piece, and how far rounding may lead away from it."""

    values: Mapping[str, Values]
    """The value of every row."""
    predicted: Mapping[str, Values]
    """The L2 error that float32 rounding is predicted to cause there, for every sample."""
    predicted_double: Mapping[str, Values] | None = None
    """The same of float64 rounding, where it is not in proportion."""

    def compare(self, row: str, measured: Mapping[str, Array], precision: Precision, count: int) -> Comparison:
        """A row's value for the first `count` samples, among what a backend gave for all rows."""
        if row not in measured:
            return Comparison(float("inf"), 0.0, float("inf"), 0, "shape", "the backend gives no value for this row")
        values = self.values[row][:count]
        return compare(values, measured[row], self._granted(row, precision, count))

    def _granted(self, row: str, precision: Precision, count: int) -> Values:
        """The largest L2 error of every sample at a row."""
        values, predicted = self.values[row][:count], self.predicted[row][:count]
        if precision == "float32":
            return budget(values, predicted)
        if self.predicted_double is not None:
            return gate(values, self.predicted_double[row][:count], FLOAT64_UNIT)
        return gate(values, predicted)


def piece_samples(network: Network, samples: int) -> int:
    """How many of so many samples are compared at a time."""
    return max(1, min(samples, PIECE_BYTES // max(values_bytes(network, 1), 1)))


def in_pieces(network: Network, inputs: Mapping[str, Array]) -> Sequence[Piece]:
    """The samples of every input, in pieces."""
    samples = len(next(iter(inputs.values())))
    size = piece_samples(network, samples)
    return [
        Piece(start, min(size, samples - start), {name: batch[start : start + size] for name, batch in inputs.items()})
        for start in range(0, samples, size)
    ]
