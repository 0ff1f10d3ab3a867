"""Models as people write them, exported by stock PyTorch and stock Keras, and how a file is held against a spec.

`made_by` starts a process that knows one of the frameworks and writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.backend.worker import Worker
from netspec.layers import BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool
from netspec.layers.activation import Activation
from netspec.network import Network
from netspec.spec.model import VerifySettings
from netspec.verify.against import Request, check_against
from netspec.verify.inputs import biting_weights
from netspec.verify.result import FileVerdict
from tests.cases import chain

RELU, SOFTMAX = Activation(function="relu"), Activation(function="softmax")
SETTINGS = VerifySettings(inputs=2)


def network(epsilon: float = 1e-5) -> Network:
    return chain(
        "net",
        (12, 10, 3),
        Conv(filters=8, kernel=3, padding="same"),
        (BatchNorm(epsilon=epsilon), RELU),
        MaxPool(size=3, stride=2, padding=((1, 1), (1, 1))),
        (Conv(filters=6, kernel=3), RELU),
        Dropout(),
        Flatten(),
        (Dense(units=5), SOFTMAX),
    )


class StockTorch:
    """A module as people write it, exported by stock PyTorch, in a process that knows it."""

    def write(self, folder: Path, **changed: Any) -> None:
        """Every way to save it: a state dict, a program, ONNX with BatchNorm as it is, and folded into Conv."""
        import warnings

        import torch

        warnings.simplefilter("ignore")  # torch warns of its own exporter's age
        module = self.module(**changed)
        torch.save(module.state_dict(), folder / "model.pt")
        dynamic = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(module, (torch.zeros(2, 3, 12, 10),), dynamic_shapes=dynamic)
        torch.export.save(program, folder / "model.pt2")
        for name, keep in (("model", True), ("folded", False)):
            mode = torch.onnx.TrainingMode.PRESERVE if keep else torch.onnx.TrainingMode.EVAL
            torch.onnx.export(
                module, torch.zeros(1, 3, 12, 10), folder / f"{name}.onnx", dynamo=False, training=mode,
                do_constant_folding=not keep, input_names=["image"], output_names=["chances"],
                dynamic_axes={"image": {0: "n"}, "chances": {0: "n"}} if keep else None,
            )  # fmt: skip
        torch.export.save(
            torch.export.export(module.double(), (torch.zeros(1, 3, 12, 10).double(),)), folder / "64.pt2"
        )
        torch.export.save(torch.export.export(module.half(), (torch.zeros(1, 3, 12, 10).half(),)), folder / "16.pt2")

    def module(self, epsilon: float = 1e-5, slope: float = 0.0, soft: bool = True):
        import torch
        from torch import nn

        torch.manual_seed(1)
        made = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8, eps=epsilon),
            nn.LeakyReLU(slope) if slope else nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(8, 6, 3),
            nn.ReLU(),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(6 * 4 * 3, 5),
            *([nn.Softmax(1)] if soft else []),
        )
        for name, tensor in made.state_dict().items():
            if "running_var" in name:
                tensor.uniform_(0.5, 1.5)
            elif name.startswith("1.") and tensor.is_floating_point():
                tensor.normal_()
        return made.eval()


class StockKeras:
    """A model as people write it, saved by stock Keras, in a process that knows it."""

    def write(self, folder: Path, **changed: Any) -> None:
        import keras

        model = self.model(**changed)
        model.save(folder / "model.keras")
        model.save_weights(folder / "model.weights.h5")
        given = keras.Input((12, 10, 3))
        prepared = keras.layers.Rescaling(1 / 127.5, offset=-1)(given)
        keras.Model(given, model(prepared)).save(folder / "nested.keras")
        doubled = keras.Model(given, keras.layers.Lambda(lambda x: x * 2)(given))
        doubled.save(folder / "lambda.keras")
        doubled.save(folder / "lambda.h5")

    def model(self, epsilon: float = 1e-5, activation: str | None = "softmax"):
        import keras
        from keras import layers

        given = keras.Input((12, 10, 3), name="picture")
        x = layers.Conv2D(8, 3, padding="same")(given)
        x = layers.BatchNormalization(epsilon=epsilon)(x)
        x = layers.ReLU()(x)
        x = layers.ZeroPadding2D(1)(x)
        x = layers.MaxPooling2D(3, 2)(x)
        x = layers.Conv2D(6, 3, activation="relu")(x)
        x = layers.Flatten()(layers.Dropout(0.5)(x))
        model = keras.Model(given, layers.Dense(5, activation=activation)(x))
        random = np.random.default_rng(3)
        for variable in (each for layer in model.layers for each in layer.weights):
            values = random.normal(size=variable.shape) * 0.3
            if "seed" not in variable.path:
                variable.assign(np.abs(values) + 0.5 if "variance" in variable.path else values)
        return model


stock_torch, stock_keras = StockTorch(), StockKeras()


def made_by(name: str) -> Iterator[Callable[..., Path]]:
    with Worker(f"tests.stock_models:{name}") as worker:

        def write(folder: Path, **changed: Any) -> Path:
            folder.mkdir(exist_ok=True)
            worker.call("write", folder=folder, **changed)
            return folder

        yield write


@pytest.fixture(scope="module")
def torch_files() -> Iterator[Callable[..., Path]]:
    yield from made_by("stock_torch")


@pytest.fixture(scope="module")
def keras_files() -> Iterator[Callable[..., Path]]:
    yield from made_by("stock_keras")


@pytest.fixture(scope="module")
def good(torch_files, tmp_path_factory) -> Path:
    """What torch wrote of the network that the spec means."""
    return torch_files(tmp_path_factory.mktemp("good"))


def against(path: Path, net: Network | None = None, **asked: Any) -> FileVerdict:
    [file] = check_against(net or network(), [path], Request(SETTINGS, **asked)).files
    return file


def write_ours(folder: Path) -> tuple[Path, Any]:
    """Our own ONNX file, and its weights."""
    net = network()
    weights = biting_weights(net, 3)
    with Worker("onnx") as worker:
        worker.call("export", network=net, weights=weights, folder=folder, settings=ExportSettings())
    return folder / "net.onnx", weights


def spoilt(path: Path, target: Path, change: Callable[[Any], None]) -> Path:
    import onnx

    model = onnx.load(path)
    change(model)
    onnx.save(model, target)
    return target


def node_of(model: Any, operator: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == operator)


def attribute(node: Any, name: str) -> Any:
    return next(each for each in node.attribute if each.name == name)
