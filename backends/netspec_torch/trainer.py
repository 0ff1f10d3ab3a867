"""Training: our own loop, with the data on the device and nothing read back from it before an epoch ends."""

from __future__ import annotations

import gc
import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from netspec.data.batches import batch_slices
from netspec.errors import BackendError, NetspecError
from netspec.interrupt import STOP
from netspec.network import Network
from netspec.training.checkpoint import Checkpoint, CheckpointFile, under, unpacked
from netspec.training.history import best_epoch
from netspec.training.phases import phases_of
from netspec.training.ranks import Place, place_of
from netspec.training.record import Diverged, Record, check_batches, evaluation_batch, unheard
from netspec.training.settings import TrainSettings
from netspec_torch import culprit
from netspec_torch.graph import Recorded, Step, keep_on_device, recordable, set_rate
from netspec_torch.model import devices, full_float32
from netspec_torch.optimizers import averages
from netspec_torch.ranks import Ranks, random_states, together
from netspec_torch.samples import Samples, augmenter_of, batches, fit, samples_of
from netspec_torch.training import Objective, Start, Totals, Training, prepare, resumed, snapshot, step_of

if TYPE_CHECKING:
    from netspec.data.dataset import Dataset
    from netspec.progress import Progress
    from netspec.tensors import Array, Weights


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is to be trained, on what and how, and the checkpoint to go on from."""

    network: Network
    weights: Weights
    dataset: Dataset
    settings: TrainSettings
    found: Checkpoint | None


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
    float32 throughout, unless the settings ask for another precision: TensorFloat-32 is off. Where `torchrun` started
    several processes, those that `join` take part.
    """
    place = place_of(os.environ)
    with together(place) as ranks:
        try:
            target = device_named(device, place)
            check_batches(network, settings, len(dataset.train), ranks.size)
            job = Job(network, weights, dataset, settings, checkpoint.load() if checkpoint else None)
        except NetspecError as error:
            ranks.told(error)
            raise
        ranks.told(job)
        return run(job, target, progress, checkpoint, ranks)


def join(device: str, progress: Progress) -> None:
    """See `Distributed.join`."""
    place = place_of(os.environ)
    target = device_named(device, place)
    with together(place) as ranks:
        progress("joined")
        job: Job | NetspecError | None = ranks.told(None)
        if isinstance(job, NetspecError):
            raise BackendError(f"rank 0 did not begin: {job}")
        if job is not None:
            run(job, target, unheard, None, ranks)


def dismiss() -> None:
    """See `Distributed.dismiss`."""
    with together(place_of(os.environ)) as ranks:
        ranks.told(None)


def run(
    job: Job, target: torch.device, progress: Progress, file: CheckpointFile | None, ranks: Ranks
) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """The rank's part of a training, from beginning to end: the best weights and the history."""
    network, settings, found = job.network, job.settings, job.found
    splits = (job.dataset.train, job.dataset.validation)
    resident = fit(splits, target)
    training, validation = (samples_of(split, network, settings.loss, target, resident=resident) for split in splits)
    size, places = evaluation_batch(network), batch_slices(len(training), settings.batch_size)
    training = replace(training, augmenter=augmenter_of(network, settings, training))
    record = Record(settings, len(places), progress, file)
    record.announce(len(training), f"torch on {target}")
    kept = unpacked(found.arrays) if found else {}
    weights = kept.get("weights", job.weights)
    cuda = target.type == "cuda"
    with (
        torch.cuda.device(target) if cuda else nullcontext(),  # where streams are made, which take no tensor's word
        torch.random.fork_rng(devices=[target] if cuda else []),
        full_float32(tf32=settings.tf32),
    ):
        torch.manual_seed(settings.seed + ranks.rank)  # no rank drops the units that another one does
        for number, (trained, phase) in enumerate(phases_of(network, settings)):
            if found and number < found.facts["phase"]:
                continue
            record.begin_phase(phase, number)
            start = Start(weights, random_states(target))
            current = prepare(trained, weights, settings, target, ranks)
            totals = Totals([each.stop - each.start for each in places], target, ranks)
            if ranks.alone and recordable(settings, target, phase.epochs * record.steps):
                keep_on_device(current.optimizer, settings, target)
                current = replace(current, recorded=True)
            step = step_of(current, totals, record, ranks)
            if current.recorded and resident:
                step = Recorded(step, settings.batch_size, target)
            done = resumed(current, totals, found, record, target) if found else 0
            try:
                while done or record.goes_on:
                    if not done:
                        record.begin()
                        totals.clear()
                    loss, accuracy = run_epoch(current, step, training, totals, record, done)
                    done = 0
                    ranks.follow(current.model)
                    with averages(current.optimizer):
                        val_loss, val_accuracy = measure(current.model, current.objective, validation, size, ranks)
                        loss, accuracy, val_loss, val_accuracy = ranks.told((loss, accuracy, val_loss, val_accuracy))
                        measured = {"val_loss": val_loss, "val_accuracy": val_accuracy}
                        record.end(current.state, loss=loss, accuracy=accuracy, **measured)
                    if pauses(record, ranks):
                        pause(current, totals, record, 0)
            except Diverged as diverged:
                del current, step, totals  # the search needs their memory for another model
                diverged.__traceback__ = None
                gc.collect()
                search = partial(culprit.find, trained, start, found, training, record, diverged, ranks.patience_s)
                raise record.diverged(diverged, partial(ranks.found, search)) from None
            found, weights = None, current.state()
    best_epoch(record.history, settings.monitor)  # raises when there is none
    return dict(record.best), record.history


def run_epoch(
    training: Training, step: Step, samples: Samples, totals: Totals, record: Record, done: int
) -> tuple[float, float]:
    """A pass over the training images, or what is left after `done` steps of it: mean loss and accuracy.

    Raises Diverged for a step whose loss was not finite.
    """
    training.model.train()
    if samples.augmenter is not None:
        samples.augmenter.begin(record.epoch)
    part = None if totals.ranks.alone else totals.ranks.computed
    order = batches(samples, record.settings, record.epoch, done, ahead=True, part=part)
    for number, (source, chosen) in enumerate(order, start=done):
        rate = record.rate
        if record.rate_of(number) != rate or number == done:
            set_rate(training.optimizer, record.rate, on_device=training.recorded)
        step(source, chosen)
        if record.due():
            record.report(number)
        if number + 1 < record.steps and pauses(record, totals.ranks):
            refuse_divergence(totals)
            pause(training, totals, record, number + 1)
    refuse_divergence(totals)
    return totals.means()


def refuse_divergence(totals: Totals) -> None:
    """Raise Diverged for the first step of the epoch whose loss was not finite; waits for the device."""
    if (diverged := totals.diverged_at()) is not None:
        raise Diverged(diverged)


def pauses(record: Record, ranks: Ranks) -> bool:
    """Whether the training should be written down after this step, as one rank wishes; all end where one does."""
    if ranks.alone:
        return record.pauses()
    level = ranks.wish(2 if STOP.is_set() else int(record.pauses()))
    if level == 2:
        STOP.set()
    return level > 0


def pause(training: Training, totals: Totals, record: Record, step: int) -> None:
    """Write the training down, with what every rank gives; see `Record.pause`."""
    arrays = snapshot(training, totals, record.best)
    record.refuse(under("weights/", arrays), step)
    record.pause(step, lambda: arrays)


@torch.inference_mode()
def measure(model: nn.Module, objective: Objective, samples: Samples, size: int, ranks: Ranks) -> tuple[float, float]:
    """Mean loss and accuracy, in batches of `size`, with dropout off and running statistics; ranks take turns."""
    model.eval()
    starts = range(0, len(samples), size)
    totals = Totals([min(size, len(samples) - start) for start in starts], samples.labels.device, ranks)
    for number in range(ranks.rank, len(starts), ranks.size):
        images, labels, targets = samples.take(slice(starts[number], starts[number] + size))
        outputs = objective.forward(images)
        totals.step.fill_(number)
        totals.add(objective.loss(outputs, targets, labels), objective.right(outputs, labels))
    return totals.means()


def device_named(name: str, place: Place | None = None) -> torch.device:
    """The device of this name, `auto` being the best; of several GPUs each rank takes its own.

    Raises BackendError when it is not here.
    """
    here = devices()
    chosen = here[0] if name == "auto" else name
    if chosen not in here and f"{chosen}:0" not in here:
        raise BackendError(f"torch has no device {name!r} here\n  hint: one of {', '.join(['auto', *here])}")
    if place is not None and chosen.startswith("cuda") and name in ("auto", "cuda"):
        chosen = f"cuda:{place.local}"
        if chosen not in here:
            raise BackendError(
                f"rank {place.rank} would take {chosen}, but there are {', '.join(here)}\n"
                "  hint: torchrun --nproc-per-node with as many processes as GPUs, or --device cpu"
            )
        torch.cuda.set_device(chosen)
    return torch.device(chosen)
