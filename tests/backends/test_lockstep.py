"""Lock-step training: every optimiser, every schedule and the published models stay together; planted faults do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.building.build import build
from netspec.building.options import Options
from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.network import Network
from netspec.spec.load import load_spec, parse_spec
from netspec.training import TrainSettings
from netspec.training.optimizer import OPTIMIZERS
from netspec.training.schedule import SCHEDULES
from netspec.training.stepping import Update
from netspec.verify.lockstep import lockstep
from netspec.verify.masks import with_masks
from netspec.verify.result import LockstepVerdict, difference_text
from netspec.verify.schema import verdict_schema
from netspec.weights import draw
from tests.core.test_schema import accepts

SPECS = Path(__file__).parents[2] / "specs"
# Every way to a weight that an optimiser may tell apart: kernels of each kind, scales, biases; and every dropout.
SMALL = """
name: small
input: 7x6x2
layers:
  - CNN | 3, 3 | - | bias=false
  - BatchNorm | - | ReLU
  - SpatialDropout | 0.3
  - StochasticDepth | 0.2
  - SeparableConv | 4, 2 | Tanh
  - Flatten
  - Dropout | 0.4
  - FNN | 3 | Softmax
"""
TRAININGS: dict[str, Any] = {
    **{name: {"optimizer": name} for name in OPTIMIZERS},
    "nesterov": {"optimizer": {"sgd": {"momentum": 0.9, "nesterov": True}}, "ema": 0.9, "clip_norm": 0.5},
    "l2": {"optimizer": {"adam": {"weight_decay": 0.1}}, "regularizer": {"l1": 0.01, "l2": 0.02}, "accumulate": 2},
    "decoupled": {"optimizer": {"rmsprop": {"momentum": 0.5, "weight_decay": 0.1, "decay": "decoupled"}}},
    "lion decays": {"optimizer": {"lion": {"weight_decay": 0.1}}, "clip_value": 0.01},
    "muon decays": {"optimizer": {"muon": {"weight_decay": 0.1, "decay_on": "all"}}, "loss": "focal"},
}


def small() -> Network:
    return compile_spec(parse_spec(SMALL, "small.yaml"))


def run(network: Network, settings: Any, steps: int, workers: Any) -> LockstepVerdict:
    return lockstep(network, draw(network, 1), TrainSettings.model_validate(settings), steps, workers)


def assert_together(found: LockstepVerdict) -> None:
    assert not found.failures
    assert [difference_text(each) for each in found.differences] == []
    assert found.passed
    assert found.agreed == found.steps
    assert {"loss", "gradient", "weight"} <= found.float64.keys() & found.float32.keys()


@pytest.mark.parametrize("name", TRAININGS)
def test_every_optimizer_stays_together(learners: Any, name: str) -> None:
    found = run(small(), TRAININGS[name], 5, learners)
    assert_together(found)
    assert max(found.float64.values()) < 0.1, "float64 agrees far better than it has to"


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "constant"])
def test_every_schedule_stays_together(learners: Any, name: str) -> None:
    schedule = {
        name: {
            "warmup": 1,
            **({"every": 3} if name == "step" else {}),
            **({"patience": 1} if name == "plateau" else {}),
        }
    }
    network = compile_spec(parse_spec("name: line\ninput: 6\nlayers:\n  - FNN | 3 | Softmax\n", "line.yaml"))
    assert_together(run(network, {"schedule": schedule, "optimizer": {"sgd": {"momentum": 0.9}}}, 12, learners))


@pytest.mark.parametrize("name", ["mnist-deep-cnn", "fashion-mnist-cnn", "cifar10-cnn"])
def test_published_models_stay_together(learners: Any, name: str) -> None:
    """As published but narrower; biases in front of BatchNorm are noise, and noted as such."""
    sets = [f"layers.{row}.filters={count}" for row, count in NARROW[name].items()]
    spec = load_spec(SPECS / f"{name}.yaml", [*sets, "expect={}"])
    network = compile_spec(spec)
    found = run(network, {}, 3, learners)
    assert_together(found)
    norms = {f"conv_{number}.bias" for number in range(1, 7)} if name != "fashion-mnist-cnn" else set()
    assert set(found.synchronised) <= norms
    assert bool(found.synchronised) == bool(norms)


NARROW: dict[str, dict[str, int]] = {
    "mnist-deep-cnn": {f"conv_{number}": 5 for number in range(1, 7)},
    "fashion-mnist-cnn": {},
    "cifar10-cnn": {"conv_1": 6, "conv_2": 8, "conv_3": 8},
}


def test_what_two_norms_in_a_row_leave_to_rounding_is_no_difference(learners: Any) -> None:
    """The second takes off what the first adds, and sees a mean of zero."""
    rows = "CNN | 3, 1 | - | bias=false", "BatchNorm", "CNN | 4, 1 | - | bias=false", "BatchNorm", "Flatten", "FNN | 3"
    text = "name: two\ninput: 5x4x2\nlayers:\n" + "".join(f"  - {row}\n" for row in rows)
    found = run(compile_spec(parse_spec(text, "two.yaml")), {"optimizer": "lion"}, 3, learners)
    assert_together(found)
    assert found.synchronised == ("batch_norm_1.beta",)


class Faulty:
    """A backend that trains with other settings than it was asked for."""

    def __init__(self, worker: Any, **changed: Any) -> None:
        self.worker, self.changed = worker, changed

    def call(self, method: str, settings: TrainSettings, **arguments: Any) -> Any:
        plain = settings.model_dump(mode="json", exclude_none=True)
        for key, value in self.changed.items():
            section, _, option = key.partition("__")
            if option:
                plain[section][option] = value
            else:
                plain[section] = value
        return self.worker.call(method, settings=TrainSettings.model_validate(plain), **arguments)


@pytest.mark.parametrize(
    ("fault", "quantity"),
    [
        ({"optimizer__epsilon": 1.0001e-8}, "weight"),
        ({"optimizer__beta_2": 0.999001}, "slot"),
        ({"optimizer__learning_rate": 2e-3}, None),  # the rate of each update is given, and counts
        ({"optimizer__weight_decay": 1e-6}, "slot"),
        ({"loss__label_smoothing": 1e-6}, "loss"),
        ({"clip_norm": 0.01}, "slot"),
        ({"ema": 0.9}, None),
        ({"regularizer": {"l2": 1e-6}}, "loss"),
    ],
    ids=str,
)
def test_a_fault_is_found_after_its_first_update(learners: Any, fault: dict[str, Any], quantity: str | None) -> None:
    network = compile_spec(parse_spec("name: line\ninput: 6\nlayers:\n  - FNN | 3 | Softmax\n", "line.yaml"))
    workers = {"torch": learners["torch"], "keras": Faulty(learners["keras"], **fault)}
    found = run(network, {}, 4, workers)
    if quantity is None:
        assert_together(found)
        return
    assert not found.passed
    assert found.differs
    assert found.agreed == 0
    first = found.differences[0]
    assert (first.step, first.precision, first.quantity, first.left) == (1, "float64", quantity, "keras")
    assert first.error > first.granted
    assert "in keras" in difference_text(first)


class Drifting:
    """A backend whose running variance is that of the batch, divided by n and not n - 1, as Keras has it."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    def call(self, method: str, **arguments: Any) -> Any:
        found = self.worker.call(method, **arguments)
        before, kept, count = arguments["state"].weights["batch_norm_1.var"], 0.99, 8 * 5 * 4
        moved = found.state.weights["batch_norm_1.var"] - kept * before
        weights = {**found.state.weights, "batch_norm_1.var": kept * before + moved * (count - 1) / count}
        state = type(found.state)(weights, found.state.slots, found.state.update)
        return Update(state, found.loss, found.outputs, found.gradients)


def test_a_biased_running_variance_is_found(learners: Any) -> None:
    found = run(small(), {}, 2, {"torch": learners["torch"], "keras": Drifting(learners["keras"])})
    assert [(each.quantity, each.name) for each in found.differences] == [("statistic", "batch_norm_1.var")]


class Float32Fault:
    """A backend that is right in float64, and in float32 off by a hundred roundings."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    def call(self, method: str, **arguments: Any) -> Any:
        found = self.worker.call(method, **arguments)
        if arguments["precision"] == "float64":
            return found
        gradients = {name: array * np.float32(1 + 1e-5) for name, array in found.gradients.items()}
        return Update(found.state, found.loss, found.outputs, gradients)


def test_a_fault_in_float32_alone_is_found(learners: Any) -> None:
    found = run(small(), {}, 2, {"torch": learners["torch"], "keras": Float32Fault(learners["keras"])})
    assert found.differences[0].precision == "float32"
    assert found.differences[0].quantity == "gradient"


class Dead:
    def call(self, method: str, **arguments: Any) -> Any:
        from netspec.backend.worker import WorkerDied

        raise WorkerDied("it ended")


def test_a_backend_that_does_not_answer_is_a_failure(learners: Any) -> None:
    found = run(small(), {}, 2, {"torch": learners["torch"], "keras": Dead()})
    assert not found.passed
    assert not found.differs
    assert [(each.symptom, each.message) for each in found.failures] == [("crash", "it ended")]


def test_masks_fall_by_seed_step_and_row() -> None:
    masked = with_masks(small())
    assert list(masked.network.inputs) == [
        "input",
        "spatial_dropout_1_mask",
        "stochastic_depth_1_mask",
        "dropout_1_mask",
    ]
    shapes = [masked.network.inputs[name].shape for name in masked.dropouts]
    assert shapes == [(1, 1, 3), (1, 1, 1), (4 * 3 * 4,)]
    first, again, later = masked.draw(500, 3, 0), masked.draw(500, 3, 0), masked.draw(500, 3, 1)
    for name, rate in zip(masked.dropouts, (0.3, 0.2, 0.4), strict=True):
        assert np.array_equal(first[name], again[name])
        assert not np.array_equal(first[name], later[name])
        assert set(np.unique(first[name])) == {0, 1 / (1 - rate)}
        assert (first[name] == 0).mean() == pytest.approx(rate, abs=0.06)


BUILT = """
name: built
input: 8x8x1
layers:
  - Flatten
  - FNN | 10 | Softmax
"""


def build_of(folder: Path, **options: Any) -> Any:
    spec = parse_spec(BUILT, "built.yaml")
    chosen = {"targets": ("torch", "keras"), "train": False, "folder": folder, **options}
    return build(spec, Options(**chosen), lambda event, **values: None)


def test_a_build_trains_in_lock_step_when_it_is_asked(learners: Any, tmp_path: Path) -> None:
    outcome = build_of(tmp_path, train_steps=2)
    assert outcome.verdict.passed
    assert outcome.verdict.lockstep.agreed == 2
    assert outcome.verdict.lockstep.backends == ("torch", "keras")
    said = json.loads((tmp_path / "built" / "verify.json").read_text())
    assert said["lockstep"]["optimizer"] == "adam"
    assert accepts(verdict_schema(), verdict_schema(), said)
    assert "Training in lock-step" in (tmp_path / "built" / "report.html").read_text()
    again = build_of(tmp_path, train_steps=2)
    assert again.ran == []
    assert again.verdict == outcome.verdict


def test_lock_step_needs_a_backend_that_trains(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="needs a backend that trains, but the targets are onnx"):
        build_of(tmp_path, targets=("onnx",), train_steps=2)
