"""Training: our own loop, with the data on the device and nothing read back from it before an epoch ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from netspec.data.batches import batch_slices, epoch_order
from netspec.errors import BackendError
from netspec.network import Network
from netspec.training.checkpoint import Checkpoint, CheckpointFile, under
from netspec.training.history import best_epoch
from netspec.training.loss import Loss, loss_input, loss_targets
from netspec.training.optimizer import decayed_weights, matrix_weights, penalised_weights
from netspec.training.phases import phases_of
from netspec.training.record import Record, check_batches, evaluation_batch
from netspec.training.settings import Regularizer, TrainSettings
from netspec_torch.augment import Augmenter
from netspec_torch.graph import Recorded, Step, keep_on_device, recordable, set_rate
from netspec_torch.losses import loss_of
from netspec_torch.model import canonical_weights, devices, full_float32, load, make, to_numpy
from netspec_torch.optimizers import averages, optimizer_of
from netspec_torch.precision import computing_in, scaler_of
from netspec_torch.render import Rendering, render

if TYPE_CHECKING:
    from netspec.backend import Array, Progress, Weights
    from netspec.data.dataset import Dataset, Split

KEPT = ("losses", "rights", "step")
"""What an epoch keeps on the device."""
SCALED = ("scale", "_growth_tracker")
"""What the scaling of losses changes as it goes."""


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
        images, labels = _at(self.images, chosen), _at(self.labels, chosen)
        targets = labels if self.targets is self.labels else _at(self.targets, chosen)
        if self.augmenter is not None:
            assert isinstance(chosen, Tensor)
            images, labels, targets = self.augmenter(images, labels, targets, chosen)
        return images.movedim(-1, 1).float(), labels, targets


def _at(values: Tensor, chosen: Tensor | slice) -> Tensor:
    # Copies whole samples, which takes a third of the time of `values[chosen]`.
    return values[chosen] if isinstance(chosen, slice) else values.index_select(0, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """What is minimised: the loss of what the model computes before a final Softmax or Sigmoid."""

    forward: Callable[..., Tensor]
    data_loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    threshold: float
    """Above it a single output means class 1."""
    penalty: Callable[[], Tensor] | None = None
    """What the weights add to the loss."""

    def loss(self, outputs: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """What is minimised, as one number."""
        loss = self.data_loss(outputs, targets, labels)
        return loss if self.penalty is None else loss + self.penalty()

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
    scaler: GradScaler | None = None
    """What scales the loss, in fp16."""
    recorded: bool = False
    """Whether the learning rate and all counts lie on the device, where a recorded step reads them."""

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


class Totals:
    """The loss and the right answers of every step of an epoch, kept on the device, where they stay in their places."""

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        self.sizes = np.array(sizes)
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

    def diverged_at(self) -> int | None:
        """The first step whose loss is not finite; waits for the device."""
        lost = np.flatnonzero(~np.isfinite(to_numpy(self.losses)))
        return int(lost[0]) if len(lost) else None

    def means(self) -> tuple[float, float]:
        """Loss and accuracy; waits for the device."""
        count = self.sizes.sum()
        loss = (to_numpy(self.losses).astype(np.float64) * self.sizes).sum() / count
        return float(loss), int(self.rights.sum().item()) / int(count)


def train(
    network: Network,
    weights: Weights,
    dataset: Dataset,
    settings: TrainSettings,
    device: str,
    progress: Progress,
    checkpoint: CheckpointFile | None = None,
) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """See `Trainable.train`; raises DivergedError when the loss is not finite.

    The order of the images and the units that dropout drops follow from `settings.seed`, on one kind of device. A
    last batch of a single image joins the batch before it, for BatchNorm cannot train on one value. A GPU computes in
    float32 throughout, unless the settings ask for another precision: TensorFloat-32 is off.
    """
    target = device_named(device)
    check_batches(network, settings, len(dataset.train))
    training, validation = (
        samples_of(split, network, settings.loss, target) for split in (dataset.train, dataset.validation)
    )
    size, places = evaluation_batch(network), batch_slices(len(training), settings.batch_size)
    training = replace(training, augmenter=augmenter_of(network, settings, training))
    record = Record(settings, len(places), progress, checkpoint)
    found = checkpoint.load() if checkpoint else None
    best: Weights = under("best/", found.arrays) if found else {}
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []), full_float32(tf32=settings.tf32):
        torch.manual_seed(settings.seed)
        for number, (trained, phase) in enumerate(phases_of(network, settings)):
            if found and number < found.facts["phase"]:
                continue
            record.begin_phase(phase, number)
            current = prepare(trained, under("weights/", found.arrays) if found else weights, settings, target)
            totals = Totals([each.stop - each.start for each in places], target)
            if recordable(settings, target, phase.epochs * record.steps):
                keep_on_device(current.optimizer, settings, target)
                current = replace(current, recorded=True)
            step = step_of(current, training, totals, record)
            if current.recorded:
                step = Recorded(step, settings.batch_size, target)
            done = resumed(current, totals, found, record, target) if found else 0
            found = None
            while done or record.goes_on:
                if not done:
                    record.begin()
                    totals.clear()
                loss, accuracy = run_epoch(current, step, training, totals, record, best, done)
                done = 0
                with averages(current.optimizer):
                    val_loss, val_accuracy = measure(current.model, current.objective, validation, size)
                    if record.end(loss=loss, accuracy=accuracy, val_loss=val_loss, val_accuracy=val_accuracy):
                        best = current.state()
                if record.pauses():
                    record.pause(0, lambda: snapshot(current, totals, best))  # noqa: B023 - called at once
            weights = current.state()
    best_epoch(record.history, settings.monitor)  # raises when there is none
    return dict(best), record.history


def prepare(network: Network, weights: Weights, settings: TrainSettings, device: torch.device) -> Training:
    """The model with these weights, and a fresh optimiser; raises BackendError when nothing is trained."""
    rendering = render(network)
    model = load(make(rendering), rendering, weights).to(device)
    if network.input_type.rank == 3:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = training_of(network, rendering, model, settings)
    forward = computing_in(settings.precision, training.objective.forward, device)
    objective = replace(training.objective, forward=forward)
    return replace(training, objective=objective, scaler=scaler_of(settings.precision, device))


def training_of(network: Network, rendering: Rendering, model: nn.Module, settings: TrainSettings) -> Training:
    """What trains a model that is made already: the weights that are trained and no others.

    Raises BackendError when there are none.
    """
    trained = {rendering.placements[weight.name].name for weight in network.weights() if weight.trainable}
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in trained}
    if not parameters:
        raise BackendError(f"{network.name} has no weights to train")
    decayed, matrices = (
        {rendering.placements[name].name for name in names}
        for names in (decayed_weights(network, settings.optimizer), matrix_weights(network))
    )
    optimizer = optimizer_of(parameters, settings, decayed, matrices)
    return Training(network, rendering, model, objective_of(network, rendering, model, settings), optimizer)


def step_of(training: Training, samples: Samples, totals: Totals, record: Record) -> Step:
    """What a step does with the images at some places; the learning rate is set already."""
    objective, scaler, every = training.objective, training.scaler, record.settings.accumulate

    def step(chosen: Tensor) -> None:
        images, labels, targets = samples.take(chosen)
        outputs = objective.forward(images)
        loss = objective.loss(outputs, targets, labels)
        share = loss / every if every > 1 else loss
        (share if scaler is None else scaler.scale(share)).backward()  # type: ignore[no-untyped-call]
        if every == 1 or record.updates:
            training.update()
        totals.add(loss.detach(), objective.right(outputs.detach(), labels))

    return step


def run_epoch(
    training: Training, step: Step, samples: Samples, totals: Totals, record: Record, best: Weights, done: int
) -> tuple[float, float]:
    """A pass over the training images, or what is left after `done` steps of it: mean loss and accuracy.

    `best` goes into checkpoints.
    """
    training.model.train()
    if samples.augmenter is not None:
        samples.augmenter.begin(record.epoch)
    order = batches(len(samples), record.settings, record.epoch, samples.labels.device)
    for number, chosen in enumerate(islice(order, done, None), start=done):
        rate = record.rate
        if record.rate_of(number) != rate or number == done:
            set_rate(training.optimizer, record.rate, on_device=training.recorded)
        step(chosen)
        if record.due():
            record.report(number)
        if number + 1 < record.steps and record.pauses():
            refuse_divergence(totals, record)
            record.pause(number + 1, lambda: snapshot(training, totals, best))
    refuse_divergence(totals, record)
    return totals.means()


def refuse_divergence(totals: Totals, record: Record) -> None:
    """Raise DivergedError for the first step of the epoch whose loss was not finite; waits for the device."""
    if (diverged := totals.diverged_at()) is not None:
        raise record.diverged(diverged)


def snapshot(training: Training, totals: Totals, best: Weights) -> dict[str, Array]:
    """All arrays that the next step depends on; see `resumed`."""
    arrays = {f"weights/{name}": array for name, array in training.state().items()}
    arrays |= {f"best/{name}": array for name, array in best.items()}
    for index, parameter in enumerate(parameters_of(training)):
        if parameter.grad is not None:
            arrays[f"gradient/{index}"] = to_numpy(parameter.grad)
        for name, value in training.optimizer.state[parameter].items():
            if value is not None:
                arrays[f"optimizer/{index}/{name}"] = to_numpy(torch.as_tensor(value))
    if training.scaler is not None:
        known = training.scaler.state_dict()
        arrays |= {f"scaler/{name}": np.array(known[name]) for name in SCALED}
    arrays |= {f"totals/{name}": to_numpy(getattr(totals, name)) for name in KEPT}
    arrays["random/cpu"] = torch.get_rng_state().numpy()
    if totals.losses.is_cuda:
        arrays["random/cuda"] = torch.cuda.get_rng_state(totals.losses.device).numpy()
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def resumed(training: Training, totals: Totals, checkpoint: Checkpoint, record: Record, device: torch.device) -> int:
    """Bring a training, which has the checkpoint's weights, to where its snapshot was taken.

    How many steps of the epoch under way are done; 0 where none is.
    """
    record.resume(checkpoint)
    arrays = checkpoint.arrays
    kept = training.recorded
    for index, parameter in enumerate(parameters_of(training)):
        gradient = arrays.get(f"gradient/{index}")
        parameter.grad = None if gradient is None else torch.tensor(gradient, device=device)
        slots = training.optimizer.state[parameter]
        for name, array in under(f"optimizer/{index}/", arrays).items():
            # Counts that are Python's own stay so; torch keeps its own ones as float tensors on the CPU.
            whole = array.ndim == 0 and array.dtype.kind == "i"
            slots[name] = int(array) if whole else torch.tensor(array, device=device if kept or array.ndim else "cpu")
    if training.scaler is not None:
        known = {name: array.item() for name, array in under("scaler/", arrays).items()}
        training.scaler.load_state_dict(training.scaler.state_dict() | known)
    for name in KEPT:
        getattr(totals, name).copy_(torch.tensor(arrays[f"totals/{name}"]))
    torch.set_rng_state(torch.tensor(arrays["random/cpu"]))
    if device.type == "cuda":
        torch.cuda.set_rng_state(torch.tensor(arrays["random/cuda"]), device)
    return checkpoint.step


def parameters_of(training: Training) -> list[nn.Parameter]:
    """The parameters that the optimiser has, in its order."""
    return [parameter for group in training.optimizer.param_groups for parameter in group["params"]]


def batches(count: int, settings: TrainSettings, epoch: int, device: torch.device) -> Iterator[Tensor]:
    """The indices of every batch of an epoch, int64 [batch]."""
    order = torch.from_numpy(epoch_order(count, settings.seed, epoch)).to(device)
    for places in batch_slices(count, settings.batch_size):
        yield order[places]


@torch.inference_mode()
def measure(model: nn.Module, objective: Objective, samples: Samples, size: int) -> tuple[float, float]:
    """Mean loss and accuracy, in batches of `size`, with dropout off and running statistics."""
    model.eval()
    starts = range(0, len(samples), size)
    totals = Totals([min(size, len(samples) - start) for start in starts], samples.labels.device)
    for start in starts:
        images, labels, targets = samples.take(slice(start, start + size))
        outputs = objective.forward(images)
        totals.add(objective.loss(outputs, targets, labels), objective.right(outputs, labels))
    return totals.means()


def samples_of(split: Split, network: Network, loss: Loss, device: torch.device) -> Samples:
    """A split on the device."""
    labels = torch.from_numpy(split.labels).to(device)
    targets = labels
    if loss.name != "cross_entropy":
        targets = torch.from_numpy(loss_targets(split.labels, network.output_type.size)).to(device)
    return Samples(torch.from_numpy(split.images).to(device), labels, targets)


def augmenter_of(network: Network, settings: TrainSettings, samples: Samples) -> Augmenter | None:
    """What augments the images that are trained on, where the spec says so."""
    if settings.augment is None:
        return None
    given, outputs, device = network.input_type, network.output_type.size, samples.labels.device
    return Augmenter(settings.augment, settings.seed, len(samples), given, outputs, device)


def objective_of(network: Network, rendering: Rendering, model: nn.Module, settings: TrainSettings) -> Objective:
    """The loss on the value that it reads, and what the weights add to it."""
    fused = loss_input(network, settings.loss) not in network.results
    forward: Callable[..., Tensor] = getattr(model, "logits") if fused else model  # noqa: B009 - a rendered method
    parameters = dict(model.named_parameters())
    own = settings.regularizer
    penalised = [parameters[rendering.placements[name].name] for name in penalised_weights(network, own)]
    penalty = (lambda: penalty_of(penalised, own)) if penalised else None
    return Objective(forward, loss_of(settings.loss), settings.loss.threshold, penalty)


def penalty_of(parameters: Sequence[Tensor], settings: Regularizer) -> Tensor:
    """l1 * sum(|w|) + l2 * sum(w^2)."""
    terms = [settings.l1 * parameter.abs().sum() for parameter in parameters if settings.l1]
    terms += [settings.l2 * parameter.square().sum() for parameter in parameters if settings.l2]
    return torch.stack(terms).sum()


def device_named(name: str) -> torch.device:
    """The device of this name, `auto` being the best; raises BackendError when it is not here."""
    here = devices()
    chosen = here[0] if name == "auto" else name
    if chosen not in here and f"{chosen}:0" not in here:
        raise BackendError(f"torch has no device {name!r} here\n  hint: one of {', '.join(['auto', *here])}")
    return torch.device(chosen)
