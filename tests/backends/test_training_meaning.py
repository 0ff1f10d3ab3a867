"""Training means the same in every backend: whole trainings of a linear network against a loop in numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from netspec.data.batches import epoch_order
from netspec.data.dataset import Dataset, Split
from netspec.layers import Dense
from netspec.network import Network
from netspec.reference.loss import loss_and_gradient
from netspec.reference.optimizer import averaged, clipped, penalty_and_gradient, update
from netspec.training import TrainSettings, learning_rate
from netspec.training.history import best_epoch
from netspec.verify.inputs import biting_weights
from tests.cases import chain

COUNT, BATCH = 22, 4
"""The last batch of an epoch has two images."""
LINE = chain("line", (3,), Dense(units=2))
RANDOM = np.random.default_rng(8)
IMAGES = RANDOM.standard_normal((COUNT, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 2, COUNT)

TRAININGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"sgd": {"lr": 0.05}}, "loss": "mse", "schedule": "cosine"},
    "momentum": {
        "optimizer": {"sgd": {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.1}},
        "loss": {"cross_entropy": {"label_smoothing": 0.1, "class_weights": [1, 3]}},
        "schedule": {"step": {"at": [1.5], "factor": 0.5}},
    },
    "adam": {
        "optimizer": {"adam": {"lr": 0.02, "weight_decay": 0.3, "decay_on": "all"}},
        "loss": {"binary_cross_entropy": {"class_weights": [2, 1], "mean_over": "weights"}},
        "schedule": {"cosine": {"warmup": 1}},
        "accumulate": 3,
    },
    "adamw": {
        "optimizer": {"adamw": {"lr": 0.02, "weight_decay": 0.5}},
        "loss": "mae",
        "ema": 0.8,
        "regularizer": {"l1": 0.01, "l2": 0.02},
    },
    "rmsprop": {"optimizer": {"rmsprop": {"lr": 0.01, "momentum": 0.5}}, "loss": "hinge", "clip_norm": 0.2},
    "adagrad": {"optimizer": {"adagrad": {"lr": 0.1, "accumulator": 0.1}}, "loss": "huber", "clip_value": 0.1},
    "adadelta": {"optimizer": {"adadelta": {"weight_decay": 0.1, "decay": "decoupled"}}, "loss": "focal"},
    "adamax": {"optimizer": "adamax", "loss": "kl_divergence", "schedule": {"exponential": {"factor": 0.5}}},
    "nadam": {"optimizer": "nadam", "loss": "binary_focal", "schedule": "one_cycle"},
    "lion": {"optimizer": {"lion": {"lr": 0.01, "weight_decay": 0.2}}, "accumulate": 2, "ema": 0.5},
    "muon": {"optimizer": {"muon": {"lr": 0.05, "weight_decay": 0.1}}, "schedule": "cosine"},
    "phases": {
        "optimizer": {"adam": {"lr": 0.02}},
        "schedule": "cosine",
        "phases": [{"epochs": 1}, {"epochs": 2, "learning_rate": 0.005}],
    },
}


def trained(
    learner: Any, settings: TrainSettings, network: Network = LINE, weights: Any = None
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    split = Split(IMAGES, LABELS)
    found: tuple[dict[str, Any], list[dict[str, float]]] = learner.call(
        "train",
        network=network,
        weights=biting_weights(network, seed=3) if weights is None else weights,
        dataset=Dataset("made", ("a", "b"), split, split, split),
        settings=settings,
        device="cpu",
        progress=lambda event, **values: None,
    )
    return found


def batches(epoch: int, seed: int) -> Iterator[np.ndarray]:
    order = epoch_order(COUNT, seed, epoch)
    for start in range(0, COUNT, BATCH):
        yield order[start : start + BATCH]


class Line:
    """The linear network and its training, in numpy."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.weights = {name: array.astype(np.float64) for name, array in biting_weights(LINE, seed=3).items()}
        self.slots: dict[str, Mapping[str, Any]] = {name: {} for name in self.weights}
        self.means: dict[str, Any] = dict.fromkeys(self.weights)
        self.updates = 0

    def loss(self, chosen: Any, weights: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        outputs = IMAGES[chosen] @ weights["dense_1.kernel"] + weights["dense_1.bias"]
        value, by_output = loss_and_gradient(self.settings.loss, outputs, LABELS[chosen])
        own = self.settings.regularizer
        added, by_kernel = penalty_and_gradient(weights["dense_1.kernel"], own.l1, own.l2)
        gradients = {"dense_1.kernel": IMAGES[chosen].T @ by_output + by_kernel, "dense_1.bias": by_output.sum(0)}
        return value + added, gradients

    def move(self, gradients: Mapping[str, Any], rate: float) -> None:
        chosen = self.settings.optimizer
        for name, gradient in clipped(gradients, self.settings.clip_norm, self.settings.clip_value).items():
            kernel = name.endswith("kernel")
            self.weights[name], self.slots[name] = update(
                chosen,
                self.weights[name],
                gradient,
                self.slots[name],
                self.updates,
                rate,
                decays=bool(chosen.weight_decay) and (kernel or chosen.decay_on == "all"),
                matrix=kernel,
            )
            self.means[name] = averaged(self.means[name], self.weights[name], self.settings.ema)
        self.updates += 1

    def train(self) -> tuple[list[dict[str, Any]], list[tuple[float, float]]]:
        """The weights after every epoch that are validated, and both losses."""
        kept, losses, epoch = [], [], 0
        settings, steps = self.settings, len(list(batches(1, 0)))
        for phase in settings.spans:
            self.updates, self.slots, held = 0, {name: {} for name in self.weights}, []
            base = phase.learning_rate or settings.optimizer.learning_rate
            total = phase.epochs * steps // settings.accumulate
            for _ in range(phase.epochs):
                epoch += 1
                seen = 0.0
                for chosen in batches(epoch, settings.seed):
                    value, gradients = self.loss(chosen, self.weights)
                    seen += value * len(chosen) / COUNT
                    held.append(gradients)
                    if len(held) == settings.accumulate:
                        mean = {name: sum(each[name] for each in held) / len(held) for name in gradients}
                        rate = learning_rate(base, settings.schedule, self.updates, total, phase.epochs)
                        self.move(mean, rate)
                        held = []
                validated = dict(self.means if settings.ema else self.weights)
                kept.append(validated)
                losses.append((seen, self.loss(np.arange(COUNT), validated)[0]))
        return kept, losses


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_what_numpy_makes_of_its_settings(learner: Any, name: str) -> None:
    read = TrainSettings.model_validate({"batch_size": BATCH, "epochs": 3, "seed": 5, **TRAININGS[name]})
    found, history = trained(learner, read)
    kept, losses = Line(read).train()
    assert [(row["loss"], row["val_loss"]) for row in history] == [pytest.approx(each, rel=3e-5) for each in losses]
    best = kept[best_epoch(history, "val_loss") - 1]
    for weight, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, best[weight], rtol=1e-4, atol=1e-5, err_msg=weight)


def test_early_stopping_ends_a_training(learner: Any) -> None:
    read = TrainSettings.model_validate(
        {"optimizer": {"sgd": {"lr": 1e-7}}, "early_stopping": {"patience": 2, "min_delta": 0.01}, "epochs": 9}
    )
    _, history = trained(learner, read)
    assert [row["epoch"] for row in history] == [1, 2, 3]


def test_a_plateau_lowers_the_rate(learner: Any) -> None:
    read = TrainSettings.model_validate(
        {
            "optimizer": {"sgd": {"lr": 1e-7}},
            "schedule": {"plateau": {"factor": 0.5, "patience": 1, "min_delta": 0.01}},
            "epochs": 4,
        }
    )
    _, history = trained(learner, read)
    assert [row["learning_rate"] for row in history] == pytest.approx([1e-7, 1e-7, 5e-8, 2.5e-8])


def test_frozen_rows_move_only_once_they_are_unfrozen(learner: Any) -> None:
    from netspec.compile import compile_spec
    from netspec.spec.load import parse_spec

    text = "input: 3\nlayers:\n  - {type: FNN, units: 4, name: body, frozen: true}\n  - FNN | 2\n"
    network = compile_spec(parse_spec(text, "frozen.yaml"))
    weights = biting_weights(network, seed=3)
    first, _ = trained(learner, TrainSettings.model_validate({"epochs": 2}), network, weights)
    assert first["body.kernel"].tobytes() == weights["body.kernel"].tobytes()
    assert not np.array_equal(first["dense_1.kernel"], weights["dense_1.kernel"])
    phases = {"phases": [{"epochs": 1}, {"epochs": 1, "unfreeze": "bod*"}], "monitor": "loss"}
    both, history = trained(learner, TrainSettings.model_validate(phases), network, weights)
    assert best_epoch(history, "loss") == 2
    assert not np.array_equal(both["body.kernel"], weights["body.kernel"])
