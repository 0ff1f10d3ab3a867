"""Splitting images into parts, class by class, always alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netspec.errors import Problem, SpecError


def hold_out(labels: NDArray[np.int64], fraction: float, part: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of the images that are kept and of those held out: `fraction` of each class, rounded, by Philox.

    The choice depends on the labels, the fraction and `part` (which of a data set's splits it is), on no seed.

    >>> kept, held = hold_out(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, part=0)
    >>> len(kept), len(held)
    (6, 2)
    """
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        words = np.random.Philox(key=np.array([part, label], dtype=np.uint64)).random_raw(len(places))
        held[places[np.argsort(words, kind="stable")[: round(len(places) * fraction)]]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def held_out(labels: NDArray[np.int64], fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places to train on and to validate on; raises SpecError where either would be empty."""
    kept, held = hold_out(labels, fraction, part=1)
    if len(kept) and len(held):
        return kept, held
    message = f"validation_split {fraction:g} of {len(labels)} images leaves {len(kept)} to train on "
    message += f"and {len(held)} to validate on"
    raise SpecError([Problem(message, "a fraction such as 0.1", "data.validation_split")])
