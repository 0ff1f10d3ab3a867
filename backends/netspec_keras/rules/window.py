"""What convolutions and pools share: which of Keras' paddings, if any, says the same as explicit pads."""

from __future__ import annotations

from typing import Literal

from netspec.layers.conv import same_pads
from netspec_keras.steps import Pads


def native_padding(
    pads: Pads,
    spatial: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Literal["valid", "same", "causal"] | None:
    """The padding that Keras computes to be just these pads for this input, or None; `causal` is for Conv1D alone."""
    if not any(map(any, pads)):
        return "valid"
    axes = zip(spatial, window, stride, dilation, strict=True)
    if tuple(pads) == tuple(same_pads(*axis) for axis in axes):
        return "same"
    if len(pads) == 1 and pads[0] == ((window[0] - 1) * dilation[0], 0):
        return "causal"
    return None
