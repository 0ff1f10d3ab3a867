"""Matching by names: those of our own rendering, also where a framework or a wrapper wrote them a little otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.backend.stored import StoredTensor
from netspec.importing.units import Part, role_of

NEUTRAL = {"gamma": 1.0, "scale": 1.0, "beta": 0.0}
"""Vectors that change nothing where all of their numbers are this: a file may have them where a row has none."""


def folded(name: str) -> tuple[str, ...]:
    """The parts of a name, whatever separates them.

    >>> folded("fire2.squeeze/kernel"), folded("fire2_squeeze.kernel")
    (('fire2', 'squeeze', 'kernel'), ('fire2', 'squeeze', 'kernel'))
    """
    return tuple(part for part in re.split(r"[/._]+", name) if part)


@dataclass(frozen=True, slots=True)
class Named:
    """The weights whose names a file has."""

    pairs: Mapping[str, StoredTensor]
    exact: bool
    """Whether they are written just as we write them."""
    missing: Sequence[Part] = ()
    unknown: Sequence[StoredTensor] = field(default=())

    @property
    def whole(self) -> bool:
        """Whether every weight has its tensor, and what is left over changes nothing."""
        return not self.missing and all(neutral(tensor) for tensor in self.unknown)


def by_name(parts: Sequence[Part], tensors: Sequence[StoredTensor]) -> Named:
    """The weights with the tensors that have their names; the reading that finds most of them."""
    exact = _paired(
        parts, tensors, {tensor.name: tensor for tensor in tensors}, {part: part.placement.name for part in parts}
    )
    if exact.whole or not tensors or not parts:
        return Named(exact.pairs, True, exact.missing, exact.unknown)
    best = exact
    names = [folded(tensor.name) for tensor in tensors]
    wanted = {part: folded(part.placement.name) for part in parts}
    if len(set(wanted.values())) < len(wanted):
        return best
    for cut in range(_shared(names) + 1):  # `model.` and `module.` before every name
        keyed = {name[cut:]: tensor for name, tensor in zip(names, tensors, strict=True)}
        if len(keyed) == len(tensors):
            found = _paired(parts, tensors, keyed, wanted)
            best = found if len(found.pairs) > len(best.pairs) else best
    return best


def neutral(tensor: StoredTensor) -> bool:
    """Whether a tensor is a scale of ones or a shift of zeros."""
    value = NEUTRAL.get(role_of(tensor))
    return value is not None and bool((tensor.array == value).all())


def _paired(
    parts: Sequence[Part],
    tensors: Sequence[StoredTensor],
    keyed: Mapping[Any, StoredTensor],
    wanted: Mapping[Part, Any],
) -> Named:
    pairs = {part.weight.name: keyed[wanted[part]] for part in parts if wanted[part] in keyed}
    missing = [part for part in parts if part.weight.name not in pairs]
    used = {id(tensor) for tensor in pairs.values()}
    return Named(pairs, False, missing, [tensor for tensor in tensors if id(tensor) not in used])


def _shared(names: Iterable[tuple[str, ...]]) -> int:
    """How many parts all names begin with together, their last one left aside."""
    names = list(names)
    shortest = min(len(name) for name in names) - 1
    return next((place for place in range(shortest) if len({name[place] for name in names}) > 1), max(shortest, 0))
