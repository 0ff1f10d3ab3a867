"""What may be otherwise where images are prepared and resampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from netspec.layers import Grayscale, Normalize, Rescale, Resize
from netspec.reference.table import Values
from netspec.verify.causes.hypothesis import Call, Fields, Hypothesis, fields, instead

Places = Callable[[int, int], Values]
"""Where each pixel of an axis of the new size lies in the old one."""


def resampled(x: Values, size: Sequence[int], places: Places) -> Values:
    """Every spatial axis interpolated at these places."""
    for axis, target in enumerate(size, start=1):
        source = x.shape[axis]
        place = np.clip(places(source, target), 0, source - 1)
        before = np.floor(place).astype(np.intp)
        share = (place - before).reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = x.take(before, axis) * (1 - share) + x.take(np.minimum(before + 1, source - 1), axis) * share
    return x


def aligned_corners(x: Values, size: Sequence[int]) -> Values:
    """Bilinear, the outermost centres on each other: target i looks at i * (old - 1) / (new - 1)."""
    return resampled(x, size, lambda old, new: np.arange(new) * (old - 1) / max(new - 1, 1))


def from_corner(x: Values, size: Sequence[int]) -> Values:
    """Bilinear, pixels as points: target i looks at i * old / new."""
    return resampled(x, size, lambda old, new: np.arange(new) * old / new)


def antialiased(x: Values, size: Sequence[int]) -> Values:
    """Bilinear; where it becomes smaller, with a triangle as wide as the step, its weights adding up to 1."""
    for axis, target in enumerate(size, start=1):
        source = x.shape[axis]
        scale = max(source / target, 1.0)
        centre = (np.arange(target) + 0.5) * source / target - 0.5
        weight = np.maximum(1 - np.abs(np.arange(source) - centre[:, None]) / scale, 0.0)
        weight /= weight.sum(1, keepdims=True)
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ weight.T, -1, axis)
    return x


def _nearest(places: Callable[[int, int], NDArray[np.intp]]) -> Callable[[Call], Values | None]:
    def value(call: Call) -> Values | None:
        if call.layer.mode != "nearest":
            return None
        x = call.x
        for axis, target in enumerate(call.layer.size, start=1):
            x = x.take(np.clip(places(x.shape[axis], target), 0, x.shape[axis] - 1), axis)
        return x

    return value


def _bilinear(resample: Callable[[Values, Sequence[int]], Values]) -> Callable[[Call], Values | None]:
    return lambda call: resample(call.x, call.layer.size) if call.layer.mode == "bilinear" else None


def _other_mode(call: Call) -> Iterator[Fields]:
    yield {"mode": "bilinear" if call.layer.mode == "nearest" else "nearest"}


def _scales(call: Call) -> Iterator[Fields]:
    yield {"offset": 0.0}
    yield {"scale": 1.0}
    yield {"offset": -call.layer.offset}
    yield from ({"scale": scale} for scale in (1 / 255, 1 / 127.5, 1 / 256, 1 / 128))
    yield from ({"scale": scale, "offset": -1.0} for scale in (1 / 127.5, 1 / 128))
    yield {"scale": float(np.float32(call.layer.scale)), "offset": float(np.float32(call.layer.offset))}


def _statistics(call: Call) -> Iterator[Fields]:
    yield {"mean": tuple(reversed(call.layer.mean))}
    yield {"std": tuple(reversed(call.layer.std))}
    yield {"mean": tuple(reversed(call.layer.mean)), "std": tuple(reversed(call.layer.std))}
    yield {"mean": (0.0,) * len(call.layer.mean)}
    yield {"std": (1.0,) * len(call.layer.std)}
    yield {"std": tuple(value**2 for value in call.layer.std)}
    yield {"std": tuple(value**0.5 for value in call.layer.std)}


def _grey(*shares: float) -> Callable[[Call], Values]:
    return lambda call: (call.x @ np.array(shares))[..., np.newaxis]


HYPOTHESES: tuple[Hypothesis, ...] = (
    fields(Rescale, "another scale", _scales),
    instead(
        Rescale,
        "offset before the scale",
        "the offset is added before it is scaled",
        "(x + {offset}) * {scale}",
        lambda call: (call.x + call.layer.offset) * call.layer.scale,
    ),
    instead(
        Rescale,
        "divided by the scale",
        "it is divided by the scale",
        "x / {scale} + {offset}",
        lambda call: call.x / call.layer.scale + call.layer.offset,
    ),
    fields(Normalize, "other statistics", _statistics),
    instead(
        Normalize,
        "multiplied by the deviation",
        "it is multiplied by the deviation, not divided",
        "(x - {mean}) * {std}",
        lambda call: (call.x - np.array(call.layer.mean)) * np.array(call.layer.std),
    ),
    instead(
        Normalize,
        "divided first",
        "it is divided by the deviation before the mean is taken off",
        "x / {std} - {mean}",
        lambda call: call.x / np.array(call.layer.std) - np.array(call.layer.mean),
    ),
    instead(
        Grayscale,
        "colours reversed",
        "blue is taken for red",
        "0.114 R + 0.587 G + 0.2989 B",
        _grey(0.114, 0.587, 0.2989),
    ),
    instead(Grayscale, "mean of the colours", "the colours count alike", "(R + G + B) / 3", _grey(1 / 3, 1 / 3, 1 / 3)),
    instead(
        Grayscale,
        "other shares of the colours",
        "the shares are those of BT.709",
        "0.2126 R + 0.7152 G + 0.0722 B",
        _grey(0.2126, 0.7152, 0.0722),
    ),
    instead(
        Grayscale,
        "other shares of the colours",
        "the shares are those of BT.601 with three digits",
        "0.299 R + 0.587 G + 0.114 B",
        _grey(0.299, 0.587, 0.114),
    ),
    fields(Resize, "another interpolation", _other_mode),
    instead(
        Resize,
        "nearest, rounded down",
        "the nearest pixel is that of the corner, rounded down (asymmetric, floor), not of the centre",
        "target i takes floor(i * old / new)",
        _nearest(lambda old, new: np.arange(new) * old // new),
    ),
    instead(
        Resize,
        "nearest, rounded from the corner",
        "the nearest pixel is that of the corner, rounded (asymmetric, round), not of the centre",
        "target i takes round(i * old / new)",
        _nearest(lambda old, new: np.floor(np.arange(new) * old / new + 0.5).astype(np.intp)),
    ),
    instead(
        Resize,
        "nearest, halves rounded down",
        "halfway between two pixels the one before is taken (round_prefer_floor)",
        "target i takes ceil((i + 1/2) * old / new - 1)",
        _nearest(lambda old, new: -(-(2 * np.arange(new) + 1) * old // (2 * new)) - 1),
    ),
    instead(
        Resize,
        "corners aligned",
        "the outermost pixels are laid on each other (align_corners), not the borders of the image",
        "target i looks at i * (old - 1) / (new - 1)",
        _bilinear(aligned_corners),
    ),
    instead(
        Resize,
        "half a pixel off",
        "pixels are taken for points at their corner (asymmetric), not at their centre (half_pixel)",
        "target i looks at i * old / new",
        _bilinear(from_corner),
    ),
    instead(
        Resize,
        "antialiased",
        "where the image becomes smaller, it is smoothed first (antialias)",
        "the mean under a triangle as wide as the step",
        _bilinear(antialiased),
    ),
)
