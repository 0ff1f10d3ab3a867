"""Keras' layers with every constant in double precision: what the float64 run is made with.

On TensorFlow some layers round their own constants to float32 whatever their dtype (a slope, a scale, gelu's root),
interpolate in float32, or have no double kernel. Each class here is the stock layer, with its own arguments and
configuration, computed without that; in float32 the stock layers run. Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import product
from math import pi, sqrt
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from netspec.layers.conv import same_pads
from netspec_keras.adapted import undilated


def constant(value: Any) -> Any:
    """A constant in double precision."""
    return ops.convert_to_tensor(np.asarray(value, np.float64))


def gelu(x: Any, approximate: bool = True) -> Any:
    """`ops.gelu`: x/2 * (1 + erf(x / sqrt(2))), or its approximation with tanh (Hendrycks and Gimpel 2016)."""
    if approximate:
        inner = constant(sqrt(2 / pi)) * (x + constant(0.044715) * x * x * x)
        return constant(0.5) * x * (1 + ops.tanh(inner))
    return constant(0.5) * x * (1 + ops.erf(x / constant(sqrt(2))))


class LeakyReLU(keras.layers.LeakyReLU):
    """The slope in double precision."""

    def call(self, inputs: Any) -> Any:
        return ops.where(inputs > 0, inputs, constant(self.negative_slope) * inputs)


class Rescaling(keras.layers.Rescaling):
    """Scale and offset in double precision."""

    def call(self, inputs: Any) -> Any:
        return inputs * constant(self.scale) + constant(self.offset)


class Normalization(keras.layers.Normalization):
    """Mean and variance in double precision."""

    def call(self, inputs: Any) -> Any:
        return (inputs - constant(self.input_mean)) / constant(np.sqrt(np.asarray(self.input_variance, np.float64)))


class Resizing(keras.layers.Resizing):
    """Bilinear weights in double precision."""

    def call(self, data: Any) -> Any:
        if self.interpolation != "bilinear":
            return super().call(data)
        return resize_bilinear(data, (self.height, self.width))


class UpSampling2D(keras.layers.UpSampling2D):
    """Bilinear weights in double precision."""

    def call(self, inputs: Any) -> Any:
        if self.interpolation != "bilinear":
            return super().call(inputs)
        height, width = inputs.shape[1:3]
        return resize_bilinear(inputs, (height * self.size[0], width * self.size[1]))


def resize_bilinear(images: Any, size: tuple[int, int]) -> Any:
    """Images [batch, h, w, c] at another size, with half-pixel centres and edges repeated."""
    rows, columns = (bilinear_matrix(*axis) for axis in zip(images.shape[1:3], size, strict=True))
    return ops.einsum("ih,bhwc,jw->bijc", constant(rows), images, constant(columns))


def bilinear_matrix(before: int, after: int) -> NDArray[np.float64]:
    """The weights [after, before] that interpolate one axis."""
    centres = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    below = np.floor(centres).astype(int)
    matrix = np.zeros((after, before))
    np.add.at(matrix, (np.arange(after), below), 1 - (centres - below))
    np.add.at(matrix, (np.arange(after), np.minimum(below + 1, before - 1)), centres - below)
    return matrix


class MaxPooling3D(keras.layers.MaxPooling3D):
    """As the largest of shifted slices: TensorFlow has no double kernel."""

    def call(self, inputs: Any) -> Any:
        return reduce(ops.maximum, window_slices(self, inputs, -np.inf))


class AveragePooling3D(keras.layers.AveragePooling3D):
    """As the mean of shifted slices: TensorFlow has no double kernel."""

    def call(self, inputs: Any) -> Any:
        inside = window_slices(self, ops.ones_like(inputs), 0)
        return reduce(ops.add, window_slices(self, inputs, 0)) / reduce(ops.add, inside)


def window_slices(layer: Any, x: Any, fill: float) -> list[Any]:
    """For each place in the pooling window, what stands there for every window."""
    sizes, strides, spatial = layer.pool_size, layer.strides, x.shape[1:-1]
    if layer.padding == "same":
        pads = [same_pads(*axis) for axis in zip(spatial, sizes, strides, strict=True)]
        x = ops.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    counts = [(size - window) // step + 1 for size, window, step in zip(x.shape[1:-1], sizes, strides, strict=True)]
    found = []
    for place in product(*map(range, sizes)):
        spans = (
            slice(start, start + (count - 1) * step + 1, step)
            for start, count, step in zip(place, counts, strides, strict=True)
        )
        found.append(x[(slice(None), *spans)])
    return found


EXACT: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        LeakyReLU,
        Rescaling,
        Normalization,
        Resizing,
        UpSampling2D,
        MaxPooling3D,
        AveragePooling3D,
        undilated(keras.layers.Conv1DTranspose),
        undilated(keras.layers.Conv2DTranspose),
        undilated(keras.layers.Conv3DTranspose),
    )
}


class Layers:
    """`keras.layers`, with some layers replaced and with activations that are not Keras' own."""

    def __init__(self, replaced: dict[str, type[Any]], activations: dict[str, Callable[[Any], Any]]) -> None:
        self.replaced, self.activations = replaced, activations

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self.make, self.replaced.get(name) or getattr(keras.layers, name))

    def make(self, kind: type[Any], *arguments: Any, **options: Any) -> Any:
        """The layer, with its activation replaced."""
        if kind is keras.layers.Activation:
            arguments = tuple(self.activations.get(name, name) for name in arguments)
        elif "activation" in options:
            options["activation"] = self.activations.get(options["activation"], options["activation"])
        return kind(*arguments, **options)


class Gelu(keras.Operation):
    """`ops.gelu` in double precision as one operation, which has the stock one's name: those of the steps that it is
    computed in, `multiply_1`, may be the names of rows.
    """

    def __init__(self, approximate: bool) -> None:
        super().__init__()
        self.approximate = approximate

    def call(self, x: Any) -> Any:
        return gelu(x, self.approximate)

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


class Operations:
    """`keras.ops`, with gelu in double precision."""

    def gelu(self, x: Any, approximate: bool = True) -> Any:
        """`ops.gelu`."""
        return Gelu(approximate)(x)

    def __getattr__(self, name: str) -> Any:
        return getattr(ops, name)


def exact_layers(replaced: dict[str, type[Any]] | None = None) -> Layers:
    """Every layer of Keras, exact in double precision; `replaced` come first."""
    return Layers({**EXACT, **(replaced or {})}, {"gelu": partial(gelu, approximate=False)})


__all__: Sequence[str] = ["EXACT", "Layers", "Operations", "exact_layers"]
