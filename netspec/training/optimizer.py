"""The optimisers of a spec: every hyper-parameter of each, with its default; `roles` says which weights decay.

What an optimiser computes is `netspec.reference.optimizer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from netspec.training.named import Fraction, Named, NotNegative, Positive

if TYPE_CHECKING:
    from collections.abc import Mapping


OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "lion", "muon"]
WeightChoice = Literal["kernels", "all"]

_WHERE = {"decay_on": "kernels", "decay_rows": "*"}
_COUPLED = {"weight_decay": 0.0, "decay": "l2", **_WHERE}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, **_COUPLED},
    "adam": {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, **_COUPLED},
    "adamw": {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01, **_WHERE},
    "rmsprop": {"learning_rate": 1e-3, "rho": 0.9, "epsilon": 1e-7, "momentum": 0.0, **_COUPLED},
    "adagrad": {"learning_rate": 0.01, "accumulator": 0.0, "epsilon": 1e-10, **_COUPLED},
    "adadelta": {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6, **_COUPLED},
    "adamax": {"learning_rate": 2e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, **_COUPLED},
    "nadam": {
        "learning_rate": 2e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "momentum_decay": 4e-3, **_COUPLED
    },
    "lion": {"learning_rate": 1e-4, "beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.0, **_WHERE},
    "muon": {
        "learning_rate": 0.02, "momentum": 0.95, "nesterov": True, "iterations": 5, "weight_decay": 0.0,
        "adam_learning_rate": 3e-4, "beta_1": 0.9, "beta_2": 0.95, "epsilon": 1e-10, **_WHERE,
    },
}  # fmt: skip
"""Every optimiser with its hyper-parameters and their defaults: those of torch.optim, but rmsprop's rho and epsilon."""


class Optimizer(Named):
    """An optimiser with every hyper-parameter; `netspec.reference.optimizer` has the formulas."""

    what: ClassVar[str] = "optimizer"
    choices: ClassVar[Mapping[str, Mapping[str, Any]]] = OPTIMIZERS
    field_synonyms: ClassVar[Mapping[str, str]] = {
        "lr": "learning_rate",
        "eps": "epsilon",
        "beta1": "beta_1",
        "beta2": "beta_2",
        "alpha": "rho",
        "initial_accumulator_value": "accumulator",
        "ns_steps": "iterations",
    }

    name: OptimizerName
    """Which one; the other fields are those that this one has."""
    learning_rate: Positive = 1e-3
    """Step size, before the schedule; when not given 0.01 for sgd and adagrad, 1 for adadelta, 0.002 for adamax and
    nadam, 0.0001 for lion, 0.02 for muon and 0.001 for the others."""
    momentum: Fraction = 0.0
    """Fraction of the step before that is kept (sgd, rmsprop; muon, 0.95 when not given)."""
    nesterov: bool = False
    """Nesterov's form of the momentum (sgd; muon, true when not given)."""
    beta_1: Fraction = 0.9
    """Fraction of the gradients' running mean that is kept (adam, adamw, adamax, nadam, lion; muon's other weights)."""
    beta_2: Fraction = 0.999
    """Fraction of the squared gradients' running mean that is kept (adam, adamw, nadam; muon's other weights, 0.95),
    of their largest size (adamax), or of the gradients' running mean that goes into the next step (lion, 0.99)."""
    epsilon: Positive = 1e-8
    """Added to what divides the step; 1e-7 for rmsprop, 1e-10 for adagrad and muon's other weights, 1e-6 for adadelta
    when not given."""
    rho: Fraction = 0.9
    """Fraction of the squared gradients' running mean that is kept (rmsprop, adadelta)."""
    accumulator: NotNegative = 0.0
    """What the sum of squared gradients begins with (adagrad)."""
    momentum_decay: NotNegative = 4e-3
    """How fast the momentum grows to beta_1 (nadam)."""
    iterations: Annotated[int, Field(ge=1, le=20)] = 5
    """How often the Newton-Schulz iteration brings the momentum nearer to an orthogonal matrix (muon)."""
    adam_learning_rate: Positive = 3e-4
    """Step size for the weights that are no matrices (muon); the schedule changes it by the same factor."""
    weight_decay: NotNegative = 0.0
    """How much the weights decay in each step; 0.01 for adamw when not given."""
    decay: Literal["l2", "decoupled"] = "l2"
    """`l2`: the gradient grows by weight_decay * weight. `decoupled`: the weight first shrinks by learning_rate *
    weight_decay of itself, as it always does with adamw, lion and muon."""
    decay_on: WeightChoice = "kernels"
    """Which weights decay: kernels alone, or every trained weight, biases and scales too."""
    decay_rows: str = "*"
    """The rows whose weights decay, as a pattern: `dense_*`."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, for example momentum: 0.9")
        return self

    @property
    def decoupled(self) -> bool:
        """Whether weights shrink before the step, and the gradient does not grow."""
        return self.decay == "decoupled" or "decay" not in self.choices[self.name]
