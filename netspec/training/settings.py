"""The spec's `train` section: loss, optimiser, schedule and how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from netspec.data.augment import Augment
from netspec.errors import did_you_mean, one_of

LossName = Literal["cross_entropy", "binary_cross_entropy", "mean_squared_error"]
OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]
ScheduleName = Literal["constant", "cosine", "step"]
MetricName = Literal["accuracy"]
Monitor = Literal["val_loss", "val_accuracy", "loss", "accuracy"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

# What Keras and PyTorch call each loss, folded; classes given as numbers or one-hot mean the same here.
LOSS_SYNONYMS: dict[str, LossName] = {
    "crossentropy": "cross_entropy",
    "crossentropyloss": "cross_entropy",
    "categoricalcrossentropy": "cross_entropy",
    "sparsecategoricalcrossentropy": "cross_entropy",
    "softmaxcrossentropy": "cross_entropy",
    "nll": "cross_entropy",
    "nllloss": "cross_entropy",
    "negativeloglikelihood": "cross_entropy",
    "binarycrossentropy": "binary_cross_entropy",
    "bce": "binary_cross_entropy",
    "bceloss": "binary_cross_entropy",
    "bcewithlogits": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy",
    "meansquarederror": "mean_squared_error",
    "mse": "mean_squared_error",
    "mseloss": "mean_squared_error",
}
METRIC_SYNONYMS = {
    "acc": "accuracy",
    "categoricalaccuracy": "accuracy",
    "sparsecategoricalaccuracy": "accuracy",
    "binaryaccuracy": "accuracy",
}
FIELD_SYNONYMS = {"lr": "learning_rate", "eps": "epsilon", "beta1": "beta_1", "beta2": "beta_2", "alpha": "rho"}

# The hyper-parameters of each optimiser, with their defaults; the formulas are those of torch.optim.
OPTIMIZERS: dict[OptimizerName, dict[str, float | bool | str]] = {
    "sgd": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "adam": {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0},
    "adamw": {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01},
    "rmsprop": {"learning_rate": 1e-3, "rho": 0.9, "epsilon": 1e-7, "momentum": 0.0, "weight_decay": 0.0},
}
SCHEDULES: dict[ScheduleName, dict[str, float | int]] = {
    "constant": {},
    "cosine": {"final": 0.0},
    "step": {"every": 10, "factor": 0.1},
}


def _folded(synonyms: dict[str, Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return synonyms.get(value.replace("_", "").replace("-", "").replace(" ", "").casefold(), value.casefold())

    return read


def _read_named(value: Any, defaults: dict[Any, dict[str, Any]], what: str) -> Any:
    """`adam`, `{adam: {...}}` and `{name: adam, ...}` as fields, with this name's defaults; refuses others'."""
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict) and "name" not in value and len(value) == 1:
        [(name, options)] = value.items()
        if not isinstance(options, dict | None):
            raise ValueError(f"the options of {name} are a mapping, not {options!r}")
        value = {"name": name, **(options or {})}
    if not isinstance(value, dict) or "name" not in value:
        raise ValueError(f"{what} needs a name, such as {list(defaults)[-1]}, got {value!r}")
    name = value["name"].casefold() if isinstance(value["name"], str) else value["name"]
    if name not in defaults:
        raise ValueError(
            f"unknown {what} {name!r}; {did_you_mean(str(name), list(defaults)) or one_of(list(defaults))}"
        )
    given = {FIELD_SYNONYMS.get(key, key): item for key, item in value.items() if key != "name"}
    for key in given:
        if key not in (*defaults[name], *(["decay_on"] if "weight_decay" in defaults[name] else [])):
            hint = did_you_mean(str(key), defaults[name])
            raise ValueError(f"{name} has no {key}; " + (hint or f"it has {', '.join(defaults[name]) or 'no options'}"))
    return {"name": name, **defaults[name], **given}


def _short_forms(names: list[str], section: JsonSchemaValue) -> JsonSchemaValue:
    """A section that may also be written as its name alone, or as its name over its options."""
    options = {key: item for key, item in section["properties"].items() if key != "name"}
    inner = {"type": ["object", "null"], "properties": options, "additionalProperties": False}
    long = {
        "type": "object",
        "properties": dict.fromkeys(names, inner),
        "additionalProperties": False,
        "maxProperties": 1,
    }
    return {"anyOf": [{"enum": names, "type": "string"}, section, {**long, "minProperties": 1, "maxProperties": 1}]}


class Optimizer(BaseModel):
    """An optimiser with every hyper-parameter; the formulas are those of torch.optim.

    With g the gradient, w the weight, t counted from 1:
    sgd: b = momentum * b + g (b = g at t = 1), g = g + momentum * b if nesterov else b, w -= lr * g.
    adam: m, v are the running means of g and g^2, w -= lr / (1 - beta_1^t) * m / (sqrt(v / (1 - beta_2^t)) + epsilon).
    adamw: w -= lr * weight_decay * w first, then adam.
    rmsprop: v = rho * v + (1 - rho) * g^2, g / (sqrt(v) + epsilon) into momentum as in sgd.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: OptimizerName
    """`sgd`, `adam`, `adamw` or `rmsprop`; the other fields are those that this one has."""
    learning_rate: Positive = 1e-3
    """Step size, before the schedule; 0.01 for sgd and 0.001 for the others when not given."""
    momentum: Fraction = 0.0
    """Fraction of the step before that is kept (sgd, rmsprop)."""
    nesterov: bool = False
    """Nesterov's form of the momentum (sgd)."""
    beta_1: Fraction = 0.9
    """Fraction of the gradients' running mean that is kept (adam, adamw)."""
    beta_2: Fraction = 0.999
    """Fraction of the squared gradients' running mean that is kept (adam, adamw)."""
    epsilon: Positive = 1e-8
    """Added to the square root that divides the step (adam, adamw: 1e-8; rmsprop: 1e-7 when not given)."""
    rho: Fraction = 0.9
    """Fraction of the squared gradients' running mean that is kept (rmsprop)."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """adamw: the weight shrinks by learning_rate * weight_decay of itself (0.01 when not given); the others: the
    gradient grows by weight_decay * weight."""
    decay_on: Literal["kernels", "all"] = "kernels"
    """Which weights decay: kernels alone, or every trained weight, biases and scales too."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return _read_named(value, OPTIMIZERS, "optimizer")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, for example momentum: 0.9")
        return self

    @model_serializer(mode="wrap")
    def _own_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own = {"name", "decay_on", *OPTIMIZERS[self.name]}
        return {key: value for key, value in handler(self).items() if key in own}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _short_forms(list(OPTIMIZERS), handler.resolve_ref_schema(handler(schema)))


class Schedule(BaseModel):
    """How the learning rate changes from step to step; `netspec.training.schedule` computes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: ScheduleName = "constant"
    """`constant`, `cosine` (from the learning rate down to `final` over the whole training) or `step`."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """`cosine`: the fraction of the learning rate at the end."""
    every: Annotated[int, Field(ge=1)] = 10
    """`step`: after this many epochs the learning rate is multiplied by `factor`, each time."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """`step`: what the learning rate is multiplied by."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return _read_named(value, SCHEDULES, "schedule")

    @model_serializer(mode="wrap")
    def _own_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own = {"name", *SCHEDULES[self.name]}
        return {key: value for key, value in handler(self).items() if key in own}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _short_forms(list(SCHEDULES), handler.resolve_ref_schema(handler(schema)))


class TrainSettings(BaseModel):
    """How the network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    loss: Annotated[LossName, BeforeValidator(_folded(LOSS_SYNONYMS))] = "cross_entropy"
    """`cross_entropy` (of a softmax, the mean over images), `binary_cross_entropy` (of a sigmoid) or
    `mean_squared_error` (both the mean over all outputs); the names of Keras and PyTorch mean the same. The entropies
    are computed from what comes before a final Softmax or Sigmoid."""
    optimizer: Optimizer = Optimizer.model_construct(name="adam")
    """`adam`, or with options: `{adam: {learning_rate: 1e-3}}`."""
    schedule: Schedule = Schedule.model_construct(name="constant")
    """How the learning rate changes: `constant`, `cosine`, `{step: {every: 10, factor: 0.1}}`."""
    batch_size: Annotated[int, Field(ge=1, le=2**20)] = 32
    """How many images each step sees."""
    epochs: Annotated[int, Field(ge=1, le=10**6)] = 10
    """How many times every image is seen."""
    augment: Augment | None = None
    """How the images that are trained on are changed: `{flip: horizontal, crop: 4, fill: reflect}`; none when not
    given. Those to validate and to test on are never changed."""
    metrics: tuple[Annotated[MetricName, BeforeValidator(_folded(METRIC_SYNONYMS))], ...] = ("accuracy",)
    """What is measured beside the loss, on the training and the validation images."""
    monitor: Monitor = "val_loss"
    """What decides which epoch is the best, whose weights are kept: the least loss or the highest accuracy."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Fixes the initial weights, the order of the images, how they are augmented and the units that dropout drops."""
