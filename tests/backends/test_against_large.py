"""Faults in the file of a large network: each row is named, with what was done there instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netspec.backend.settings import ExportSettings
from netspec.backend.worker import Worker
from netspec.compile import compile_spec
from netspec.spec.load import load_spec
from netspec.spec.model import VerifySettings
from netspec.verify.against import Request, check_against
from netspec.verify.inputs import biting_weights
from tests.backends.test_exported import causes
from tests.stock_models import attribute, spoilt

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.large

SPEC = load_spec(Path(__file__).parents[2] / "specs" / "resnet18.yaml")
NETWORK = compile_spec(SPEC)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resnet18")
    with Worker("onnx") as worker:
        weights = biting_weights(NETWORK, 1)
        worker.call("export", network=NETWORK, weights=weights, folder=folder, settings=ExportSettings())
    return folder / "resnet18.onnx"


def named(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def other_epsilons(model: Any) -> None:
    for name in ("layer1_1.bn2", "layer3a.shortcut"):
        attribute(named(model, name), "epsilon").f = 1e-3


def lost_activation(model: Any) -> None:
    lost = named(model, "layer3a.add_relu")
    for node in model.graph.node:
        node.input[:] = [lost.input[0] if name == lost.output[0] else name for name in node.input]
    model.graph.node.remove(lost)


def several(model: Any) -> None:
    other_epsilons(model)
    lost_activation(model)


def exchanged(model: Any) -> None:
    one, other = named(model, "layer1_1.conv1"), named(model, "layer1_1.conv2")
    one.input[1], other.input[1] = other.input[1], one.input[1]


def no_shortcut(model: Any) -> None:
    add = named(model, "layer2b.add")
    add.input[1] = add.input[0]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            several,
            [
                ("layer1_1.bn2", "another epsilon"),
                ("layer3a.shortcut", "another epsilon"),
                ("layer3a.add", "activation missing"),
            ],
        ),
        (exchanged, [(f"layer1_1.{name}", "weights of another row") for name in ("conv1", "conv2")]),
        (no_shortcut, [("layer2b.add", "an input twice")]),
    ],
)
def test_faults_of_a_large_network_are_found_and_named(
    whole, tmp_path, change: Callable[[Any], None], found: list[tuple[str, str]]
):
    [file] = check_against(
        NETWORK, [spoilt(whole, tmp_path / "net.onnx", change)], Request(SPEC.verify or VerifySettings())
    ).files
    assert causes(file) == found
    assert {row.row for row in file.rows if not row.passed} == {row for row, _ in found}
