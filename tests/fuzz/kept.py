"""One row of a network, worked out without netspec's compiler: its name, its layers, and what they count.

Only the single layer is netspec's own: its fields, its shape rule, its weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from netspec.errors import LayerError
from netspec.layers import ALIASES, Activation, Layer, PReLU, fold, snake
from netspec.layers.activation import ARGUMENTS, function_named
from netspec.layers.base import field_named
from netspec.tensors import TensorType
from tests.fuzz.document import Act, Name, Row, Value, compute

POWERS = ("Multiply", "Dot")
BASE = "base"
INVALID = (LayerError, ValidationError, ValueError, KeyError)
"""What is raised where a document is walked that is not valid."""


@dataclass(frozen=True)
class Given:
    """A value: the full name of the row or input that gives it, its type, and as which power of the input it may
    grow.
    """

    name: str
    type: TensorType
    power: int = 1


@dataclass(frozen=True)
class Kept:
    """A row of the network."""

    given: Given
    sources: tuple[str, ...]
    read: tuple[TensorType, ...]
    """The types of what it reads."""
    layers: tuple[Layer, ...]
    """Its layer as it is written, and its activation."""
    trained: int
    """How many numbers it would train if it were not frozen."""
    others: int
    macs: int
    largest: int
    frozen: bool
    own: bool
    """Whether it is a row of the spec itself, and none of its base."""

    @staticmethod
    def of(name: str, layers: tuple[Layer, ...], read: Sequence[Given], *, frozen: bool, own: bool) -> Kept:
        """The row of this full name; raises LayerError, or ValueError, where its layers cannot read that."""
        least, most = layers[0].arity
        if len(read) < least or (most is not None and len(read) > most):
            raise ValueError(f"{layers[0].kind} cannot read {len(read)} values")
        powers = [value.power for value in read]
        numbers: Counter[str] = Counter()
        types = given = tuple(value.type for value in read)
        for layer in layers:
            types = (_counted(layer, types, numbers),)
        return Kept(
            Given(name, types[0], sum(powers) if layers[0].kind in POWERS else max(powers)),
            tuple(value.name for value in read), given, layers, numbers["trained"], numbers["others"],
            numbers["macs"], numbers["largest"], frozen, own,
        )  # fmt: skip

    @property
    def trainable(self) -> int:
        """How many numbers are trained."""
        return 0 if self.frozen else self.trained

    @property
    def size(self) -> int:
        """How many numbers it keeps, trained or not."""
        return self.trained + self.others


class Namer:
    """What rows are called that have no name: their kind and a number, passing over what is taken."""

    def __init__(self, taken: Collection[str]) -> None:
        self.taken, self.count = set(taken), Counter[str]()

    def name(self, word: str) -> str:
        """The next name with this word."""
        self.count[word] += 1
        while f"{word}_{self.count[word]}" in self.taken:
            self.count[word] += 1
        self.taken.add(f"{word}_{self.count[word]}")
        return f"{word}_{self.count[word]}"

    def names(self, row: Row, names: Mapping[str, Value], blocks: Collection[str]) -> list[str]:
        """The name of a row, or of each of its repetitions."""
        times = None if row.repeat is None else compute(row.repeat, names)
        if times is not None and not isinstance(times, int):
            raise ValueError(f"a row cannot stand there {times} times")
        if times is not None and times < 1:
            if row.when is None or compute(row.when, names):
                raise ValueError(f"a row cannot stand there {times} times")
            times = 1  # it is not looked at
        if row.name is None:
            return [self.name(_word(row, blocks)) for _ in range(times or 1)]
        found = [row.name] if times is None else [f"{row.name}_{number}" for number in range(1, times + 1)]
        if times is not None and self.taken & set(found):
            raise ValueError(f"repeating {row.name} needs a name that is taken")
        self.taken.update(found)
        return found


def _word(row: Row, blocks: Collection[str]) -> str:
    if row.type in blocks:
        return snake(row.type)
    if row.type == BASE:
        return "row"
    alias = ALIASES[fold(row.type)]
    if alias.layer is not Activation:
        return snake(alias.layer.kind)
    return str(function_named(str(alias.fields.get("function") or row.options.get("function") or row.size[0])))


def layers_of(
    row: Row, names: Mapping[str, Value], defaults: Mapping[str, Mapping[str, Value]], variables: Mapping[str, Value]
) -> tuple[Layer, ...]:
    """The layer of a row, and its activation if it has one; raises ValueError or pydantic's ValidationError."""
    alias = ALIASES[fold(row.type)]
    given = next((each for kind, each in defaults.items() if ALIASES[fold(kind)].layer is alias.layer), {})
    fields: dict[str, Any] = {
        field_named(alias.layer, key): compute(value, variables) for key, value in given.items() if key != "activation"
    }
    fields |= dict(alias.fields)
    positional = alias.layer.positional
    if alias.layer is Activation and alias.fields:
        positional = tuple(filter(None, [ARGUMENTS.get(str(alias.fields["function"]))]))
    fields |= {key: compute(value, names) for key, value in zip(positional, row.size, strict=False)}
    fields |= {field_named(alias.layer, key): compute(value, names) for key, value in row.options.items()}
    act = row.activation
    if act is None and "activation" in given:
        act = Name("given")
        names = {"given": compute(given["activation"], variables)}
    return tuple(filter(None, (alias.layer(**fields), _activation(act, names))))


def _counted(layer: Layer, types: Sequence[TensorType], numbers: Counter[str]) -> TensorType:
    """The type that a layer gives; what it counts is added."""
    resolved = layer.resolve(types)
    output = resolved.output(types)
    for weight in resolved.weights(types):
        numbers["trained" if weight.trainable else "others"] += weight.size
    numbers["macs"] += resolved.macs(types, output)
    numbers["largest"] = max(numbers["largest"], output.size)
    return output


def _activation(act: Act | Name | None, names: Mapping[str, Value]) -> Layer | None:
    if isinstance(act, Name):
        word = str(compute(act, names))
        return None if word == "none" else Activation(function=function_named(word))
    if act is None or act.function == "none":
        return None
    if act.function == "prelu":
        return PReLU()
    argument = {act.argument[0]: compute(act.argument[1], names)} if act.argument else {}
    return Activation(function=act.function, **argument)
