"""In what numbers a network computes while it trains: Keras' mixed policies, and the scaling of losses for fp16.

They hold for the trainer's own clone; what is exported has the stock policy. Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from netspec.errors import BackendError
from netspec.training.precision import FIRST_SCALE, GROWTH_STEPS, Compute
from netspec.training.settings import TrainSettings

POLICIES: dict[Compute, str] = {"float32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
"""What Keras calls each: weights are float32 in all of them, and norms and losses computed in it."""


def check(settings: TrainSettings) -> None:
    """Raise BackendError where Keras, or the device in use, does not train in the precision that is asked for."""
    precision = settings.precision
    if precision == "float32":
        return
    if precision == "fp16" and settings.accumulate > 1:
        # Keras' LossScaleOptimizer skips the one call whose gradients overflow, which the optimiser then never counts.
        raise BackendError(
            f"Keras cannot train in fp16 with accumulate: {settings.accumulate}: where gradients overflow, it would "
            "leave out a batch, not the update\n  hint: precision: bf16, accumulate: 1 or --backend torch"
        )
    dtype = keras.DTypePolicy(POLICIES[precision]).compute_dtype
    try:
        ops.matmul(ops.ones((2, 2), dtype), ops.ones((2, 2), dtype))
    except Exception as error:
        raise BackendError(
            f"Keras on {keras.backend.backend()} cannot train in {precision} here: {error}\n  hint: precision: float32"
        ) from error


def scaled(optimizer: Any) -> Any:
    """An optimiser whose losses are scaled, and whose updates are left out where the gradients are not finite."""
    return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=FIRST_SCALE, dynamic_growth_steps=GROWTH_STEPS)


@contextmanager
def tensor_float_32(*, allowed: bool) -> Iterator[None]:
    """Inside, a GPU may multiply float32 as TensorFloat-32 or not, as TensorFlow and JAX else do by themselves."""
    if keras.backend.backend() == "jax":
        import jax

        with jax.default_matmul_precision("tensorfloat32" if allowed else "float32"):
            yield
        return
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(allowed)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
