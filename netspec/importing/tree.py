"""Matching by the tree of names, for files that keep no order: names say what belongs together, shapes in what order.

`features.3.squeeze.weight` stands in `squeeze`, in `3`, in `features`. Modules with numbers for names follow one
another in the order of the numbers; those with words may stand in any order in which every shape fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.importing.units import Found, Unit, Wanted

TRIES = 200_000
"""Beyond this many places that modules were tried at, the search gives up."""

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
    """Tries the modules at places of the network, remembering what fitted where."""

    def __init__(self, signs: Sequence[Hashable], sign: Callable[[Unit[Any]], Hashable], *, counting: bool) -> None:
        self.signs, self.sign, self.counting = signs, sign, counting
        self._found: dict[tuple[Branch, frozenset[str], int], list[Order]] = {}

    def orders(self, branch: Branch, start: int) -> list[Order]:
        """At most two orders in which a module fits the units from `start` on."""
        place = start + len(branch.own)
        if [self.sign(unit) for unit in branch.own] != list(self.signs[start:place]):
            return []
        own = tuple(branch.own)
        return [own + rest for rest in self._rest(branch, frozenset(branch.inside), place)]

    def _rest(self, branch: Branch, names: frozenset[str], start: int) -> list[Order]:
        if not names:
            return [()]
        key = branch, names, start
        if key not in self._found:
            if len(self._found) > TRIES:
                raise TooMany
            self._found[key] = []
            for order in self._each(branch, names, start):
                self._found[key].append(order)
                if len(self._found[key]) == 2:
                    break
        return self._found[key]

    def _each(self, branch: Branch, names: frozenset[str], start: int) -> Iterator[Order]:
        for name in self._next(names):
            child = branch.inside[name]
            for first in self.orders(child, start):
                for rest in self._rest(branch, names - {name}, start + child.size):
                    yield first + rest

    def _next(self, names: frozenset[str]) -> list[str]:
        """The names that may come next: the smallest number, and every word (of words that count, the smallest)."""
        smallest: dict[str, str] = {}
        for name in sorted(names, key=_natural):
            stem = "" if name.isdecimal() else re.sub(r"\d+", "#", name) if self.counting else name
            smallest.setdefault(stem, name)
        return list(smallest.values())


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Numbers inside of names by their value: `conv2` before `conv10`."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name))
