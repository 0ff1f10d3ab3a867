"""The spec's `train` section: loss, optimiser, schedule and how long."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from netspec.data.augment import Augment
from netspec.training.loss import Loss
from netspec.training.named import Fraction, NotNegative, Positive, folded
from netspec.training.optimizer import Optimizer, WeightChoice
from netspec.training.precision import ComputeName
from netspec.training.schedule import Schedule

MetricName = Literal["accuracy", "top_5_accuracy", "precision", "recall", "f1", "auc"]
Monitor = Literal["val_loss", "val_accuracy", "loss", "accuracy"]
Epochs = Annotated[int, Field(ge=1, le=10**6)]

METRIC_SYNONYMS = {
    "acc": "accuracy",
    "categoricalaccuracy": "accuracy",
    "sparsecategoricalaccuracy": "accuracy",
    "binaryaccuracy": "accuracy",
    "topkcategoricalaccuracy": "top_5_accuracy",
    "top5": "top_5_accuracy",
    "f1score": "f1",
    "rocauc": "auc",
}


def _metric(value: Any) -> Any:
    return METRIC_SYNONYMS.get(folded(value), value.casefold()) if isinstance(value, str) else value


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Regularizer(BaseModel):
    """What weights add to the loss: l1 * sum(|w|) + l2 * sum(w^2)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    l1: NotNegative = 0.0
    """The factor of the sum of sizes."""
    l2: NotNegative = 0.0
    """The factor of the sum of squares, as Keras has it; its gradient is 2 * l2 * w."""
    on: WeightChoice = "kernels"
    """Which weights: kernels alone, or every trained weight, biases and scales too."""
    rows: str = "*"
    """The rows whose weights, as a pattern: `dense_*`."""


class EarlyStopping(BaseModel):
    """When a training ends before its epochs are over."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    patience: Annotated[int, Field(ge=1)] = 5
    """It ends after this many epochs in a row that were no better by the monitor."""
    min_delta: NotNegative = 0.0
    """By how much more than this an epoch must beat the best one to be better."""


class Phase(BaseModel):
    """A part of a training, with an optimiser that starts afresh and a schedule that spans it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    epochs: Epochs
    """How many times every image is seen."""
    unfreeze: str = ""
    """Frozen rows that are trained from here on, as a pattern: `mixed[67]*`, of rows or of blocks."""
    learning_rate: Positive | None = None
    """Step size, before the schedule; the optimizer's when not given."""


class TrainSettings(BaseModel):
    """How the network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    loss: Loss = Loss.model_construct(name="cross_entropy")
    """`cross_entropy`, or with options: `{cross_entropy: {label_smoothing: 0.1}}`."""
    regularizer: Regularizer = Regularizer.model_construct()
    """What weights add to the loss: `{l2: 1e-4}`."""
    optimizer: Optimizer = Optimizer.model_construct(name="adam")
    """`adam`, or with options: `{adam: {learning_rate: 1e-3}}`."""
    schedule: Schedule = Schedule.model_construct(name="constant")
    """How the learning rate changes: `constant`, `cosine`, `{step: {every: 10, factor: 0.1}}`."""
    clip_norm: Positive | None = None
    """All gradients together are scaled down to this L2 norm where theirs is larger."""
    clip_value: Positive | None = None
    """Every number of the gradients is cut off at this size."""
    accumulate: Annotated[int, Field(ge=1, le=2**20)] = 1
    """How many batches make one update, with the mean of their gradients."""
    ema: Fraction = 0.0
    """The fraction that is kept of a running mean of the weights, which is what is validated and kept; 0 for none."""
    batch_size: Annotated[int, Field(ge=1, le=2**20)] = 32
    """How many images each step sees."""
    epochs: Epochs = 10
    """How many times every image is seen; with `phases` the sum of theirs."""
    phases: tuple[Phase, ...] = ()
    """Parts that follow each other: `[{epochs: 5}, {epochs: 10, unfreeze: "mixed[67]*", learning_rate: 1e-5}]`."""
    early_stopping: EarlyStopping | None = None
    """Ends each phase early: `{patience: 5, min_delta: 0.001}`."""
    augment: Augment | None = None
    """How the images that are trained on are changed: `{flip: horizontal, crop: 4, fill: reflect}`; none when not
    given. Those to validate and to test on are never changed."""
    metrics: Annotated[
        tuple[Annotated[MetricName, BeforeValidator(_metric)], ...],
        BeforeValidator(_several, json_schema_input_type=MetricName | list[MetricName]),
    ] = ("accuracy",)
    """What is measured on the test images, from the exported network's predictions: the accuracies always, `precision`,
    `recall`, `f1` and `auc` where they are named here (of class 1 of two, else the means over all classes)."""
    monitor: Monitor = "val_loss"
    """What decides which epoch is the best, whose weights are kept: the least loss or the highest accuracy."""
    precision: ComputeName = "float32"
    """In what the network computes while it trains: `bf16` and `fp16` are faster where the device has them. Weights,
    optimiser and loss are float32 always, and so is all that is exported; fp16 scales the loss."""
    tf32: bool = False
    """Whether a GPU may round what float32 multiplies to 10 bits (TensorFloat-32), which is faster."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Fixes the initial weights, the order of the images, how they are augmented and the units that dropout drops."""

    @model_validator(mode="before")
    @classmethod
    def _phases_say_the_epochs(cls, value: Any) -> Any:
        phases = value.get("phases") if isinstance(value, dict) else None
        if not isinstance(phases, list | tuple) or not phases:
            return value
        counts = (phase.get("epochs") for phase in phases if isinstance(phase, dict))
        total = sum(count for count in counts if isinstance(count, int))
        if value.get("epochs", total) != total:
            raise ValueError(f"epochs is {value['epochs']}, but the phases have {total}")
        return {**value, "epochs": total} if total > 0 else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("clip_norm and clip_value are both here; gradients are clipped one way")
        for phase in self.spans:
            if problem := self.schedule.too_long(phase.epochs):
                where = " in a phase" if self.phases else ""
                hint = "more epochs, or an earlier end of it"
                raise ValueError(f"the schedule is longer than the run: {problem}{where}\n  hint: {hint}")
        return self

    @property
    def spans(self) -> tuple[Phase, ...]:
        """The phases, or the whole training as one."""
        return self.phases or (Phase(epochs=self.epochs),)

    @property
    def larger_is_better(self) -> bool:
        """Whether the monitored value is better the larger it is."""
        return self.monitor.endswith("accuracy")
