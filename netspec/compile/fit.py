"""A row against the types of what it reads: whether they fit, and the node that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netspec.compile.fields import Written
from netspec.errors import LayerError
from netspec.layers import Layer
from netspec.layers.base import AXES
from netspec.network import Node
from netspec.tensors import TensorType

FLAT = "Reshape gives a flat vector its axes back"


def make_node(
    name: str,
    layer: Layer,
    inputs: tuple[str, ...],
    types: tuple[TensorType, ...],
    row: str | None = None,
    *,
    frozen: bool = False,
) -> Node:
    """A layer, resolved against the types of its inputs, as a node; raises LayerError when they do not fit."""
    resolved = layer.resolve(types)
    output = resolved.output(types)
    weights = tuple(
        replace(weight, name=f"{name}.{weight.name}", trainable=weight.trainable and not frozen)
        for weight in resolved.weights(types)
    )
    return Node(name, resolved, inputs, types, output, weights, row or name, frozen)


def check_arity(written: Written, sources: Sequence[str]) -> None:
    """Raise LayerError where a row reads more values than its layer takes, or fewer; `sources` are their names."""
    least, most = written.layer.arity
    if len(sources) < least or (most is not None and len(sources) > most):
        takes = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        inputs = f"{takes} input{'' if takes == '1' else 's'}"
        reads = "reads only the row above" if len(sources) == 1 else f"reads {len(sources)}: {', '.join(sources)}"
        hint = "name them: from=[left, right]" if least > 1 else "Add, Multiply or Concat make one value of several"
        raise LayerError(f"{written.layer.kind} takes {inputs}, but {reads}", hint, "from")


def check_rank(written: Written, given: Sequence[TensorType]) -> None:
    """Raise LayerError where a row's kind says how many axes there are, and its input has others."""
    if written.rank is not None and given and written.rank != given[0].rank - 1:
        raise LayerError(
            f"{written.row.type} is for {AXES[written.rank]}, but its input is {given[0]}",
            hint=f"{written.layer.kind} takes any number of axes" if given[0].rank > 1 else FLAT,
        )
