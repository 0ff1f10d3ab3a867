"""Inputs that a file prepares by itself before anything reads them: scaled, shifted, channel by channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from netspec.reference.table import Array, Values

LEFT = 64.0
"""How many roundings may be left of the values where each channel is the input's, times a factor, with a shift."""
WHOLE = 1e-5
"""A number so near to a whole one, or to half of one, is it: 1 / 0.0039215689 is 255."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A value of the file that is an input, times a factor, with a shift, for every channel."""

    value: str
    array: Array
    factor: Values
    shift: Values

    @property
    def formula(self) -> str:
        """What was made of the input.

        >>> Prepared("", np.zeros(1), np.full(3, 1 / 127.5), np.full(3, -1.0)).formula
        'x / 127.5 - 1'
        >>> Prepared("", np.zeros(1), np.array([5.0, 4.0]), np.array([-2.0, -2.0])).formula
        '(x - (0.4, 0.5)) / (0.2, 0.25)'
        """
        factor, shift = float(self.factor[0]), float(self.shift[0])
        if not (np.allclose(self.factor, factor, rtol=WHOLE) and np.allclose(self.shift, shift, rtol=WHOLE)):
            means, deviations = (", ".join(map(_number, each)) for each in (-self.shift / self.factor, 1 / self.factor))
            return f"(x - ({means})) / ({deviations})"
        scaled = "x" if abs(factor - 1) < WHOLE else _times(factor)
        # A shift that is nothing beside a pixel's whole range is rounding.
        return (
            scaled
            if abs(shift) < WHOLE * abs(factor)
            else f"{scaled} {'-' if shift < 0 else '+'} {_number(abs(shift))}"
        )


def prepared(given: Array, values: Iterable[tuple[str, Array]], unit: float) -> Iterator[Prepared]:
    """Those values of a file that are an input, `given`, prepared in some way; each once.

    The values are finite, and laid out as the input is; `unit` is the unit roundoff of what the file computes in.
    """
    x = np.asarray(given, np.float64)
    seen = set()
    for name, array in values:
        found = None if name in seen else _fitted(x, np.asarray(array, np.float64), unit)
        if found is not None:
            seen.add(name)
            yield Prepared(name, array, *found)


def _fitted(x: Values, y: Values, unit: float) -> tuple[Values, Values] | None:
    """The factor and the shift of every channel, by least squares; None where they leave more than rounding, or where
    they change nothing.
    """
    axes = tuple(range(x.ndim - 1))
    left, right = x - x.mean(axes), y - y.mean(axes)
    size = np.square(left).sum(axes)
    if not size.all():
        return None  # what a channel that is always the same was multiplied by cannot be seen
    factor = (left * right).sum(axes) / size
    shift = y.mean(axes) - factor * x.mean(axes)
    allowed = LEFT * unit * np.sqrt(np.square(y).sum())
    if not factor.all() or np.sqrt(np.square(y - (factor * x + shift)).sum()) > allowed:
        return None
    same = np.sqrt(np.square(y - x).sum()) <= allowed
    return None if same else (factor, shift)


def _times(factor: float) -> str:
    """A multiplication, or a division where that is by a rounder number."""
    twice = 2 / factor
    divided = abs(factor) < 1 and abs(twice - round(twice)) < WHOLE * abs(twice)
    return f"x / {_number(1 / factor)}" if divided else f"x * {_number(factor)}"


def _number(value: float) -> str:
    return f"{value:.5g}"
