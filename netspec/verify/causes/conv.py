"""What may be otherwise in convolutions and dense layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations, product
from typing import Any, Literal

import numpy as np

from netspec.layers import Conv, ConvTranspose, Dense, DepthwiseConv, SeparableConv
from netspec.reference.table import Values
from netspec.verify.causes.hypothesis import Call, Fields, Hypothesis, fields, instead, with_factor

WINDOWS = (Conv, DepthwiseConv, SeparableConv)
CONVOLUTIONS = (*WINDOWS, ConvTranspose)
KERNELS = (*CONVOLUTIONS, Dense)
Border = Literal["reflect", "edge", "wrap"]
BORDERS: Mapping[Border, str] = {
    "reflect": "its own pixels, mirrored",
    "edge": "its border pixels, repeated",
    "wrap": "the pixels of the other side",
}
"""What may stand around an image where zeros should."""
TAPS = ("kernel", "depthwise")
"""The weights that have taps."""


def half_a_window(layer: Any) -> tuple[tuple[int, int], ...]:
    """The pads that people write for `same`."""
    window = layer.kernel if hasattr(layer, "kernel") else layer.size
    spread = getattr(layer, "dilation", (1,) * len(window))
    return tuple((size // 2 * step, size // 2 * step) for size, step in zip(window, spread, strict=True))


def shifted(call: Call) -> Iterator[Fields]:
    """Pads at other places: half a window on every side, which strides forgive; exchanged ends; a pixel off."""
    yield {"padding": half_a_window(call.layer)}
    yield {"padding": tuple((end, begin) for begin, end in call.layer.pads)}
    for moves in product((0, 1, -1), repeat=len(call.layer.pads)):
        pads = tuple((begin + move, end - move) for (begin, end), move in zip(call.layer.pads, moves, strict=True))
        if all(min(pad) >= 0 for pad in pads) or isinstance(call.layer, ConvTranspose):
            yield {"padding": pads}


def other_pads(call: Call) -> Iterator[Fields]:
    """None: the result may have another shape."""
    yield {"padding": ((0, 0),) * len(call.layer.pads)}


def _bordered(mode: Border) -> Any:
    def value(call: Call) -> Call | None:
        if not any(map(any, call.layer.pads)) or any(min(pad) < 0 for pad in call.layer.pads):
            return None
        pads = ((0, 0), *call.layer.pads, (0, 0))
        padded: Values = np.pad(call.x, pads, mode=mode)
        return call.of(call.layer.replace(padding=((0, 0),) * len(call.layer.pads))).reading(padded)

    return value


def _taps(call: Call) -> tuple[str, Values]:
    name = next(name for name in TAPS if name in call.weights)
    return name, call.weights[name]


def _flipped(call: Call) -> Call:
    name, kernel = _taps(call)
    return call.weighted(**{name: np.flip(kernel, tuple(range(kernel.ndim - 2)))})


def _turned(call: Call) -> Call | None:
    """Height and width of the kernel exchanged."""
    name, kernel = _taps(call)
    axes = tuple(range(kernel.ndim - 2))
    turned = kernel.transpose(*reversed(axes), kernel.ndim - 2, kernel.ndim - 1)
    return call.weighted(**{name: turned}) if len(axes) > 1 and turned.shape == kernel.shape else None


def _crossed(name: str) -> Any:
    """Inputs and outputs of a kernel exchanged."""

    def value(call: Call) -> Call | None:
        kernel = call.weights[name]
        crossed = np.swapaxes(kernel, -1, -2)
        return call.weighted(**{name: crossed}) if crossed.shape == kernel.shape else None

    return value


def _poured(name: str, order: tuple[int, ...]) -> Any:
    """The numbers of a kernel in another order of its axes, under the shape that it should have."""

    def value(call: Call) -> Call | None:
        kernel = call.weights[name]
        if kernel.ndim != len(order):
            return None
        return call.weighted(**{name: kernel.transpose(order).reshape(kernel.shape)})

    return value


def _reversed(call: Call) -> Call | None:
    return call.reading(call.x[..., ::-1]) if call.x.shape[-1] == 3 else None


def _ungrouped(call: Call) -> Call | None:
    """Channel c goes to group c mod groups."""
    groups = call.layer.groups
    if groups == 1:
        return None
    places = np.arange(call.x.shape[-1]).reshape(-1, groups).T.ravel()
    return call.reading(call.x[..., places])


def _filters_interleaved(call: Call) -> Values | None:
    if call.layer.groups == 1:
        return None
    value = call.value()
    return value[..., np.arange(value.shape[-1]).reshape(call.layer.groups, -1).T.ravel()]


def _by_multiplier(call: Call) -> Values | None:
    if call.layer.multiplier == 1:
        return None
    plain = call.without("bias").value()
    channels = call.x.shape[-1]
    order = np.arange(plain.shape[-1]).reshape(channels, -1).T.ravel()
    turned: Values = plain[..., order] + call.weights.get("bias", 0.0)
    return turned


def _without_bias(call: Call) -> Call | None:
    return call.without("bias") if "bias" in call.weights else None


def _bias_twice(call: Call) -> Call | None:
    return call.weighted(bias=2 * call.weights["bias"]) if "bias" in call.weights else None


def _bias_subtracted(call: Call) -> Call | None:
    return call.weighted(bias=-call.weights["bias"]) if "bias" in call.weights else None


def _strides(call: Call) -> Iterator[Fields]:
    yield {"stride": tuple(reversed(call.layer.stride))}
    yield {"stride": call.layer.dilation, "dilation": call.layer.stride}
    yield {"stride": (1,) * len(call.layer.stride)}
    yield {"dilation": (1,) * len(call.layer.dilation)}


HYPOTHESES: tuple[Hypothesis, ...] = (
    fields(WINDOWS, "shifted padding", shifted),
    fields(ConvTranspose, "shifted crop", shifted),
    *(
        instead(
            WINDOWS,
            f"{mode} padding",
            f"around the image stand {what}, not zeros",
            f"{{value}}, but padded with {what}",
            _bordered(mode),
        )
        for mode, what in BORDERS.items()
    ),
    instead(
        CONVOLUTIONS,
        "flipped kernel",
        "the kernel is flipped along height and width: a convolution of mathematics, not a cross-correlation",
        "{value}, with kernel[k - 1 - t] for kernel[t]",
        _flipped,
    ),
    instead(
        CONVOLUTIONS,
        "kernel transposed in the image",
        "height and width of the kernel are exchanged",
        "{value}, with kernel[j, i] for kernel[i, j]",
        _turned,
    ),
    *(
        instead(
            kinds,
            "inputs and outputs of the kernel exchanged",
            "the kernel's axes of inputs and outputs are exchanged: it was not transposed, or twice",
            "{value}, with the last two axes of the kernel exchanged",
            _crossed(name),
        )
        for kinds, name in ((KERNELS, "kernel"), ((SeparableConv,), "pointwise"))
    ),
    instead(
        Dense,
        "kernel not transposed",
        "the kernel is poured in transposed",
        "{value}, the kernel's numbers in the order [out, in]",
        _poured("kernel", (1, 0)),
    ),
    *(
        instead(
            CONVOLUTIONS,
            "kernel in another layout",
            f"the kernel's numbers stand in the order of axes {order} (0, 1 height and width, 2 in, 3 out)",
            f"{{value}}, the kernel read in the order {order}",
            _poured(name, order),
        )
        for name in TAPS
        for order in permutations(range(4))
        if order != (0, 1, 2, 3)
    ),
    instead(KERNELS, "bias missing", "the bias is not added", "{value}, bias 0", _without_bias),
    instead(KERNELS, "bias twice", "the bias is added twice", "{value} + bias", _bias_twice),
    instead(KERNELS, "bias subtracted", "the bias is taken off, not added", "{value} - 2 * bias", _bias_subtracted),
    instead(
        (Conv, SeparableConv, Dense),
        "colours reversed",
        "the three channels are read in the reverse order: BGR for RGB",
        "{value}, of x[..., ::-1]",
        _reversed,
    ),
    instead(
        Conv,
        "interleaved groups",
        "channel c is in group c mod {groups}: the groups are interleaved",
        "{value}, of every {groups}-th channel",
        _ungrouped,
    ),
    instead(
        Conv,
        "results of groups interleaved",
        "the results of the groups are interleaved, not one group after the other",
        "{value}, filter f of group g at f * {groups} + g",
        _filters_interleaved,
    ),
    instead(
        DepthwiseConv,
        "results by multiplier",
        "all channels of the first multiplier come first: result m * channels + c, not c * {multiplier} + m",
        "{value}, result c * {multiplier} + m at m * channels + c",
        _by_multiplier,
    ),
    fields(CONVOLUTIONS, "another stride or dilation", _strides),
    fields(CONVOLUTIONS, "another padding", other_pads),
    with_factor(
        KERNELS,
        "bias by a factor",
        "the bias is added {} times",
        "{value}, {} * bias for bias",
        lambda call, factor: call.weighted(bias=factor * call.weights["bias"]) if "bias" in call.weights else None,
    ),
    with_factor(
        (Conv, ConvTranspose, Dense, DepthwiseConv),
        "kernel by a factor",
        "the kernel is {} times what it should be",
        "{value}, {} * kernel for kernel",
        lambda call, factor: call.weighted(kernel=factor * call.weights["kernel"]),
    ),
)
