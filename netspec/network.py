"""The typed graph between compile and render: frozen, topological, every edge typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from netspec.errors import Position

if TYPE_CHECKING:
    from netspec.layers.base import Layer, Weight
    from netspec.tensors import TensorType


@dataclass(frozen=True, slots=True)
class Node:
    """One layer applied to named values; its own name is the name of its result.

    `layer` is resolved: every default is an explicit field. `weights` carry full names
    (`conv_1.kernel`). `row` is the row of the table that the node came from: an activation in
    a row's cell is a node of its own in the same row. `text` is that row as it was written.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    input_types: tuple[TensorType, ...]
    output: TensorType
    weights: tuple[Weight, ...]
    row: str
    frozen: bool = False
    """Whether it is not trained: its weights stay, and its running statistics neither move nor follow the batch."""
    text: str = ""
    position: Position | None = field(default=None, compare=False)

    @property
    def input_type(self) -> TensorType:
        """The type of the first (mostly the only) input."""
        return self.input_types[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one sample."""
        return self.layer.macs(self.input_types, self.output)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table as the network has it: one node, or a layer and its activation."""

    name: str
    nodes: tuple[Node, ...]

    @property
    def output(self) -> TensorType:
        """The type of the row's result."""
        return self.nodes[-1].output

    @property
    def result(self) -> str:
        """The name of the value that the row computes."""
        return self.nodes[-1].name

    @property
    def kind(self) -> str:
        """The canonical kind of the row's layer."""
        return self.nodes[0].layer.kind

    @property
    def trainable(self) -> int:
        """How many numbers are trained."""
        return sum(weight.size for node in self.nodes for weight in node.weights if weight.trainable)

    @property
    def non_trainable(self) -> int:
        """How many numbers are kept but not trained."""
        return sum(weight.size for node in self.nodes for weight in node.weights if not weight.trainable)

    @property
    def parameters(self) -> int:
        """All of its numbers."""
        return self.trainable + self.non_trainable

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one sample."""
        return sum(node.macs for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Use:
    """A block at work: the row of the table that used it became the rows whose names begin with `name` and a dot.

    Those rows stand side by side in the network. They read `inputs`, values from outside, which they call by `names`,
    and of their values only `result` is read outside. `parameters` are those of the block, in its order, with the
    values of this use.
    """

    name: str
    block: str
    parameters: Mapping[str, Any]
    inputs: tuple[str, ...]
    names: tuple[str, ...]
    result: str
    about: str = ""
    """What the block is, in words; they change nothing."""


@dataclass(frozen=True)
class Network:
    """A whole network: named inputs, nodes in an order in which they can be computed, named outputs.

    `outputs` has the name of each output with that of the value that it is. `uses` are the blocks at work, outer
    ones before those inside of them; they say how the rows belong together and change nothing of what they compute.
    """

    name: str
    inputs: Mapping[str, TensorType]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    about: str = ""
    classes: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: another thread may compute one of the properties below while this one pickles."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    @cached_property
    def digest(self) -> str:
        """sha256 over all that gives the network its meaning: shapes, kinds, fields, names; no comments, no places."""
        import hashlib
        import json

        content = [
            [self.name, {name: list(given.shape) for name, given in self.inputs.items()}, list(self.classes)],
            *(
                [node.name, node.row, list(node.inputs), node.layer.kind, node.layer.plain(), *[True] * node.frozen]
                for node in self.nodes
            ),
            dict(self.outputs),
            *(
                [use.name, use.block, repr(use.parameters), list(use.inputs), list(use.names), use.result]
                for use in self.uses
            ),
        ]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def types(self) -> Mapping[str, TensorType]:
        """The type of every named value."""
        return {**self.inputs, **{node.name: node.output for node in self.nodes}}

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The nodes, gathered by the row they came from."""
        gathered: dict[str, list[Node]] = {}
        for node in self.nodes:
            gathered.setdefault(node.row, []).append(node)
        return tuple(Row(name, tuple(nodes)) for name, nodes in gathered.items())

    @cached_property
    def named(self) -> Mapping[str, tuple[Row, ...]]:
        """By the name of every row, that row, and by that of every block at work, the rows in it; the last is the
        result.
        """
        inside: dict[str, list[Row]] = {use.name: [] for use in self.uses}
        for row in self.rows:
            for use in self.holding(row.name):
                inside[use.name].append(row)
        found: dict[str, tuple[Row, ...]] = {row.name: (row,) for row in self.rows}
        for use in self.uses:
            found[use.name] = tuple(sorted(inside[use.name], key=lambda row: row.result == use.result))
        return found

    @cached_property
    def _uses(self) -> Mapping[str, Use]:
        return {use.name: use for use in self.uses}

    def holding(self, row: str) -> Iterator[Use]:
        """The blocks at work that a row stands in, the outermost first."""
        dots = (at for at, sign in enumerate(row) if sign == ".")
        yield from (self._uses[row[:at]] for at in dots if row[:at] in self._uses)

    @cached_property
    def consumers(self) -> Mapping[str, tuple[str, ...]]:
        """For every value, the nodes that read it, in order."""
        readers: dict[str, list[str]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node.name)
        return {name: tuple(found) for name, found in readers.items()}

    @property
    def input_type(self) -> TensorType:
        """The type of the only (or first) input."""
        return next(iter(self.inputs.values()))

    @property
    def output_type(self) -> TensorType:
        """The type of the only (or first) output."""
        return self.types[self.output]

    @property
    def output(self) -> str:
        """The name of the value that is the only (or first) output."""
        return next(iter(self.outputs.values()))

    @property
    def results(self) -> frozenset[str]:
        """The names of all values that are outputs."""
        return frozenset(self.outputs.values())

    @property
    def layers(self) -> int:
        """How many layers a network analyser counts: inputs, layers, activations and outputs."""
        return len(self.inputs) + len(self.nodes) + len(self.outputs)

    def weights(self) -> Iterator[Weight]:
        """Every weight of the network, in order."""
        for node in self.nodes:
            yield from node.weights

    @property
    def trainable(self) -> int:
        """How many numbers are trained."""
        return sum(weight.size for weight in self.weights() if weight.trainable)

    @property
    def non_trainable(self) -> int:
        """How many numbers are kept but not trained."""
        return sum(weight.size for weight in self.weights() if not weight.trainable)

    @property
    def parameters(self) -> int:
        """All of its numbers."""
        return self.trainable + self.non_trainable

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one sample."""
        return sum(node.macs for node in self.nodes)
