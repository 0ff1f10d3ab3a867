"""A model that others exported, as what runs it sees it: what goes in, what comes out, and what lies between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.tensors import Array


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output: its name in the file, its shape with the batch first (None where it is open), its type.

    An empty shape says that the file states none; `dtype` is a numpy name such as `float32`.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        shape = "x".join("?" if size is None else str(size) for size in self.shape) or "of no stated shape"
        return f"{self.name} ({self.dtype} {shape})"


@dataclass(frozen=True, slots=True)
class Described:
    """A model that can be run: who runs it, in words, and its ports."""

    runtime: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """The value that a tensor of the file goes into, and whether an activation has been applied to it there.

    `first` says where what makes the value always has its channels first, or last; None where that is not known.
    """

    value: str
    activated: bool = False
    first: bool | None = None


@dataclass(frozen=True, slots=True)
class Traced:
    """What a model gave: its outputs by name and, where they were asked for, the values on the way to them.

    `values` stand in the order in which they were computed, in the file's own layout; `made` has for each of its
    tensors, by the name that `read_stored` gives it, the value that it goes into.
    """

    outputs: Mapping[str, Array]
    values: Mapping[str, Array] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)
