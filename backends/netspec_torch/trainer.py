"""Training: our own loop, with the data on the device and nothing read back from it before an epoch ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from netspec.data.batches import batch_slices, epoch_order, steps_per_epoch
from netspec.errors import BackendError
from netspec.network import Network
from netspec.training.history import best_epoch
from netspec.training.loss import decayed_weights, loss_input, loss_targets
from netspec.training.record import Record, check_batches, evaluation_batch
from netspec.training.settings import LossName, Optimizer, TrainSettings
from netspec_torch.augment import Augmenter
from netspec_torch.model import canonical_weights, devices, full_float32, load, make, to_numpy
from netspec_torch.render import Rendering, render

if TYPE_CHECKING:
    from netspec.backend import Array, Progress, Weights
    from netspec.data.dataset import Dataset, Split

LOSSES: Mapping[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "mean_squared_error": F.mse_loss,
}


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A split on the device: images [n, ..., c] as they came, labels int64 [n], and what the loss compares with."""

    images: Tensor
    labels: Tensor
    targets: Tensor
    augmenter: Augmenter | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Tensor | slice) -> tuple[Tensor, Tensor, Tensor]:
        """A batch: float32 images with the channels first (in memory they stay last), labels and targets."""
        images, labels, targets = self.images[chosen], self.labels[chosen], self.targets[chosen]
        if self.augmenter is not None:
            assert isinstance(chosen, Tensor)
            images, labels, targets = self.augmenter(images, labels, targets, chosen)
        return images.movedim(-1, 1).float(), labels, targets


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """What is minimised: the loss of what the model computes before a final Softmax or Sigmoid."""

    forward: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    threshold: float
    """Above it a single output means class 1."""

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """How many outputs say what the labels say."""
        predicted = outputs[:, 0] > self.threshold if outputs.shape[1] == 1 else outputs.argmax(1)
        return (predicted == labels).sum()


class Totals:
    """Sums over an epoch, kept on the device."""

    def __init__(self, device: torch.device) -> None:
        self.count = 0
        self.loss = torch.zeros((), device=device)
        self.right = torch.zeros((), dtype=torch.int64, device=device)
        self.diverged_at = torch.full((), -1, device=device)

    def add(self, loss: Tensor, right: Tensor, count: int, step: int) -> None:
        """Take in a batch's mean loss and right answers; remembers the first step whose loss is not finite."""
        self.count += count
        self.loss += loss * count
        self.right += right
        first = (self.diverged_at < 0) & ~torch.isfinite(loss)
        self.diverged_at = torch.where(first, step, self.diverged_at)

    def means(self) -> tuple[float, float]:
        """Loss and accuracy; waits for the device."""
        return self.loss.item() / self.count, self.right.item() / self.count


def train(
    network: Network, weights: Weights, dataset: Dataset, settings: TrainSettings, device: str, progress: Progress
) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """See `Trainable.train`; raises DivergedError when the loss is not finite.

    The order of the images and the units that dropout drops follow from `settings.seed`, on one kind of device. A
    last batch of a single image joins the batch before it, for BatchNorm cannot train on one value. A GPU computes in
    float32 throughout: TensorFloat-32 is off.
    """
    target = device_named(device)
    check_batches(network, settings, len(dataset.train))
    rendering = render(network)
    model = load(make(rendering), rendering, weights).to(target)
    if network.input_type.rank == 3:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_of(network, rendering, model, settings.optimizer)
    objective = objective_of(network, model, settings.loss)
    training, validation = (
        samples_of(split, network, settings.loss, target) for split in (dataset.train, dataset.validation)
    )
    training = replace(training, augmenter=augmenter_of(network, settings, training))
    record = Record(settings, steps_per_epoch(len(training), settings.batch_size), progress)
    best: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []), full_float32():
        torch.manual_seed(settings.seed)
        for _ in range(settings.epochs):
            loss, accuracy = run_epoch(model, objective, optimizer, training, record)
            val_loss, val_accuracy = measure(model, objective, validation, evaluation_batch(network))
            if record.end(loss=loss, accuracy=accuracy, val_loss=val_loss, val_accuracy=val_accuracy):
                best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    best_epoch(record.history, settings.monitor)  # raises when there is none
    state = {name: to_numpy(tensor) for name, tensor in best.items()}
    return canonical_weights(network, rendering, state), record.history


def run_epoch(
    model: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer, training: Samples, record: Record
) -> tuple[float, float]:
    """One pass over the training images: mean loss and accuracy."""
    model.train()
    device = training.labels.device
    totals, epoch = Totals(device), record.begin()
    if training.augmenter is not None:
        training.augmenter.begin(epoch)
    for step, chosen in enumerate(batches(len(training), record.settings, epoch, device)):
        rate = record.rate_of(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, labels, targets = training.take(chosen)
        optimizer.zero_grad()
        outputs = objective.forward(images)
        loss = objective.loss(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        totals.add(loss.detach(), objective.right(outputs.detach(), labels), len(labels), step)
        if record.due():
            record.report(step)
    if (diverged := int(totals.diverged_at.item())) >= 0:
        raise record.diverged(diverged)
    return totals.means()


def batches(count: int, settings: TrainSettings, epoch: int, device: torch.device) -> Iterator[Tensor]:
    """The indices of every batch of an epoch, int64 [batch]."""
    order = torch.from_numpy(epoch_order(count, settings.seed, epoch)).to(device)
    for places in batch_slices(count, settings.batch_size):
        yield order[places]


@torch.inference_mode()
def measure(model: nn.Module, objective: Objective, samples: Samples, size: int) -> tuple[float, float]:
    """Mean loss and accuracy, in batches of `size`, with dropout off and running statistics."""
    model.eval()
    totals = Totals(samples.labels.device)
    for step, start in enumerate(range(0, len(samples), size)):
        images, labels, targets = samples.take(slice(start, start + size))
        outputs = objective.forward(images)
        totals.add(objective.loss(outputs, targets), objective.right(outputs, labels), len(labels), step)
    return totals.means()


def samples_of(split: Split, network: Network, loss: LossName, device: torch.device) -> Samples:
    """A split on the device."""
    labels = torch.from_numpy(split.labels).to(device)
    targets = labels
    if loss != "cross_entropy":
        targets = torch.from_numpy(loss_targets(split.labels, network.output_type.size)).to(device)
    return Samples(torch.from_numpy(split.images).to(device), labels, targets)


def augmenter_of(network: Network, settings: TrainSettings, samples: Samples) -> Augmenter | None:
    """What augments the images that are trained on, where the spec says so."""
    if settings.augment is None:
        return None
    given, outputs, device = network.input_type, network.output_type.size, samples.labels.device
    return Augmenter(settings.augment, settings.seed, len(samples), given, outputs, device)


def objective_of(network: Network, model: nn.Module, loss: LossName) -> Objective:
    """The loss on the value that it reads."""
    fused = loss_input(network, loss) not in network.results
    forward: Callable[[Tensor], Tensor] = getattr(model, "logits") if fused else model  # noqa: B009 - a rendered method
    return Objective(forward, LOSSES[loss], threshold=0.5 if loss == "mean_squared_error" else 0.0)


def optimizer_of(
    network: Network, rendering: Rendering, model: nn.Module, settings: Optimizer
) -> torch.optim.Optimizer:
    """The optimiser of torch.optim with every hyper-parameter said; weights that decay are a group of their own.

    It has the weights that are trained and no others; raises BackendError when there are none.
    """
    decays = {rendering.placements[name].name for name in decayed_weights(network, settings)}
    trained = {rendering.placements[weight.name].name for weight in network.weights() if weight.trainable}
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in trained}
    if not parameters:
        raise BackendError(f"{network.name} has no weights to train")
    chosen = [parameter for name, parameter in parameters.items() if name in decays]
    others = [parameter for name, parameter in parameters.items() if name not in decays]
    groups = [
        {"params": group, "weight_decay": decay}
        for group, decay in ((chosen, settings.weight_decay), (others, 0.0))
        if group
    ]
    rate, betas = settings.learning_rate, (settings.beta_1, settings.beta_2)
    match settings.name:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, dampening=0, nesterov=settings.nesterov)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=betas, eps=settings.epsilon, amsgrad=False)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=settings.epsilon, amsgrad=False)
        case "rmsprop":
            return torch.optim.RMSprop(
                groups,
                lr=rate,
                alpha=settings.rho,
                eps=settings.epsilon,
                momentum=settings.momentum,
                centered=False,
            )


def device_named(name: str) -> torch.device:
    """The device of this name, `auto` being the best; raises BackendError when it is not here."""
    here = devices()
    chosen = here[0] if name == "auto" else name
    if chosen not in here and f"{chosen}:0" not in here:
        raise BackendError(f"torch has no device {name!r} here\n  hint: one of {', '.join(['auto', *here])}")
    return torch.device(chosen)
