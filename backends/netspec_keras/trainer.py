"""Training with Keras' own `fit`, on logits, with adapted layers and optimisers. Importing this imports Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from netspec.data.batches import batch_slices, epoch_order
from netspec.errors import BackendError
from netspec.network import Network
from netspec.training.checkpoint import Checkpoint, CheckpointFile, under
from netspec.training.history import best_epoch
from netspec.training.loss import loss_input
from netspec.training.optimizer import decayed_weights, matrix_weights, penalised_weights
from netspec.training.phases import phases_of
from netspec.training.record import Record, check_batches, evaluation_batch
from netspec.training.settings import Regularizer, TrainSettings
from netspec.training.stepping import AVERAGE
from netspec_keras.adapted import BatchNormalization
from netspec_keras.augment import Augmentation
from netspec_keras.exact import Layers
from netspec_keras.losses import loss_of, read_labels
from netspec_keras.model import build, canonical_weights, devices, precision, prepare, set_weights
from netspec_keras.optimizers import OPTIMIZERS, TorchOptimizer
from netspec_keras.precision import POLICIES, check, scaled, tensor_float_32
from netspec_keras.realised import Rendering
from netspec_keras.render import render

if TYPE_CHECKING:
    from netspec.backend import Array, Progress, Weights
    from netspec.data.dataset import Dataset, Split

ADAPTED = {"BatchNormalization": BatchNormalization}


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
    found = checkpoint.load() if checkpoint else None
    best: Weights = under("best/", found.arrays) if found else {}
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
            set_weights(current.model, trained, under("weights/", found.arrays) if found else weights)
            watch = Watch(current, batches, record, best)
            fit(current, batches, validation, watch, found)
            found = None
            best, weights = watch.best, current.state()
    best_epoch(record.history, settings.monitor)  # raises when there is none
    return best, record.history


def fit(
    current: Training, batches: Batches, validation: Batches, watch: Watch, checkpoint: Checkpoint | None = None
) -> None:
    """One phase, or what a checkpoint left of it, with Keras' own loop."""
    record = watch.record
    current.objective.compile(
        optimizer=current.minimiser, metrics=[current.accuracy], jit_compile=False, auto_scale_loss=False
    )

    def run(epochs: int) -> None:
        current.objective.fit(
            batches,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            validation_data=validation,
            callbacks=Callbacks([watch], add_history=True, model=current.objective),
        )

    if checkpoint is not None:
        record.resume(checkpoint)
        current.restore(checkpoint)
        if checkpoint.step:
            watch.resumed, batches.done = checkpoint, checkpoint.step
            run(1)
            batches.done = 0
    if record.goes_on:
        run(record.phase.epochs - record.phase_epoch)


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

    def random_states(self) -> list[Any]:
        """The variables from which dropout draws."""
        weights = {id(variable) for variable in self.model.weights}
        return [variable for variable in self.model.variables if id(variable) not in weights]

    def snapshot(self, best: Weights) -> dict[str, Array]:
        """All arrays that the next step depends on, and the best weights so far."""
        arrays = {f"weights/{name}": array for name, array in self.state().items()}
        arrays |= {f"best/{name}": array for name, array in best.items()}
        for name, variables in self._variables().items():
            arrays |= {f"{name}/{index}": np.array(variable) for index, variable in enumerate(variables)}
        return {name: np.asarray(array, order="C") for name, array in arrays.items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be, with the checkpoint's weights, where the snapshot was taken; sums of an epoch begin with the epoch."""
        self.minimiser.build(self.objective.trainable_variables)
        for name in ("optimizer", "random"):
            self.assign(name, checkpoint)

    def assign(self, name: str, checkpoint: Checkpoint) -> None:
        """Give the variables of this name what a checkpoint has for them."""
        arrays = under(f"{name}/", checkpoint.arrays)
        for index, variable in enumerate(self._variables()[name]):
            variable.assign(arrays[str(index)])

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
    placements = Rendering(network).placements
    decayed, matrices = (
        {placements[name].name for name in names}
        for names in (decayed_weights(network, settings.optimizer), matrix_weights(network))
    )
    optimizer = OPTIMIZERS[settings.optimizer.name](settings, decayed, matrices)
    objective = objective_of(model, network, settings)
    minimiser = scaled(optimizer) if keras.config.dtype_policy().name == POLICIES["fp16"] else optimizer
    return Training(network, model, objective, optimizer, Accuracy(settings.loss.threshold), minimiser)


def objective_of(model: Any, network: Network, settings: TrainSettings) -> Objective:
    """The loss on the value that it reads, without a final Softmax or Sigmoid where it is of that."""
    outputs = model.outputs[0]
    if loss_input(network, settings.loss) not in network.results:
        outputs = model.get_layer(Rendering(network).names[network.output]).input
    objective = Objective(model.inputs, outputs)
    objective.loss_of_data = loss_of(settings.loss)
    own, variables = settings.regularizer, {variable.path: variable for variable in model.weights}
    placements = Rendering(network).placements
    penalised = tuple(variables[placements[name].name] for name in penalised_weights(network, own))
    if penalised:
        objective.penalty = lambda: penalty_of(penalised, own)
    return objective


def penalty_of(variables: Sequence[Any], settings: Regularizer) -> Any:
    """l1 * sum(|w|) + l2 * sum(w^2)."""
    terms = [ops.sum(ops.abs(variable)) * settings.l1 for variable in variables if settings.l1]
    terms += [ops.sum(ops.square(variable)) * settings.l2 for variable in variables if settings.l2]
    return sum(terms)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Images in batches of one epoch after the other, in the order that a seed gives each, or as they lie."""

    def __init__(
        self, split: Split, size: int, seed: int | None = None, augmentation: Augmentation | None = None
    ) -> None:
        super().__init__()
        self.split, self.seed, self.augmentation = split, seed, augmentation
        self.places, self.done = batch_slices(len(split), size), 0
        """Where each batch lies in the order, and how many are left out, for they were before a checkpoint."""
        self.begin(1)

    def begin(self, epoch: int) -> None:
        """Take the order of this epoch, counted from 1."""
        count = len(self.split)
        self.order = np.arange(count) if self.seed is None else epoch_order(count, self.seed, epoch)
        if self.augmentation is not None:
            self.augmentation.begin(count, epoch)

    def __len__(self) -> int:
        return len(self.places) - self.done

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        chosen = self.order[self.places[index + self.done]]
        images, labels = self.split.images[chosen], self.split.labels[chosen]
        return (
            (images.astype(np.float32), labels)
            if self.augmentation is None
            else self.augmentation(images, labels, chosen)
        )


class Callbacks(keras.callbacks.CallbackList):  # type: ignore[misc]
    """Hands on what a step gave as it lies on the device; Keras' own list waits for every step to read it."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Call every callback."""
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the learning rate of every step, reports, keeps the best weights, and stops a training that diverges."""

    def __init__(self, training: Training, batches: Batches, record: Record, best: Weights) -> None:
        super().__init__()
        self.training, self.batches, self.record, self.best = training, batches, record, best
        self.measuring = ExitStack()
        self.resumed: Checkpoint | None = None
        self.rate = 0.0
        self.losses: list[Any] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Another order; or the one of the epoch that a checkpoint left, with its sums."""
        self.losses = []
        if self.resumed is not None:
            self.training.assign("sums", self.resumed)
            self.resumed = None
        else:
            self.record.begin()
        self.batches.begin(self.record.epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """The schedule, evaluated in Python."""
        rate = self.record.rate_of(batch + self.batches.done)
        if rate != self.rate:
            self.model.optimizer.learning_rate = rate
            self.rate = rate

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the loss, the mean of the epoch so far, where it is; read it when a report is due."""
        self.losses.append((logs or {})["loss"])
        if self.record.due():
            self.refuse_divergence()
            self.record.report(batch + self.batches.done)
        step = batch + self.batches.done + 1
        if step < self.record.steps and self.record.pauses():
            self.pause(step)

    def pause(self, step: int) -> None:
        """Write the training down after so many steps of the epoch, or after it where there are none."""
        self.refuse_divergence()
        self.record.pause(step, lambda: self.training.snapshot(self.best))

    def refuse_divergence(self) -> None:
        """Raise DivergedError for the first loss of this epoch that is not finite: none after it is."""
        if self.losses and not isfinite(float(self.losses[-1])):
            steps = (step for step, loss in enumerate(self.losses) if not isfinite(float(loss)))
            raise self.record.diverged(next(steps) + self.batches.done)

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Validate the running means of the weights, where there are any."""
        self.measuring.enter_context(self.training.averages())

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """One row of the history, what was validated when it is the best so far, and whether to stop."""
        self.refuse_divergence()
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        with self.measuring:
            if self.record.end(**{name: float((logs or {})[name]) for name in names}):
                self.best = self.training.state()
        if not self.record.goes_on:
            self.model.stop_training = True
        if self.record.pauses():
            self.pause(0)


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


def device_named(name: str) -> str:
    """The device of this name, `auto` being the best; raises BackendError when it is not here."""
    here = devices()
    wanted = name.lower().replace("cuda", "gpu")
    chosen = here[0] if wanted == "auto" else wanted
    if chosen not in here and f"{chosen}:0" not in here:
        raise BackendError(f"Keras has no device {name!r} here\n  hint: one of {', '.join(['auto', *here])}")
    return chosen if chosen in here else f"{chosen}:0"
