"""Matching by order and shape: the k-th layer of a kind and shape in the file is the k-th one of the network.

That is only so far true as the file's order is the network's. Where layers stand side by side in branches, their
order in a file is what its framework makes of it; where it would decide which of two equal layers is which, and the
file does not say how they were numbered, the match is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from netspec.importing.graph import Step
from netspec.importing.units import Found, Unit, Wanted

Pairs = list[tuple[Wanted, Found]]


def in_sequence(
    wanted: Sequence[Wanted], found: Sequence[Found], sign: Callable[[Unit[Any]], Hashable]
) -> Pairs | None:
    """Every unit with the one at its place, or None where two of them differ."""
    if len(wanted) != len(found) or any(sign(one) != sign(other) for one, other in zip(wanted, found, strict=True)):
        return None
    return list(zip(wanted, found, strict=True))


def by_colour(wanted: Mapping[Wanted, Hashable], found: Mapping[Found, Hashable]) -> Pairs | None:
    """The k-th wanted unit of every colour with the k-th found one, or None where a colour has not as many."""
    waiting: dict[Hashable, list[Found]] = defaultdict(list)
    for layer, colour in reversed(list(found.items())):
        waiting[colour].append(layer)
    pairs: Pairs = []
    for unit, colour in wanted.items():
        if not waiting[colour]:
            return None
        pairs.append((unit, waiting[colour].pop()))
    return pairs if len(wanted) == len(found) else None


def as_made(found: Sequence[Found]) -> list[Found]:
    """The units in the order in which their layers were made, kind by kind, where the file numbers all of a kind."""
    kinds: dict[str, list[Found]] = defaultdict(list)
    for unit in found:
        kinds[_kind(unit)].append(unit)
    return [unit for own in kinds.values() for unit in (sorted(own, key=_number) if numbered(own) else own)]


def numbered(units: Sequence[Found]) -> bool:
    """Whether the file numbers the layers of all of these units, which are of one kind."""
    return bool(_kind(units[0])) and all(unit.layer is not None and unit.layer.number is not None for unit in units)


def _kind(unit: Found) -> str:
    return unit.layer.kind if unit.layer else ""


def _number(unit: Found) -> int:
    number = unit.layer.number if unit.layer else None
    return number or 0


def out_of_order(pairs: Pairs, steps: Sequence[Step], *, kinds: bool) -> tuple[Wanted, Found] | None:
    """A unit that the file has before another from which the network computes it, or None.

    `pairs` are in the file's order. With `kinds` only the layers of one kind follow one another there.
    """
    places, above = _above(steps)
    seen = 0
    own: dict[str, int] = defaultdict(int)
    for wanted, found in pairs:
        own[_kind(found)] |= 1 << places[id(wanted)]
        own[""] |= 1 << places[id(wanted)]
    for wanted, found in pairs:
        if above[id(wanted)] & ~seen & own[_kind(found) if kinds else ""]:
            return wanted, found
        seen |= 1 << places[id(wanted)]
    return None


def undecided(
    pairs: Pairs, steps: Sequence[Step], sign: Callable[[Unit[Any]], Hashable], *, numbers: bool
) -> list[Pairs]:
    """Two pairs each that the file's order alone tells apart: alike, and neither row computed from the other.

    `pairs` are in the network's order. With `numbers` layers that the file numbers are told apart where the numbers
    of their kind rise through all of the network.
    """
    places, above = _above(steps)
    certain = _rising(pairs) if numbers else set()
    groups: dict[Hashable, Pairs] = defaultdict(list)
    for wanted, found in pairs:
        groups[sign(wanted)].append((wanted, found))
    return [
        [(one, first), (other, second)]
        for group in groups.values()
        for (one, first), (other, second) in pairwise(group)
        if not above[id(other)] >> places[id(one)] & 1
        and not (_kind(first) == _kind(second) and _kind(first) in certain)
    ]


def _rising(pairs: Pairs) -> set[str]:
    """The kinds whose layers the file numbers, in the order that the network has them in."""
    kinds: dict[str, list[Found]] = defaultdict(list)
    for _, found in pairs:
        kinds[_kind(found)].append(found)
    return {
        kind
        for kind, own in kinds.items()
        if numbered(own) and all(_number(first) <= _number(second) for first, second in pairwise(own))
    }


def _above(steps: Sequence[Step]) -> tuple[dict[int, int], dict[int, int]]:
    """The place of every unit, and as bits at these places all units from which it is computed, by its identity."""
    places: dict[int, int] = {}
    above: dict[int, int] = {}
    values: dict[str, int] = {}
    for step in steps:
        bits = 0
        for name in step.inputs:
            bits |= values.get(name, 0)
        for unit in step.units:
            places[id(unit)], above[id(unit)] = len(places), bits
            bits |= 1 << places[id(unit)]
        values[step.name] = bits
    return places, above
