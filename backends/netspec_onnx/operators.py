"""Operators of ONNX's reference evaluator, written anew from the ONNX specification where its own do not serve.

The evaluator (onnx 1.23) rounds Erf to float32, pools every window in Python, misplaces some pads of MaxPool, and keeps
all windows of a convolution at once. These compute the same in double precision, with as little memory as they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from math import erf
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx.reference.op_run import OpRun

if TYPE_CHECKING:
    from netspec.tensors import Array

Integers = Sequence[int]


class Erf(OpRun):
    """Erf in double precision."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (np.vectorize(erf, otypes=[np.float64])(x),)


class Conv(OpRun):
    """Cross-correlation: sums over the taps t and the channels c of a filter's group, and its bias.

    Y[n, f, p] = B[f] + sum of X[n, c, p * stride + t * dilation] * W[f, c, t]
    """

    op_domain = ""

    def _run(self, x: Array, w: Array, b: Array | None = None, **attributes: Any) -> tuple[Array]:
        kernel, strides, dilations = (attributes[name] for name in ("kernel_shape", "strides", "dilations"))
        groups, batch = attributes["group"], len(x)
        padded = _padded(x, attributes["pads"], 0.0)
        count = _counts(padded.shape[2:], kernel, strides, dilations)
        total = np.zeros((batch, len(w), *count), x.dtype)
        shares = total.reshape(batch, groups, len(w) // groups, -1)
        matrices = w.reshape(groups, len(w) // groups, *w.shape[1:])
        for tap, places in _taps(kernel, strides, dilations, count):
            seen = padded[:, :, *places].reshape(batch, groups, w.shape[1], -1)
            matrix = matrices[:, :, :, *tap]
            # One channel a group is a product of numbers, for which a product of matrices is slow.
            shares += matrix * seen if w.shape[1] == 1 else matrix @ seen
        return (total if b is None else total + b.reshape(-1, *(1 for _ in kernel)),)


class MaxPool(OpRun):
    """The largest value of each window; pads are minus infinity."""

    op_domain = ""

    def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
        return (reduce(np.maximum, _windows(x, attributes, -np.inf)),)


class AveragePool(OpRun):
    """The sum of each window over how many of its values count: all of them, or those that are no pads."""

    op_domain = ""

    def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
        ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
        counted = reduce(np.add, _windows(ones, attributes, float(attributes["count_include_pad"])))
        return (reduce(np.add, _windows(x, attributes, 0.0)) / counted,)


OPERATORS: list[type[OpRun]] = [AveragePool, Conv, Erf, MaxPool]


def _padded(x: Array, pads: Integers, fill: float) -> Array:
    """[n, c, spatial...] with pads as ONNX lists them: every begin, then every end."""
    rank = len(pads) // 2
    around = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    return np.pad(x, around, constant_values=fill) if any(pads) else x


def _counts(sizes: Integers, kernel: Integers, strides: Integers, dilations: Integers) -> list[int]:
    """How often the kernel fits along every axis."""
    axes = zip(sizes, kernel, strides, dilations, strict=True)
    return [(size - (reach - 1) * spread - 1) // step + 1 for size, reach, step, spread in axes]


def _taps(
    kernel: Integers, strides: Integers, dilations: Integers, count: Integers
) -> Iterator[tuple[Any, list[slice]]]:
    """Every place in the kernel, with the slices that pick what stands there for every window."""
    for tap in product(*map(range, kernel)):
        axes = zip(tap, strides, dilations, count, strict=True)
        yield (
            tap,
            [slice(at * spread, at * spread + (number - 1) * step + 1, step) for at, step, spread, number in axes],
        )


def _windows(x: Array, attributes: dict[str, Any], fill: float) -> Iterator[Array]:
    """For every place in a pooling window, what stands there for every window."""
    kernel, strides = attributes["kernel_shape"], attributes["strides"]
    assert not attributes["ceil_mode"], "the rules state every window"
    ones = [1 for _ in kernel]
    padded = _padded(x, attributes["pads"], fill)
    for _, places in _taps(kernel, strides, ones, _counts(padded.shape[2:], kernel, strides, ones)):
        yield padded[:, :, *places]
