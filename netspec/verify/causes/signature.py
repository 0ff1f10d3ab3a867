"""What can be said of a wrong value where no hypothesis explains it: how it relates to the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from math import log2, sqrt
from typing import Any

import numpy as np

from netspec.reference.table import Array, Values
from netspec.tensors import TensorType
from netspec.verify.budget import norms
from netspec.verify.gates import UNIT

BITS = {(7, 10): "bfloat16", (10, 13): "float16 or TensorFloat-32", (20, 27): "float32"}
"""How many bits are right where numbers of a type were computed with: one less than it has, or, as the prediction is
of noise twice as large as rounding, two more.
"""
TYPES = {8: "bfloat16", 11: "float16, or TensorFloat-32", 24: "float32"}
"""The significant bits of each type."""
SEVERAL = 16
"""Fewer values than these may be short numbers by chance."""
GROWN = 2.0**4
"""How much larger than a rounding of its sample's largest value an error may be that rounding made."""
SYSTEMATIC = 0.5
"""The mean correlation of errors with the right values that rounding does not reach."""
ALIKE = 0.98
"""The share of the wrong values that a sentence on where they are must hold for."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A relation of the measured values to the right ones: its name, a sentence, and both as formulas of `y`."""

    name: str
    says: str
    formula: str


Fits = Callable[[Array], bool]
"""Whether values are the measured ones, within rounding."""


def signature(right: Values, measured: Array, fits: Fits, predicted: Values, type_: TensorType) -> Signature | None:
    """The first relation that holds for all samples, or None.

    `predicted` is the L2 error that float32 rounding is predicted to cause, [batch].
    """
    if measured.shape != right.shape:
        return _of_shapes(right, measured, fits)
    found = np.asarray(measured, np.float64)
    for candidate in (partial(_factors, type_=type_), _offsets, _moved, _clipped, _dropped, _shuffled):
        for says, value, formula, name in candidate(right, found):
            if fits(value):
                return Signature(name, says, formula)
    kept = _kept(right, found, bool(measured.dtype == np.float64))
    return kept or _precision(right, found, predicted) or _places(right, found)


Relation = tuple[str, Values, str, str]


def _of_shapes(right: Values, measured: Array, fits: Fits) -> Signature | None:
    if measured.size == right.size and len(measured) == len(right) and fits(right.reshape(measured.shape)):
        shape = "x".join(map(str, measured.shape[1:]))
        return Signature(
            "another shape", f"the values are right, but under the shape {shape}", f"y reshaped to {shape}"
        )
    return None


def _factors(right: Values, found: Values, type_: TensorType) -> Iterator[Relation]:
    """One factor for every value, or one for every channel."""
    if factor := _ratio(right, found, None):
        value = float(factor)
        yield (
            f"every value is {value:.6g} times what it should be{_known(value, type_)}",
            (right * value),
            f"{value:.6g} * y",
            "a constant factor",
        )
    factors = _ratio(right, found, tuple(range(right.ndim - 1)))
    if factors is not None and right.shape[-1] > 1:
        few = ", ".join(f"{value:.4g}" for value in np.ravel(factors)[:4])
        yield f"every channel has a factor of its own: {few}, ...", right * factors, "s[c] * y", "a factor a channel"


def _ratio(right: Values, found: Values, axes: tuple[int, ...] | None) -> Any:
    """The factor of least squares, each sample counting alike."""
    sizes = norms(right)
    scale = np.where(sizes > 0, sizes, 1.0).reshape(-1, *(1,) * (right.ndim - 1))
    scaled, theirs = right / scale, found / scale
    below = np.square(scaled).sum(axes, keepdims=axes is not None)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = (scaled * theirs).sum(axes, keepdims=axes is not None) / below
    return factor if np.all(np.isfinite(factor)) and np.any(factor) else None


def _known(value: float, type_: TensorType) -> str:
    """What a factor may come from: a count of values, a root, a variance."""
    counts = dict.fromkeys((2, 3, 4, 9, 25, 127.5, 128, 255, 256, type_.channels, type_.size, *type_.spatial))
    for count in (each for each in counts if each > 1):
        for known, word in (
            (count, f"{count}"),
            (1 / count, f"1 / {count}"),
            (sqrt(count), f"sqrt({count})"),
            (1 / sqrt(count), f"1 / sqrt({count})"),
            (count / (count - 1), f"{count} / {count - 1}"),
            ((count - 1) / count, f"{count - 1} / {count}"),
            (sqrt((count - 1) / count), f"sqrt({count - 1} / {count}), as of a division by an unbiased deviation"),
        ):
            if abs(value - known) < 1e-6 * known:
                return f", which is {word}"
    return ", the sign is wrong" if abs(value + 1) < 1e-6 else ""


def _offsets(right: Values, found: Values) -> Iterator[Relation]:
    """One number more on every value, or one for every channel."""
    # The median: where values are large, differences are wrong by rounding.
    offset = float(np.median(found - right))
    if np.isfinite(offset) and offset:
        yield (
            f"every value is {offset:.6g} more than it should be",
            right + offset,
            f"y + {offset:.6g}",
            ("a constant offset"),
        )
    offsets = np.median(found - right, axis=tuple(range(right.ndim - 1)), keepdims=True)
    if np.all(np.isfinite(offsets)) and np.any(offsets) and right.shape[-1] > 1:
        few = ", ".join(f"{value:.4g}" for value in offsets.ravel()[:4])
        yield f"every channel has an offset of its own: {few}, ...", right + offsets, "y + b[c]", "an offset a channel"


def _moved(right: Values, found: Values) -> Iterator[Relation]:
    """The same numbers elsewhere: axes exchanged or reversed, all values a pixel further, channels in another order."""
    axes = tuple(range(1, right.ndim))
    for order in permutations(axes):
        turned = right.transpose(0, *order)
        if order != axes and turned.shape == right.shape:
            yield (
                f"the axes stand in the order {order}, not {axes}",
                turned,
                f"y transposed to {order}",
                "axes exchanged",
            )
        poured = turned.reshape(right.shape)
        if order != axes:
            said = f"the values stand in the order of the axes {order}, under the right shape"
            yield said, poured, f"y transposed to {order}, reshaped", "values in another order"
    for axis in axes:
        yield f"axis {axis} is reversed", np.flip(right, axis), f"y, axis {axis} reversed", "an axis reversed"
        for step in (1, -1):
            rolled = np.roll(right, step, axis)
            border = [slice(None)] * right.ndim
            border[axis] = slice(0, 1) if step > 0 else slice(-1, None)
            rolled[tuple(border)] = found[tuple(border)]  # what comes in at the border is not known
            if right.shape[axis] > 2:
                yield (
                    f"all values are shifted by {step} along axis {axis}",
                    rolled,
                    f"y[i {-step:+d}] along axis {axis}",
                    ("a shift by one"),
                )
    if (places := _channels(right, found)) is not None:
        few = ", ".join(map(str, places[:6]))
        yield (
            f"the channels stand in another order: {few}, ...",
            right[..., places],
            "y[..., order]",
            ("channels in another order"),
        )


def _channels(right: Values, found: Values) -> Any:
    """Which channel each measured one is, where they differ from each other."""
    channels = right.shape[-1]
    if not 1 < channels <= 4096:
        return None
    ours, theirs = (values.reshape(-1, channels)[:4096].T for values in (right, found))
    places = []
    for each in theirs:
        with np.errstate(invalid="ignore"):
            distance = np.abs(ours - each).sum(1)
        places.append(int(np.argmin(distance)))
    return places if sorted(places) == list(range(channels)) and places != list(range(channels)) else None


def _clipped(right: Values, found: Values) -> Iterator[Relation]:
    """Nothing above, or nothing below, a number."""
    least, most = float(found.min()), float(found.max())
    if right.max() > most:
        yield f"nothing is above {most:.6g}", np.minimum(right, most), f"min(y, {most:.6g})", "clipped values"
    if right.min() < least:
        yield f"nothing is below {least:.6g}", np.maximum(right, least), f"max(y, {least:.6g})", "clipped values"


def _dropped(right: Values, found: Values) -> Iterator[Relation]:
    """Some values are zero, and the others larger to make up for it."""
    dropped = (found == 0) & (right != 0)
    kept = (found != 0) & (right != 0)
    if dropped.any() and kept.any():
        factor = float(np.median(found[kept] / right[kept]))
        if factor > 1 + 1e-6:
            share = dropped.sum() / (dropped.sum() + kept.sum())
            yield (
                f"{share:.0%} of the values are 0, the others times {factor:.6g}: a dropout that is not switched off",
                np.where(dropped, 0.0, factor * right),
                f"0, or {factor:.6g} * y",
                "values dropped",
            )


def _shuffled(right: Values, found: Values) -> Iterator[Relation]:
    """The same numbers in an order that has no name, within each sample or over the whole batch."""
    for rows, says, formula, name in (
        (
            len(right),
            "the values are right, but stand in another order",
            "y in another order",
            "values in another order",
        ),
        (1, "the values are right, but samples of the batch are mixed", "y of other samples", "samples mixed"),
    ):
        ours, theirs = right.reshape(rows, -1), found.reshape(rows, -1)
        placed = np.empty_like(ours)
        np.put_along_axis(placed, np.argsort(theirs, axis=1, kind="stable"), np.sort(ours, axis=1), axis=1)
        yield says, placed.reshape(right.shape), formula, name


def _kept(right: Values, found: Values, double: bool) -> Signature | None:
    """Nearly right values that all are numbers of a type with fewer bits, as where they were kept in it."""
    values, exact = (each[np.isfinite(each) & (each != 0)] for each in (found, right))
    for bits, name in TYPES.items() if len(values) >= SEVERAL else ():
        if bits < 24 or double:
            if not _of_bits(values, bits).all() or _of_bits(exact, bits).mean() > 0.5:
                continue
            if _small(right, found, GROWN * 2.0**-bits):
                says = f"every value is a number of {name}, which has {bits} bits"
                return Signature("a lower precision", says, f"y, rounded to {name}")
    return None


def _of_bits(values: Values, bits: int) -> Array:
    """Which numbers have no more significant bits."""
    scaled = np.frexp(values)[0] * 2.0**bits
    found: Array = scaled == np.round(scaled)
    return found


def _precision(right: Values, found: Values, predicted: Values) -> Signature | None:
    """Errors of the size that rounding makes, in numbers of fewer bits."""
    if not _rounds(right, found):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        times = norms(found - right) / predicted
    times = times[np.isfinite(times) & (times > 0)]
    if not len(times) or times.max() > 1e3 * times.min():
        return None  # a mistake grows with other things than rounding does
    bits = -log2(float(np.median(times)) * UNIT)
    for (least, most), name in BITS.items():
        if least <= bits <= most:
            if not _small(right, found, GROWN * 2.0**-least):
                return None  # a probability of 0 where 1 is right is no rounding, whatever was predicted
            says = f"the errors are those of rounding to about {bits:.0f} bits, as where {name} is computed with"
            return Signature("a lower precision", says, f"y, rounded to {bits:.0f} bits")
    return None


def _rounds(right: Values, found: Values) -> bool:
    """Whether errors go either way, as those of rounding do, and not with the right values, as another formula's."""
    errors, sizes = found - right, norms(right)
    together = (errors * right).reshape(len(right), -1).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = together / (norms(errors) * sizes)
    share = share[np.isfinite(share)]
    return not len(share) or abs(float(share.mean())) < SYSTEMATIC


def _small(right: Values, found: Values, share: float) -> bool:
    """Whether no value is off by more than this share of the largest one of its sample."""
    flat = np.abs(right).reshape(len(right), -1)
    errors = np.abs(found - right).reshape(len(right), -1)
    return bool(np.all(errors.max(1) <= share * flat.max(1)))


def _places(right: Values, found: Values) -> Signature | None:
    """Where the wrong values are: at the border, where the right ones are negative, in some channels."""
    sizes = np.abs(right).reshape(len(right), -1).max(1).reshape(-1, *(1,) * (right.ndim - 1))
    wrong = np.abs(found - right) > 1e-6 * sizes + 1e-30
    total = int(wrong.sum())
    if not total or total == wrong.size:
        return None
    spatial = right.shape[1:-1]
    if spatial and min(spatial) > 2:
        border = np.ones(spatial, bool)
        border[tuple(slice(1, -1) for _ in spatial)] = False
        inner = np.ones(spatial, bool)
        inner[tuple(slice(2, -2) if size > 4 else slice(None) for size in spatial)] = False
        for mask, width in ((border, 1), (inner, 2)):
            if mask.any() and not mask.all() and wrong[:, mask].sum() >= ALIKE * total:
                return Signature(
                    "wrong at the border",
                    f"only the {width} outermost pixels are wrong: padding, or windows that reach over the border",
                    "y inside, other values at the border",
                )
    signs = ((right < 0, "negative"), (right > 0, "positive"))
    for mask, word in signs if all(each.any() for each, _ in signs) else ():
        if wrong[mask].sum() >= ALIKE * total:
            return Signature(
                f"wrong where {word}", f"only values are wrong that should be {word}", f"y where not {word}"
            )
    channels = wrong.reshape(-1, wrong.shape[-1]).any(0)
    if not channels.all():
        few = ", ".join(map(str, np.flatnonzero(channels)[:6]))
        says = (
            f"{int(channels.sum())} of {len(channels)} channels are wrong: {few}{', ...' if channels.sum() > 6 else ''}"
        )
        return Signature("some channels wrong", says, "y in the other channels")
    return None
