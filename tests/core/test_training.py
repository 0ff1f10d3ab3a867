"""Training: its settings in every spelling, schedules against hand, best epochs, histories, metrics against hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from netspec.compile import compile_spec
from netspec.data.settings import DataSettings
from netspec.errors import SpecError
from netspec.network import Network
from netspec.spec.describe import field_docs
from netspec.spec.load import parse_spec
from netspec.training import (
    COLUMNS,
    DivergedError,
    Loss,
    Optimizer,
    Schedule,
    TrainSettings,
    best_epoch,
    decayed_weights,
    is_better,
    learning_rate,
    loss_input,
    loss_targets,
    read_history,
    write_history,
)
from netspec.training.loss import LOSSES, LossName, check_loss
from netspec.training.optimizer import OPTIMIZERS, OptimizerName
from netspec.training.phases import phases_of
from netspec.training.plot import plot_history
from netspec.training.record import Record
from netspec.training.schedule import SCHEDULES, Plateau, ScheduleName
from netspec.training.settings import EarlyStopping, Phase, Regularizer


def settings(**fields: Any) -> TrainSettings:
    return TrainSettings.model_validate(fields)


def network(*rows: str, shape: str = "6") -> Network:
    text = f"input: {shape}\nlayers:\n" + "".join(f"  - {row}\n" for row in rows)
    return compile_spec(parse_spec(text, "x.yaml"))


# Settings


@pytest.mark.parametrize(
    "written",
    [
        "adam",
        "Adam",
        {"adam": None},
        {"adam": {}},
        {"name": "adam"},
        {"adam": {"learning_rate": 1e-3}},
        {"Adam": {"lr": 0.001}},
        {"name": "adam", "eps": 1e-8},
    ],
)
def test_spellings_of_adam_mean_the_same(written: Any) -> None:
    assert settings(optimizer=written) == settings() == TrainSettings()


@pytest.mark.parametrize(
    ("model", "names", "choices"),
    [(Optimizer, OptimizerName, OPTIMIZERS), (Schedule, ScheduleName, SCHEDULES), (Loss, LossName, LOSSES)],
)
def test_every_choice_has_its_own_defaults(model: Any, names: Any, choices: dict[str, dict[str, Any]]) -> None:
    assert set(choices) == set(get_args(names))
    for name, defaults in choices.items():
        found = model.model_validate(name)
        assert {key: getattr(found, key) for key in defaults} == defaults
        assert found.model_dump() == {"name": name, **defaults}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"optimizer": {"sgd": {"momentum": 0.9, "nesterov": True}}, "schedule": {"step": {"every": 3}}},
        {"optimizer": {"rmsprop": {"momentum": 0.5}}, "schedule": {"cosine": {"final": 0.1}}, "loss": "mse"},
        {"optimizer": {"adamw": {"decay_on": "all"}}},
        {"phases": [{"epochs": 2}, {"epochs": 3, "learning_rate": 1e-5}], "early_stopping": {"patience": 2}},
        {"loss": {"cross_entropy": {"class_weights": [1, 2], "mean_over": "weights"}}, "clip_norm": 1.0, "ema": 0.9},
    ],
)
def test_resolved_settings_read_back_as_they_were(fields: dict[str, Any]) -> None:
    first = settings(**fields)
    assert TrainSettings.model_validate(first.model_dump(mode="json")) == first


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sparse_categorical_crossentropy", "cross_entropy"),
        ("categorical_crossentropy", "cross_entropy"),
        ("CategoricalCrossentropy", "cross_entropy"),
        ("CrossEntropyLoss", "cross_entropy"),
        ("nll_loss", "cross_entropy"),
        ("NLLLoss", "cross_entropy"),
        ("Cross_Entropy", "cross_entropy"),
        ("binary_crossentropy", "binary_cross_entropy"),
        ("BCELoss", "binary_cross_entropy"),
        ("BCEWithLogitsLoss", "binary_cross_entropy"),
        ("mse", "mean_squared_error"),
        ("MSELoss", "mean_squared_error"),
        ("MeanSquaredError", "mean_squared_error"),
    ],
)
def test_losses_of_the_frameworks_are_aliases(written: str, meant: str) -> None:
    assert settings(loss=written).loss.name == meant


def test_metrics_of_the_frameworks_are_aliases() -> None:
    assert settings(metrics=["acc", "sparse_categorical_accuracy"]).metrics == ("accuracy", "accuracy")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean 'adam'?"),
        ({"optimizer": {"adam": {"momentum": 0.9}}}, "adam has no momentum; it has learning_rate, beta_1"),
        ({"optimizer": {"adam": {"learning_rte": 1}}}, "did you mean 'learning_rate'?"),
        ({"optimizer": {"adam": 0.1}}, "the options of adam are a mapping, not 0.1"),
        ({"optimizer": 3}, "optimizer needs a name, such as sgd, got 3"),
        ({"optimizer": {}}, "optimizer needs a name"),
        ({"optimizer": {"sgd": {"nesterov": True}}}, "nesterov needs a momentum above 0"),
        ({"optimizer": {"sgd": {"learning_rate": 0}}}, "greater than 0"),
        ({"optimizer": {"sgd": {"learning_rate": float("inf")}}}, "finite"),
        ({"optimizer": {"adam": {"beta_1": 1.0}}}, "less than 1"),
        ({"schedule": {"cosine": {"every": 2}}}, "cosine has no every; it has final, warmup"),
        ({"schedule": {"constant": {"every": 2}}}, "constant has no every; it has warmup"),
        ({"schedule": "linear"}, "unknown schedule 'linear'"),
        ({"loss": "hinges"}, "unknown loss 'hinges'; did you mean 'hinge'?"),
        ({"loss": {"huber": {"gamma": 2}}}, "huber has no gamma; it has delta, class_weights, mean_over"),
        ({"loss": {"focal": {"gamma": 0.5}}}, "greater than or equal to 1"),
        ({"loss": {"cross_entropy": {"label_smoothing": 1}}}, "less than 1"),
        ({"loss": {"cross_entropy": {"mean_over": "weights"}}}, "mean_over: weights needs class_weights"),
        ({"loss": {"cross_entropy": {"class_weights": [0, 0]}}}, "class_weights are all zero"),
        ({"optimizer": {"adamw": {"decay": "l2"}}}, "adamw has no decay; "),
        ({"clip_norm": 1, "clip_value": 1}, "clip_norm and clip_value are both here"),
        ({"ema": 1.0}, "less than 1"),
        ({"accumulate": 0}, "greater than or equal to 1"),
        ({"phases": [{"epochs": 2}, {"epochs": 3}], "epochs": 6}, "epochs is 6, but the phases have 5"),
        ({"schedule": "step"}, "longer than the run: step first switches after 10 epochs, but there are 10"),
        ({"schedule": {"step": {"at": [3, 12]}}}, "step switches after 12 epochs, but there are 10"),
        ({"schedule": {"cosine": {"warmup": 10}}}, "the warm-up takes 10 epochs, but there are 10"),
        (
            {"schedule": {"plateau": {"patience": 20}}},
            "plateau waits for 20 epochs after the best one, but there are 10",
        ),
        ({"schedule": {"cosine": {"warmup": 3}}, "phases": [{"epochs": 2}, {"epochs": 8}]}, "there are 2 in a phase"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"early_stopping": True}, "valid dictionary"),
        ({"early_stop": {}}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_say_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "model", [TrainSettings, Optimizer, Schedule, Loss, Regularizer, EarlyStopping, Phase, DataSettings]
)
def test_every_field_is_described(model: type[BaseModel]) -> None:
    assert set(field_docs(model)) == set(model.model_fields)


# Schedule


def rates(schedule: Any, total: int, epochs: int, base: float = 1.0, updates: int | None = None) -> list[float]:
    chosen = Schedule.model_validate(schedule)
    return [learning_rate(base, chosen, update, total, epochs) for update in range(updates or total)]


def test_constant_schedule_is_the_learning_rate() -> None:
    assert rates("constant", 10, 2, base=1e-3) == [1e-3] * 10


def test_cosine_schedule_by_hand() -> None:
    values = rates({"cosine": {"final": 0.1}}, 4, 2, base=2.0, updates=6)
    wave = [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * part)) / 2) for part in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert values == pytest.approx(wave, rel=1e-15)
    assert values[0] == 2.0
    assert values[4] == values[5] == pytest.approx(0.2)


def test_step_schedule_switches_with_the_first_step_of_its_epoch() -> None:
    values = rates({"step": {"every": 2, "factor": 0.5}}, 18, 6)  # three steps an epoch
    assert values == [1.0] * 6 + [0.5] * 6 + [0.25] * 6
    assert rates({"step": {"at": [2, 4], "factor": 0.5}}, 18, 6) == values
    assert rates({"step": {"at": [0.5], "factor": 0.5}}, 4, 1) == [1.0, 1.0, 0.5, 0.5]


def test_exponential_schedule_falls_smoothly() -> None:
    values = rates({"exponential": {"factor": 0.5}}, 8, 4)
    assert values == pytest.approx([0.5 ** (step / 2) for step in range(8)], rel=1e-15)


def test_one_cycle_rises_to_the_learning_rate_and_falls() -> None:
    values = rates({"one_cycle": {"start": 0.1, "peak": 0.25, "final": 0.01}}, 16, 4, updates=18)
    assert values[0] == pytest.approx(0.1)
    assert values[2] == pytest.approx((0.1 + 1) / 2)  # half way up a half cosine
    assert values[4] == 1.0
    assert values[10] == pytest.approx((1 + 0.01) / 2)
    assert values[16] == values[17] == pytest.approx(0.01)
    assert values[:5] == sorted(values[:5])
    assert values[4:] == sorted(values[4:], reverse=True)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_warm_up_multiplies_any_schedule(schedule: str) -> None:
    plain, warm = rates(schedule, 12, 6), rates({schedule: {"warmup": 2}}, 12, 6)
    assert warm == pytest.approx([rate * min(1, (step + 1) / 4) for step, rate in enumerate(plain)], rel=1e-15)


def test_plateau_falls_after_its_patience_by_absolute_differences() -> None:
    chosen = Schedule.model_validate({"plateau": {"factor": 0.5, "patience": 2, "min_delta": 0.1, "minimum": 0.3}})
    plateau, seen = Plateau(chosen, larger=False), []
    for value in (1.0, 0.95, 0.91, 0.8, 0.75, math.nan, 0.9, 0.9):
        plateau.see(value)
        seen.append(plateau.factor)
    assert seen == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert learning_rate(1.0, chosen, 5, 10, 5, fallen=0.125) == 0.3
    larger = Plateau(chosen, larger=True)
    for value in (0.5, 0.7, 0.9):
        larger.see(value)
    assert larger.factor == 1


# Record


def ended(record: Record, losses: list[float]) -> int:
    """How many epochs there are with these validation losses."""
    for value in losses:
        if not record.goes_on:
            break
        record.begin()
        record.end(dict, loss=value, accuracy=0.0, val_loss=value, val_accuracy=0.0)
    return len(record.history)


def quiet(event: str, **values: Any) -> None:
    """Nobody looks."""


def test_early_stopping_waits_for_its_patience() -> None:
    losses = [1.0, 0.9, 0.87, 0.86, 0.83, 0.5]
    assert ended(Record(settings(early_stopping={"patience": 2}), 1, quiet), losses) == 6
    stopping = settings(early_stopping={"patience": 2, "min_delta": 0.05})
    assert ended(Record(stopping, 1, quiet), losses) == 4  # 0.87 is not better by more than 0.05, neither is 0.86
    assert ended(Record(settings(epochs=3), 1, quiet), losses) == 3


def test_accumulated_batches_make_one_update_at_one_rate() -> None:
    chosen = settings(accumulate=3, epochs=2, schedule="cosine", optimizer={"sgd": {"lr": 1.0}})
    record, found = Record(chosen, 4, quiet), []
    for _ in range(2):
        record.begin()
        rates = ((record.rate_of(step), record.updates) for step in range(4))
        found += [(updates, rate) for rate, updates in rates]
    assert [updates for updates, _ in found] == [False, False, True, False, False, True, False, False]
    assert [rate for _, rate in found] == [1.0] * 3 + [pytest.approx(0.5)] * 3 + [pytest.approx(0.0)] * 2


# Phases


FROZEN = """
input: 6
layers:
  - {type: FNN, units: 5, name: a1, frozen: true}
  - {type: BatchNorm, name: a2, frozen: true}
  - {type: FNN, units: 4, name: b1, frozen: true}
  - FNN | 3
"""


def test_a_phase_unfreezes_rows_for_those_after_it() -> None:
    rows = compile_spec(parse_spec(FROZEN, "x.yaml"))
    chosen = settings(phases=[{"epochs": 1}, {"epochs": 1, "unfreeze": "a*"}, {"epochs": 1, "unfreeze": "b1"}])
    trained = [{w.name for w in network.weights() if w.trainable} for network, _ in phases_of(rows, chosen)]
    head = {"dense_1.kernel", "dense_1.bias"}
    base = {"a1.kernel", "a1.bias", "a2.gamma", "a2.beta"}
    assert trained == [head, head | base, head | base | {"b1.kernel", "b1.bias"}]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("c*", "'c[*]' names no frozen row(.|\n)*frozen are a1, a2, b1"), ("dense_1", "names no frozen row")],
)
def test_a_pattern_that_unfreezes_nothing_is_refused(pattern: str, message: str) -> None:
    rows = compile_spec(parse_spec(FROZEN, "x.yaml"))
    with pytest.raises(SpecError, match=message):
        list(phases_of(rows, settings(phases=[{"epochs": 1, "unfreeze": pattern}])))


# Loss


@pytest.mark.parametrize(
    ("loss", "row", "read"),
    [
        ("cross_entropy", "FNN | 3 | Softmax", "dense_1"),
        ("cross_entropy", "FNN | 3", "dense_1"),
        ("binary_cross_entropy", "FNN | 1 | Sigmoid", "dense_1"),
        ("binary_cross_entropy", "FNN | 3 | Sigmoid", "dense_1"),
        ("mean_squared_error", "FNN | 3 | Softmax", "dense_1_softmax"),
        ("mean_squared_error", "FNN | 3", "dense_1"),
    ],
)
def test_loss_reads_the_logits(loss: Any, row: str, read: str) -> None:
    assert loss_input(network(row), Loss.model_validate(loss)) == read


def test_loss_reads_the_logits_of_a_softmax_in_its_own_row() -> None:
    assert loss_input(network("FNN | 3", "Softmax"), Loss(name="cross_entropy")) == "dense_1"


@pytest.mark.parametrize(
    ("loss", "rows", "shape", "message"),
    [
        (
            "cross_entropy",
            ["FNN | 3 | Sigmoid"],
            "6",
            "cross_entropy needs a final softmax or none, but row 'dense_1' ends in",
        ),
        ("binary_cross_entropy", ["FNN | 3 | Softmax"], "6", "binary_cross_entropy needs a final sigmoid"),
        ("binary_focal", ["FNN | 3 | Softmax"], "6", "loss: focal, or a final Sigmoid"),
        ("focal", ["FNN | 3 | Sigmoid"], "6", "loss: binary_focal, or a final Softmax"),
        ("focal", ["FNN | 1"], "6", "loss: binary_focal, after FNN | 1 | Sigmoid"),
        (
            {"huber": {"class_weights": [1, 2]}},
            ["FNN | 3"],
            "6",
            "class_weights has 2 numbers, but there are 3 classes",
        ),
        ("cross_entropy", ["FNN | 1"], "6", "cross_entropy needs one output a class, but there is 1"),
        ("cross_entropy", ["CNN | 3, 3"], "8x8x1", "the loss needs one flat output, but there are 1, the first 6x6x3"),
    ],
)
def test_a_loss_that_does_not_suit_the_end_is_refused(loss: Any, rows: list[str], shape: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_loss(network(*rows, shape=shape), Loss.model_validate(loss))
    assert message in str(caught.value)


def test_targets_are_one_hot_or_a_column() -> None:
    labels = np.array([1, 0, 2])
    assert loss_targets(labels, 3).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert loss_targets(labels[:2], 1).tolist() == [[1], [0]]
    assert loss_targets(labels, 3).dtype == np.float32


def test_decay_is_on_kernels_unless_told() -> None:
    rows = network("CNN | 4, 3", "BatchNorm | - | ReLU", "SeparableConv | 4, 3", "Flatten", "FNN | 3", shape="8x8x1")
    kernels = {"conv_1.kernel", "separable_conv_1.depthwise", "separable_conv_1.pointwise", "dense_1.kernel"}
    assert decayed_weights(rows, settings(optimizer="adamw").optimizer) == kernels
    every = decayed_weights(rows, settings(optimizer={"adamw": {"decay_on": "all"}}).optimizer)
    assert every == {weight.name for weight in rows.weights() if weight.trainable}
    assert "batch_norm_1.gamma" in every
    assert "batch_norm_1.mean" not in every
    assert decayed_weights(rows, Optimizer(name="adam")) == frozenset()
    chosen = settings(optimizer={"adamw": {"decay_rows": "dense_*", "decay_on": "all"}}).optimizer
    assert decayed_weights(rows, chosen) == {"dense_1.kernel", "dense_1.bias"}


# History


def rows_of(monitor: str, values: list[float]) -> list[dict[str, float]]:
    return [{"epoch": epoch, monitor: value} for epoch, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [
        ("val_loss", [0.5, 0.2, 0.2, 0.3], 2),
        ("val_accuracy", [0.5, 0.9, 0.9, 0.3], 2),
        ("loss", [math.nan, 0.7, math.nan], 2),
        ("loss", [math.inf, 0.7, 0.8], 2),
        ("accuracy", [math.nan, 0.0], 2),
    ],
)
def test_best_epoch_is_the_first_of_the_best(monitor: Any, values: list[float], best: int) -> None:
    assert best_epoch(rows_of(monitor, values), monitor) == best


def test_a_training_that_diverged_has_no_best_epoch() -> None:
    with pytest.raises(DivergedError, match="val_loss was not finite in any of 2 epochs"):
        best_epoch(rows_of("val_loss", [math.nan, math.inf]), "val_loss")


def test_equal_is_not_better() -> None:
    assert not is_better("val_loss", 0.5, 0.5)
    assert not is_better("val_accuracy", 0.5, 0.5)


@given(
    st.lists(st.lists(st.floats(allow_nan=False), min_size=len(COLUMNS), max_size=len(COLUMNS)), min_size=1, max_size=5)
)
def test_history_reads_back_exactly(tmp_path_factory: pytest.TempPathFactory, values: list[list[float]]) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history = [dict(zip(COLUMNS, row, strict=True)) for row in values]
    write_history(path, history)
    assert read_history(path) == history
    assert [left.name for left in path.parent.iterdir()] == ["history.csv"]


def test_history_is_plain_csv_with_its_columns_in_order(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    write_history(path, [{"val_loss": 0.25, "epoch": 1, "loss": math.nan}, {"epoch": 2, "loss": 0.5, "lr_extra": 3.0}])
    assert path.read_text() == "epoch,loss,val_loss,lr_extra\n1,nan,0.25,\n2,0.5,,3\n"
    assert "val_loss" not in read_history(path)[1]


def test_a_history_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    write_history(path, [{"epoch": 1, "loss": 0.5}])
    with pytest.raises(TypeError):
        write_history(path, [{"epoch": 1, "loss": "high"}])
    assert read_history(path) == [{"epoch": 1.0, "loss": 0.5}]
    assert len(list(tmp_path.iterdir())) == 1


# Plot


@pytest.mark.parametrize("epochs", [1, 2, 60])
def test_plot_is_a_png_and_the_same_every_time(tmp_path: Path, epochs: int) -> None:
    pytest.importorskip("matplotlib")
    history = [
        {"epoch": epoch, "loss": 1 / epoch, "val_loss": 1.1 / epoch, "accuracy": 1 - 0.5 / epoch, "val_accuracy": 0.5}
        for epoch in range(1, epochs + 1)
    ]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        plot_history(history, path, title="x")
    first, second = (path.read_bytes() for path in paths)
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert first == second
    assert len(list(tmp_path.iterdir())) == 2


def test_losses_that_are_not_numbers_can_be_plotted(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = [{"epoch": 1, "loss": math.nan, "val_loss": math.nan, "accuracy": 0.1, "val_accuracy": 0.1}]
    plot_history(history, tmp_path / "a.png", "val_accuracy")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(("last", "scale"), [(0.01, "log"), (0.2, "linear"), (0.0, "linear")])
def test_a_loss_that_falls_far_is_on_a_log_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: float, scale: str
) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    found: list[list[str]] = []
    keep = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *where, **how: (
            found.append([axes.get_yscale() for axes in self.axes]),
            keep(self, *where, **how),
        )[1],
    )
    history = [
        {"epoch": epoch, "loss": loss, "val_loss": loss, "accuracy": 0.5, "val_accuracy": 0.5}
        for epoch, loss in ((1, 1.0), (2, last))
    ]
    plot_history(history, tmp_path / "a.png")
    assert found == [[scale, "linear"]]


def test_plot_marks_the_epoch_that_the_monitor_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    said: list[str] = []
    keep = Figure.suptitle
    monkeypatch.setattr(Figure, "suptitle", lambda self, text, **more: (said.append(text), keep(self, text, **more))[1])
    history = [
        {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.8},
        {"epoch": 2, "loss": 0.5, "accuracy": 0.6, "val_loss": 0.6, "val_accuracy": 0.9},
    ]
    plot_history(history, tmp_path / "a.png", "val_loss", title="x")
    plot_history(history, tmp_path / "b.png", "val_accuracy", title="x")
    assert said == ["x: epoch 1 of 2 is best by val_loss", "x: epoch 2 of 2 is best by val_accuracy"]
