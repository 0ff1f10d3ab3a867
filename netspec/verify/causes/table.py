"""All hypotheses, those of a kind before those of every kind, the likelier ones first."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.layers import Layer
from netspec.verify.causes import activation, conv, image, merge, norm, pool, shape, weight
from netspec.verify.causes.hypothesis import Hypothesis

HYPOTHESES: tuple[Hypothesis, ...] = (
    *norm.HYPOTHESES,
    *conv.HYPOTHESES,
    *pool.HYPOTHESES,
    *image.HYPOTHESES,
    *merge.HYPOTHESES,
    *shape.HYPOTHESES,
    *activation.HYPOTHESES,
    *weight.HYPOTHESES,
    *shape.ANY,
)


def hypotheses(layer: Layer) -> Iterator[Hypothesis]:
    """Those that are about a layer."""
    return (each for each in HYPOTHESES if isinstance(layer, each.kinds))
