"""One update of the trainer's own model, loss and optimiser, from a given state; what lock-step verification asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from netspec.tensors import Placement
from netspec.training.stepping import Batch, State, Update
from netspec_keras.exact import Layers, exact_layers
from netspec_keras.gradients import loss_gradients
from netspec_keras.model import arguments, precision, prepare, set_weights
from netspec_keras.realised import Rendering
from netspec_keras.training import ADAPTED, Training, training_of

if TYPE_CHECKING:
    from netspec.network import Network
    from netspec.tensors import Array, Precision
    from netspec.training.settings import TrainSettings


@dataclass(frozen=True, slots=True, eq=False)
class Stepping:
    """A training, the trained weights' places by their canonical names, and its optimiser's variables at first."""

    training: Training
    places: Mapping[str, tuple[Placement, tuple[int, ...]]]
    first: Sequence[Array]


KEPT = 4
_kept: dict[str, Stepping] = {}
"""The trainings that were asked for last, by what they are: updates of the same few come by the hundred."""


def update(
    network: Network,
    settings: TrainSettings,
    state: State,
    batches: Sequence[Batch],
    rate: float,
    chosen: Precision,
) -> Update:
    """See `Trainable.update`."""
    prepare()
    with precision(chosen), keras.device("cpu"):
        stepping = _stepping(network, settings, chosen)
        training, optimizer = stepping.training, stepping.training.optimizer
        _give(stepping, state, settings.accumulate)
        optimizer.learning_rate = rate
        variables = training.objective.trainable_variables
        losses, outputs, totals = [], [], None
        for batch in batches:
            loss, found, gradients = _gradients(training, batch, chosen)
            losses.append(float(loss))
            outputs.append(keras.ops.convert_to_numpy(found))
            totals = (
                gradients if totals is None else [total + own for total, own in zip(totals, gradients, strict=True)]
            )
            optimizer.apply(gradients, variables)
        assert totals is not None
        means = {v.path: keras.ops.convert_to_numpy(t) / len(batches) for v, t in zip(variables, totals, strict=True)}
    return Update(
        state=State(training.state(), _slots(stepping), state.update + 1),
        loss=sum(losses) / len(losses),
        outputs=np.concatenate(outputs),
        gradients={name: place.recover(means[place.name], shape) for name, (place, shape) in stepping.places.items()},
    )


def _stepping(network: Network, settings: TrainSettings, chosen: Precision) -> Stepping:
    key = f"{network.digest} {settings.model_dump_json()} {chosen}"
    if key not in _kept:
        if len(_kept) == KEPT:
            del _kept[next(iter(_kept))]
        layers = exact_layers(ADAPTED) if chosen == "float64" else Layers(ADAPTED, {})
        training = training_of(network, settings, layers)
        training.optimizer.build(training.objective.trainable_variables)
        placements = Rendering(network).placements
        places = {
            weight.name: (placements[weight.name], weight.shape) for weight in network.weights() if weight.trainable
        }
        first = [keras.ops.convert_to_numpy(variable) for variable in training.optimizer.variables]
        _kept[key] = Stepping(training, places, first)
    return _kept[key]


def _give(stepping: Stepping, state: State, accumulate: int) -> None:
    """Bring model and optimiser to a state."""
    training, optimizer = stepping.training, stepping.training.optimizer
    set_weights(training.model, training.network, state.weights)
    for variable, first in zip(optimizer.variables, stepping.first, strict=True):
        variable.assign(first)
    optimizer._iterations.assign(state.update * accumulate)  # noqa: SLF001 - `iterations` cannot be set
    for name, (place, _) in stepping.places.items():
        index = optimizer.paths.index(place.name)
        for slot, array in state.slots.get(name, {}).items():
            optimizer.kept[slot][index].assign(array if slot == "product" else place.place(array))


def _gradients(training: Training, batch: Batch, dtype: str) -> tuple[Any, Any, list[Any]]:
    """The loss of a batch, what it read, and the gradient of every trained variable."""
    objective, given = training.objective, arguments(training.network, batch.inputs, dtype)
    loss, outputs, found = loss_gradients(objective, given, keras.ops.convert_to_tensor(batch.labels))
    variables = objective.trainable_variables
    return loss, outputs, [keras.ops.zeros_like(v) if g is None else g for v, g in zip(variables, found, strict=True)]


def _slots(stepping: Stepping) -> dict[str, dict[str, Array]]:
    optimizer = stepping.training.optimizer
    found: dict[str, dict[str, Array]] = {}
    for name, (place, shape) in stepping.places.items():
        index = optimizer.paths.index(place.name)
        values = {slot: kept[index] for slot, kept in optimizer.kept.items() if kept[index] is not None}
        arrays = {slot: keras.ops.convert_to_numpy(value) for slot, value in values.items()}
        found[name] = {
            slot: array if slot == "product" else place.recover(array, shape) for slot, array in arrays.items()
        }
    return found
