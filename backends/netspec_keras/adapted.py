"""Layers that training needs other than Keras has them, brought to PyTorch's formulas.

They exist during training alone: what is exported holds stock layers. Importing this imports Keras.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
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
