"""The Keras model in its worker: rows, feeds, precisions, and artefacts that stock Keras alone loads."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.backend.worker import Worker
from netspec.errors import BackendError
from netspec.layers import Activation, BatchNorm, Conv, ConvTranspose, Dense, Flatten, Grayscale
from netspec.reference import evaluate
from netspec.verify.inputs import biting_weights
from tests.backends.test_keras_render import AWKWARD, UNCOMMON, branched, compiled
from tests.cases import chain


class Probe:
    """Calls that no backend has, answered in a worker of their own."""

    def misfit(self, network, other, weights):
        """Give the weights of one network to the model of another."""
        from netspec_keras.model import make, set_weights

        set_weights(make(network, weights), other, weights)

    def policy(self, network, weights, inputs):
        """What a float64 run leaves behind."""
        import keras
        from netspec_keras import backend

        backend.run(network, weights, inputs, "float64")
        return keras.config.floatx(), keras.config.dtype_policy().name

    def layers(self, folder, network):
        """The names of the layers in the archive."""
        from netspec_keras.model import load_archive

        return [layer.name for layer in load_archive(folder, network).layers]


probe = Probe()


@pytest.fixture(scope="module")
def keras(workers):
    return workers["keras"]


@pytest.fixture(scope="module")
def probing():
    with Worker("tests.backends.test_keras_model:probe") as worker:
        yield worker


def awkward(text: str = AWKWARD):
    network = compiled(text)
    inputs = {"input": np.random.default_rng(3).normal(size=(3, *network.input_type.shape)).astype(np.float32)}
    return network, biting_weights(network, seed=5), inputs


def relative(value, reference) -> float:
    assert value.shape == reference.shape
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("text", [AWKWARD, UNCOMMON], ids=["awkward", "uncommon"])
def test_every_row_in_both_precisions_in_turn(keras, text):
    network, weights, inputs = awkward(text)
    reference = evaluate(network, weights, inputs)
    for precision, granted in (("float32", 1e-4), ("float64", 1e-12), ("float32", 1e-4)):
        values = keras.call("run", network=network, weights=weights, inputs=inputs, precision=precision)
        assert list(values) == [row.name for row in network.rows]
        for name, value in values.items():
            assert value.dtype == np.dtype(precision)
            assert relative(value, reference[name]) < granted, (name, precision)


def test_the_precision_is_set_back(probing):
    network, weights, inputs = awkward()
    assert probing.call("policy", network=network, weights=weights, inputs=inputs) == ("float32", "float32")


def test_rows_after_a_fed_one_read_what_is_fed(keras):
    network, weights, inputs = awkward()
    whole = evaluate(network, weights, inputs)
    rows = [row.name for row in network.rows]
    fed = {name: whole[name] * 2 + 1 for name in rows[::2]}
    values = keras.call("run", network=network, weights=weights, inputs=inputs, precision="float64", feed=fed)
    for before, row in zip((None, *network.rows), network.rows, strict=False):
        given = inputs["input"] if before is None else fed.get(before.name, values[before.name])
        first = row.nodes[0]
        alone = replace(
            network, inputs={first.inputs[0]: first.input_type}, nodes=row.nodes, outputs={"output": row.result}
        )
        expected = evaluate(alone, weights, {first.inputs[0]: given})[row.name]
        assert relative(values[row.name], expected) < 1e-12, row.name
    assert relative(values[rows[0]], whole[rows[0]]) < 1e-12


def test_a_fed_row_with_two_readers(keras):
    network = branched()
    weights = biting_weights(network, seed=5)
    inputs = {"input": np.random.default_rng(3).normal(size=(2, 6, 5, 3)).astype(np.float32)}
    fed = np.random.default_rng(4).normal(size=(2, 4, 3, 4))
    values = keras.call("run", network=network, weights=weights, inputs=inputs, precision="float64", feed={"stem": fed})
    assert relative(values["left"], fed.mean((1, 2))) < 1e-12
    assert relative(values["right"], fed.reshape(2, -1)) < 1e-12
    assert relative(values["stem"], evaluate(network, weights, inputs)["stem"]) < 1e-12


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ConvTranspose(filters=3, kernel=2, stride=(2, 3, 2), dilation=2), (3, 2, 4, 2)),
        (ConvTranspose(filters=3, kernel=3, stride=(1, 2, 1), dilation=(3, 1, 2), padding="same"), (3, 2, 4, 2)),
        (ConvTranspose(filters=3, kernel=1, stride=3, output_padding=2), (3, 2, 2)),
        (ConvTranspose(filters=3, kernel=2, stride=3, padding=((1, 0), (0, 2)), output_padding=2), (3, 2, 2)),
    ],
    ids=["volume-spread-in-two-goes", "volume-one-stride", "extended-past-the-stride", "cropped-and-extended"],
)
def test_transposed_convolutions_that_keras_cannot_say(keras, layer, shape):
    network = chain("n", shape, layer)
    weights = biting_weights(network, seed=5)
    inputs = {"input": np.random.default_rng(3).normal(size=(2, *shape)).astype(np.float32)}
    values = keras.call("run", network=network, weights=weights, inputs=inputs, precision="float64")
    assert relative(values["conv_transpose_1"], evaluate(network, weights, inputs)["conv_transpose_1"]) < 1e-12


def test_weights_of_another_network_are_refused(probing):
    one, other = chain("n", (4, 4, 2), Conv(filters=2, kernel=3)), chain("n", (4, 4, 2), BatchNorm())
    weights = biting_weights(one, 1) | biting_weights(other, 1)
    with pytest.raises(BackendError, match=r"conv_1/kernel.*that no weight fills"):
        probing.call("misfit", network=one, other=other, weights=weights)


def test_prediction_in_pieces_is_the_whole(keras):
    network = chain("n", (5, 4, 3), Conv(filters=2, kernel=3), Flatten(), Dense(units=3))
    weights = biting_weights(network, seed=1)
    images = np.random.default_rng(1).integers(0, 256, size=(2500, 5, 4, 3), dtype=np.uint8)
    found = keras.call("predict", network=network, weights=weights, inputs={"input": images})["output"]
    assert found.dtype == np.float32
    assert relative(found, evaluate(network, weights, {"input": images.astype(np.float32)})["dense_1"]) < 1e-5


@pytest.fixture(scope="module")
def exported(keras, tmp_path_factory):
    network, weights, _ = awkward()
    folder = tmp_path_factory.mktemp("keras")
    names = keras.call("export", network=network, weights=weights, folder=folder, settings=ExportSettings())
    assert set(names) == {"awkward_cnn.py", "awkward-cnn.keras"} == {path.name for path in folder.iterdir()}
    return folder


def test_weights_come_back_bit_for_bit(keras, exported):
    network, weights, _ = awkward()
    found = keras.call("read_weights", folder=exported, network=network)
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in weights.items()
    }


def test_counts_of_the_archive(keras, tmp_path):
    network = chain(
        "n", (8, 8, 3), Conv(filters=4, kernel=3), (BatchNorm(), Activation(function="relu")), Flatten(), Dense(units=5)
    )

    weights = biting_weights(network, seed=1)
    keras.call("export", network=network, weights=weights, folder=tmp_path, settings=ExportSettings())
    counts = keras.call("counts", folder=tmp_path, network=network)
    assert counts == {"conv_1": (3 * 3 * 3 * 4 + 4, 0), "batch_norm_1": (8, 8), "dense_1": (6 * 6 * 4 * 5 + 5, 0)}


ALONE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("netspec"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import numpy as np, keras, importlib.util
spec = importlib.util.spec_from_file_location("emitted", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = module.build_model()
model.load_weights(sys.argv[2])
archive = keras.saving.load_model(sys.argv[2])
inputs = np.load(sys.argv[3])
np.savez(sys.argv[4], module=model(inputs), archive=archive(inputs))
assert not [name for name in sys.modules if name.startswith("netspec")]
"""


def test_artefacts_load_where_netspec_is_not(exported, tmp_path):
    network, weights, inputs = awkward()
    np.save(tmp_path / "inputs.npy", inputs["input"])
    files = [exported / "awkward_cnn.py", exported / "awkward-cnn.keras", tmp_path / "inputs.npy", tmp_path / "out.npz"]
    subprocess.run([sys.executable, "-c", ALONE, *files], check=True, capture_output=True, cwd=tmp_path)
    reference = evaluate(network, weights, inputs)[network.rows[-1].name]
    outputs = np.load(tmp_path / "out.npz")
    assert np.array_equal(outputs["module"], outputs["archive"])
    assert relative(outputs["archive"], reference) < 1e-4


def test_artefacts_run_in_the_worker(keras, exported):
    network, weights, inputs = awkward()
    outputs = keras.call("run_artefact", folder=exported, network=network, inputs=inputs)
    assert set(outputs) == {"awkward_cnn.py", "awkward-cnn.keras"}
    reference = evaluate(network, weights, inputs)[network.rows[-1].name]
    assert all(relative(value["output"], reference) < 1e-4 for value in outputs.values())


def config_of(archive: Path) -> dict:
    with zipfile.ZipFile(archive) as file:
        return json.loads(file.read("config.json"))


def without_ids(value):
    """The configuration without the addresses of objects that Keras writes into it."""
    if isinstance(value, dict):
        return {key: without_ids(inner) for key, inner in value.items() if key != "shared_object_id"}
    return [without_ids(inner) for inner in value] if isinstance(value, list) else value


def classes_of(value):
    if isinstance(value, dict):
        if "class_name" in value and "module" in value:
            yield value["module"], value["class_name"], value.get("registered_name")
        for inner in value.values():
            yield from classes_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from classes_of(inner)


def test_the_archive_holds_stock_objects_only(exported):
    found = set(classes_of(config_of(exported / "awkward-cnn.keras")))
    assert len(found) > 10
    for module, name, registered in found:
        assert module is None or module.split(".")[0] in ("keras", "builtins"), (module, name)
        assert name not in ("Lambda", "__lambda__", "function"), name
        assert registered is None or module is None or registered == name, (registered, name)


def test_every_row_is_a_layer_of_the_archive(probing, exported):
    network, _, _ = awkward()
    found = set(probing.call("layers", folder=exported, network=network))
    operations = {row.name for row in network.rows if isinstance(row.nodes[0].layer, Grayscale)}
    assert {row.name for row in network.rows} - operations <= found


def test_a_second_export_has_the_same_configuration(keras, exported, tmp_path):
    network, weights, _ = awkward()
    for _ in range(2):
        keras.call("export", network=network, weights=weights, folder=tmp_path, settings=ExportSettings())
        first, second = (without_ids(config_of(folder / "awkward-cnn.keras")) for folder in (exported, tmp_path))
        assert first == second


def test_rows_named_like_operations(keras, tmp_path):
    source = "name: n\ninput: 9x9x2\nlayers:\n"
    rows = ("pad: MaxPool | 3 | - | padding=1, stride=3", "get_item: CNN | 2, 2 | ReLU | stride=2, dilation=2")
    network = compiled(source + "".join(f"  - {row}\n" for row in rows))
    weights = biting_weights(network, seed=1)
    inputs = {"input": np.random.default_rng(1).normal(size=(2, 9, 9, 2)).astype(np.float32)}
    keras.call("export", network=network, weights=weights, folder=tmp_path, settings=ExportSettings())
    expected = evaluate(network, weights, inputs)["get_item"]
    found = keras.call("run_artefact", folder=tmp_path, network=network, inputs=inputs)["n.keras"]
    assert relative(found["output"], expected) < 1e-5
    assert keras.call("counts", folder=tmp_path, network=network) == {"get_item": (2 * 2 * 2 * 2 + 2, 0)}


def test_versions_and_devices(keras):
    assert set(keras.call("versions")) == {"keras", "tensorflow"}
    assert keras.call("devices")[-1] == "cpu"
