"""Training with Keras' own `fit`, on logits, with adapted layers and optimisers. Importing this imports Keras."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import keras

from netspec.errors import BackendError
from netspec.interrupt import STOP
from netspec.network import Network
from netspec.training.checkpoint import Checkpoint, CheckpointFile, under, unpacked
from netspec.training.culprit import Culprit
from netspec.training.history import DivergedError, best_epoch
from netspec.training.phases import phases_of
from netspec.training.record import Diverged, Record, check_batches, evaluation_batch, unless_it_fails
from netspec.training.settings import TrainSettings
from netspec_keras.augment import Augmentation
from netspec_keras.batches import Batches
from netspec_keras.culprit import Again, Found
from netspec_keras.model import devices, precision, prepare, set_weights
from netspec_keras.precision import POLICIES, check, tensor_float_32
from netspec_keras.training import Training, training_of

if TYPE_CHECKING:
    from netspec.data.dataset import Dataset
    from netspec.progress import Progress
    from netspec.tensors import Array, Weights

AT_ONCE_S = 0.05
"""How long steps may take that go without a look at the clock and at Ctrl-C."""
MOST_AT_ONCE = 32
MACS_A_SECOND, GPU_FASTER = 2.5e9, 100
"""What a slow core computes, and how much faster the least GPU is."""


def train(
    network: Network,
    weights: Weights,
    dataset: Dataset,
    settings: TrainSettings,
    device: str,
    progress: Progress,
    checkpoint: CheckpointFile | None = None,
) -> tuple[Mapping[str, Array], list[dict[str, float]]]:
    """See `Trainable.train`; raises DivergedError when the loss is not finite.

    The order of the images and the units that dropout drops follow from `settings.seed`, on one kind of device. A
    last batch of a single image joins the batch before it, for BatchNorm cannot train on one value. A GPU computes in
    float32 throughout, unless the settings ask for another precision: TensorFloat-32 is off.
    """
    prepare()
    check_batches(network, settings, len(dataset.train))
    augmentation = Augmentation.of(network, settings)
    batches = Batches(dataset.train, settings.batch_size, settings.seed, augmentation)
    validation = Batches(dataset.validation, evaluation_batch(network))
    record = Record(settings, len(batches), progress, checkpoint)
    record.announce(len(dataset.train), f"keras on {device_named(device)}")
    found = checkpoint.load() if checkpoint else None
    kept = unpacked(found.arrays) if found else {}
    weights = kept.get("weights", weights)
    with (
        precision("float32", POLICIES[settings.precision]),
        tensor_float_32(allowed=settings.tf32),
        keras.device(device_named(device)),
    ):
        check(settings.precision)
        keras.utils.set_random_seed(settings.seed % 2**32)
        for number, (trained, phase) in enumerate(phases_of(network, settings)):
            if found and number < found.facts["phase"]:
                continue
            record.begin_phase(phase, number)
            current = training_of(trained, settings)
            set_weights(current.model, trained, weights)
            random = [keras.ops.convert_to_numpy(variable) for variable in current.random_states()]
            watch = Watch(current, batches, record)
            try:
                fit(current, batches, validation, watch, found)
            except Diverged as diverged:
                del current, watch  # the search needs their memory for another model
                diverged.__traceback__ = None
                raise explained(trained, weights, random, found, batches, record, diverged) from None
            found, weights = None, current.state()
    best_epoch(record.history, settings.monitor)  # raises when there is none
    return record.best, record.history


def fit(
    current: Training, batches: Batches, validation: Batches, watch: Watch, checkpoint: Checkpoint | None = None
) -> None:
    """One phase, or what a checkpoint left of it, with Keras' own loop."""
    record = watch.record
    at_once = steps_at_once(current.network, record, batches)
    current.compile(at_once)

    def run(epochs: int) -> None:
        source = batches.source(at_once, rate_of=record.rate_of)
        current.objective.fit(
            source,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            validation_data=validation.source(at_once),
            callbacks=Callbacks([watch], source, model=current.objective),
        )

    if checkpoint is not None:
        record.resume(checkpoint)
        kept = unpacked(checkpoint.arrays)
        current.restore(kept)
        if checkpoint.step:
            watch.resumed, batches.done = kept, checkpoint.step
            run(1)
            batches.done = 0
    if record.goes_on:
        run(record.phase.epochs - record.phase_epoch)


def explained(
    network: Network,
    start: Weights,
    random: Sequence[Array],
    began: Checkpoint | None,
    batches: Batches,
    lost: Record,
    diverged: Diverged,
) -> DivergedError:
    """What to raise: what was not finite first, in the step of the epoch under way in `lost` that `diverged` names or
    before it.

    The phase goes again from its first weights and random states, or from the nearest checkpoint in it; it began with
    `began`. On a GPU, where sums may come out otherwise, there may be nothing to find; nor is there where Ctrl-C ends
    the search.
    """

    def again(last: int, search: Literal["loss", "weights"] | None = None) -> Culprit | None:
        if STOP.is_set():
            return None
        gc.collect()  # a model before this one, which refers to itself
        found = lost.nearest(began)
        record, kept = lost.again(), unpacked(found.arrays) if found else {}
        current = training_of(network, lost.settings)
        set_weights(current.model, network, kept.get("weights", start))
        current.compile()
        batches.done = found.step if found else 0
        if found:
            record.resume(found)
            current.restore(kept)
        else:
            for variable, array in zip(current.random_states(), random, strict=True):
                variable.assign(array)
        watch = Again(current, batches, record, lost, last, search)

        def run(epochs: int) -> None:
            # One step at a time, in the programs that computed it before.
            source = batches.source(steps_at_once(network, lost, batches), 1, record.rate_of)
            callbacks = Callbacks([watch], source, model=current.objective)
            current.objective.fit(source, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)

        try:
            if batches.done:
                run(1)
            batches.done = 0
            run(lost.phase.epochs)
        except Found as seen:
            return seen.culprit
        return None

    before = (lost.epoch - 1) * lost.steps
    last = before + diverged.step
    if diverged.what == "weights" or diverged.among > 1:  # then it may have been a step before
        first = unless_it_fails(lambda: again(last, diverged.what))
        last = first.step if first is not None else last
    step = last - before if diverged.what == "loss" else diverged.step
    return lost.diverged(Diverged(step, diverged.what), lambda: again(last))


def steps_at_once(network: Network, record: Record, batches: Batches) -> int:
    """How many steps of a small network go without Python between them, where the batches let them: about a twentieth
    of a second of them.
    """
    speed = MACS_A_SECOND * (GPU_FASTER if len(devices()) > 1 else 1)
    seconds = 3 * network.macs * record.settings.batch_size / speed
    worth = max(1, min(MOST_AT_ONCE, record.steps, int(AT_ONCE_S / max(seconds, 1e-9))))
    return batches.at_once(worth, steady=record.settings.schedule.steady)


class Callbacks(keras.callbacks.CallbackList):
    """Hands on what a step gave as it lies on the device; Keras' own list waits for every step to read it.

    Where the `source` has chunks of steps, callbacks hear of a chunk's first and last step.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], source: Any = None, model: Any = None) -> None:
        super().__init__(callbacks, add_history=True, model=model)
        self.spans: Sequence[range] | None = getattr(source, "spans", None)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Call every callback."""
        super().on_train_batch_begin(self.spans[batch].start if self.spans else batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Call every callback."""
        batch = self.spans[batch].stop - 1 if self.spans else batch
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Watch(keras.callbacks.Callback):
    """Sets the learning rate of every step, reports, ends every epoch, and stops a training that diverges."""

    def __init__(self, training: Training, batches: Batches, record: Record) -> None:
        super().__init__()
        self.training, self.batches, self.record = training, batches, record
        self.measuring = ExitStack()
        self.resumed: Mapping[str, Any] | None = None
        self.rate = 0.0
        self.losses: list[tuple[int, Any]] = []
        """After which step of the epoch, and the mean until then."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Another order; or the one of the epoch that a checkpoint left."""
        self.losses = []
        if self.resumed is None:
            self.record.begin()
        self.batches.begin(self.record.epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """The schedule, evaluated in Python; and before the first step after a checkpoint what that had come to."""
        if self.resumed is not None:  # only now: torch's loader of batches has drawn a number for itself
            self.training.assign("sums", self.resumed)
            self.training.assign("random", self.resumed)
            self.resumed = None
        rate = self.record.rate_of(batch + self.batches.done)
        if rate != self.rate:
            self.training.set_rate(rate)
            self.rate = rate

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the loss, the mean of the epoch so far, where it is; read it when a report is due."""
        step = min(batch + self.batches.done + 1, self.record.steps)
        self.record.rate_of(step - 1)  # of several that went at once, the last one's is the record's
        self.losses.append((step, (logs or {})["loss"]))
        if self.record.due():
            self.refuse_divergence()
            self.record.report(step - 1)
        if step < self.record.steps and self.record.pauses():
            self.pause(step)

    def pause(self, step: int) -> None:
        """Write the training down after so many steps of the epoch, or after it where there are none."""
        self.refuse_divergence()
        arrays = self.training.snapshot(self.record.best)
        self.record.refuse(under("weights/", arrays), step)
        self.record.pause(step, lambda: arrays)

    def refuse_divergence(self) -> None:
        """Raise Diverged for the first loss of this epoch that is not finite: none after it is."""
        if self.losses and not isfinite(float(self.losses[-1][1])):
            before = self.batches.done
            for step, loss in self.losses:
                if not isfinite(float(loss)):
                    raise Diverged(step - 1, among=step - before)
                before = step

    def on_test_begin(self, logs: Any = None) -> None:
        """Validate the running means of the weights, where there are any."""
        self.measuring.enter_context(self.training.averages())

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """One row of the history, what was validated when it is the best so far, and whether to stop."""
        self.refuse_divergence()
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        with self.measuring:
            self.record.end(self.training.state, **{name: float((logs or {})[name]) for name in names})
        if not self.record.goes_on:
            self.model.stop_training = True
        if self.record.pauses():
            self.pause(0)


def device_named(name: str) -> str:
    """The device of this name, `auto` being the best; raises BackendError when it is not here."""
    here = devices()
    wanted = name.lower().replace("cuda", "gpu")
    chosen = here[0] if wanted == "auto" else wanted
    if chosen not in here and f"{chosen}:0" not in here:
        raise BackendError(f"Keras has no device {name!r} here\n  hint: one of {', '.join(['auto', *here])}")
    return chosen if chosen in here else f"{chosen}:0"
