"""Exported files, changed behind the verifier's back; and sound ones, used where nobody knows of netspec."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.codegen.source import class_name, module_name
from netspec.compile import compile_spec
from netspec.layers import Activation, BatchNorm, Conv, Dense, Dropout, Flatten
from netspec.reference import evaluate
from netspec.spec.load import load_spec
from netspec.spec.model import VerifySettings
from netspec.verify import verify
from netspec.verify.budget import budget, predict
from netspec.verify.compare import compare
from netspec.verify.inputs import hard_inputs
from netspec.weights import draw
from tests.cases import chain

MOST_MACS = 200_000_000
"""Of the zoo those whose reference takes seconds; `test_zoo` has the others."""
SPECS = [
    path
    for path in sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))
    if compile_spec(load_spec(path)).macs <= MOST_MACS
]
OFTEN = ("digits-cnn", "mnist-nin", "unet")
"""Those that are used without netspec each time; the others by the large suite."""
NETWORK = chain(
    "small-net",
    (6, 6, 2),
    (Conv(filters=4, kernel=3), Activation(function="relu")),
    (Conv(filters=4, kernel=3), Activation(function="relu")),
    BatchNorm(),
    Flatten(),
    Dropout(rate=0.3),
    (Dense(units=3), Activation(function="softmax")),
)
WEIGHTS = draw(NETWORK, 3)
SETTINGS = VerifySettings(inputs=2)
ONNX, ARCHIVE = "small-net.onnx", "small-net.keras"


@pytest.fixture(scope="module")
def exported(workers, tmp_path_factory):
    """A function that gives the folder of sound artefacts of a backend."""
    made: dict[str, Path] = {}

    def folder_of(backend: str) -> Path:
        if backend not in made:
            made[backend] = tmp_path_factory.mktemp(backend)
            arguments = {"network": NETWORK, "weights": WEIGHTS, "settings": ExportSettings()}
            workers[backend].call("export", folder=made[backend], **arguments)
        return made[backend]

    return folder_of


@pytest.fixture
def verdict_after(workers, exported, tmp_path):
    """A function that changes a copy of a backend's artefacts and verifies them."""

    def judged(backend: str, change):
        shutil.copytree(exported(backend), tmp_path / backend)
        change(tmp_path / backend)
        [verdict] = verify(NETWORK, WEIGHTS, tmp_path, SETTINGS, {backend: workers[backend]}).backends
        return verdict

    return judged


def test_sound_artefacts_pass(backend, verdict_after):
    verdict = verdict_after(backend, lambda folder: None)
    assert verdict.passed, verdict.failures


def blames(verdict, *said: str) -> None:
    """The failures say exactly these things, in this order."""
    assert not verdict.passed
    found = [f"{failure.symptom} {failure.row or '-'}: {failure.message}" for failure in verdict.failures]
    assert len(found) == len(said), found
    for text, message in zip(said, found, strict=True):
        assert text in message, found


# What is done to a file's bytes, whichever file it is.
FILES = {
    "torch": ["small_net.py", "weights.safetensors"],
    "keras": ["small_net.py", ARCHIVE],
    "onnx": [ONNX],
}


@pytest.mark.parametrize(("backend_name", "file"), [(name, file) for name, files in FILES.items() for file in files])
def test_a_missing_file_is_one_failure(verdict_after, backend_name, file):
    verdict = verdict_after(backend_name, lambda folder: (folder / file).unlink())
    blames(verdict, f"file -: {file} is missing")


@pytest.mark.parametrize(
    ("backend_name", "file"), [("torch", "weights.safetensors"), ("keras", ARCHIVE), ("onnx", ONNX)]
)
def test_a_truncated_file_is_one_failure(verdict_after, backend_name, file):
    def cut(folder: Path) -> None:
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: len(content) * 2 // 3])

    blames(verdict_after(backend_name, cut), f"file -: {file} cannot be read")


def test_a_truncated_source_is_named(verdict_after):
    def cut(folder: Path) -> None:
        lines = (folder / "small_net.py").read_text().splitlines(keepends=True)
        (folder / "small_net.py").write_text("".join(lines[:-1]))

    verdict = verdict_after("torch", cut)
    assert verdict.failures[-1].symptom == "file"
    assert "lines, exported were" in verdict.failures[-1].message


# torch


def tensors(change):
    """A change of the state dict."""

    def apply(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        state = load_file(folder / "weights.safetensors")
        change(state)
        save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, folder / "weights.safetensors")

    return apply


def source(before: str, after: str):
    """A change of the emitted source, which must have what is replaced."""

    def apply(folder: Path) -> None:
        [path] = folder.glob("*.py")
        text = path.read_text(encoding="utf-8")
        assert before in text, text
        path.write_text(text.replace(before, after, 1), encoding="utf-8")

    return apply


def swap(state):
    state["conv_2.weight"] = state["conv_2.weight"][[1, 0, 2, 3]]


def poison(state):
    state["dense_1.weight"][0, 0] = np.nan


def widen(state):
    state.update({name: array.astype(np.float64) for name, array in state.items() if array.dtype == np.float32})


@pytest.mark.parametrize(
    ("change", "row", "said"),
    [
        (
            tensors(swap),
            "conv_2",
            ["value conv_2: conv_2.kernel came back with 72 of 144 numbers", "value -: small_net"],
        ),
        (
            tensors(poison),
            "dense_1",
            ["value dense_1: dense_1.kernel came back with 1 of", "not finite -: small_net.py"],
        ),
        (tensors(widen), "conv_1", ["value conv_1: conv_1.kernel came back as float64, given was float32; so did"]),
        (source("eps=0.001", "eps=0.1"), None, ["value -: small_net.py, loaded", "file -: small_net.py, line"]),
        (source("0.3, self.training", "0.5, self.training"), None, ["file -: small_net.py, line"]),
        (source("momentum=0.0", "momentum=0.5"), None, ["file -: small_net.py, line"]),
        (source('"""', '"""A note. '), None, ["file -: small_net.py, line 1, has"]),
        (source("from torch import", "import netspec\nfrom torch import"), None, ["file -: small_net.py, line"]),
    ],
    ids=["swapped", "nan", "float64", "epsilon", "dropout", "momentum", "docstring", "import"],
)
def test_changed_torch_files(verdict_after, change, row, said):
    verdict = verdict_after("torch", change)
    blames(verdict, *said)
    assert verdict.first_row == row


# Keras


def archive(config=None, weights=None):
    """A change of an archive: of its configuration, layer by layer, or of its weights, as an HDF5 file."""

    def apply(folder: Path) -> None:
        with zipfile.ZipFile(folder / ARCHIVE) as members:
            parts = {name: members.read(name) for name in members.namelist()}
        if config is not None:
            tree = json.loads(parts["config.json"])
            config({layer["name"]: layer["config"] for layer in tree["config"]["layers"]})
            parts["config.json"] = json.dumps(tree).encode()
        if weights is not None:
            import h5py

            content = io.BytesIO(parts["model.weights.h5"])
            with h5py.File(content, "r+") as file:
                weights(file)
            parts["model.weights.h5"] = content.getvalue()
        with zipfile.ZipFile(folder / ARCHIVE, "w") as members:
            for name, part in parts.items():
                members.writestr(name, part)

    return apply


def kernel(file, layer):
    return file[f"layers/{layer}/vars/0"]


def swap_kernel(file):
    kept = kernel(file, "conv2d_1")
    kept[...] = kept[...][..., [1, 0, 2, 3]]


def poison_kernel(file):
    kernel(file, "dense")[0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "row", "said"),
    [
        (
            archive(weights=swap_kernel),
            "conv_2",
            [
                "value conv_2: conv_2.kernel came back with 72 of 144 numbers",
                f"value -: {ARCHIVE}",
                "value -: small_net.py",
            ],
        ),
        (
            archive(weights=poison_kernel),
            "dense_1",
            [
                "value dense_1: dense_1.kernel came back with 1 of",
                f"not finite -: {ARCHIVE}",
                "not finite -: small_net.py",
            ],
        ),
        (
            archive(lambda layers: layers["batch_norm_1"].update(epsilon=0.1)),
            None,
            [f"value -: {ARCHIVE}, loaded", f"file -: {ARCHIVE}: config/layers/batch_norm_1/config/epsilon is 0.1"],
        ),
        (
            archive(lambda layers: layers["dropout_1"].update(rate=0.9)),
            None,
            [f"file -: {ARCHIVE}: config/layers/dropout_1/config/rate is 0.9, exported was 0.3"],
        ),
        (
            archive(lambda layers: layers["batch_norm_1"].update(momentum=0.5)),
            None,
            [f"file -: {ARCHIVE}: config/layers/batch_norm_1/config/momentum is 0.5, exported was 0.99"],
        ),
        (source("0.3", "0.5"), None, ["file -: small_net.py, line"]),
        (source("import keras", "import netspec\nimport keras"), None, ["file -: small_net.py, line"]),
    ],
    ids=["swapped", "nan", "epsilon", "dropout", "momentum", "dropout in the module", "import"],
)
def test_changed_keras_files(verdict_after, change, row, said):
    verdict = verdict_after("keras", change)
    blames(verdict, *said)
    assert verdict.first_row == row


# ONNX


def graph(change):
    """A change of the file's protobuf message."""

    def apply(folder: Path) -> None:
        import onnx

        model = onnx.load(folder / ONNX)
        change(model)
        onnx.save(model, folder / ONNX)

    return apply


def initializer(name, changed):
    def change(model) -> None:
        from onnx import numpy_helper

        [tensor] = [tensor for tensor in model.graph.initializer if tensor.name == name]
        tensor.CopyFrom(numpy_helper.from_array(changed(numpy_helper.to_array(tensor).copy()), name))

    return graph(change)


def not_a_number(array):
    array.flat[0] = np.nan
    return array


def epsilon(model):
    [node] = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    [attribute] = [attribute for attribute in node.attribute if attribute.name == "epsilon"]
    attribute.f = 0.1


def rename(model):
    def renamed(name):
        return {model.graph.input[0].name: "pixels", model.graph.output[0].name: "scores"}.get(name, name)

    for node in model.graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    model.graph.output[0].name = "scores"
    model.graph.input[0].name = "pixels"


def tell(key, value):
    def change(model):
        [found] = [each for each in model.metadata_props if each.key == key]
        found.value = value

    return graph(change)


def fixed_batch(model):
    size = model.graph.input[0].type.tensor_type.shape.dim[0]
    size.Clear()
    size.dim_value = 9


def without_rectifier(model):
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    for reader in model.graph.node:
        reader.input[:] = [node.input[0] if name == node.output[0] else name for name in reader.input]
    model.graph.node.remove(node)


@pytest.mark.parametrize(
    ("change", "row", "said"),
    [
        (
            initializer("conv_2.kernel", lambda array: array[[1, 0, 2, 3]]),
            "conv_2",
            ["value conv_2: conv_2.kernel came back with 72 of 144 numbers", f"value -: {ONNX}, loaded"],
        ),
        (
            initializer("dense_1.kernel", not_a_number),
            "dense_1",
            ["value dense_1: dense_1.kernel came back with 1 of", f"not finite -: {ONNX}, loaded"],
        ),
        (graph(epsilon), None, [f"value -: {ONNX}, loaded", "attributes/epsilon is 0.1"]),
        (graph(without_rectifier), None, [f"value -: {ONNX}, loaded", f"file -: {ONNX}: nodes is"]),
        (graph(fixed_batch), None, ["shape/0 is 9, exported was 'batch'"]),
        (tell("netspec.digest", "0"), None, [f"file -: {ONNX}: metadata/netspec.digest is '0', exported was"]),
        (tell("netspec.name", "other"), None, ["metadata/netspec.name is 'other', exported was 'small-net'"]),
        (tell("netspec.classes", '["z"]'), None, ["metadata/netspec.classes is"]),
        (tell("netspec.layout", "chwn"), None, ["file -: small-net.onnx: the metadata 'netspec.layout' is 'chwn'"]),
    ],
    ids=["swapped", "nan", "epsilon", "no relu", "batch", "digest", "name", "classes", "layout"],
)
def test_changed_onnx_file(verdict_after, change, row, said):
    verdict = verdict_after("onnx", change)
    blames(verdict, *said)
    assert verdict.first_row == row


def test_other_names_of_inputs_and_outputs_are_found_in_onnx(verdict_after):
    verdict = verdict_after("onnx", graph(rename))
    said = [failure.message for failure in verdict.failures if failure.symptom == "file"]
    assert f"{ONNX}: inputs/input/name is 'pixels', exported was 'input'" in said
    assert any("name is 'scores', exported was 'output'" in message for message in said)


# The same files where netspec and the other frameworks cannot be imported.

ALONE = """
import sys


class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("netspec") or name.split(".")[0] in {refused!r}:
            raise ImportError(f"{{name}} is not for this program")


sys.meta_path.insert(0, Refusal())
sys.path[:] = [place for place in sys.path if place]
import numpy as np

inputs = np.load("inputs.npy")
{program}
np.save("output.npy", output)
"""
PROGRAMS = {
    "torch": """
import importlib.util

import safetensors.torch
import torch

spec = importlib.util.spec_from_file_location("{module}", "torch/{module}.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = module.{class_name}()
model.load_state_dict(safetensors.torch.load_file("torch/weights.safetensors"))
model.eval()
axes = (0, inputs.ndim - 1, *range(1, inputs.ndim - 1))
output = model(torch.from_numpy(np.ascontiguousarray(inputs.transpose(axes)))).detach().numpy()
""",
    "keras": """
import importlib.util

import keras

spec = importlib.util.spec_from_file_location("{module}", "keras/{module}.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = module.build_model()
model.load_weights("keras/{name}.keras")
output = np.stack([
    keras.ops.convert_to_numpy(made(inputs, training=False))
    for made in (keras.saving.load_model("keras/{name}.keras"), model)
])
""",
    "onnx": """
import onnxruntime

session = onnxruntime.InferenceSession("onnx/{name}.onnx", providers=["CPUExecutionProvider"])
axes = (0, inputs.ndim - 1, *range(1, inputs.ndim - 1))
[output] = session.run(None, {{session.get_inputs()[0].name: np.ascontiguousarray(inputs.transpose(axes))}})
assert "torch" not in sys.modules and "onnx" not in sys.modules
""",
}
REFUSED = {
    "torch": ("keras", "tensorflow", "jax", "onnx", "onnx_ir", "onnxruntime", "onnxscript"),
    "keras": ("torch", "jax", "onnx", "onnx_ir", "onnxruntime", "safetensors"),
    "onnx": ("torch", "keras", "tensorflow", "jax", "onnx", "onnx_ir", "safetensors"),
}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=() if path.stem in OFTEN else pytest.mark.large) for path in SPECS],
)
def test_artefacts_need_their_framework_alone(workers, backend, path, tmp_path):
    network = compile_spec(load_spec(path))
    weights, inputs = draw(network, 5), hard_inputs(network, 1, seed=2)
    folder = tmp_path / backend
    folder.mkdir()
    workers[backend].call("export", network=network, weights=weights, folder=folder, settings=ExportSettings())
    np.save(tmp_path / "inputs.npy", inputs["input"])
    names = {"name": network.name, "module": module_name(network.name), "class_name": class_name(network.name)}
    text = ALONE.format(refused=REFUSED[backend], program=PROGRAMS[backend].format(**names))
    (tmp_path / "program.py").write_text(text, encoding="utf-8")
    # `-P` and the folder: nothing of this checkout is found by accident.
    done = subprocess.run(
        [sys.executable, "-P", "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    last = network.rows[-1].name
    reference = {last: evaluate(network, weights, inputs)[last]}
    granted = budget(reference[last], predict(network, weights, inputs, reference)[last])
    found = np.load(tmp_path / "output.npy")
    for output in found if backend == "keras" else [found]:
        if output.ndim > 2 and backend != "keras":
            output = np.moveaxis(output, 1, -1)  # as torch and the ONNX file have it
        agreed = compare(reference[last], output, granted)
        assert agreed.symptom is None, agreed
