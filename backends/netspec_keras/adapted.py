"""Layers that training needs other than Keras has them, brought to PyTorch's formulas.

They exist during training alone: what is exported holds stock layers. Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with an unbiased running variance: the batch's, times n / (n - 1), enters it.

    n is the number of values of one channel in the batch; with n = 1 the variance is not finite.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise as Keras does, then correct what it made of the running variance."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        kept = ops.multiply(self.moving_variance, self.momentum)  # a value of its own: the call below assigns
        outputs = super().call(inputs, training=training, mask=mask)
        count = ops.cast(ops.size(inputs) // inputs.shape[-1], self.moving_variance.dtype)
        biased = self.moving_variance - kept
        self.moving_variance.assign(kept + biased * (count / (count - 1)))
        return outputs


def undilated(kind: type[Any]) -> type[Any]:
    """A transposed convolution with zeros between the numbers of its kernel in the place of a dilation.

    TensorFlow's double kernels for CPUs take no dilation. And where it states the shape of a Conv3D, which the gradient
    in 3-D is, it swaps the dilations of rows and columns (2.21), so that there may be no graph of it.
    """

    class Undilated(kind):
        def call(self, inputs: Any) -> Any:
            if max(self.dilation_rate) == 1 or keras.backend.backend() != "tensorflow":
                return super().call(inputs)
            kernel = spread(self.kernel, self.dilation_rate)
            x = ops.conv_transpose(inputs, kernel, list(self.strides), self.padding, self.output_padding)
            if self.use_bias:
                x = x + self.bias
            return x if self.activation is None else self.activation(x)

    Undilated.__name__ = kind.__name__
    return Undilated


def spread(kernel: Any, rates: Sequence[int]) -> Any:
    """A kernel [k, ..., c, d] with zeros between its numbers, [(k - 1) * rate + 1, ..., c, d]."""
    for axis, rate in enumerate(rates):
        size = kernel.shape[axis]
        places = np.arange((size - 1) * rate + 1)
        padded = ops.pad(kernel, [(0, int(each == axis)) for each in range(len(kernel.shape))])
        kernel = ops.take(padded, np.where(places % rate, size, places // rate), axis=axis)
    return kernel


Conv3DTranspose = undilated(keras.layers.Conv3DTranspose)
