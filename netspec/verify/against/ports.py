"""The inputs and outputs of a file that others made, told apart: which is which of the network's, in which layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from typing import Literal

import numpy as np

from netspec.backend.foreign import Port
from netspec.reference.table import Array
from netspec.tensors import TensorType

Layout = Literal["last", "first", "flat", "flat first", "squeezed"]
"""Channels last or first; all axes in one, in either order; the axes of size one left out or added."""
WORDS: Mapping[Layout, str] = {
    "last": "channels last",
    "first": "channels first",
    "flat": "flat, in the order height, width, channels",
    "flat first": "flat, in the order channels, height, width",
    "squeezed": "with other axes of size one",
}
FLOATS = ("float32", "float64", "float16")
INTEGERS = ("uint8", "int8", "int16", "uint16", "int32", "int64")
MOST_ORDERS = 6
"""Ports beyond this number are paired by name or order, and not by trying all orders."""
MOST_WAYS = 24
"""So many ways to pair ports by their shapes are tried."""


class PortError(Exception):
    """The ports of a file cannot be those of the network; says why."""


@dataclass(frozen=True, slots=True)
class Plug:
    """One of the network's inputs or outputs, with the port that it is in the file, and the layouts that fit."""

    name: str
    type: TensorType
    port: Port
    layouts: tuple[Layout, ...]


Pairing = tuple[Plug, ...]
"""A port for each of the network's inputs or outputs."""


def pairings(types: Mapping[str, TensorType], ports: Sequence[Port], what: str) -> tuple[Pairing, ...]:
    """Which port of the file each value of the network may be: as the names say, or else as the shapes allow.

    `what` is `input` or `output`; a file may have more outputs than the network. Of several ways the one in the order
    of the file comes first. Raises PortError where there is none.
    """
    few = len(ports) < len(types)
    if few or (what == "input" and len(ports) > len(types)):
        verb = "reads" if what == "input" else "gives"
        ours = [f"{name} ({type_})" for name, type_ in types.items()]
        raise PortError(f"it {verb} {_listed([str(port) for port in ports])}, the spec has {_listed(ours)}")
    folded = {_fold(port.name): port for port in ports}
    if all(_fold(name) in folded for name in types):
        return (tuple(plug(name, type_, folded[_fold(name)], what) for name, type_ in types.items()),)
    ways = [ports] if len(ports) > MOST_ORDERS else permutations(ports, len(types))
    made = (
        tuple(Plug(name, type_, port, layouts(type_, port.shape, what)) for (name, type_), port in _zip(types, way))
        for way in ways
    )
    if found := tuple(islice((each for each in made if all(plug.layouts for plug in each)), MOST_WAYS)):
        return found
    [first, *_] = [
        plug(name, type_, port, what)  # raises for the first that does not fit
        for (name, type_), port in _zip(types, ports)
        if not layouts(type_, port.shape, what)
    ]
    raise AssertionError(first)


def paired_note(chosen: Pairing, ways: Sequence[Pairing], ports: Sequence[Port], what: str) -> str | None:
    """How the ports were told apart, where names do not do it and there is a choice."""
    if len(ports) == 1 or all(_fold(plug.name) == _fold(plug.port.name) for plug in chosen):
        return None
    said = ", ".join(f"{plug.port.name} is {plug.name}" for plug in chosen)
    if len(ways) > 1:
        return f"{what}s by what agrees best, for their shapes allow more: {said}"
    in_order = [plug.port for plug in chosen] == list(ports[: len(chosen)])
    return f"{what}s by their {'order' if in_order else 'shapes'}: {said}"


def plug(name: str, type_: TensorType, port: Port, what: str) -> Plug:
    """A value of the network at a port of the file; raises PortError where their shapes cannot be the same."""
    found = layouts(type_, port.shape, what)
    if not found:
        single = "; the axis of the batch is missing" if layouts(type_, (None, *port.shape), what) else ""
        raise PortError(f"its {what} {port} cannot be the spec's {name}, {type_}, in any order of axes{single}")
    return Plug(name, type_, port, found)


def layouts(type_: TensorType, shape: tuple[int | None, ...], what: str = "output") -> tuple[Layout, ...]:
    """The layouts in which a value of this type has this shape, with the batch first; those alike count once.

    >>> layouts(TensorType((8, 8, 3)), (None, 3, 8, 8))
    ('first',)
    >>> layouts(TensorType((3, 3, 3)), (1, 3, 3, 3))
    ('last', 'first')
    """
    turned = (type_.channels, *type_.spatial)
    moves = type_.rank > 1 and type_.channels > 1 and any(size > 1 for size in type_.spatial)
    if not shape:
        return ("last", "first") if moves else ("last",)
    own = shape[1:]
    found: list[Layout] = []
    if _fits(own, type_.shape):
        found.append("last")
    if type_.rank > 1 and _fits(own, turned) and (moves or not found):
        found.append("first")
    if not found and type_.rank > 1 and _fits(own, (type_.size,)):
        found += ["flat", "flat first"] if moves else ["flat"]
    if not found and what == "output" and None not in own:
        squeezed = [size for size in own if size != 1]
        if squeezed == [size for size in type_.shape if size != 1]:
            found.append("squeezed")
    return tuple(found)


def laid_out(batch: Array, layout: Layout) -> Array:
    """A canonical batch in this layout, contiguous."""
    if layout in ("first", "flat first"):
        batch = np.moveaxis(batch, -1, 1)
    if layout in ("flat", "flat first"):
        batch = batch.reshape(len(batch), -1)
    return np.ascontiguousarray(batch)


def canonical(array: Array, layout: Layout, type_: TensorType) -> Array:
    """A batch of this layout with its channels last."""
    if layout in ("first", "flat first"):
        turned = array.reshape(len(array), type_.channels, *type_.spatial)
        return np.ascontiguousarray(np.moveaxis(turned, 1, -1))
    return np.ascontiguousarray(array.reshape(len(array), *type_.shape))


def _zip(types: Mapping[str, TensorType], ports: Sequence[Port]) -> list[tuple[tuple[str, TensorType], Port]]:
    return list(zip(types.items(), ports, strict=False))


def _fits(shape: Sequence[int | None], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(size in (None, needed) for size, needed in zip(shape, wanted, strict=True))


def _fold(name: str) -> str:
    """Names alike but for case, signs, and the number that TensorFlow writes behind a colon."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r":\d+$", "", name).casefold())


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "nothing"
