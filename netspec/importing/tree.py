"""Matching by the tree of names, for files that keep no order: names say what belongs together, shapes in what order.

`features.3.squeeze.weight` stands in `squeeze`, in `3`, in `features`. Modules with numbers for names follow one
another in the order of the numbers; those with words may stand in any order in which every shape fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from netspec.importing.units import Found, Unit, Wanted

TRIES = 100_000
"""Beyond this many places that modules were tried at, the search gives up."""
WORDS = 150
"""Beyond this many modules side by side that have words for names, it does not begin."""

Order = tuple[Found, ...]


class TooMany(Exception):
    """The names leave too many orders to try them all."""


@dataclass(slots=True, eq=False)
class Branch:
    """A module: its own units, which come first, and the modules inside of it, by their names."""

    own: list[Found] = field(default_factory=list)
    inside: dict[str, Branch] = field(default_factory=dict)
    size: int = 0


def orders(
    wanted: Sequence[Wanted], found: Mapping[str, Sequence[Found]], sign: Callable[[Unit[Any]], Hashable]
) -> list[Order]:
    """The orders of the file's units that fit the wanted ones: none, the only one, or two of several.

    Where several fit, those count first in which `conv2` comes after `conv1`. Raises TooMany.
    """
    root = Branch()
    for layer, units in found.items():
        _plant(root, [part for part in layer.split(".") if part], list(units))
    signs = [sign(unit) for unit in wanted]
    if root.size != len(signs):
        return []
    free: list[Order] = []
    with suppress(TooMany):
        free = _Search(signs, sign, counting=False).orders(root, 0)
        if len(free) < 2:
            return free
    return _Search(signs, sign, counting=True).orders(root, 0) or free


def _plant(branch: Branch, path: Sequence[str], units: list[Found]) -> None:
    branch.size += len(units)
    if not path:
        branch.own += units
    else:
        _plant(branch.inside.setdefault(path[0], Branch()), path[1:], units)


class _Search:
    """Tries the modules at places of the network, remembering what fitted where.

    Names that have to follow one another stand in one queue: numbers, and with `counting` words that differ in their
    numbers alone. Any queue may be the next to give a module.
    """

    def __init__(self, signs: Sequence[Hashable], sign: Callable[[Unit[Any]], Hashable], *, counting: bool) -> None:
        self.signs, self.sign, self.counting = signs, sign, counting
        self._queues: dict[Branch, list[list[str]]] = {}
        self._found: dict[tuple[Branch, tuple[int, ...], int], list[Order]] = {}

    def orders(self, branch: Branch, start: int) -> list[Order]:
        """At most two orders in which a module fits the units from `start` on."""
        place = start + len(branch.own)
        if [self.sign(unit) for unit in branch.own] != list(self.signs[start:place]):
            return []
        own = tuple(branch.own)
        return [own + rest for rest in self._rest(branch, (0,) * len(self._queues_of(branch)), place)]

    def _rest(self, branch: Branch, taken: tuple[int, ...], start: int) -> list[Order]:
        """The orders of the modules that are left, where so many of every queue are taken."""
        queues = self._queues_of(branch)
        left = [place for place, queue in enumerate(queues) if taken[place] < len(queue)]
        if len(left) < 2:
            return self._queue(branch, [name for place in left for name in queues[place][taken[place] :]], start)
        key = branch, taken, start
        if key not in self._found:
            if len(self._found) > TRIES:
                raise TooMany
            self._found[key] = list(islice(self._each(branch, taken, start, left), 2))
        return self._found[key]

    def _queue(self, branch: Branch, names: Sequence[str], start: int) -> list[Order]:
        """The orders of modules that follow one another."""
        found: list[list[Found]] = [[]]
        for name in names:
            child = branch.inside[name]
            orders = self.orders(child, start)
            if not orders:
                return []
            if len(orders) == 1:
                for before in found:
                    before += orders[0]
            else:
                found = [[*before, *order] for before in found for order in orders][:2]
            start += child.size
        return [tuple(order) for order in found]

    def _each(self, branch: Branch, taken: tuple[int, ...], start: int, left: Sequence[int]) -> Iterator[Order]:
        for place in left:
            child = branch.inside[self._queues_of(branch)[place][taken[place]]]
            after = tuple(count + (place == index) for index, count in enumerate(taken))
            for first in self.orders(child, start):
                for rest in self._rest(branch, after, start + child.size):
                    yield first + rest

    def _queues_of(self, branch: Branch) -> list[list[str]]:
        if branch not in self._queues:
            stems: dict[str, list[str]] = {}
            for name in sorted(branch.inside, key=_natural):
                stem = "" if name.isdecimal() else re.sub(r"\d+", "#", name) if self.counting else name
                stems.setdefault(stem, []).append(name)
            if len(stems) > 1 and len(branch.inside) - len(stems.get("", ())) > WORDS:
                raise TooMany
            self._queues[branch] = list(stems.values())
        return self._queues[branch]


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Numbers inside of names by their value: `conv2` before `conv10`."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name))
