"""Training with Keras' own `fit`, on logits, with adapted layers and optimisers. Importing this imports Keras."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from netspec.data.batches import batch_slices, epoch_order
from netspec.data.draw import draw, mixed_targets
from netspec.errors import BackendError
from netspec.network import Network
from netspec.training.history import best_epoch
from netspec.training.loss import decayed_weights, loss_input, loss_targets
from netspec.training.record import Record, check_batches, evaluation_batch
from netspec.training.settings import LossName, TrainSettings
from netspec_keras.adapted import OPTIMIZERS, BatchNormalization
from netspec_keras.augment import augmented, to_numpy
from netspec_keras.exact import Layers
from netspec_keras.model import build, canonical_weights, devices, precision, prepare, set_weights
from netspec_keras.realised import Rendering
from netspec_keras.render import render

if TYPE_CHECKING:
    from netspec.backend import Array, Progress, Weights
    from netspec.data.dataset import Dataset, Split

ADAPTED = {"BatchNormalization": BatchNormalization}


def train(
    network: Network, weights: Weights, dataset: Dataset, settings: TrainSettings, device: str, progress: Progress
) -> tuple[Mapping[str, Array], list[dict[str, float]]]:
    """See `Trainable.train`; raises DivergedError when the loss is not finite.

    The order of the images and the units that dropout drops follow from `settings.seed`, on one kind of device. A
    last batch of a single image joins the batch before it, for BatchNorm cannot train on one value. A GPU computes in
    float32 throughout: TensorFloat-32 is off.
    """
    prepare()
    check_batches(network, settings, len(dataset.train))
    if not network.trainable:
        raise BackendError(f"{network.name} has no weights to train")
    with precision("float32"), keras.device(device_named(device)):
        keras.utils.set_random_seed(settings.seed % 2**32)
        model = build(render(network), Layers(ADAPTED, {}))
        set_weights(model, network, weights)
        trained = logits_model(model, network, settings.loss)
        placements = Rendering(network).placements
        decayed = {placements[name].name for name in decayed_weights(network, settings.optimizer)}
        trained.compile(
            optimizer=OPTIMIZERS[settings.optimizer.name](settings.optimizer, decayed),
            loss=loss_of(settings.loss, soft=mixes(settings)),
            metrics=[Accuracy(0.5 if settings.loss == "mean_squared_error" else 0.0)],
            jit_compile=False,
        )
        batches = Batches(dataset.train, network, settings, settings.batch_size, settings.seed)
        record = Record(settings, len(batches), progress)
        watch = Watch(model, network, batches, record)
        trained.fit(
            batches,
            epochs=settings.epochs,
            shuffle=False,
            verbose=0,
            validation_data=Batches(dataset.validation, network, settings, evaluation_batch(network)),
            callbacks=Callbacks([watch], add_history=True, model=trained),
        )
    best_epoch(record.history, settings.monitor)  # raises when there is none
    return watch.best, record.history


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Images in batches of one epoch after the other, in the order that a seed gives each, or as they lie."""

    def __init__(
        self, split: Split, network: Network, settings: TrainSettings, size: int, seed: int | None = None
    ) -> None:
        super().__init__()
        self.network, self.augment = network, settings.augment if seed is not None else None
        self.split, self.seed, self.places = split, seed, batch_slices(len(split), size)
        self.targets = targets_of(split.labels, network, settings)
        self.begin(1)

    def begin(self, epoch: int) -> None:
        """Take the order of this epoch, counted from 1."""
        count = len(self.split)
        self.order = np.arange(count) if self.seed is None else epoch_order(count, self.seed, epoch)
        if self.augment is not None and self.seed is not None:
            self.drawn = draw(self.augment, count, self.network.input_type, self.seed, epoch)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, step: int) -> tuple[Array, Array]:
        chosen = self.order[self.places[step]]
        images, targets = self.split.images[chosen], self.targets[chosen]
        if self.augment is None:
            return images.astype(np.float32), targets
        drawn = self.drawn.take(chosen)
        if drawn.share is not None:
            targets = mixed_targets(self.split.labels[chosen], drawn.share, self.network.output_type.size)
        return to_numpy(augmented(images, drawn, self.augment)), targets


class Callbacks(keras.callbacks.CallbackList):  # type: ignore[misc]
    """Hands on what a step gave as it lies on the device; Keras' own list waits for every step to read it."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Call every callback."""
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the learning rate of every step, reports, keeps the best weights, and stops a training that diverges."""

    def __init__(self, whole: Any, network: Network, batches: Batches, record: Record) -> None:
        super().__init__()
        self.whole, self.network, self.batches, self.record = whole, network, batches, record
        self.best: Mapping[str, Array] = {}
        self.rate = 0.0
        self.losses: list[Any] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Another order."""
        self.losses = []
        self.batches.begin(self.record.begin())

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """The schedule, evaluated in Python."""
        rate = self.record.rate_of(batch)
        if rate != self.rate:
            self.model.optimizer.learning_rate = rate
            self.rate = rate

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the loss, the mean of the epoch so far, where it is; read it when a report is due."""
        self.losses.append((logs or {})["loss"])
        if self.record.due():
            self.refuse_divergence()
            self.record.report(batch)

    def refuse_divergence(self) -> None:
        """Raise DivergedError for the first loss of this epoch that is not finite: none after it is."""
        if self.losses and not isfinite(float(self.losses[-1])):
            raise self.record.diverged(next(step for step, loss in enumerate(self.losses) if not isfinite(float(loss))))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """One row of the history, and the weights when they are the best so far."""
        self.refuse_divergence()
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        if self.record.end(**{name: float((logs or {})[name]) for name in names}):
            self.best = canonical_weights(self.whole, self.network)


class Accuracy(keras.metrics.Mean):  # type: ignore[misc]
    """The fraction of outputs that say what the labels say; a single output above `threshold` means class 1."""

    def __init__(self, threshold: float) -> None:
        super().__init__(name="accuracy")
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch: targets are labels, one-hot rows, or one 0 or 1 each."""
        if y_pred.shape[-1] == 1:
            right = ops.equal(y_pred[:, 0] > self.threshold, ops.reshape(y_true, (-1,)) > 0.5)
        else:
            one_hot = len(y_true.shape) > 1 and y_true.shape[-1] == y_pred.shape[-1]
            labels = ops.argmax(y_true, axis=-1) if one_hot else ops.reshape(y_true, (-1,))
            right = ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(labels, "int32"))
        super().update_state(ops.cast(right, "float32"), sample_weight)


def loss_of(name: LossName, *, soft: bool = False) -> Any:
    """Keras' loss, of logits for the entropies; labels that are `soft` are shares of classes."""
    entropy = keras.losses.CategoricalCrossentropy if soft else keras.losses.SparseCategoricalCrossentropy
    return {
        "cross_entropy": lambda: entropy(from_logits=True),
        "binary_cross_entropy": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
        "mean_squared_error": keras.losses.MeanSquaredError,
    }[name]()


def mixes(settings: TrainSettings) -> bool:
    """Whether images are mixed, so that labels are shares of classes."""
    return settings.augment is not None and settings.augment.mixes


def targets_of(labels: Array, network: Network, settings: TrainSettings) -> Array:
    """What the loss compares with: labels for cross_entropy of whole classes, else numbers, one an output."""
    whole = settings.loss == "cross_entropy" and not mixes(settings)
    return labels if whole else loss_targets(labels, network.output_type.size)


def logits_model(model: Any, network: Network, loss: LossName) -> Any:
    """The model up to what the loss reads, sharing its layers: without a final Softmax or Sigmoid for the entropies."""
    value = loss_input(network, loss)
    if value in network.results:
        return model
    last = model.get_layer(Rendering(network).names[network.output])
    return keras.Model(model.inputs, last.input)


def device_named(name: str) -> str:
    """The device of this name, `auto` being the best; raises BackendError when it is not here."""
    here = devices()
    wanted = name.lower().replace("cuda", "gpu")
    chosen = here[0] if wanted == "auto" else wanted
    if chosen not in here and f"{chosen}:0" not in here:
        raise BackendError(f"Keras has no device {name!r} here\n  hint: one of {', '.join(['auto', *here])}")
    return chosen if chosen in here else f"{chosen}:0"
