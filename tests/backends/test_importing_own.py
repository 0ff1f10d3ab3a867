"""Every kind of layer with weights: what a backend exports comes back from its own file by name, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.backend import ExportSettings
from netspec.importing import import_weights
from netspec.verify.inputs import biting_weights
from tests.cases import LAYER_CASES

SUFFIXES = {"torch": ".safetensors", "keras": ".keras", "onnx": ".onnx"}
CASES = {case.layer.kind: case for case in reversed(LAYER_CASES) if list(case.network().weights())}


@pytest.mark.parametrize("kind", CASES)
def test_what_is_exported_is_imported(workers, backend, tmp_path, kind):
    network = CASES[kind].network()
    weights = biting_weights(network, 1)
    files = workers[backend].call(
        "export", network=network, weights=weights, folder=tmp_path, settings=ExportSettings()
    )
    [file] = [name for name in files if Path(name).suffix == SUFFIXES[backend]]
    found = import_weights(tmp_path / file, network)
    assert found.how == "by name"
    assert {name: array.tobytes() for name, array in found.weights.items()} == {
        name: array.tobytes() for name, array in weights.items()
    }
