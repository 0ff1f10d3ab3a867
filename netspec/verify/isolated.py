"""A row that is given the reference's own input: whether it is wrong by itself, and what it does instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from netspec.network import Network
from netspec.reference.table import Array
from netspec.tensors import Precision
from netspec.verify.budget import budget, gate
from netspec.verify.causes import explain
from netspec.verify.causes.explain import Granted
from netspec.verify.compare import Comparison
from netspec.verify.gather import Caller
from netspec.verify.pieces import Piece, Reference
from netspec.verify.result import Cause

GRANTED: Mapping[Precision, Granted] = {"float64": gate, "float32": budget}


class Alone(NamedTuple):
    """How far a row is from the reference where it reads what the reference computed, and why."""

    found: Comparison
    cause: Cause | None


def ask_alone(
    backend: Caller,
    network: Network,
    weights: Mapping[str, Array],
    piece: Piece,
    reference: Reference,
    row: str,
    precision: Precision,
) -> Alone:
    """Ask a backend for a row once more, all rows reading what the reference computed for the piece."""
    given: dict[str, Any] = {"network": network, "weights": weights, "inputs": piece.inputs, "precision": precision}
    measured = backend.call("run", **given, feed=reference.values)
    found = reference.compare(row, measured, precision, piece.count)
    if found.symptom is None or row not in measured:
        return Alone(found, None)
    results = {each.result: each.name for each in network.rows}
    [nodes] = (each.nodes for each in network.rows if each.name == row)
    own = {node.name for node in nodes}
    read = {name for node in nodes for name in node.inputs if name not in own}
    # The backend has rounded what it was given.
    inputs = {
        name: np.asarray(reference.values[results[name]] if name in results else piece.inputs[name], precision)
        for name in read
    }
    return Alone(found, explain(network, nodes, weights, inputs, measured[row], GRANTED[precision], found.sample))
