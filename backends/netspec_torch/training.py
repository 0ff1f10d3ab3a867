"""A model, what is minimised and what minimises it; a step of it, and all that the next step depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from netspec.errors import BackendError
from netspec.network import Network
from netspec.training.checkpoint import Checkpoint, packed, unpacked
from netspec.training.loss import loss_input
from netspec.training.record import Record
from netspec.training.roles import Roles, roles_of
from netspec.training.settings import Regularizer, TrainSettings
from netspec_torch.graph import Step
from netspec_torch.losses import loss_of, part_of
from netspec_torch.model import canonical_weights, load, make, to_numpy
from netspec_torch.optimizers import optimizer_of
from netspec_torch.precision import Forward, computing_in, scaler_of
from netspec_torch.ranks import Ranks, random_states, set_random_states
from netspec_torch.render import Rendering, render
from netspec_torch.samples import Source, Taken, TakenPart

if TYPE_CHECKING:
    from netspec.tensors import Array, Weights

KEPT = ("losses", "rights", "step")
"""What an epoch keeps on the device."""
SCALED = ("scale", "_growth_tracker")
"""What the scaling of losses changes as it goes."""


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """What is minimised: the loss of what the model computes before a final Softmax or Sigmoid."""

    forward: Callable[..., Tensor]
    data_loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    part_of_loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    """What a part of a batch adds to the loss of all of it, whose labels come last."""
    threshold: float
    """Above it a single output means class 1."""
    penalty: Callable[[], Tensor] | None = None
    """What the weights add to the loss."""

    def loss(self, outputs: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """What is minimised, as one number."""
        loss = self.data_loss(outputs, targets, labels)
        return loss if self.penalty is None else loss + self.penalty()

    def part(
        self, outputs: Tensor, targets: Tensor, labels: Tensor, whole: Tensor, ranks: int, *, idle: bool = False
    ) -> Tensor:
        """What a part of a batch, whose labels are `whole`, adds to what is minimised, of so many parts.

        One that is `idle` has no images of its own: those that are given count nothing, the weights what they do.
        """
        loss = self.part_of_loss(outputs, targets, labels, whole) * (not idle)
        return loss if self.penalty is None else loss + self.penalty() / ranks

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """How many outputs say what the labels say."""
        predicted = outputs[:, 0] > self.threshold if outputs.shape[1] == 1 else outputs.argmax(1)
        return (predicted == labels).sum()


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A model with its weights on a device, what is minimised and what minimises it."""

    network: Network
    rendering: Rendering
    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    forward: Forward
    """The objective's forward pass as a step calls it, where processes share it."""
    scaler: GradScaler | None = None
    """What scales the loss, in fp16."""
    recorded: bool = False
    """Whether the learning rate and all counts lie on the device, where a recorded step would read them."""

    def update(self) -> None:
        """One update with the gradients that there are, which are gone then."""
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.unscale_(self.optimizer)  # before the optimiser's hooks, which clip
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Array]:
        """The canonical weights as they are now, which training on does not change."""
        state = {name: to_numpy(tensor.clone()) for name, tensor in self.model.state_dict().items()}
        return canonical_weights(self.network, self.rendering, state)


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What a phase begins with."""

    weights: Weights
    random: Mapping[str, Tensor]


class Totals:
    """The loss and the right answers of every step of an epoch, kept on the device, where they stay in their places.

    Each of several ranks has its own part of them.
    """

    def __init__(self, sizes: Sequence[int], device: torch.device, ranks: Ranks) -> None:
        self.sizes, self.ranks = np.array(sizes), ranks
        self.losses = torch.zeros(len(sizes), device=device)
        self.rights = torch.zeros(len(sizes), dtype=torch.int64, device=device)
        self.step = torch.zeros(1, dtype=torch.int64, device=device)

    def clear(self) -> None:
        """Begin another epoch."""
        for name in KEPT:
            getattr(self, name).zero_()

    def add(self, loss: Tensor, right: Tensor) -> None:
        """Take in a batch's mean loss and right answers."""
        self.losses.scatter_(0, self.step, loss.view(1))
        self.rights.scatter_(0, self.step, right.view(1))
        self.step += 1

    def whole(self) -> dict[str, Array]:
        """What all ranks have together, by the names of `KEPT`; waits for the device, and for the others."""
        sums = [self.losses.clone(), self.rights.clone()]
        self.ranks.add(*sums)
        return dict(zip(KEPT, map(to_numpy, [*sums, self.step]), strict=True))

    def restore(self, whole: Mapping[str, Array]) -> None:
        """Be where `whole` was taken; the sums are rank 0's from then on."""
        for name in KEPT:
            value = torch.tensor(whole[name])
            getattr(self, name).copy_(value if name == "step" or self.ranks.rank == 0 else torch.zeros_like(value))

    def diverged_at(self) -> int | None:
        """The first step whose loss is not finite; waits as `whole` does."""
        lost = np.flatnonzero(~np.isfinite(self.whole()["losses"]))
        return int(lost[0]) if len(lost) else None

    def means(self) -> tuple[float, float]:
        """Loss and accuracy; waits as `whole` does."""
        whole, count = self.whole(), self.sizes.sum()
        loss = (whole["losses"].astype(np.float64) * self.sizes).sum() / count
        return float(loss), int(whole["rights"].sum()) / int(count)


def prepare(
    network: Network, weights: Weights, settings: TrainSettings, device: torch.device, ranks: Ranks
) -> Training:
    """The model with these weights, and a fresh optimiser; raises BackendError when nothing is trained."""
    rendering = render(network)
    model = load(make(rendering), rendering, weights).to(device)
    if network.input_type.rank == 3:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch says it of tensors alone
    training = training_of(network, rendering, model, settings)
    forward = computing_in(settings.precision, training.objective.forward, device)
    return replace(
        training,
        objective=replace(training.objective, forward=forward),
        forward=ranks.shared(model, forward),
        scaler=scaler_of(settings.precision, device),
    )


def training_of(network: Network, rendering: Rendering, model: nn.Module, settings: TrainSettings) -> Training:
    """What trains a model that is made already: the weights that are trained and no others.

    Raises BackendError when there are none.
    """
    trained = {rendering.placements[weight.name].name for weight in network.weights() if weight.trainable}
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in trained}
    if not parameters:
        raise BackendError(f"{network.name} has no weights to train")
    roles = roles_of(network, settings, rendering.placements)
    optimizer = optimizer_of(parameters, settings, roles.decayed, roles.matrices)
    objective = objective_of(network, model, settings, roles)
    return Training(network, rendering, model, objective, optimizer, objective.forward)


def step_of(training: Training, totals: Totals, record: Record, ranks: Ranks) -> Step:
    """What a step does with the samples at some places; the learning rate is set already."""
    objective, scaler, every = training.objective, training.scaler, record.settings.accumulate

    def minimise(loss: Tensor) -> None:
        share = loss / every if every > 1 else loss
        (share if scaler is None else scaler.scale(share)).backward()
        if every == 1 or record.updates:
            training.update()

    def step(samples: Source, chosen: Tensor) -> None:
        assert not isinstance(samples, TakenPart)
        images, labels, targets = samples.take(chosen)
        outputs = training.forward(images)
        loss = objective.loss(outputs, targets, labels)
        minimise(loss)
        totals.add(loss.detach(), objective.right(outputs.detach(), labels))

    def part_of_step(samples: Source, chosen: Tensor) -> None:
        assert not isinstance(samples, Taken)
        images, labels, targets, whole = samples.take_part(chosen, ranks.computed(len(chosen)))
        idle = ranks.idle(len(chosen))
        outputs = training.forward(images)
        loss = objective.part(outputs, targets, labels, whole, ranks.size, idle=idle)
        right = objective.right(outputs.detach(), labels) * (not idle)
        minimise(loss * ranks.size)  # of which the mean over the ranks is taken
        totals.add(loss.detach(), right)

    return step if ranks.alone else part_of_step


def objective_of(network: Network, model: nn.Module, settings: TrainSettings, roles: Roles) -> Objective:
    """The loss on the value that it reads, and what the weights add to it."""
    fused = loss_input(network, settings.loss) not in network.results
    forward: Callable[..., Tensor] = getattr(model, "logits") if fused else model  # noqa: B009 - a rendered method
    parameters = dict(model.named_parameters())
    penalised = [parameters[name] for name in roles.penalised]
    penalty = (lambda: penalty_of(penalised, settings.regularizer)) if penalised else None
    loss = settings.loss
    return Objective(forward, loss_of(loss), part_of(loss), loss.threshold, penalty)


def penalty_of(parameters: Sequence[Tensor], settings: Regularizer) -> Tensor:
    """l1 * sum(|w|) + l2 * sum(w^2)."""
    terms = [settings.l1 * parameter.abs().sum() for parameter in parameters if settings.l1]
    terms += [settings.l2 * parameter.square().sum() for parameter in parameters if settings.l2]
    return torch.stack(terms).sum()


def snapshot(training: Training, totals: Totals, best: Weights) -> dict[str, Array]:
    """All arrays that the next step depends on; see `resumed`. Every rank has to ask for it."""
    parameters = {str(index): parameter for index, parameter in enumerate(parameters_of(training))}
    optimizer = {
        index: {name: to_numpy(torch.as_tensor(value)) for name, value in slots.items() if value is not None}
        for index, parameter in parameters.items()
        for slots in [training.optimizer.state[parameter]]
    }
    states = totals.ranks.gathered(random_states(totals.losses.device))
    scaler = training.scaler.state_dict() if training.scaler is not None else {}
    return packed(
        {
            "weights": training.state(),
            "best": best,
            "gradient": {index: to_numpy(own.grad) for index, own in parameters.items() if own.grad is not None},
            "optimizer": optimizer,
            "scaler": {name: scaler[name] for name in SCALED if name in scaler},
            "totals": totals.whole(),
            "random": {
                str(rank): {name: state.numpy() for name, state in found.items()} for rank, found in enumerate(states)
            },
        }
    )


def resumed(training: Training, totals: Totals, checkpoint: Checkpoint, record: Record, device: torch.device) -> int:
    """Bring a training, which has the checkpoint's weights, to where its snapshot was taken.

    How many steps of the epoch under way are done; 0 where none is.
    """
    record.resume(checkpoint)
    tree = unpacked(checkpoint.arrays)
    gradients, optimizer = tree.get("gradient", {}), tree.get("optimizer", {})
    kept = training.recorded or training.optimizer.defaults.get("fused")  # which count on the device
    for index, parameter in enumerate(parameters_of(training)):
        gradient = gradients.get(str(index))
        parameter.grad = None if gradient is None else lying_as(parameter, gradient)
        slots = training.optimizer.state[parameter]
        for name, array in optimizer.get(str(index), {}).items():
            if array.ndim:
                slots[name] = lying_as(parameter, array)
            else:  # counts that are Python's own stay so; torch keeps its own ones as float tensors on the CPU
                whole = array.dtype.kind == "i"
                slots[name] = int(array) if whole else torch.tensor(array, device=device if kept else "cpu")
    if training.scaler is not None:
        known = {name: array.item() for name, array in tree["scaler"].items()}
        training.scaler.load_state_dict(training.scaler.state_dict() | known)
    totals.restore(tree["totals"])
    states = tree["random"].get(str(totals.ranks.rank))
    if states is not None:  # there may be more ranks than there were
        set_random_states({name: torch.tensor(state) for name, state in states.items()}, device)
    return checkpoint.step


def lying_as(parameter: Tensor, array: Array) -> Tensor:
    """The numbers of an array of a parameter's shape, on its device and in memory as it lies there.

    Kernels that take a weight and its slots at once read them side by side, whatever order their axes are said to have.
    """
    return torch.empty_like(parameter, requires_grad=False).copy_(torch.tensor(array))


def parameters_of(training: Training) -> list[nn.Parameter]:
    """The parameters that the optimiser has, in its order."""
    return [parameter for group in training.optimizer.param_groups for parameter in group["params"]]
