"""Transfer on real photographs: ants and bees on a frozen SqueezeNet, from the spec in `specs/` alone."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from netspec.backend import find_backend
from netspec.building.build import build
from netspec.building.options import BACKENDS, Options
from netspec.compile import compile_spec
from netspec.compile.pixels import exported_network
from netspec.data import load as load_data
from netspec.errors import BackendError
from netspec.importing import load_weights
from netspec.spec.load import load_spec
from netspec.weights import load

pytest.importorskip("PIL.Image")
SPECS = Path(__file__).parents[2] / "specs"
DATA = os.environ.get("NETSPEC_DATA")


def silent(event, **values):
    """Progress that nobody follows."""


@pytest.fixture(scope="module")
def available(request):
    for name in BACKENDS:
        try:
            find_backend(name)
        except BackendError as error:
            (pytest.fail if request.config.getoption("--require-backends") else pytest.skip)(str(error))


def test_it_is_checked_without_data_or_weights(monkeypatch):
    monkeypatch.delenv("NETSPEC_DATA", raising=False)
    network = compile_spec(load_spec(SPECS / "squeezenet-transfer.yaml"))
    assert network.trainable == 2050
    assert network.classes == ("ants", "bees")


@pytest.mark.large
@pytest.mark.skipif(DATA is None, reason="NETSPEC_DATA names no folder")
@pytest.mark.parametrize(("trainer", "until"), [("torch", "report"), ("keras", "train")])
def test_ants_and_bees_are_told_apart(available, workers, tmp_path, trainer, until):
    assert DATA is not None
    spec = load_spec(SPECS / "squeezenet-transfer.yaml")
    outcome = build(spec, Options(folder=tmp_path, trainer=trainer, until=until, device="cpu"), silent)
    with (outcome.folder / "history.csv").open() as file:
        best = max(float(row["val_accuracy"]) for row in csv.DictReader(file))
    assert best >= 0.9

    # What is frozen is what the file gave, bit for bit.
    network = compile_spec(spec)
    base = compile_spec(load_spec(SPECS / "squeezenet-1.1.yaml", variant="torchvision"))
    given = load_weights(Path(DATA) / "weights/squeezenet1_1-torchvision.safetensors", base)
    trained = load(outcome.folder / "weights.safetensors", network)
    frozen = [weight.name for node in network.nodes if node.frozen for weight in node.weights]
    assert len(frozen) == 50
    assert [name for name in frozen if trained[name].tobytes() != given[name].tobytes()] == []

    if until == "train":
        return
    assert outcome.verdict is not None
    assert outcome.verdict.passed, outcome.verdict.summary()
    # The exported file, given pixels, is as right as the network was in training.
    assert spec.data is not None
    held = load_data(spec.data, network, SPECS, spec.preprocess).validation
    found = workers["onnx"].call(
        "run_artefact",
        folder=outcome.folder / "onnx",
        network=exported_network(spec, network),
        inputs={"input": held.images.astype(np.float32)},
    )
    [outputs] = found.values()
    assert (outputs["output"].argmax(1) == held.labels).mean() == pytest.approx(best, abs=0.01)
