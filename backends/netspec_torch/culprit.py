"""The last steps of a training that diverged, taken once more to see which row went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from time import monotonic

import torch
from torch import Tensor

from netspec.interrupt import STOP
from netspec.network import Network
from netspec.training.checkpoint import Checkpoint, unpacked
from netspec.training.culprit import Culprit, Seen, culprit_of, row_of_weights, up_to
from netspec.training.loss import loss_input
from netspec.training.record import Diverged, Record
from netspec.training.settings import TrainSettings
from netspec_torch.graph import set_rate
from netspec_torch.model import load, make, to_numpy
from netspec_torch.precision import computing_in
from netspec_torch.ranks import Ranks, set_random_states
from netspec_torch.render import render
from netspec_torch.samples import Samples, batches
from netspec_torch.training import Start, Totals, Training, prepare, resumed, step_of


def find(
    network: Network,
    start: Start,
    found: Checkpoint | None,
    samples: Samples,
    lost: Record,
    diverged: Diverged,
    limit_s: float = inf,
) -> Culprit | None:
    """What was not finite first, in the step of the epoch under way in `lost` that `diverged` names or before it.

    The phase goes again from `start`, or from the nearest checkpoint in it; it began with `found`. One process takes
    whole batches, whoever shared them. On a GPU, where sums may come out otherwise, there may be nothing to find; nor
    is there where Ctrl-C ends the search, or it is not done in time.
    """
    until = monotonic() + limit_s
    found = lost.nearest(found)
    last = (lost.epoch - 1) * lost.steps + diverged.step
    if diverged.what == "weights":  # which any step before may have done
        steps = replayed(network, start, found, samples, lost, last, until)
        last = next((at - 1 for at, now, _ in steps if row_of_weights(network, now.state()) is not None), last)
    for at, now, chosen in replayed(network, start, found, samples, lost, last, until):
        if chosen is None:
            row = row_of_weights(network, now.state())
            return Culprit(last, "weights", row) if row is not None else None
        if at >= last - lost.settings.accumulate:
            culprit = culprit_of(network, at, now.state(), seen(now, lost.settings, samples, chosen))
            if culprit is not None:
                return culprit
    return None


def replayed(
    network: Network, start: Start, found: Checkpoint | None, samples: Samples, lost: Record, last: int, until: float
) -> Iterator[tuple[int, Training, Tensor | None]]:
    """Every step up to `last`, counted from 0, with the training as it was before it, and its images; then the training
    after all of them. Ctrl-C ends it early, and so does the time `until`.
    """
    settings, device = lost.settings, samples.labels.device
    record = lost.again()
    weights = unpacked(found.arrays)["weights"] if found else start.weights
    current = prepare(network, weights, settings, device, Ranks())
    totals = Totals([1] * record.steps, device, Ranks())
    step = step_of(current, totals, record, Ranks())
    done = resumed(current, totals, found, record, device) if found else 0
    if not found:
        set_random_states(start.random, device)
    while True:
        if not done:
            record.begin()
            totals.clear()
        current.model.train()
        if samples.augmenter is not None:
            samples.augmenter.begin(record.epoch)
        order = batches(samples, settings, record.epoch, done)
        for number, (_, chosen) in enumerate(order, start=done):
            if STOP.is_set() or monotonic() >= until:
                return
            at = (record.epoch - 1) * record.steps + number
            set_rate(current.optimizer, record.rate_of(number), on_device=False)
            yield at, current, chosen
            step(samples, chosen)
            if at == last:
                yield at + 1, current, None
                return
        done = 0
        record.end_as(lost)


def seen(training: Training, settings: TrainSettings, samples: Samples, chosen: Tensor) -> Seen:
    """A step as `training` would take it next, which it does not."""
    device = samples.labels.device
    network = up_to(training.network, loss_input(training.network, settings.loss))
    rendering = render(network, taps=True)
    kept = {weight.name for weight in network.weights()}
    weights = {name: array for name, array in training.state().items() if name in kept}
    model = load(make(rendering), rendering, weights).to(device).train()
    values: dict[str, Tensor] = {}

    def tap(row: str, value: Tensor) -> Tensor:
        values[row] = value
        if value.requires_grad:
            value.retain_grad()
        return value

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        images, labels, targets = samples.take(chosen)
        forward = computing_in(settings.precision, lambda images: model(images, tap), device)
        loss = training.objective.loss(forward(images), targets, labels)
        loss.backward()
    gradients = {row: to_numpy(value.grad.float()) for row, value in values.items() if value.grad is not None}
    return Seen(
        to_numpy(images), {row: to_numpy(value.float()) for row, value in values.items()}, loss.item(), gradients
    )
