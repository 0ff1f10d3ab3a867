"""The optimisers of `netspec.reference.optimizer` in Keras, which follow PyTorch's formulas.

They exist during training alone. Importing this imports Keras. The scalars of a step (bias corrections) are computed in
double precision inside of the compiled step and rounded to the weights' precision once; the learning rate is a variable
of Keras' own precision, set before every step.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from typing import Any

import keras
from keras import ops

from netspec.reference.optimizer import NEWTON_SCHULZ, NEWTON_SCHULZ_EPSILON
from netspec.training.settings import TrainSettings
from netspec.training.stepping import AVERAGE
from netspec_keras.model import wide_results


class TorchOptimizer(keras.optimizers.Optimizer):
    """What the optimisers share: slots, clipping, decay by the path of a variable, the running mean of the weights.

    `decayed` are the paths of the variables that `weight_decay` applies to, `matrices` of those that muon sees as
    matrices. Keras itself takes the mean over the batches of an update.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, training: TrainSettings, decayed: Collection[str] = (), matrices: Collection[str] = ()) -> None:
        settings = training.optimizer
        super().__init__(
            learning_rate=settings.learning_rate,
            gradient_accumulation_steps=training.accumulate if training.accumulate > 1 else None,
            name=settings.name,
        )
        self.training, self.settings = training, settings
        self.decayed, self.matrices = frozenset(decayed), frozenset(matrices)
        self.paths: list[str] = []
        self.kept: dict[str, list[Any]] = {}

    def build(self, variables: list[Any]) -> None:
        """Make the slots, one for each variable."""
        if self.built:
            return
        super().build(variables)
        self.paths = [variable.path for variable in variables]
        for slot in (*self.slots, *([AVERAGE] if self.training.ema else [])):
            self.kept[slot] = self.make_slot(slot, variables)

    def make_slot(self, slot: str, variables: list[Any]) -> list[Any]:
        """A slot for each variable, at its first value."""
        return list(self.add_optimizer_variables(variables, slot))

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Cut every number off, or scale all to a norm c where theirs is larger, by c / max(norm, c)."""
        value, norm = self.training.clip_value, self.training.clip_norm
        if value is not None:
            return [ops.minimum(ops.maximum(gradient, -value), value) for gradient in grads]
        if norm is None:
            return list(grads)
        length = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in grads))
        scale = norm / ops.maximum(length, norm)
        return [gradient * scale for gradient in grads]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay, then the step of the formula, then the running mean."""
        rate = ops.cast(learning_rate, variable.dtype)
        # What TensorFlow gives here is a variable of its own, without a path.
        index = self._get_variable_index(variable)
        if self.paths[index] in self.decayed:
            if self.settings.decoupled:
                self.assign_sub(variable, variable * rate * self.settings.weight_decay)
            else:
                gradient = gradient + variable * self.settings.weight_decay
        slots = {slot: kept[index] for slot, kept in self.kept.items()}
        self.step(gradient, variable, rate, slots, matrix=self.paths[index] in self.matrices)
        if AVERAGE in slots:
            # The first value itself: none of the zeros that the slot begins with.
            kept = ops.cast(ops.minimum(self.iterations, 1), variable.dtype) * self.training.ema
            self.assign(slots[AVERAGE], slots[AVERAGE] * kept + variable * (1 - kept))

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        """Change the variable and its slots."""
        raise NotImplementedError

    def moved(self, slot: Any, value: Any) -> Any:
        """Give a slot its new value, and give that back."""
        self.assign(slot, value)
        return ops.convert_to_tensor(slot)

    def running_mean(self, mean: Any, value: Any, kept: float) -> Any:
        """Let a slot move to a value, keeping a fraction of what it was; its new value."""
        return self.moved(mean, mean * kept + value * (1 - kept))

    def power(self, base: float, *, at: int = 0, of: float = 1.0) -> Any:
        """base^(of * (t + at)) in double precision, at update t, counted from 1."""
        update = ops.cast(self.iterations + 1 + at, "float64")
        return ops.power(ops.convert_to_tensor(base, "float64"), update * of)

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        """Keras' update of all variables, which share the numbers of a step."""
        self.masses: dict[tuple[float, str], Any] = {}
        with wide_results():
            super()._backend_update_step(grads, trainable_variables, learning_rate)

    def missing_mass(self, kept: float, dtype: str) -> Any:
        """1 - kept^t: what a running mean that began at zero is divided by."""
        key = (kept, keras.backend.standardize_dtype(dtype))
        if key not in self.masses:
            self.masses[key] = ops.cast(1 - self.power(kept), dtype)
        return self.masses[key]

    def adam(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any]) -> None:
        """Adam's step: both running means, each divided by what it is missing."""
        mean = self.running_mean(slots["mean"], gradient, self.settings.beta_1)
        square = self.running_mean(slots["square"], ops.square(gradient), self.settings.beta_2)
        root = ops.sqrt(square / self.missing_mass(self.settings.beta_2, variable.dtype))
        rate = rate / self.missing_mass(self.settings.beta_1, variable.dtype)
        self.assign_sub(variable, rate * mean / (root + self.settings.epsilon))


class SGD(TorchOptimizer):
    """Stochastic gradient descent, with momentum."""

    def __init__(self, training: TrainSettings, *chosen: Collection[str]) -> None:
        super().__init__(training, *chosen)
        self.slots = ("momentum",) if self.settings.momentum else ()

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        momentum = self.settings.momentum
        if momentum:
            # The buffer starts at zero, so that the first step gives the gradient itself as torch has it.
            buffer = self.moved(slots["momentum"], slots["momentum"] * momentum + gradient)
            gradient = gradient + buffer * momentum if self.settings.nesterov else buffer
        self.assign_sub(variable, gradient * rate)


class Adam(TorchOptimizer):
    """Adam, and AdamW, whose decay is decoupled."""

    slots = ("mean", "square")

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        self.adam(gradient, variable, rate, slots)


class RMSprop(TorchOptimizer):
    """Epsilon stands outside of the root, and the learning rate outside of the momentum."""

    def __init__(self, training: TrainSettings, *chosen: Collection[str]) -> None:
        super().__init__(training, *chosen)
        self.slots = ("square", "momentum") if self.settings.momentum else ("square",)

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        square = self.running_mean(slots["square"], ops.square(gradient), self.settings.rho)
        change = gradient / (ops.sqrt(square) + self.settings.epsilon)
        if "momentum" in slots:
            change = self.moved(slots["momentum"], slots["momentum"] * self.settings.momentum + change)
        self.assign_sub(variable, change * rate)


class Adagrad(TorchOptimizer):
    """Divided by the root of the sum of all squared gradients."""

    slots = ("total",)

    def make_slot(self, slot: str, variables: list[Any]) -> list[Any]:
        start = self.settings.accumulator if slot == "total" else 0.0
        return list(self.add_optimizer_variables(variables, slot, keras.initializers.Constant(start)))

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        total = self.moved(slots["total"], slots["total"] + ops.square(gradient))
        self.assign_sub(variable, gradient / (ops.sqrt(total) + self.settings.epsilon) * rate)


class Adadelta(TorchOptimizer):
    """Scaled by the size of the steps before, over that of the gradients."""

    slots = ("square", "change")

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        rho, epsilon = self.settings.rho, self.settings.epsilon
        square = self.running_mean(slots["square"], ops.square(gradient), rho)
        before = ops.convert_to_tensor(slots["change"])
        change = ops.sqrt(before + epsilon) / ops.sqrt(square + epsilon) * gradient
        self.running_mean(slots["change"], ops.square(change), rho)
        self.assign_sub(variable, change * rate)


class Adamax(TorchOptimizer):
    """Divided by the largest size of the gradients, which fades."""

    slots = ("mean", "largest")

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        mean = self.running_mean(slots["mean"], gradient, self.settings.beta_1)
        size = ops.abs(gradient) + self.settings.epsilon
        largest = self.moved(slots["largest"], ops.maximum(slots["largest"] * self.settings.beta_2, size))
        self.assign_sub(variable, rate / self.missing_mass(self.settings.beta_1, variable.dtype) * mean / largest)


class NAdam(TorchOptimizer):
    """Adam with Nesterov's momentum, which grows; the product of all momentums is a number in double precision."""

    slots = ("mean", "square", "product")

    def make_slot(self, slot: str, variables: list[Any]) -> list[Any]:
        if slot != "product":
            return super().make_slot(slot, variables)
        return [
            self.add_variable((1,), initializer="ones", dtype="float64", name=f"{index}_product")
            for index in range(len(variables))
        ]

    def momentum(self, *, at: int) -> Any:
        """The momentum of this update, or of the next, in double precision."""
        return self.settings.beta_1 * (1 - 0.5 * self.power(0.96, at=at, of=self.settings.momentum_decay))

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        now, then, dtype = self.momentum(at=0), self.momentum(at=1), variable.dtype
        product = self.moved(slots["product"], slots["product"] * now)[0]
        mean = self.running_mean(slots["mean"], gradient, self.settings.beta_1)
        square = self.running_mean(slots["square"], ops.square(gradient), self.settings.beta_2)
        root = ops.sqrt(square / self.missing_mass(self.settings.beta_2, dtype)) + self.settings.epsilon
        own, before = ((1 - now) / (1 - product), then / (1 - product * then))
        change = gradient * ops.cast(own, dtype) + mean * ops.cast(before, dtype)
        self.assign_sub(variable, rate * change / root)


class Lion(TorchOptimizer):
    """Every number moves by the learning rate, up or down."""

    slots = ("mean",)

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        beta_1, beta_2 = self.settings.beta_1, self.settings.beta_2
        change = ops.sign(slots["mean"] * beta_1 + gradient * (1 - beta_1))
        self.running_mean(slots["mean"], gradient, beta_2)
        self.assign_sub(variable, change * rate)


class Muon(TorchOptimizer):
    """Momentum, made orthogonal by Newton-Schulz, for matrices [outputs, everything else]; Adam for all others."""

    def make_slot(self, slot: str, variables: list[Any]) -> list[Any]:
        if slot == AVERAGE:
            return super().make_slot(slot, variables)
        return [
            self.add_variable_from_reference(variable, name=slot)
            if (variable.path in self.matrices) == (slot == "momentum")
            else None
            for variable in variables
        ]

    slots = ("momentum", "mean", "square")

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, matrix: bool) -> None:
        s = self.settings
        if not matrix:
            self.adam(gradient, variable, rate * (s.adam_learning_rate / s.learning_rate), slots)
            return
        buffer = self.running_mean(slots["momentum"], gradient, s.momentum)
        chosen = gradient + (buffer - gradient) * s.momentum if s.nesterov else buffer
        rows, columns = gradient.shape[-1], prod(gradient.shape[:-1])
        change = ops.reshape(orthogonalised(ops.reshape(chosen, (columns, rows)), s.iterations), gradient.shape)
        self.assign_sub(variable, change * (rate * max(1.0, rows / columns) ** 0.5))


def orthogonalised(matrix: Any, iterations: int) -> Any:
    """Nearly the orthogonal matrix nearest to one, by Newton-Schulz; see `netspec.reference.optimizer`."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / ops.maximum(ops.sqrt(ops.sum(ops.square(x))), NEWTON_SCHULZ_EPSILON)
    for _ in range(iterations):
        gram = ops.matmul(x, ops.transpose(x))
        x = x * a + ops.matmul(gram * b + ops.matmul(gram, gram) * c, x)
    return ops.transpose(x) if tall else x


OPTIMIZERS: dict[str, type[TorchOptimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": Adam,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "adamax": Adamax,
    "nadam": NAdam,
    "lion": Lion,
    "muon": Muon,
}
