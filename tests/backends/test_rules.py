"""The matrix: every backend realises every case as the reference means it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.network import Network
from netspec.reference import evaluate
from netspec.verify.budget import budget, gate, predict
from netspec.verify.compare import compare
from netspec.verify.inputs import biting_weights, hard_inputs, sample_names
from tests.cases import LAYER_CASES, Case, first

ORDINARY = 2
CASES = pytest.mark.parametrize("case", LAYER_CASES, ids=[case.id for case in LAYER_CASES])


@cache
def _problem(case: Case):
    """The case as a network, its weights and inputs, and what the reference says to them."""
    network = case.network()
    weights, inputs = biting_weights(network, seed=7), hard_inputs(network, ORDINARY, seed=11)
    reference = evaluate(network, weights, inputs)
    return network, weights, inputs, reference, predict(network, weights, inputs, reference)


def _agrees(comparison) -> None:
    sample = sample_names(ORDINARY)[comparison.sample]
    assert comparison.symptom is None, (
        f"{comparison.symptom} at sample {sample!r}: error {comparison.error:.2e}, granted {comparison.granted:.2e}; "
        f"{comparison.message}"
    )


@CASES
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_value(workers, backend, case, precision):
    network, weights, inputs, reference, predicted = _problem(case)
    [row] = network.rows
    values = workers[backend].call("run", network=network, weights=weights, inputs=inputs, precision=precision)
    assert set(values) == {row.name}
    expected, rounding = reference[row.name], predicted[row.name]
    assert values[row.name].shape[1:] == network.output_type.shape, "the inferred shape is not the executed one"
    if precision == "float64":
        assert values[row.name].dtype == np.float64
        granted = gate(expected, rounding)
    else:
        granted = budget(expected, rounding)
    _agrees(compare(expected, values[row.name], granted))


@CASES
def test_one_sample(workers, backend, case):
    network, weights, inputs, reference, predicted = _problem(case)
    [row] = network.rows
    values = workers[backend].call(
        "run", network=network, weights=weights, inputs=first(inputs, 1), precision="float32"
    )
    _agrees(compare(reference[row.name][:1], values[row.name], budget(reference[row.name], predicted[row.name])[:1]))


def _archetypes() -> list[Case]:
    """One case for every set of weights that a kind can have at a rank; a kind without weights has one."""
    found: dict[object, Case] = {}
    for case in LAYER_CASES:
        weights = [weight.name for weight in case.network().weights()]
        found.setdefault((case.layer.kind, tuple(weights), len(case.shape) if weights else 0), case)
    return list(found.values())


@pytest.mark.parametrize("case", _archetypes(), ids=lambda case: case.id)
def test_artefacts(workers, backend, case, tmp_path: Path):
    network, weights, inputs, reference, predicted = _problem(case)
    [row] = network.rows
    worker = workers[backend]
    files = worker.call("export", network=network, weights=weights, folder=tmp_path, settings=ExportSettings())
    assert all((tmp_path / name).is_file() for name in files)
    _same_weights(network, weights, worker.call("read_weights", folder=tmp_path, network=network))
    counts = worker.call("counts", folder=tmp_path, network=network)
    assert {name: tuple(count) for name, count in counts.items()} == (
        {row.name: (row.trainable, row.non_trainable)} if row.parameters else {}
    )
    outputs = worker.call("run_artefact", folder=tmp_path, network=network, inputs=inputs)
    assert outputs, "no artefact was run"
    for values in outputs.values():
        _agrees(compare(reference[row.name], values["output"], budget(reference[row.name], predicted[row.name])))


def _same_weights(network: Network, given, found) -> None:
    """The same names, shapes and bits."""
    assert set(found) == {weight.name for weight in network.weights()}
    for weight in network.weights():
        assert found[weight.name].shape == weight.shape, weight.name
        assert found[weight.name].dtype == np.float32, weight.name
        assert found[weight.name].tobytes() == given[weight.name].tobytes(), weight.name
