"""Hold a measured value against the reference: how far off, how far it may be, at which sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netspec.reference.table import Array, Values
from netspec.verify.budget import norms
from netspec.verify.result import Symptom


@dataclass(frozen=True, slots=True)
class Comparison:
    """One value held against the reference, at the sample that fares worst.

    `error` and `granted` are relative L2 errors there (absolute ones where the reference is zero); `ratio` is the
    first over the second, and may be 1 at most.
    """

    error: float
    granted: float
    ratio: float
    sample: int
    symptom: Symptom | None = None
    message: str = ""


def compare(reference: Values, measured: Array, granted: Values) -> Comparison:
    """Compare [batch, ...] values; `granted` is the largest L2 error of each sample."""
    if measured.shape != reference.shape:
        message = f"the shape is {measured.shape}, inferred was {reference.shape}"
        return Comparison(np.inf, 0.0, np.inf, 0, "shape", message)
    lost = ~np.isfinite(measured.reshape(len(measured), -1)).all(axis=1)
    if lost.any():
        worst = int(np.argmax(lost))
        return Comparison(np.inf, 0.0, np.inf, worst, "not finite", f"{_bad(measured[worst])} values are not finite")
    errors, sizes = norms(measured.astype(np.float64) - reference), norms(reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors == 0, 0.0, errors / granted)
    worst = int(np.argmax(ratios))
    scale = sizes[worst] or 1.0
    found = (float(errors[worst] / scale), float(granted[worst] / scale), float(ratios[worst]), worst)
    if found[2] <= 1:
        return Comparison(*found)
    return Comparison(*found, "value", _where(reference[worst], measured[worst]))


def _bad(values: Array) -> str:
    return f"{np.count_nonzero(~np.isfinite(values))} of {values.size}"


def _where(reference: Values, measured: Array) -> str:
    """The place that differs most, with both values."""
    place = np.unravel_index(int(np.argmax(np.abs(measured - reference))), reference.shape)
    at = ", ".join(map(str, map(int, place)))
    return f"at [{at}] it is {float(measured[place]):.9g}, the reference {float(reference[place]):.9g}"
