"""One update of the trainer's own model, loss and optimiser, from a given state; what lock-step verification asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from netspec.tensors import Placement
from netspec.training.loss import class_labels, loss_targets
from netspec.training.stepping import AVERAGE, Batch, State, Update
from netspec_torch.model import arguments, load, make, precision_of, to_numpy
from netspec_torch.optimizers import SLOTS
from netspec_torch.render import render
from netspec_torch.training import Training, training_of

if TYPE_CHECKING:
    from netspec.network import Network
    from netspec.tensors import Array, Precision
    from netspec.training.settings import TrainSettings

KEPT = 4
_kept: dict[str, Training] = {}
"""The trainings that were asked for last, by what they are: updates of the same few come by the hundred."""


def update(
    network: Network,
    settings: TrainSettings,
    state: State,
    batches: Sequence[Batch],
    rate: float,
    precision: Precision,
) -> Update:
    """See `Trainable.update`; on the CPU."""
    with precision_of(precision), one_thread():
        training = _training(network, settings, precision)
        _give(training, state, settings.optimizer.name)
        losses, outputs = zip(*(_backward(training, batch, len(batches)) for batch in batches), strict=True)
        gradients = _gradients(training)
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        training.optimizer.step()
    return Update(
        state=State(training.state(), _slots(training, settings.optimizer.name), state.update + 1),
        loss=sum(losses) / len(losses),
        outputs=np.concatenate(outputs),
        gradients=gradients,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread inside: the batches are small, and another backend computes at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _training(network: Network, settings: TrainSettings, precision: Precision) -> Training:
    key = f"{network.digest} {settings.model_dump_json()} {precision}"
    if key not in _kept:
        if len(_kept) == KEPT:
            del _kept[next(iter(_kept))]
        rendering = render(network)
        _kept[key] = training_of(network, rendering, make(rendering, precision), settings)
    return _kept[key]


def _parameters(training: Training) -> dict[str, tuple[torch.nn.Parameter, Placement, tuple[int, ...]]]:
    """Every trained weight by its canonical name: the parameter, where it is, and its canonical shape."""
    parameters = dict(training.model.named_parameters())
    return {
        weight.name: (parameters[placement.name], placement, weight.shape)
        for weight in training.network.weights()
        for placement in [training.rendering.placements[weight.name]]
        if weight.trainable
    }


def _give(training: Training, state: State, optimizer: str) -> None:
    """Bring model and optimiser to a state."""
    load(training.model, training.rendering, state.weights)
    training.model.train()
    training.optimizer.zero_grad()
    training.optimizer.state.clear()
    for name, (parameter, placement, _) in _parameters(training).items():
        slots = state.slots.get(name, {})
        if slots:
            own = training.optimizer.state[parameter]
            own["step"] = torch.tensor(float(state.update))
            for slot, array in slots.items():
                placed = array[0] if slot == "product" else placement.place(array)
                own[SLOTS[optimizer].get(slot, slot)] = torch.tensor(placed, dtype=parameter.dtype)


def _backward(training: Training, batch: Batch, count: int) -> tuple[float, Array]:
    """The loss of a batch and what it read; a share of its gradients is added to the parameters'."""
    dtype = next(training.model.parameters()).dtype
    labels = torch.from_numpy(class_labels(batch.labels))
    targets = torch.from_numpy(loss_targets(batch.labels, training.network.output_type.size)).to(dtype)
    outputs = training.objective.forward(*arguments(training.network, batch.inputs, dtype))
    loss = training.objective.loss(outputs, targets, labels)
    (loss / count).backward()
    return loss.item(), to_numpy(outputs)


def _gradients(training: Training) -> dict[str, Array]:
    return {
        name: placement.recover(to_numpy(torch.zeros_like(own) if own.grad is None else own.grad), shape).copy()
        for name, (own, placement, shape) in _parameters(training).items()
    }


def _slots(training: Training, optimizer: str) -> dict[str, Mapping[str, Array]]:
    names = {**SLOTS[optimizer], AVERAGE: AVERAGE}
    found: dict[str, Mapping[str, Array]] = {}
    for name, (parameter, placement, shape) in _parameters(training).items():
        own = training.optimizer.state[parameter]
        found[name] = {
            slot: to_numpy(own[key]).reshape(1) if slot == "product" else placement.recover(to_numpy(own[key]), shape)
            for slot, key in names.items()
            if own.get(key) is not None
        }
    return found
