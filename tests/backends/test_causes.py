"""Planted faults: verification says what was done instead, on every backend."""

from __future__ import annotations

import pytest

from netspec.backend import ExportSettings
from netspec.backend.worker import Worker
from netspec.spec.model import VerifySettings
from netspec.verify import verify
from netspec.weights import draw
from tests.faults import FAULTS, network

SETTINGS = VerifySettings(inputs=2)
# Of every fault that outputs show: the cause, and what the row would have to say to mean it.
CAUSES = {
    "offset lost": ("another scale", {"offset": "0"}),
    "conv pads shifted": ("shifted padding", {"padding": "((2,0),(2,0))"}),
    "slope": ("another slope", {"activation": "leaky_relu(0.3)"}),
    "epsilon": ("another epsilon", {"epsilon": "0.0011"}),
    "epsilon of float32": ("another epsilon", {"epsilon": "0.0010000001"}),
    "gelu by tanh": ("the other form of GELU", {"activation": "gelu(tanh)"}),
    "pads counted": ("pads in the mean", {"count_include_pad": "true"}),
    "depthwise pads shifted": ("shifted padding", {"padding": "((2,0),(2,0))"}),
    "layer norm's epsilon": ("another epsilon", {"epsilon": "1e-05"}),
    "nearest": ("another interpolation", {"mode": "nearest"}),
    "axes not exchanged": ("another permutation", {"order": "(1,2,3)"}),
    "groups": ("other groups", {"groups": "3"}),
    "alpha of the paper": ("another constant of the LRN", {"alpha": "0.3"}),
    "instance norm's epsilon": ("another epsilon", {"epsilon": "1e-05"}),
    "epsilon of the precision": ("another epsilon", {"epsilon": "1.192092896e-07"}),
    "border pixels twice": ("another padding mode", {"mode": "symmetric"}),
    "max pads shifted": ("shifted padding", {"padding": "((1,0),(0,1))"}),
    "channels first": ("flattened in another order", {"order": "chw"}),
    "alpha": ("another alpha", {"activation": "elu(0.71)"}),
}


@pytest.fixture(scope="module")
def faulty(backend, tmp_path_factory):
    folder = tmp_path_factory.mktemp("causes")
    with Worker(f"tests.faults:{backend}") as worker:
        (folder / backend).mkdir()
        arguments = {"network": network(), "weights": draw(network(), 4), "settings": ExportSettings()}
        worker.call("export", folder=folder / backend, **arguments)
        yield worker, folder


def test_every_fault_that_shows_has_a_cause():
    assert set(CAUSES) == {name for name, fault in FAULTS.items() if fault.row is not None}


@pytest.mark.parametrize("fault", CAUSES)
def test_the_cause_is_said(backend, faulty, fault):
    worker, folder = faulty
    worker.call("plant", fault=fault)
    [verdict] = verify(network(), draw(network(), 4), folder, SETTINGS, {backend: worker}).backends
    cause = verdict.cause
    assert cause is not None, verdict.failures
    assert (cause.row, cause.name, cause.known) == (FAULTS[fault].row, CAUSES[fault][0], True)
    assert cause.fields == CAUSES[fault][1]
    assert cause.spec != cause.found


def test_what_agrees_has_no_cause(backend, faulty):
    worker, folder = faulty
    worker.call("plant", fault=None)
    [verdict] = verify(network(), draw(network(), 4), folder, SETTINGS, {backend: worker}).backends
    assert verdict.passed, verdict.failures
    assert verdict.cause is None
