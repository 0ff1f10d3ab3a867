"""What the reference makes of a backend's own outputs and gradients: the loss, and the update of every weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netspec.network import Network
from netspec.reference.loss import loss_and_gradient
from netspec.reference.optimizer import averaged, clipped, penalty_and_gradient, update
from netspec.reference.table import Array, Values
from netspec.training.roles import decayed_weights, matrix_weights, penalised_weights
from netspec.training.settings import TrainSettings
from netspec.training.stepping import AVERAGE, Batch, State


class Formulas:
    """The settings of a training, applied to a network."""

    def __init__(self, network: Network, settings: TrainSettings) -> None:
        self.settings = settings
        self.decayed = decayed_weights(network, settings.optimizer)
        self.matrices = matrix_weights(network)
        self.penalised = penalised_weights(network, settings.regularizer)

    def loss(self, outputs: Array, batches: Sequence[Batch], weights: Mapping[str, Array]) -> float:
        """The mean over the batches of the loss of what it read, plus what the weights add."""
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        parts = zip(np.split(outputs, ends), batches, strict=True)
        own = self.settings.regularizer
        added = sum(penalty_and_gradient(weights[name], own.l1, own.l2)[0] for name in self.penalised)
        return float(
            np.mean([loss_and_gradient(self.settings.loss, part, batch.labels)[0] for part, batch in parts]) + added
        )

    def update(self, before: State, gradients: Mapping[str, Array], rate: float) -> State:
        """The trained weights and their slots after an update with these gradients, in float64."""
        settings = self.settings
        double = {name: gradient.astype(np.float64) for name, gradient in gradients.items()}
        weights: dict[str, Values] = {}
        slots: dict[str, dict[str, Values]] = {}
        for name, gradient in clipped(double, settings.clip_norm, settings.clip_value).items():
            own = {slot: array.astype(np.float64) for slot, array in before.slots.get(name, {}).items()}
            average = own.pop(AVERAGE, None)
            weights[name], found = update(
                settings.optimizer,
                before.weights[name].astype(np.float64),
                gradient,
                own,
                before.update,
                rate,
                decays=name in self.decayed,
                matrix=name in self.matrices,
            )
            slots[name] = dict(found)
            if settings.ema:
                slots[name][AVERAGE] = averaged(average, weights[name], settings.ema)
        return State(weights, slots, before.update + 1)
