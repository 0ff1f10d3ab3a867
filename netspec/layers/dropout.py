"""Dropout: zeros in training, nothing afterwards."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from netspec.layers.base import Inputs, Layer, spatial_input


class Dropout(Layer, kind="Dropout", size=("rate",)):
    """In training, zero each value with probability `rate` and scale the others by 1 / (1 - rate).

    The shape stays (Srivastava et al. 2014).
    """

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The probability of a zero."""


class SpatialDropout(
    Layer,
    kind="SpatialDropout",
    aliases=("ChannelDropout",),
    size=("rate",),
    ranks=(1, 2, 3),
    ranked=("Dropout{}D",),
):
    """In training, zero whole channels with probability `rate` and scale the others by 1 / (1 - rate).

    The shape stays (Tompson et al. 2015); torch calls it Dropout1d, Dropout2d, Dropout3d.
    """

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The probability that a channel is zeroed."""

    def resolve(self, inputs: Inputs) -> Self:
        spatial_input(self, inputs)
        return self


class StochasticDepth(Layer, kind="StochasticDepth", aliases=("DropPath",), size=("rate",)):
    """In training, zero a whole sample with probability `rate` and scale the others by 1 / (1 - rate).

    The shape stays (Huang et al. 2016). Before the Add of a residual branch, it leaves the branch out of a sample.
    """

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The probability that a sample is zeroed."""
