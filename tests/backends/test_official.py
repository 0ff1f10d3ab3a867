"""The zoo against the official models of keras.applications: the same weights give the same numbers, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from netspec.backend.worker import Worker
from netspec.compile import compile_spec
from netspec.importing import load_weights
from netspec.network import Network
from netspec.reference import evaluate
from netspec.spec.load import load_spec

pytest.importorskip("h5py")
pytest.importorskip("keras")
pytestmark = pytest.mark.large

SPECS = Path(__file__).parents[2] / "specs"
MODELS = {
    "inception-v3": "InceptionV3",
    "mobilenet-v2": "MobileNetV2",
    "resnet50": "ResNet50",
    "vgg16": "VGG16",
    "xception": "Xception",
}
LARGEST_ERROR = 1e-10
"""Relative L2; every difference of meaning that is known (an epsilon, a padding) is far larger, rounding is 1e-15."""


class Official:
    """keras.applications, in a process of its own."""

    def write(self, model: str, file: str, inputs):
        """Save a model with random weights, and give the values of its last two layers for them in float64."""
        import keras

        random = np.random.default_rng(11)
        single = getattr(keras.applications, model)(weights=None)
        weights = [_some(variable, random) for variable in single.weights]
        single.set_weights(weights)
        single.save(file)
        del single
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        double = getattr(keras.applications, model)(weights=None)
        double.set_weights(weights)
        ends = keras.Model(double.inputs, [double.layers[-2].output, double.output])
        return [keras.ops.convert_to_numpy(value) for value in ends(inputs.astype("float64"), training=False)]


def _some(variable, random):
    """Normal numbers that keep the size of values on their way through a network; variances are positive."""
    shape = variable.shape
    if "variance" in variable.path:
        return random.uniform(0.5, 1.5, shape).astype("float32")
    # A depthwise kernel [h, w, channels, 1] adds up h * w products.
    products = np.prod(shape[:-2] if "depthwise" in variable.path else shape[:-1]) if len(shape) > 1 else 1
    return random.standard_normal(shape, "float32") / np.sqrt(products, dtype="float32")


official = Official()


@dataclass(frozen=True)
class Model:
    """An official model's file, and what the official model makes of a picture."""

    file: Path
    pixels: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray

    def agrees(self, network: Network, values) -> None:
        """The last row and the one before it, whose values no softmax has squeezed."""
        before, last = network.rows[-2:]
        for row, expected in ((before, self.features), (last, self.probabilities)):
            found = values[row.name]
            assert found.dtype == expected.dtype == np.float64
            assert np.ptp(expected) > 0
            assert np.linalg.norm(found - expected) <= LARGEST_ERROR * np.linalg.norm(expected), row.name


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A function that gives a model of keras.applications, made when it is first asked for."""
    made: dict[str, Model] = {}

    def model_of(network: Network) -> Model:
        name = network.name
        if name not in made:
            pixels = np.random.default_rng(2).normal(0, 1, (1, *network.input_type.shape)).astype("float32")
            file = tmp_path_factory.mktemp("official") / f"{name}.keras"
            with Worker("tests.backends.test_official:official") as keras:
                ends = keras.call("write", model=MODELS[name], file=str(file), inputs=pixels)
            made[name] = Model(file, pixels, *ends)
        return made[name]

    yield model_of
    for model in made.values():
        model.file.unlink()


@pytest.fixture(params=MODELS)
def network(request) -> Network:
    return compile_spec(load_spec(SPECS / f"{request.param}.yaml"))


@pytest.fixture
def worker(backend) -> Iterator[Worker]:
    """A process for one model alone, for one that has been through all of them holds gigabytes."""
    with Worker(backend) as found:
        yield found


def test_the_reference_computes_the_official_model(network, models):
    model = models(network)
    model.agrees(network, evaluate(network, load_weights(model.file, network), {"input": model.pixels}))


def test_every_backend_computes_the_official_model(network, models, worker):
    model = models(network)
    weights = load_weights(model.file, network)
    given = {"network": network, "weights": weights, "inputs": {"input": model.pixels}}
    model.agrees(network, worker.call("run", **given, precision="float64"))
