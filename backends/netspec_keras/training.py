"""A model, what is minimised and what minimises it, and all that the next step depends on.

Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from netspec.errors import BackendError
from netspec.network import Network
from netspec.training.checkpoint import packed
from netspec.training.loss import loss_input
from netspec.training.roles import Roles, roles_of
from netspec.training.settings import Regularizer, TrainSettings
from netspec.training.stepping import AVERAGE
from netspec_keras.adapted import BatchNormalization, Conv3DTranspose
from netspec_keras.exact import Layers
from netspec_keras.losses import loss_of
from netspec_keras.model import build, canonical_weights
from netspec_keras.objective import Accuracy, Objective
from netspec_keras.optimizers import OPTIMIZERS, TorchOptimizer
from netspec_keras.precision import POLICIES, Scaled
from netspec_keras.realised import Rendering
from netspec_keras.render import render

if TYPE_CHECKING:
    from netspec.tensors import Array, Weights

ADAPTED: dict[str, type[Any]] = {"BatchNormalization": BatchNormalization, "Conv3DTranspose": Conv3DTranspose}


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A model, what is minimised, which shares its layers, and what minimises it."""

    network: Network
    model: Any
    objective: Objective
    optimizer: TorchOptimizer
    minimiser: Any
    """The optimiser, or in fp16 what scales the loss around it."""

    def state(self) -> dict[str, Array]:
        """The canonical weights as they are now."""
        self._settle()
        return canonical_weights(self.model, self.network)

    def _settle(self) -> None:
        """Give the variables the values that `fit` on JAX keeps outside of them while it runs."""
        if keras.backend.backend() == "jax":
            self.objective.jax_state_sync()

    def compile(self, at_once: int = 1) -> None:
        """Bring the parts together, for `fit` that takes so many steps before it looks up.

        On JAX what is not compiled goes operation by operation, and several steps are one; see `chunks`.
        """
        traced = keras.backend.backend() == "jax"
        self.objective.compile(
            optimizer=self.minimiser,
            jit_compile=traced,
            auto_scale_loss=False,
            steps_per_execution=1 if traced else at_once,
        )

    def set_rate(self, rate: float) -> None:
        """Let the steps that follow have this learning rate; on JAX every one brings its own, see `chunks`."""
        if keras.backend.backend() != "jax":
            self.minimiser.learning_rate = rate

    def random_states(self) -> list[Any]:
        """The variables from which dropout draws."""
        weights = {id(variable) for variable in self.model.weights}
        own = [variable for variable in self.model.variables if id(variable) not in weights]
        return [*own, TorchGenerator()] if keras.backend.backend() == "torch" else own

    def snapshot(self, best: Weights) -> dict[str, Array]:
        """All arrays that the next step depends on, and the best weights so far."""
        self._settle()
        own = {
            name: {str(index): ops.convert_to_numpy(variable) for index, variable in enumerate(variables)}
            for name, variables in self._variables().items()
        }
        return packed({"weights": self.state(), "best": best, **own})

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Be, with a checkpoint's weights, where its snapshot was taken; sums of an epoch begin with the epoch."""
        self.minimiser.build(self.objective.trainable_variables)
        for name in ("optimizer", "random"):
            self.assign(name, kept)

    def assign(self, name: str, kept: Mapping[str, Any]) -> None:
        """Give the variables of this name what a checkpoint has for them, in `unpacked` form."""
        for index, variable in enumerate(self._variables()[name]):
            variable.assign(kept[name][str(index)])

    def _variables(self) -> Mapping[str, Sequence[Any]]:
        return {
            "optimizer": self.minimiser.variables,
            "random": self.random_states(),
            "sums": [*self._loss_sums(), *self.objective.accuracy.variables],
        }

    def _loss_sums(self) -> list[Any]:
        return [variable for metric in self.objective.metrics if metric.name == "loss" for variable in metric.variables]

    @contextmanager
    def averages(self) -> Iterator[None]:
        """Inside, every weight that has a running mean is that mean; afterwards it is itself again."""
        means = self.optimizer.kept.get(AVERAGE, [])
        variables = self.objective.trainable_variables if means else []
        kept = [ops.convert_to_numpy(variable) for variable in variables]
        for variable, mean in zip(variables, means, strict=True):
            variable.assign(ops.convert_to_numpy(mean))  # a value of its own: JAX gives what it computes with away
        try:
            yield
        finally:
            for variable, own in zip(variables, kept, strict=True):
                variable.assign(own)


class TorchGenerator:
    """Torch's own generator as a variable: some of Keras' dropout draws from it there."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        import torch

        return np.array(torch.get_rng_state(), dtype)

    def assign(self, state: Array) -> None:
        """Go on from a state, uint8 [n]."""
        import torch

        torch.set_rng_state(torch.from_numpy(np.array(state)))


def training_of(network: Network, settings: TrainSettings, layers: Layers | None = None) -> Training:
    """What trains a network, with fresh weights; raises BackendError when nothing is trained."""
    if not network.trainable:
        raise BackendError(f"{network.name} has no weights to train")
    model = build(render(network), layers or Layers(ADAPTED, {}))
    roles = roles_of(network, settings, Rendering(network).placements)
    scales = keras.config.dtype_policy().name == POLICIES["fp16"]
    # What scales the losses also sums up the gradients of an update, which is one of one batch to the optimiser.
    own = settings.model_copy(update={"accumulate": 1}) if scales else settings
    optimizer = OPTIMIZERS[settings.optimizer.name](own, roles.decayed, roles.matrices)
    objective = objective_of(model, network, settings, roles)
    minimiser = Scaled(optimizer, settings.accumulate) if scales else optimizer
    return Training(network, model, objective, optimizer, minimiser)


def objective_of(model: Any, network: Network, settings: TrainSettings, roles: Roles) -> Objective:
    """The loss on the value that it reads, without a final Softmax or Sigmoid where it is of that."""
    outputs = model.outputs[0]
    if loss_input(network, settings.loss) not in network.results:
        outputs = model.get_layer(Rendering(network).names[network.output]).input
    objective = _kind()(model.inputs, outputs)
    objective.loss_of_data = loss_of(settings.loss)
    objective.accuracy, objective.augment = Accuracy(settings.loss.threshold), settings.augment
    variables = {variable.path: variable for variable in model.weights}
    penalised = tuple(variables[name] for name in roles.penalised)
    if penalised:
        objective.penalty = lambda: penalty_of(penalised, settings.regularizer)
    return objective


def _kind() -> type[Objective]:
    if keras.backend.backend() != "jax":
        return Objective
    from netspec_keras.chunks import ChunkedObjective

    return ChunkedObjective


def penalty_of(variables: Sequence[Any], settings: Regularizer) -> Any:
    """l1 * sum(|w|) + l2 * sum(w^2)."""
    terms = [ops.sum(ops.abs(variable)) * settings.l1 for variable in variables if settings.l1]
    terms += [ops.sum(ops.square(variable)) * settings.l2 for variable in variables if settings.l2]
    return sum(terms)
