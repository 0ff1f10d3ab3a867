"""A model, what is minimised and what minimises it, and all that the next step depends on.

Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from netspec.training.optimizer import Roles, roles_of
from netspec.training.settings import Regularizer, TrainSettings
from netspec.training.stepping import AVERAGE
from netspec_keras.adapted import BatchNormalization
from netspec_keras.exact import Layers
from netspec_keras.losses import loss_of, read_labels
from netspec_keras.model import build, canonical_weights
from netspec_keras.optimizers import OPTIMIZERS, TorchOptimizer
from netspec_keras.precision import POLICIES, scaled
from netspec_keras.realised import Rendering
from netspec_keras.render import render

if TYPE_CHECKING:
    from netspec.backend import Array, Weights

ADAPTED = {"BatchNormalization": BatchNormalization}


class Objective(keras.Model):  # type: ignore[misc]
    """The model up to what the loss reads, and the loss: labels and outputs to one number, plus what weights add."""

    loss_of_data: Callable[[Any, Any], Any]
    penalty: Callable[[], Any] | None = None

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002 - Keras' signature
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,  # noqa: ARG002
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """What is minimised; outputs may be narrower than float32, in which the loss is computed at least."""
        wide = keras.backend.result_type(y_pred.dtype, "float32")
        loss = self.loss_of_data(y, ops.cast(y_pred, wide))
        return loss if self.penalty is None else loss + self.penalty()


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A model, what is minimised, which shares its layers, and what minimises it."""

    network: Network
    model: Any
    objective: Objective
    optimizer: TorchOptimizer
    accuracy: Accuracy
    minimiser: Any
    """The optimiser, or in fp16 what scales the loss around it."""

    def state(self) -> dict[str, Array]:
        """The canonical weights as they are now."""
        return canonical_weights(self.model, self.network)

    def compile(self, at_once: int = 1) -> None:
        """Bring the parts together, for `fit` that takes so many steps before it looks up."""
        self.objective.compile(
            optimizer=self.minimiser,
            metrics=[self.accuracy],
            jit_compile=False,
            auto_scale_loss=False,
            steps_per_execution=at_once,
        )

    def random_states(self) -> list[Any]:
        """The variables from which dropout draws."""
        weights = {id(variable) for variable in self.model.weights}
        return [variable for variable in self.model.variables if id(variable) not in weights]

    def snapshot(self, best: Weights) -> dict[str, Array]:
        """All arrays that the next step depends on, and the best weights so far."""
        own = {
            name: {str(index): np.array(variable) for index, variable in enumerate(variables)}
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
            "sums": [*self._loss_sums(), *self.accuracy.variables],
        }

    def _loss_sums(self) -> list[Any]:
        return [variable for metric in self.objective.metrics if metric.name == "loss" for variable in metric.variables]

    @contextmanager
    def averages(self) -> Iterator[None]:
        """Inside, every weight that has a running mean is that mean; afterwards it is itself again."""
        means = self.optimizer.kept.get(AVERAGE, [])
        variables = self.objective.trainable_variables if means else []
        kept = [np.array(variable) for variable in variables]
        for variable, mean in zip(variables, means, strict=True):
            variable.assign(mean)
        try:
            yield
        finally:
            for variable, own in zip(variables, kept, strict=True):
                variable.assign(own)


def training_of(network: Network, settings: TrainSettings, layers: Layers | None = None) -> Training:
    """What trains a network, with fresh weights; raises BackendError when nothing is trained."""
    if not network.trainable:
        raise BackendError(f"{network.name} has no weights to train")
    model = build(render(network), layers or Layers(ADAPTED, {}))
    roles = roles_of(network, settings, Rendering(network).placements)
    optimizer = OPTIMIZERS[settings.optimizer.name](settings, roles.decayed, roles.matrices)
    objective = objective_of(model, network, settings, roles)
    minimiser = scaled(optimizer) if keras.config.dtype_policy().name == POLICIES["fp16"] else optimizer
    return Training(network, model, objective, optimizer, Accuracy(settings.loss.threshold), minimiser)


def objective_of(model: Any, network: Network, settings: TrainSettings, roles: Roles) -> Objective:
    """The loss on the value that it reads, without a final Softmax or Sigmoid where it is of that."""
    outputs = model.outputs[0]
    if loss_input(network, settings.loss) not in network.results:
        outputs = model.get_layer(Rendering(network).names[network.output]).input
    objective = Objective(model.inputs, outputs)
    objective.loss_of_data = loss_of(settings.loss)
    variables = {variable.path: variable for variable in model.weights}
    penalised = tuple(variables[name] for name in roles.penalised)
    if penalised:
        objective.penalty = lambda: penalty_of(penalised, settings.regularizer)
    return objective


def penalty_of(variables: Sequence[Any], settings: Regularizer) -> Any:
    """l1 * sum(|w|) + l2 * sum(w^2)."""
    terms = [ops.sum(ops.abs(variable)) * settings.l1 for variable in variables if settings.l1]
    terms += [ops.sum(ops.square(variable)) * settings.l2 for variable in variables if settings.l2]
    return sum(terms)


class Accuracy(keras.metrics.Mean):  # type: ignore[misc]
    """The fraction of outputs that say what the labels say; a single output above `threshold` means class 1."""

    def __init__(self, threshold: float) -> None:
        super().__init__(name="accuracy")
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        classes, _ = read_labels(y_true, y_pred)
        predicted = y_pred[:, 0] > self.threshold if y_pred.shape[-1] == 1 else ops.argmax(y_pred, axis=-1)
        right = ops.equal(ops.cast(predicted, "int32"), ops.cast(classes, "int32"))
        super().update_state(ops.cast(right, "float32"), sample_weight)
