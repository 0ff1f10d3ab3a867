"""What a document means, worked out without netspec's compiler: the rows that blocks, repeats and conditions leave.

Only the single layer is netspec's own (its fields, its shape rule): the compiler's result is held against this walk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.layers import ALIASES, Activation, Layer, PReLU, fold
from netspec.layers.activation import ARGUMENTS
from netspec.layers.base import field_named
from netspec.network import TensorType
from tests.fuzz.document import Act, Block, Document, Name, Row, Value, compute

POWERS = ("Multiply", "Dot")


@dataclass(frozen=True)
class Given:
    """A value: its type, and as which power of the input it may grow."""

    type: TensorType
    power: int = 1


@dataclass
class Walk:
    """The rows so far, in all: how many, how many numbers they keep, what they cost."""

    blocks: Mapping[str, Block]
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    rows: int = 0
    trainable: int = 0
    others: int = 0
    macs: int = 0
    largest: int = 0

    def body(self, rows: Sequence[Row], scope: dict[str, Given], names: Mapping[str, Value], frozen: bool) -> Given:
        """The result of the rows of one body; `scope` has what they may read, and gets what they are called."""
        above = next(iter(scope.values()))
        for row in rows:
            above = self.row(row, scope, above, names, frozen)
        return above

    def row(self, row: Row, scope: dict[str, Given], above: Given, names: Mapping[str, Value], frozen: bool) -> Given:
        """The result of one row; raises LayerError or ValueError for one that cannot be."""
        given = tuple(scope[name] for name in row.sources) or (above,)
        frozen = frozen or row.frozen
        if row.when is None or compute(row.when, names):
            for _ in range(1 if row.repeat is None else compute(row.repeat, names)):
                given = (self._once(row, given, names, frozen),)
        if row.name:
            scope[row.name] = given[0]
        return given[0]

    def _once(self, row: Row, given: tuple[Given, ...], names: Mapping[str, Value], frozen: bool) -> Given:
        block = self.blocks.get(row.type)
        if block is not None:
            values = {**block.sample, **dict(zip(block.sample, row.size, strict=False)), **row.options}
            inner = {name: compute(value, names) for name, value in values.items()}
            if len(given) != len(block.inputs):
                raise ValueError(f"{block.name} takes {len(block.inputs)} inputs")
            scope = dict(zip(block.inputs, given, strict=True))
            return self.body(block.rows, scope, {**names, **inner}, frozen)
        layer, act = self.layers(row, names)
        power = max(value.power for value in given)
        if layer.kind in POWERS:
            power = sum(value.power for value in given)
        types = [value.type for value in given]
        least, most = layer.arity
        if len(types) < least or (most is not None and len(types) > most):
            raise ValueError(f"{layer.kind} cannot read {len(types)} values")
        if ALIASES[fold(row.type)].rank not in (None, types[0].rank - 1):
            raise ValueError(f"{row.type} says another rank")
        self.rows += 1
        for each in (layer, act):
            if each is not None:
                types = [self._add(each, types, frozen)]
        return Given(types[0], power)

    def _add(self, layer: Layer, types: list[TensorType], frozen: bool) -> TensorType:
        resolved = layer.resolve(types)
        output = resolved.output(types)
        for weight in resolved.weights(types):
            if weight.trainable and not frozen:
                self.trainable += weight.size
            else:
                self.others += weight.size
        self.macs += resolved.macs(types, output)
        self.largest = max(self.largest, output.size)
        return output

    def layers(self, row: Row, names: Mapping[str, Value]) -> tuple[Layer, Layer | None]:
        """The layer of a row and its activation; raises ValueError or pydantic's ValidationError."""
        alias = ALIASES[fold(row.type)]
        given = self.defaults.get(alias.layer.kind, {})
        fields: dict[str, Any] = {key: compute(value, names) for key, value in given.items() if key != "activation"}
        fields |= dict(alias.fields)
        positional = alias.layer.positional
        if alias.layer is Activation and alias.fields:
            positional = tuple(filter(None, [ARGUMENTS.get(str(alias.fields["function"]))]))
        fields |= {key: compute(value, names) for key, value in zip(positional, row.size, strict=False)}
        fields |= {field_named(alias.layer, key): compute(value, names) for key, value in row.options.items()}
        act = row.activation
        if act is None and "activation" in given:
            word = str(given["activation"])
            return alias.layer(**fields), Activation(function=word)
        return alias.layer(**fields), _activation(act, names)


def _activation(act: Act | Name | None, names: Mapping[str, Value]) -> Layer | None:
    if isinstance(act, Name):
        word = str(compute(act, names))
        return None if word == "none" else Activation(function=word)
    if act is None or act.function == "none":
        return None
    if act.function == "prelu":
        return PReLU()
    argument = {act.argument[0]: compute(act.argument[1], names)} if act.argument else {}
    return Activation(function=act.function, **argument)


@dataclass(frozen=True)
class Meaning:
    """What the whole document is, as the walk has it."""

    walk: Walk
    outputs: Mapping[str, TensorType]


def meaning(document: Document) -> Meaning:
    """Walk a document; raises LayerError, ValueError or KeyError for one that is not valid."""
    walk = Walk({block.name: block for block in document.blocks}, document.defaults)
    scope = {name: Given(TensorType(shape)) for name, shape in document.inputs.items()}
    result = walk.body(document.rows, scope, document.variables, frozen=False)
    outputs = {name: scope[row].type for name, row in document.outputs.items()} or {"output": result.type}
    return Meaning(walk, outputs)
