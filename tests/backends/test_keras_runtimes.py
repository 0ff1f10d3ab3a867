"""Keras on torch and on JAX: a part of the case table, what each derives, and what of theirs is known to be wrong."""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatchcase
from importlib.util import find_spec

import pytest

from netspec import cli
from netspec.backend import find_backend
from netspec.errors import BackendError
from netspec.reference import evaluate
from netspec.verify.budget import budget, gate, predict
from netspec.verify.compare import compare
from netspec.verify.gradients import Derivation, Slopes, derive, judge_gradients, plan
from netspec.verify.inputs import biting_weights, hard_inputs, sample_names
from netspec.worker import Worker
from tests.cases import LAYER_CASES

ORDINARY, PART, OFTEN = 2, 3, 3
CASES = [
    pytest.param(case, id=case.id, marks=() if index % OFTEN == 0 else pytest.mark.large)
    for index, case in enumerate(case for case in LAYER_CASES[::PART] if case.layer.kind != "MaxUnpool")
]
"""A third of all; a third of these belongs to the ordinary suite."""
WRONG = {
    "torch": {
        "avg_pool-same*": "pads are copies of the border (keras 3.15)",
        "avg_pool-ceil": "pads are copies of the border (keras 3.15)",
        "avg_pool-ceil-1d": "pads are copies of the border (keras 3.15)",
        "avg_pool-1d-same": "pads are copies of the border (keras 3.15)",
        "group_norm-*": "the variance is E[x^2] - E[x]^2 (keras 3.15)",
        "instance_norm-*": "the variance is E[x^2] - E[x]^2 (keras 3.15)",
        "activation-softplus-*": "linear above 20",
    },
    "jax": {},
}
"""Cases whose values differ, with the reason; one that comes right fails its test."""


@pytest.fixture(scope="module", params=["torch", "jax"])
def runtime(request):
    """What Keras runs on, and its worker."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    with Worker(
        "keras", {"KERAS_BACKEND": request.param, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    ) as worker:
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


@pytest.mark.skipif(find_spec("jax") is not None, reason="jax is installed")
def test_what_keras_is_to_run_on_must_be_installed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(
        BackendError, match=r"needs jax, which is not installed\n  hint: pip install 'netspec\[keras\]' jax"
    ):
        find_backend("keras")
