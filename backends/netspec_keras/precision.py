"""In what numbers a network computes while it trains: Keras' mixed policies, and the scaling of losses for fp16.

They hold for the trainer's own clone; what is exported has the stock policy. Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from netspec.errors import BackendError
from netspec.training.precision import FIRST_SCALE, GROWTH_STEPS, Compute

POLICIES: dict[Compute, str] = {"float32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
"""What Keras calls each: weights are float32 in all of them, and norms and losses computed in it."""


def check(precision: Compute) -> None:
    """Raise BackendError where the device in use does not compute in this precision."""
    if precision == "float32":
        return
    dtype = keras.DTypePolicy(POLICIES[precision]).compute_dtype
    try:
        ops.matmul(ops.ones((2, 2), dtype), ops.ones((2, 2), dtype))
    except Exception as error:
        raise BackendError(
            f"Keras on {keras.backend.backend()} cannot train in {precision} here: {error}\n  hint: precision: float32"
        ) from error


class Scaled(keras.optimizers.LossScaleOptimizer):
    """An optimiser whose losses are scaled, and whose updates are left out where the gradients are not finite.

    An update has the mean gradient of `every` batches. Keras would look at each batch by itself, leave out one that
    overflows, and never count it: here all of them are summed up, still scaled, and looked at together.
    """

    def __init__(self, optimizer: Any, every: int) -> None:
        super().__init__(optimizer, initial_scale=FIRST_SCALE, dynamic_growth_steps=GROWTH_STEPS)
        self.every = every

    def build(self, var_list: list[Any]) -> None:
        """Make what Keras has, and the sums."""
        if self.built:
            return
        super().build(var_list)
        self.batches = self.add_variable((), "zeros", dtype="int32", name="batches")
        self.sums = [self.add_variable_from_reference(each, name="sum") for each in var_list] if self.every > 1 else []

    def scale_loss(self, loss: Any) -> Any:
        """The loss of a batch as its part in an update, scaled."""
        return super().scale_loss(loss / self.every if self.every > 1 else loss)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Take in the gradients of a batch; the last one of an update makes it."""
        if not self.built:
            self.build(list(trainable_variables or ()))
        if self.every == 1:
            super().apply(grads, trainable_variables)
            return
        totals = added(self.sums, grads)

        def update() -> None:
            super(Scaled, self).apply(totals, trainable_variables)
            keep(0, zeros(self.sums))

        def keep(batches: Any, sums: Sequence[Any]) -> None:
            self.batches.assign(batches)
            for variable, value in zip(self.sums, sums, strict=True):
                if value is not None:
                    variable.assign(value)

        ops.cond(ops.equal(self.batches, self.every - 1), update, lambda: keep(self.batches + 1, totals))

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        """As `apply`, for JAX: what variables would be afterwards."""
        if self.every == 1:
            return super().stateless_apply(optimizer_variables, grads, trainable_variables)
        known = {id(variable): place for place, variable in enumerate(self.variables)}
        count, *sums = (known[id(variable)] for variable in (self.batches, *self.sums))
        batches, before = optimizer_variables[count], [optimizer_variables[place] for place in sums]
        totals = added(before, grads)

        def keeping(variables: Sequence[Any], batches: Any, values: Sequence[Any]) -> list[Any]:
            new = {count: batches, **dict(zip(sums, values, strict=True))}
            return [variable if new.get(place) is None else new[place] for place, variable in enumerate(variables)]

        def update() -> Any:
            given = (optimizer_variables, totals, trainable_variables)
            trained, variables = super(Scaled, self).stateless_apply(*given)
            return trained, keeping(variables, ops.zeros_like(batches), zeros(before))

        def wait() -> Any:
            return trainable_variables, keeping(optimizer_variables, batches + 1, totals)

        return ops.cond(ops.equal(batches, self.every - 1), update, wait)


def added(sums: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
    """Sums with the gradients of another batch; where a weight has none there is none."""
    return [None if own is None else total + own for total, own in zip(sums, gradients, strict=True)]


def zeros(sums: Sequence[Any]) -> list[Any]:
    """As many sums that nothing was added to."""
    return [ops.zeros_like(total) for total in sums]


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
