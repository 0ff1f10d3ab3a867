"""Layers and optimisers that training needs other than Keras has them, brought to PyTorch's formulas.

They exist during training alone: what is exported holds stock layers. Importing this imports Keras.

The scalars of a step (bias corrections) are computed in double precision inside of the compiled step and rounded to
the weights' precision once; the learning rate is a variable of Keras' own precision, set before every step.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
from keras import ops

from netspec.training.settings import Optimizer


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


class TorchOptimizer(keras.optimizers.Optimizer):  # type: ignore[misc]
    """What the optimisers share: their settings, the slots that each keeps, and weight decay by the name of a variable.

    `decayed` are the paths of the variables that `weight_decay` applies to.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, settings: Optimizer, decayed: Collection[str] = ()) -> None:
        super().__init__(learning_rate=settings.learning_rate, name=settings.name)
        self.settings, self.decayed = settings, frozenset(decayed)
        self.decays: list[bool] = []
        self.kept: dict[str, list[Any]] = {}

    def build(self, variables: list[Any]) -> None:
        """Make the slots, one for each variable."""
        if self.built:
            return
        super().build(variables)
        self.decays = [variable.path in self.decayed for variable in variables]
        for slot in self.slots:
            self.kept[slot] = self.add_optimizer_variables(variables, slot)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay, then the step of the formula."""
        rate = ops.cast(learning_rate, variable.dtype)
        index = self._get_variable_index(
            variable
        )  # what TensorFlow gives here is a variable of its own, without a path
        if self.decays[index]:
            gradient = self.decay(gradient, variable, rate)
        self.step(gradient, variable, rate, {slot: kept[index] for slot, kept in self.kept.items()})

    def decay(self, gradient: Any, variable: Any, rate: Any) -> Any:  # noqa: ARG002 - AdamW's needs the rate
        """The gradient with the decay coupled to it."""
        return gradient + variable * self.settings.weight_decay

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any]) -> None:
        """Change the variable and its slots."""
        raise NotImplementedError

    def running_mean(self, mean: Any, value: Any, kept: float) -> Any:
        """Let a slot move to a value, keeping a fraction of what it was; its new value."""
        self.assign(mean, mean * kept + value * (1 - kept))
        return ops.convert_to_tensor(mean)

    def missing_mass(self, kept: float, dtype: str) -> Any:
        """1 - kept^t at update t, counted from 1: what a running mean that began at zero is divided by."""
        update = ops.cast(self.iterations + 1, "float64")
        return ops.cast(1 - ops.power(ops.convert_to_tensor(kept, "float64"), update), dtype)


class SGD(TorchOptimizer):
    """b = momentum * b + g; w -= lr * b, or lr * (g + momentum * b) with Nesterov's form."""

    def __init__(self, settings: Optimizer, decayed: Collection[str] = ()) -> None:
        super().__init__(settings, decayed)
        self.slots = ("momentum",) if settings.momentum else ()

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any]) -> None:
        """Through the momentum, when there is one."""
        momentum = self.settings.momentum
        if slots:
            # b starts at zero, so that the first step gives b = g as torch has it.
            self.assign(slots["momentum"], slots["momentum"] * momentum + gradient)
            buffer = ops.convert_to_tensor(slots["momentum"])
            gradient = gradient + buffer * momentum if self.settings.nesterov else buffer
        self.assign_sub(variable, gradient * rate)


class Adam(TorchOptimizer):
    """w -= lr / (1 - beta_1^t) * m / (sqrt(v / (1 - beta_2^t)) + epsilon) (Kingma and Ba 2015, algorithm 1)."""

    slots = ("mean", "square")

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any]) -> None:
        """Both running means, each divided by what it is missing."""
        mean = self.running_mean(slots["mean"], gradient, self.settings.beta_1)
        square = self.running_mean(slots["square"], ops.square(gradient), self.settings.beta_2)
        root = ops.sqrt(square / self.missing_mass(self.settings.beta_2, variable.dtype))
        rate = rate / self.missing_mass(self.settings.beta_1, variable.dtype)
        self.assign_sub(variable, rate * mean / (root + self.settings.epsilon))


class AdamW(Adam):
    """w -= lr * weight_decay * w, then Adam's step (Loshchilov and Hutter 2019)."""

    def decay(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """The weight shrinks by itself; the gradient stays."""
        self.assign_sub(variable, variable * rate * self.settings.weight_decay)
        return gradient


class RMSprop(TorchOptimizer):
    """v = rho * v + (1 - rho) * g^2; w -= lr * g / (sqrt(v) + epsilon), through a momentum when there is one."""

    def __init__(self, settings: Optimizer, decayed: Collection[str] = ()) -> None:
        super().__init__(settings, decayed)
        self.slots = ("square", "momentum") if settings.momentum else ("square",)

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any]) -> None:
        """Epsilon stands outside of the root, and the learning rate outside of the momentum."""
        square = self.running_mean(slots["square"], ops.square(gradient), self.settings.rho)
        change = gradient / (ops.sqrt(square) + self.settings.epsilon)
        if "momentum" in slots:
            self.assign(slots["momentum"], slots["momentum"] * self.settings.momentum + change)
            change = ops.convert_to_tensor(slots["momentum"])
        self.assign_sub(variable, change * rate)


OPTIMIZERS: dict[str, type[TorchOptimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}
