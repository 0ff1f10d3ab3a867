"""Keras on torch and on JAX, where there is no TensorFlow: a part of the case table, what each derives and trains, and
what of theirs is known to be wrong.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from netspec_keras import KerasBackend

from netspec import cli
from netspec.backend import find_backend
from netspec.backend.worker import Worker
from netspec.data.dataset import Dataset, Split
from netspec.data.digits import read
from netspec.errors import BackendError
from netspec.interrupt import STOP
from netspec.network import Network
from netspec.reference import evaluate
from netspec.training.history import StoppedError
from netspec.training.settings import TrainSettings
from netspec.verify.budget import budget, gate, predict
from netspec.verify.compare import compare
from netspec.verify.gradients import Derivation, Slopes, derive, judge_gradients, plan
from netspec.verify.inputs import biting_weights, hard_inputs, sample_names
from netspec.verify.lockstep import lockstep
from netspec.weights import draw
from tests.backends import test_checkpoint, test_culprit, test_lockstep
from tests.backends.test_checkpoint import Interrupting
from tests.backends.test_keras_render import compiled
from tests.cases import LAYER_CASES

ORDINARY, PART, OFTEN = 2, 3, 4
CASES = [
    pytest.param(case, id=case.id, marks=() if index % OFTEN == 0 else pytest.mark.large)
    for index, case in enumerate(case for case in LAYER_CASES[::PART] if case.layer.kind != "MaxUnpool")
]
"""A third of all; a quarter of these belongs to the ordinary suite."""
WRONG = {
    "torch": {
        "avg_pool-same*": "pads are copies of the border (keras 3.15)",
        "avg_pool-ceil": "pads are copies of the border (keras 3.15)",
        "avg_pool-ceil-1d": "pads are copies of the border (keras 3.15)",
        "avg_pool-1d-same": "pads are copies of the border (keras 3.15)",
        "group_norm-*": "the variance is E[x^2] - E[x]^2 (keras 3.15)",
        "instance_norm-*": "the variance is E[x^2] - E[x]^2 (keras 3.15)",
        "activation-softplus-2d": "linear above 20",
    },
    "jax": {},
}
"""Cases whose values differ, with the reason; one that comes right fails its test."""


class Probe(KerasBackend):
    """Keras' backend, of which a training can be interrupted or take its steps otherwise."""

    def trained(
        self,
        network: Network,
        dataset: Dataset,
        settings: TrainSettings,
        most: int = 3,
        path: Path | None = None,
        after: int = 0,
        resident: bool = True,
    ) -> tuple[Mapping[str, Any], list[Mapping[str, float]]] | str:
        """Its weights and history, or what is said where Ctrl-C is pressed `after` so many times of asking.

        At most so many steps go at once; images are as good as too many for a device that may not have them.
        """
        file = Interrupting(path, "key", after) if path is not None else None
        with (
            patch("netspec_keras.trainer.MOST_AT_ONCE", most),
            patch("netspec_keras.batches.RESIDENT_BYTES", 2**30 if resident else 0),
        ):
            try:
                return self.train(network, draw(network, 2), dataset, settings, "cpu", quiet, file)
            except StoppedError as stopped:
                return str(stopped)
            finally:
                STOP.clear()

    def resident(self, available: int | None, limit: int | None = None) -> bool:
        """Whether JAX gets a copy of 1,000 bytes of images where so many bytes of memory are available, and its device
        says of itself that it has `limit`, of which 500 are in use.
        """
        batches = import_module("netspec_keras.batches")
        split = Split(np.zeros((10, 10, 10), np.uint8), np.zeros(10, np.int64))
        stats = None if limit is None else {"bytes_limit": limit, "bytes_in_use": 500}
        said = patch.object(batches, "memory_stats", lambda: stats) if stats else nullcontext()
        with patch.object(batches, "memory_available", lambda: available), said:
            return batches.Batches(split, 5).source().images is not None


probe = Probe()


@pytest.fixture(scope="module", params=["torch", "jax"])
def runtime(request, tmp_path_factory):
    """What Keras runs on, and its worker, which cannot import TensorFlow."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("without")
    (folder / "tensorflow.py").write_text("raise ImportError('there is none here')\n")
    path = os.pathsep.join([str(folder), *(each for each in sys.path if each)])
    environment = {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    with Worker(f"{__name__}:probe", {"KERAS_BACKEND": request.param, **environment}) as worker:
        yield request.param, worker


@pytest.mark.parametrize("case", CASES)
def test_values(runtime, case):
    name, worker = runtime
    network = case.network()
    weights, inputs = biting_weights(network, seed=7), hard_inputs(network, ORDINARY, seed=11)
    reference = evaluate(network, weights, inputs)
    [row], predicted = network.rows, predict(network, weights, inputs, reference)[network.rows[0].name]
    said = []
    for precision, granted in (("float64", gate), ("float32", budget)):
        values = worker.call("run", network=network, weights=weights, inputs=inputs, precision=precision)
        found = compare(reference[row.name], values[row.name], granted(reference[row.name], predicted))
        if found.symptom is not None:
            sample = sample_names(ORDINARY)[found.sample]
            said.append(f"{precision}: {found.symptom} at {sample!r}, error {found.error:.1e}; {found.message}")
    known = [reason for pattern, reason in WRONG[name].items() if fnmatchcase(case.id, pattern)]
    assert bool(said) == bool(known), said or f"no longer wrong: {known}"


@pytest.mark.parametrize("case", CASES[::2])
def test_gradients(runtime, case):
    name, worker = runtime
    if any(fnmatchcase(case.id, pattern) for pattern in WRONG[name]):
        pytest.skip("its values differ already")
    network, seed = case.network(), 3
    weights, planned = biting_weights(network, seed), plan(network, seed)
    slopes = [Slopes(problem, weights, planned.directions, seed) for problem in planned.problems]
    derived = [derive(worker, problem, weights, rows=False) for problem in planned.problems]
    _, failures = judge_gradients(planned, slopes, weights, {"keras": Derivation(worker, derived)})
    assert failures == {"keras": []}


BRANCHED = """
name: branched
input: 6x6x2
layers:
  - Rescale   | 1/2
  - stem: CNN | 4, 3 | ReLU | padding=same
  - CNN       | 4, 3 | - | padding=same
  - BatchNorm
  - Add       | from=[batch_norm_1, stem]
  - MaxPool   | 2
  - Flatten
  - FNN       | 3 | Softmax
"""


def test_gradients_of_rows_are_tensorflows(runtime, workers):
    """Of every row, where two ways lead from one as well."""
    _, worker = runtime
    network = compiled(BRANCHED)
    weights = biting_weights(network, 3)
    for problem in plan(network, 3).problems:
        found, wanted = (derive(each, problem, weights, rows=True).rows for each in (worker, workers["keras"]))
        assert list(found) == list(wanted) == [row.name for row in network.rows]
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-12 * np.abs(array).max(), err_msg=name)
        assert all(np.abs(array).max() > 0 for array in wanted.values())


def test_a_gradient_that_overflows_is_named(runtime):
    _, worker = runtime
    said = test_culprit.overflowing(worker)
    assert "in step 1 of epoch 1 already, the first gradient that was not finite is that of row 'first'" in said


PLAIN = """
name: plain
input: 8x8x1
layers:
  - Rescale   | 1/16
  - body: CNN | 6, 3 | - | padding=same, frozen=true
  - BatchNorm | momentum=0.8 | ReLU
  - MaxPool   | 2
  - Flatten
  - FNN       | 10 | Softmax
"""
RARER = ("nadam", "muon decays", "lion decays")
"""Trainings whose updates are compared by the large suite."""
EVERYTHING = {
    "optimizer": {"sgd": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}},
    "schedule": "cosine",
    "batch_size": 32,
    "phases": [{"epochs": 1}, {"epochs": 2, "unfreeze": "body", "learning_rate": 0.02}],
    "accumulate": 2,
    "ema": 0.9,
    "clip_norm": 1.0,
    "loss": {"cross_entropy": {"class_weights": [1, 2, 1, 1, 1, 1, 1, 1, 1, 3], "label_smoothing": 0.1}},
    "regularizer": {"l2": 1e-4},
    "augment": {"shift": 0.1, "brightness": 0.2, "mixup": 0.3},
    "monitor": "loss",
    "seed": 4,
}
"""All that training has but dropout, which every runtime draws by itself."""


def quiet(event, **values):
    """Nobody looks."""


def digits(count: int = 300) -> Dataset:
    train, test = read(quiet)
    validation = np.arange(1000, 1100)
    return Dataset("digits", tuple("0123456789"), train.take(np.arange(count)), train.take(validation), test)


@pytest.fixture(scope="module")
def tensorflows(workers):
    """A training with everything: what is asked, and the weights and the history that TensorFlow gives."""
    network = compiled(PLAIN)
    asked = {"network": network, "dataset": digits(), "settings": TrainSettings.model_validate(EVERYTHING)}
    return asked, workers["keras"].call("train", **asked, weights=draw(network, 2), device="cpu", progress=quiet)


@pytest.mark.parametrize(
    ("runtime", "resident"), [("torch", False), ("jax", True), ("jax", False)], indirect=["runtime"]
)
def test_training_is_tensorflows(runtime, tensorflows, resident):
    """Nothing but rounding is between them; on JAX several steps are one program, whose images the device may have."""
    _, worker = runtime
    asked, (wanted, rows) = tensorflows
    found, history = worker.call("trained", **asked, resident=resident)
    for row, other in zip(history, rows, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-4)
    for weight, array in wanted.items():
        np.testing.assert_allclose(found[weight], array, rtol=1e-3, atol=1e-4, err_msg=weight)
    assert not np.array_equal(wanted["body.kernel"], draw(asked["network"], 2)["body.kernel"])


def same(left: Any, right: Any) -> None:
    """The weights and histories of two trainings are bit-equal."""
    assert {name: array.tobytes() for name, array in left[0].items()} == {
        name: array.tobytes() for name, array in right[0].items()
    }
    assert [{**row, "seconds": 0} for row in left[1]] == [{**row, "seconds": 0} for row in right[1]]


@pytest.mark.parametrize("runtime", ["jax"], indirect=True)
def test_how_much_memory_there_is_changes_no_bit(runtime, tensorflows):
    """Whether the images lie on the device or come with each chunk: a training may go on where less is available."""
    _, worker = runtime
    asked, _ = tensorflows
    same(*(worker.call("trained", **asked, resident=resident) for resident in (True, False)))


@pytest.mark.parametrize("runtime", ["jax"], indirect=True)
@pytest.mark.parametrize(
    ("available", "limit", "copied"),
    [(None, None, True), (4000, None, True), (3999, None, False), (10, 4500, True), (10**9, 4499, False)],
    ids=["unknown", "enough", "too little", "enough of a GPU's", "too little of a GPU's"],
)
def test_images_are_on_the_device_only_where_the_memory_suffices(runtime, available, limit, copied):
    _, worker = runtime
    assert worker.call("resident", available=available, limit=limit) == copied


def test_an_interrupted_training_is_bit_equal(runtime, tmp_path):
    """Ctrl-C is pressed within an epoch, whose order, sums, masks and moments go on from there."""
    _, worker = runtime
    network = test_checkpoint.NETWORK
    settings = TrainSettings.model_validate(
        {"optimizer": "adam", "schedule": "cosine", "epochs": 2, "batch_size": 8, "ema": 0.9, "accumulate": 3}
    )
    asked = {"network": network, "dataset": test_checkpoint.data(network), "settings": settings}
    whole = worker.call("trained", **asked)
    said = worker.call("trained", **asked, path=tmp_path / "checkpoint.safetensors", after=2)
    assert "in epoch 1, at step" in said
    same(whole, worker.call("trained", **asked, path=tmp_path / "checkpoint.safetensors", after=10_000))


@pytest.mark.parametrize("precision", [pytest.param("bf16", marks=pytest.mark.large), "fp16"])
def test_narrow_training_learns(runtime, precision):
    _, worker = runtime
    settings = TrainSettings.model_validate(
        {"precision": precision, "epochs": 3, "optimizer": {"adam": {"learning_rate": 0.02}}, "batch_size": 20}
    )
    network, dataset = compiled(PLAIN), digits()
    weights, history = worker.call("trained", network=network, dataset=dataset, settings=settings)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert {array.dtype for array in weights.values()} == {np.dtype("float32")}
    exact = settings.model_copy(update={"precision": "float32"})
    _, rows = worker.call("trained", network=network, dataset=dataset, settings=exact)
    assert history[0]["loss"] != rows[0]["loss"]


def test_a_training_that_diverges_says_which_row(runtime):
    """On JAX the whole epoch goes at once, and which of its steps it was is found afterwards."""
    _, worker = runtime
    network = compiled(test_culprit.GROWING)
    weights = {name: array.copy() for name, array in draw(network, 2).items()}
    for name in ("first", "second"):
        weights[f"{name}.kernel"] *= np.float32(1e25)
    said = test_culprit.lost(worker, network, test_culprit.data(network), weights=weights)
    assert test_culprit.culprit_step(said) == (1, 1)
    assert "row 'second' is the first whose values were not finite" in said


def test_an_unknown_device_is_refused(runtime):
    _, worker = runtime
    network, dataset = test_culprit.NETWORK, test_culprit.data(test_culprit.NETWORK)
    with pytest.raises(BackendError, match=r"no device 'cuda:0'[\s\S]*auto, cpu"):
        worker.call(
            "train",
            network=network,
            weights=draw(network, 2),
            dataset=dataset,
            settings=TrainSettings(),
            device="cuda:0",
            progress=quiet,
        )


@pytest.mark.parametrize("name", ["l2", *(pytest.param(each, marks=pytest.mark.large) for each in RARER)])
def test_updates_are_tensorflows(runtime, workers, name):
    """In lock-step, dropout included: its masks are given."""
    runs, worker = runtime
    network, settings = test_lockstep.small(), TrainSettings.model_validate(test_lockstep.TRAININGS[name])
    both = {"keras": workers["keras"], f"keras on {runs}": worker}
    test_lockstep.assert_together(lockstep(network, draw(network, 1), settings, 2, both))


SPEC = """
name: tiny
input: 6x5x2
layers:
  - CNN | 3, 3 | ReLU | padding=same
  - BatchNorm
  - Flatten
  - FNN | 2 | Softmax
"""


def test_the_command_line_chooses_the_runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    (tmp_path / "tiny.yaml").write_text(SPEC)
    asked = ["verify", str(tmp_path / "tiny.yaml"), "--targets", "keras", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["netspec", *asked, "--keras-backend", "torch"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    versions = json.loads((tmp_path / "tiny" / "manifest.json").read_text())["versions"]
    assert {"keras", "torch"} <= set(versions)
    assert "tensorflow" not in versions


def test_what_keras_is_to_run_on_must_be_installed(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jax" else there(name))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(
        BackendError, match=r"needs jax, which is not installed\n  hint: pip install 'netspec\[keras\]' jax"
    ):
        find_backend("keras")
