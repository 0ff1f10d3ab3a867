"""Weights from files that Keras itself wrote, judged by what Keras' model computes; and HDF5 files that mean harm."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netspec.backend.worker import Worker
from netspec.errors import SpecError
from netspec.importing import import_weights, load_weights
from netspec.layers import (
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    MaxPool,
    PReLU,
    SeparableConv,
)
from netspec.layers.activation import Activation
from netspec.network import Network
from netspec.reference import evaluate
from netspec.weights import draw
from tests.cases import chain

h5py = pytest.importorskip("h5py")
pytest.importorskip("keras")

RELU = Activation(function="relu")
IMAGE = (12, 9, 3)


class Stock:
    """Models of stock layers, as people write them, in a process that knows Keras."""

    def write(self, model: str, files: list[str], inputs):
        """Build a model with random weights, save it under every one of the names, and give back its outputs."""
        import keras

        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        built = getattr(self, model)()
        random = np.random.default_rng(5)
        built.set_weights([_some(each, random) for each in built.weights])
        for file in files:
            (built.save_weights if file.endswith(".weights.h5") else built.save)(file)
        return built.predict(inputs, verbose=0)

    def plain(self):
        import keras
        from keras import layers

        return keras.Sequential(
            [
                keras.Input(IMAGE),
                layers.Conv2D(6, 3, padding="same", use_bias=False),
                layers.BatchNormalization(scale=False),
                layers.PReLU(shared_axes=[1, 2]),
                layers.DepthwiseConv2D(3, depth_multiplier=2),
                layers.BatchNormalization(),
                layers.SeparableConv2D(7, (2, 3), activation="relu"),
                layers.Dropout(0.5, seed=1),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.LayerNormalization(),
                layers.Dense(7, activation="relu"),
                layers.Dense(7),
            ]
        )

    def trained(self):
        model = self.plain()
        model.compile("adam", "mse")
        model.fit(np.zeros((2, *IMAGE)), np.zeros((2, 7)), verbose=0)
        return model

    def nested(self):
        """A base in a model of its own, as transfer learning has it, behind statistics of the data."""
        import keras
        from keras import layers

        base = keras.Sequential(
            [keras.Input(IMAGE), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Conv2D(4, 3)], name="base"
        )
        base.trainable = False
        given = keras.Input(IMAGE)
        statistics = layers.Normalization()
        statistics.adapt(np.array([[[[0.0, 0, 0]]], [[[2.0, 2, 2]]]]))
        value = base(statistics(given))
        return keras.Model(given, layers.Dense(5)(layers.GlobalAveragePooling2D()(value)))

    def vgg16(self):
        import keras

        return keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))


def _some(variable, random):
    """Numbers that keep values near one on their way; variances are positive."""
    sums = np.prod(variable.shape[:-1]) if len(variable.shape) > 1 else 1
    sign = 1 if "variance" in variable.path else random.choice([-1, 1], variable.shape)
    return (sign * random.uniform(0.2, 1.8, variable.shape) / np.sqrt(sums)).astype(variable.dtype)


stock = Stock()


@pytest.fixture(scope="module")
def keras() -> Iterator[Worker]:
    with Worker("tests.backends.test_importing_keras:stock") as worker:
        yield worker


def plain(**options) -> Network:
    return chain(
        "plain",
        IMAGE,
        Conv(filters=6, kernel=3, padding="same", bias=False),
        BatchNorm(scale=False, **options),
        PReLU(),
        DepthwiseConv(kernel=3, multiplier=2),
        BatchNorm(),
        (SeparableConv(filters=7, kernel=(2, 3)), RELU),
        MaxPool(),
        Flatten(),
        LayerNorm(),
        (Dense(units=7), RELU),
        Dense(units=7),
    )


def vgg16() -> Network:
    rows = []
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        rows += [(Conv(filters=filters, kernel=3, padding="same"), RELU)] * count + [MaxPool()]
    return chain("vgg16", (32, 32, 3), *rows)


def images(network: Network) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 1, (3, *network.input_type.shape)).astype("float32")


def agree(network: Network, weights, inputs, outputs) -> None:
    *_, found = evaluate(network, weights, {"input": inputs}).values()
    assert np.linalg.norm(found - outputs) <= 1e-5 * np.linalg.norm(outputs)


FILES = ("m.keras", "m.weights.h5", "m.h5")


@pytest.fixture(scope="module")
def files(keras, tmp_path_factory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("keras")
    outputs = keras.call("write", model="plain", files=[str(folder / name) for name in FILES], inputs=images(plain()))
    return folder, outputs


@pytest.mark.parametrize("file", FILES)
def test_every_kind_of_file_gives_the_model(files, file):
    folder, outputs = files
    network = plain()
    weights = load_weights(folder / file, network)
    assert list(weights) == [weight.name for weight in network.weights()]
    agree(network, weights, images(network), outputs)


@pytest.mark.parametrize("file", FILES)
def test_what_training_leaves_in_a_file_is_no_weight(keras, tmp_path, file):
    network = plain()
    outputs = keras.call("write", model="trained", files=[str(tmp_path / file)], inputs=images(network))
    agree(network, load_weights(tmp_path / file, network), images(network), outputs)


@pytest.mark.parametrize("file", FILES)
def test_a_model_in_a_model(keras, tmp_path, file):
    from netspec.layers import Normalize

    network = chain(
        "nested",
        IMAGE,
        Normalize(mean=1.0, std=1.0),
        Conv(filters=4, kernel=3),
        BatchNorm(),
        Conv(filters=4, kernel=3),
        GlobalAvgPool(),
        Dense(units=5),
    )
    keras.call("write", model="nested", files=[str(tmp_path / file)], inputs=images(network))
    found = import_weights(tmp_path / file, network)
    assert found.origins["conv_2.kernel"].name == "base/conv2d_1/kernel"
    assert found.origins["dense_1.bias"].name == "dense/bias"
    assert found.notes == ("left out normalization, the statistics of the data: a Normalize row states them",)


@pytest.mark.parametrize("file", FILES)
def test_vgg16_of_keras_applications(keras, tmp_path, file):
    network = vgg16()
    inputs = images(network)
    outputs = keras.call("write", model="vgg16", files=[str(tmp_path / file)], inputs=inputs)
    found = import_weights(tmp_path / file, network)
    assert found.origins["conv_13.kernel"].name.startswith("block5_conv3/")
    agree(network, found.weights, inputs, outputs)


def test_names_of_older_versions(tmp_path):
    """VGG16 of Keras 1 has `block1_conv1_W_1:0`; Keras 2 `conv2d_1/kernel:0` and a scope's name twice."""
    network = chain("old", IMAGE, Conv(filters=4, kernel=3), BatchNorm(), Conv(filters=4, kernel=1))
    weights = draw(network, 1)
    names = {
        "block1_conv1": ["block1_conv1_W_1:0", "block1_conv1_b_1:0"],
        "bn": ["bn/gamma:0", "bn/beta:0", "bn/moving_mean:0", "bn/moving_variance:0"],
        "pool": [],
        "conv2d_1": ["conv2d_1_1/kernel:0", "conv2d_1_1/bias:0"],
    }
    arrays = iter(weights.values())
    with h5py.File(tmp_path / "old.h5", "w") as file:
        # Attributes beyond 64 KiB are cut into several.
        file.attrs["layer_names0"] = [name.encode() for name in list(names)[:2]]
        file.attrs["layer_names1"] = [name.encode() for name in list(names)[2:]]
        for layer, own in names.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in own]
            for name in own:
                group[name] = next(arrays)
    found = load_weights(tmp_path / "old.h5", network)
    assert all(found[name].tobytes() == weights[name].tobytes() for name in weights)


def test_half_precision_is_widened_and_said(tmp_path, files):
    folder, _ = files
    network, path = plain(), tmp_path / "half.weights.h5"
    shutil.copy(folder / "m.weights.h5", path)
    with h5py.File(path, "r+") as file:
        group = file["layers/dense/vars"]
        half = group["0"][:].astype("float16")
        brain = (group["1"][:].view(np.uint32) >> 16).astype(np.uint16)
        del group["0"], group["1"]
        group["0"] = half
        group["1"] = brain.view("V2")  # as h5py keeps bfloat16
        group["1"].attrs["dtype"] = "bfloat16"
    found = import_weights(path, network)
    assert found.weights["dense_1.kernel"].tobytes() == half.astype("float32").tobytes()
    assert found.weights["dense_1.bias"].tobytes() == (brain.astype(np.uint32) << 16).tobytes()
    assert sorted(found.notes) == [
        "1 of the tensors was bfloat16, widened to float32",
        "1 of the tensors was float16, widened to float32",
    ]


# What does not fit


@pytest.mark.parametrize("file", FILES)
def test_a_row_of_another_size_is_named_with_both_shapes(files, file):
    folder, _ = files
    network = plain()
    wider = chain("plain", IMAGE, *(node.layer for node in network.nodes[:-1]), Dense(units=9))
    with pytest.raises(SpecError) as caught:
        load_weights(folder / file, wider)
    assert "row 'dense_2': kernel has to be 7x9, but dense_1/kernel is 7x7" in str(caught.value)
    assert "row 'dense_2': bias has to be 9, but dense_1/bias is 7" in str(caught.value)


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_gamma_instead_of_beta_is_no_match(files, file):
    folder, _ = files
    network = plain()
    other = [BatchNorm(center=False) if node.name == "batch_norm_1" else node.layer for node in network.nodes]
    with pytest.raises(SpecError) as caught:
        load_weights(folder / file, chain("plain", IMAGE, *other))
    expected = "row 'batch_norm_1' needs gamma, moving_mean, moving_variance, but batch_normalization has beta, "
    assert expected in str(caught.value)


# What means harm


def refusal(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_weights(path, plain())
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("rest", [0, 100, 0.5, 0.98])
def test_truncated_files(files, tmp_path, file, rest):
    folder, _ = files
    content = (folder / file).read_bytes()
    (tmp_path / file).write_bytes(content[: rest if rest > 1 else int(len(content) * rest)])
    assert "the weights cannot be read: not a whole" in refusal(tmp_path / file)


def test_archives_that_lack_something_or_are_bombs(files, tmp_path):
    folder, _ = files
    with zipfile.ZipFile(folder / "m.keras") as whole:
        members = {name: whole.read(name) for name in whole.namelist()}

    def archive(**changed) -> Path:
        path = tmp_path / "bad.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
            for name, content in members.items():
                content = changed.get(name.partition(".")[0], content)
                if content is not None:
                    written.writestr(name, content)
        return path

    assert "it has no model.weights.h5" in refusal(archive(model=None))
    assert "it has no config.json" in refusal(archive(config=None))
    assert "not a whole Keras file" in refusal(archive(config=b"{"))
    assert "not a whole Keras file" in refusal(archive(config=b"[" * 100_000))
    assert "not a whole Keras file" in refusal(archive(model=b"nothing"))
    assert "config.json in it would unpack to 100,000,000 bytes" in refusal(archive(config=b" " * 100_000_000))
    assert "model.weights.h5 in it would unpack to 400,000,000 bytes" in refusal(archive(model=bytes(400_000_000)))


def test_a_configuration_that_says_no_layers_is_done_without(files, tmp_path):
    folder, outputs = files
    path = tmp_path / "own.keras"
    with zipfile.ZipFile(folder / "m.keras") as whole, zipfile.ZipFile(path, "w") as written:
        for name in whole.namelist():
            own = json.dumps({"class_name": "Mine", "config": {}}) if name == "config.json" else whole.read(name)
            written.writestr(name, own)
    agree(plain(), load_weights(path, plain()), images(plain()), outputs)


@pytest.mark.parametrize("file", ["m.weights.h5", "m.h5"])
def test_what_an_hdf5_file_refers_to_outside_of_itself_is_refused(files, tmp_path, file):
    folder, _ = files
    layer = "layers/dense" if file == "m.weights.h5" else "model_weights/dense"
    kernel = f"{layer}/vars/0" if file == "m.weights.h5" else f"{layer}/sequential/dense/kernel"
    shutil.copy(folder / file, tmp_path / "secret.h5")

    def changed(change) -> str:
        path = tmp_path / file
        shutil.copy(folder / file, path)
        with h5py.File(path, "r+") as written:
            change(written)
        return refusal(path)

    def external(written) -> None:
        del written[kernel]
        written[kernel] = h5py.ExternalLink("secret.h5", kernel)

    def soft(written) -> None:
        del written[layer]
        written[layer] = h5py.SoftLink("/elsewhere")

    def virtual(written) -> None:
        layout = h5py.VirtualLayout(written[kernel].shape, "float32")
        layout[:] = h5py.VirtualSource("secret.h5", kernel, written[kernel].shape)
        del written[kernel]
        written.create_virtual_dataset(kernel, layout)

    def outside(written) -> None:
        shape = written[kernel].shape
        del written[kernel]
        written.create_dataset(kernel, shape, "float32", external=[("secret.h5", 0, h5py.h5f.UNLIMITED)])

    def huge(written) -> None:
        del written[kernel]
        written.create_dataset(kernel, (10**6, 10**6), "float32", chunks=(1000, 1000), compression="gzip")

    def not_there(written) -> None:
        del written[kernel]

    assert "is a link to elsewhere" in changed(external)
    assert "is a link to elsewhere" in changed(soft)
    assert "lies outside of the file" in changed(virtual)
    assert "lies outside of the file" in changed(outside)
    assert "its arrays would take over" in changed(huge)
    if file == "m.h5":
        assert "it has no group 'sequential/dense/kernel'" in changed(not_there)


def test_a_group_that_contains_itself_ends(files, tmp_path):
    folder, _ = files
    path = tmp_path / "m.weights.h5"
    shutil.copy(folder / path.name, path)
    with h5py.File(path, "r+") as written:
        for name in ("again", "and_again"):
            written["layers/dense"][name] = written["layers"]
    assert "is another one too" in refusal(path)


def test_an_hdf5_file_of_something_else(tmp_path):
    path = tmp_path / "numbers.h5"
    with h5py.File(path, "w") as written:
        written["numbers"] = np.arange(9.0)
    assert "it holds no weights of layers as Keras saves them" in refusal(path)
