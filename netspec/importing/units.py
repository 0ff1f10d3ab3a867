"""What is matched: a kernel with what belongs to it, as the network wants it and as a file has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from netspec.backend.stored import StoredLayer, StoredTensor
from netspec.layers.base import Weight
from netspec.network import Network
from netspec.tensors import Placement


@dataclass(frozen=True, slots=True)
class Part:
    """A weight of the network, and where it stands in the framework of the file."""

    weight: Weight
    row: str
    placement: Placement

    @property
    def role(self) -> str:
        """What the framework's layer calls it."""
        return self.placement.name.replace("/", ".").rpartition(".")[2]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in that framework."""
        given = self.weight.shape
        turned = given if self.placement.axes is None else tuple(given[axis] for axis in self.placement.axes)
        return self.placement.shape or turned


P = TypeVar("P", Part, StoredTensor)
Signature = tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unit(Generic[P]):
    """A kernel and the vectors that follow it, or the vectors of a layer that has no kernel.

    `owner` is the node of the network, or the layer of the file. A layer with two kernels (SeparableConv) is two
    units, so that it matches two layers with one each.
    """

    owner: str
    parts: tuple[P, ...]
    layer: StoredLayer | None = None


Wanted = Unit[Part]
Found = Unit[StoredTensor]


def wanted_units(network: Network, placements: Mapping[str, Placement]) -> dict[str, list[Wanted]]:
    """The units of every node that has weights, in the network's order."""
    return {
        node.name: [Unit(node.name, run) for run in _runs(parts)]
        for node in network.nodes
        if (parts := [Part(weight, node.row, placements[weight.name]) for weight in node.weights])
    }


def found_units(layers: Iterable[StoredLayer]) -> dict[str, list[Found]]:
    """The units of every layer that has weights, in the file's order."""
    found: dict[str, list[Found]] = {}
    for layer in layers:
        if layer.tensors:
            found.setdefault(layer.name, []).extend(Unit(layer.name, run, layer) for run in _runs(layer.tensors))
    return found


def _runs(parts: Sequence[P]) -> Iterator[tuple[P, ...]]:
    """The parts of a layer, cut before every kernel."""
    run: list[P] = []
    for part in parts:
        if len(shape_of(part)) > 1 and run:
            yield tuple(run)
            run = []
        run.append(part)
    if run:
        yield tuple(run)


def shape_of(part: Part | StoredTensor) -> tuple[int, ...]:
    """The shape in the framework's layout, as placements have it."""
    shape: tuple[int, ...] = part.shape if isinstance(part, Part) else part.array.shape
    return shape


def role_of(part: Part | StoredTensor) -> str:
    """The part's role; the two kernels of a separable convolution are kernels, as some versions call them."""
    return "kernel" if part.role.startswith(("depthwise", "pointwise")) else part.role


def signature(unit: Unit[P], roles: bool) -> Signature:
    """What units that may be matched have in common: shapes, and the roles where the file says them."""
    if not roles:
        return tuple(shape_of(part) for part in unit.parts)
    return tuple(sorted((role_of(part), shape_of(part)) for part in unit.parts))


def pairs_of(wanted: Wanted, found: Found, roles: bool) -> Iterator[tuple[str, StoredTensor]]:
    """The weights of two units with the same signature, each with its tensor."""
    if not roles:
        yield from ((part.weight.name, tensor) for part, tensor in zip(wanted.parts, found.parts, strict=True))
        return
    tensors = {role_of(tensor): tensor for tensor in found.parts}
    yield from ((part.weight.name, tensors[role_of(part)]) for part in wanted.parts)
