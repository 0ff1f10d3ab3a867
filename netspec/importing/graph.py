"""Matching by the graph: two units are the same where all that leads to them and all that follows is the same.

Only units count, and how they are connected: layers without weights are looked through, so that an activation, a
dropout or a padding may be written in another way on the other side. Where values are put side by side or subtracted,
their order counts; where they are added, multiplied, ..., it does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from netspec.backend.stored import StoredLayer
from netspec.importing.units import Found, Signature, Unit, Wanted
from netspec.network import Network

ORDERED = frozenset({"Concat", "Subtract"})
"""The kinds of rows that tell their inputs apart."""


@dataclass(frozen=True, slots=True)
class Step:
    """A node or a layer: its units, the values it reads, and whether it matters which is which."""

    name: str
    units: Sequence[Unit[Any]]
    inputs: tuple[str, ...]
    ordered: bool


def network_steps(network: Network, units: Mapping[str, Sequence[Wanted]]) -> list[Step]:
    """The network's nodes."""
    return [
        Step(node.name, units.get(node.name, ()), node.inputs, node.layer.kind in ORDERED) for node in network.nodes
    ]


def stored_steps(layers: Sequence[StoredLayer], units: Mapping[str, Sequence[Found]]) -> list[Step] | None:
    """The file's layers, each after those that it reads; None where the file does not say what they read."""
    if any(layer.tensors and layer.inputs is None for layer in layers):
        return None
    known = {layer.name: layer for layer in layers}
    try:
        order = list(TopologicalSorter({name: layer.inputs or () for name, layer in known.items()}).static_order())
    except CycleError:  # a layer that is used twice
        return None
    return [
        Step(name, units.get(name, ()), known[name].inputs or (), known[name].ordered)
        for name in order
        if name in known
    ]


class Colours:
    """Numbers for what looks alike; two graphs that are compared share them."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Any, ...], int] = {}

    def of(self, *content: Any) -> int:
        """The number of this content, the same whenever it comes again."""
        return self._numbers.setdefault(content, len(self._numbers))


def paint(steps: Sequence[Step], sign: Callable[[Unit[Any]], Signature], colours: Colours) -> dict[Unit[Any], int]:
    """The colour of every unit: of its own signature, of what leads to it, and of what follows."""
    leads = _forward(steps, sign, colours)
    follows = _backward(steps, sign, colours, leads)
    return {unit: colours.of("unit", leads[unit], follows[unit]) for step in steps for unit in step.units}


Marks = dict[Any, int | None]


def _forward(steps: Sequence[Step], sign: Callable[[Unit[Any]], Signature], colours: Colours) -> Marks:
    """What leads to every value, by its name, and to every unit with itself."""
    marks: Marks = {}
    for step in steps:
        given = [marks.get(name, -1) for name in step.inputs]
        if merges(step, marks):
            here = colours.of("join", *given) if step.ordered else colours.of("merge", *sorted(set(given), key=repr))
        else:
            here = given[0] if given and given[0] is not None else -1
        for unit in step.units:
            here = marks[unit] = colours.of("after", sign(unit), here)
        marks[step.name] = here
    return marks


def _backward(steps: Sequence[Step], sign: Callable[[Unit[Any]], Signature], colours: Colours, leads: Marks) -> Marks:
    """What follows every unit; None where no unit does."""
    contexts: dict[str, set[int]] = defaultdict(set)
    marks: Marks = {}
    for step in reversed(steps):
        own = sorted(contexts[step.name])
        mark = None if not own else own[0] if len(own) == 1 else colours.of("both", *own)
        for unit in reversed(step.units):
            marks[unit] = mark
            mark = colours.of("before", sign(unit), mark)
        if mark is None:
            continue
        several = merges(step, leads)
        for place, name in enumerate(step.inputs):
            contexts[name].add(colours.of("into", mark, step.ordered and place) if several else mark)
    return marks


def merges(step: Step, leads: Marks) -> bool:
    """Whether a step brings different values together; x * sigmoid(x) does not."""
    different = len(step.inputs) if step.ordered else len({leads.get(name, -1) for name in step.inputs})
    return different > 1
