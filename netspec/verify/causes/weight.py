"""What may be otherwise with the weights of a layer, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netspec.layers import Layer
from netspec.reference.table import Array, Values
from netspec.verify.causes.hypothesis import Call, Hypothesis, instead


def as_float16(values: Array) -> Values:
    """The nearest numbers that float16 has."""
    return np.asarray(values, np.float16).astype(np.float64)


def as_bfloat16(values: Array) -> Values:
    """The nearest numbers that bfloat16 has, which are float32's first 16 bits; halves go to the even one.

    >>> as_bfloat16(np.array([1.0, 1.01, -3.14159])).tolist()
    [1.0, 1.0078125, -3.140625]
    """
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)


def _rounded(to: Callable[[Array], Values], *, alone: bool) -> Callable[[Call], Call | None]:
    """Every weight rounded, or that of most numbers alone, as where only matrices are kept in fewer bits."""

    def value(call: Call) -> Call | None:
        largest = max(call.weights, key=lambda name: call.weights[name].size, default=None)
        rounded = {name: to(array) for name, array in call.weights.items() if not alone or name == largest}
        return call.weighted(**rounded) if rounded else None

    return value


HYPOTHESES: tuple[Hypothesis, ...] = tuple(
    instead(
        (Layer,),
        "weights in half precision",
        f"{'the largest of its weights is' if alone else 'its weights are'} rounded to {name}",
        f"{{value}}, of {'a weight' if alone else 'weights'} in {name}",
        _rounded(to, alone=alone),
    )
    for alone in (False, True)
    for name, to in (("float16", as_float16), ("bfloat16", as_bfloat16))
)
