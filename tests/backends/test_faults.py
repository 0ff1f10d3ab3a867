"""Planted faults: verification finds each one, at exactly its row, on every backend."""

from __future__ import annotations

import os
import signal

import pytest

from netspec.backend import ExportSettings
from netspec.backend.worker import Worker
from netspec.spec.model import VerifySettings
from netspec.verify import verify
from netspec.weights import draw
from tests.faults import FAULTS, MISPLACED, network

SETTINGS = VerifySettings(inputs=2)
# ONNX keeps an epsilon in float32, where this one is the same number.
NOT_WRITTEN = {("onnx", "epsilon of float32")}


@pytest.fixture(scope="module")
def faulty(backend, tmp_path_factory):
    """A worker whose rules can be spoilt, and the folder of artefacts that it wrote while they were sound."""
    folder = tmp_path_factory.mktemp("faults")
    with Worker(f"tests.faults:{backend}") as worker:
        export(worker, backend, folder)
        yield worker, folder


def export(worker, backend, folder):
    (folder / backend).mkdir(exist_ok=True)
    network_ = network()
    arguments = {"network": network_, "weights": draw(network_, 4), "settings": ExportSettings()}
    worker.call("export", folder=folder / backend, **arguments)


def verdict_of(worker, backend, folder):
    network_ = network()
    [verdict] = verify(network_, draw(network_, 4), folder, SETTINGS, {backend: worker}).backends
    return verdict


def test_sound_rules_pass(backend, faulty):
    worker, folder = faulty
    worker.call("plant", fault=None)
    verdict = verdict_of(worker, backend, folder)
    assert verdict.passed, verdict.failures
    assert verdict.first_row is None
    assert all(row.passed for row in verdict.rows)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found_at_its_row(backend, faulty, fault):
    worker, folder = faulty
    worker.call("plant", fault=fault)
    verdict = verdict_of(worker, backend, folder)
    expected = FAULTS[fault].row
    assert verdict.first_row == expected, verdict.failures
    assert verdict.passed == (expected is None)
    if expected is not None:
        [failure] = verdict.failures
        assert (failure.stage, failure.symptom, failure.row) == ("compare", "value", expected)
        assert verdict.alone is True, "the row is wrong whatever stands before it"
        rows = [row.row for row in verdict.rows]
        assert all(row.passed for row in verdict.rows[: rows.index(expected)])


def test_misplaced_weight_is_found_in_rows_and_artefacts(backend, faulty, tmp_path):
    worker, _ = faulty
    worker.call("plant", fault="misplaced")
    export(worker, backend, tmp_path)
    verdict = verdict_of(worker, backend, tmp_path)
    assert verdict.first_row == MISPLACED[backend][1]
    assert verdict.artefacts
    assert not any(artefact.passed for artefact in verdict.artefacts)


def test_fault_in_the_artefacts_alone_is_found(backend, faulty, tmp_path):
    worker, _ = faulty
    worker.call("plant", fault="conv pads shifted")
    export(worker, backend, tmp_path)
    worker.call("plant", fault=None)
    verdict = verdict_of(worker, backend, tmp_path)
    assert verdict.first_row is None
    assert {failure.symptom for failure in verdict.failures} == {"value", "file"}
    loaded = [failure.message for failure in verdict.failures if failure.symptom == "value"]
    assert len(loaded) == len(verdict.artefacts)
    assert all("loaded afresh" in message for message in loaded)


@pytest.mark.parametrize("fault", ["momentum", "epsilon of float32"])
def test_what_no_output_shows_is_found_in_the_files(backend, faulty, tmp_path, fault):
    worker, _ = faulty
    worker.call("plant", fault=fault)
    export(worker, backend, tmp_path)
    worker.call("plant", fault=None)
    verdict = verdict_of(worker, backend, tmp_path)
    found = {(failure.stage, failure.symptom) for failure in verdict.failures}
    assert found == (set() if (backend, fault) in NOT_WRITTEN else {("compare", "file")})


def test_a_killed_worker_is_a_failure_of_its_backend(backend, faulty):
    sound, folder = faulty
    sound.call("plant", fault=None)
    network_ = network()
    with Worker(f"tests.faults:{backend}") as doomed:
        os.kill(doomed.pid, signal.SIGKILL)
        verdict = verify(network_, draw(network_, 4), folder, SETTINGS, {"doomed": doomed, backend: sound})
    dead, alive = verdict.backends
    assert alive.passed, alive.failures
    assert not verdict.passed
    [failure] = dead.failures
    assert (failure.stage, failure.symptom) == ("build", "crash")
    assert "SIGKILL" in failure.message
