"""Weights from ONNX files that others could have written, judged by what ONNX Runtime computes; and files that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.errors import SpecError
from netspec.importing import import_weights, load_weights
from netspec.layers import BatchNorm, Conv, Dense, Flatten, GroupNorm, LayerNorm, MaxPool, PReLU, SeparableConv
from netspec.layers.activation import Activation
from netspec.network import Network
from netspec.reference import evaluate
from netspec.weights import draw
from tests.cases import chain

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

IMAGE = (8, 6, 3)
RELU = Activation(function="relu")


def network() -> Network:
    return chain(
        "net",
        IMAGE,
        Conv(filters=4, kernel=3, padding="same"),
        (BatchNorm(), RELU),
        SeparableConv(filters=5, kernel=3, padding="same"),
        PReLU(),
        MaxPool(),
        Flatten(),
        (Dense(units=7), RELU),
        Dense(units=4),
        Dense(units=3, bias=False),
    )


def model(random, *, last: bool = False) -> onnx.ModelProto:
    """The network as another exporter may write it: numbered names, kernels in every layout that ONNX knows.

    With `last` images are flattened channels last, as exporters from TensorFlow do.
    """

    def numbers(*shape):
        return random.uniform(0.3, 1.2, shape).astype("float32") * random.choice([-1, 1], shape).astype("float32")

    def given(name, array):
        return numpy_helper.from_array(array.astype("float32") if array.dtype == np.float64 else array, name)

    variance = random.uniform(0.5, 1.5, 4).astype("float32")
    initializers = [
        given("1", numbers(4, 3, 3, 3)), given("2", numbers(4)),
        given("4", numbers(4)), given("5", numbers(4)), given("6", numbers(4)), given("7", variance),
        given("9", numbers(4, 1, 3, 3)), given("10", numbers(5, 4, 1, 1)), given("11", numbers(5)),
        given("12", numbers(5, 1, 1)),
        given("15", numbers(7, 60)), given("16", numbers(7)),
        given("18", numbers(7, 4)), given("19", numbers(4)),
        given("shape", np.array([0, -1])),
    ]  # fmt: skip
    turned = [helper.make_node("Transpose", ["pooled"], ["t"], perm=[0, 2, 3, 1])] if last else []
    nodes = [
        helper.make_node("Conv", ["image", "1", "2"], ["3"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["3", "4", "5", "6", "7"], ["8"], epsilon=1e-3),
        helper.make_node("Relu", ["8"], ["8r"]),
        helper.make_node("Conv", ["8r", "9"], ["9c"], pads=[1, 1, 1, 1], group=4),
        helper.make_node("Conv", ["9c", "10", "11"], ["11c"]),
        helper.make_node("PRelu", ["11c", "12"], ["13"]),
        helper.make_node("MaxPool", ["13"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        *turned,
        helper.make_node("Shape", ["13"], ["a dead end"]),
        helper.make_node("Reshape", ["t" if last else "pooled", "shape"], ["14"]),
        helper.make_node("Gemm", ["14", "15", "16"], ["17"], transB=1),
        helper.make_node("Relu", ["17"], ["17r"]),
        helper.make_node("MatMul", ["17r", "18"], ["18m"]),
        helper.make_node("Add", ["19", "18m"], ["20"]),
        helper.make_node("Constant", [], ["21"], value=given("21", numbers(4, 3))),
        helper.make_node("Gemm", ["20", "21"], ["out"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in (("image", ["n", 3, 8, 6]), ("out", ["n", 3]))
    ]
    graph = helper.make_graph(nodes, "others", *ends, initializer=initializers[::-1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def agree(network: Network, weights, path: Path) -> None:
    images = np.random.default_rng(6).normal(0, 1, (4, *IMAGE)).astype("float32")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [outputs] = session.run(None, {"image": images.transpose(0, 3, 1, 2)})
    *_, found = evaluate(network, weights, {"input": images}).values()
    assert np.linalg.norm(found - outputs) <= 1e-5 * np.linalg.norm(outputs)


@pytest.mark.parametrize("last", [False, True])
def test_a_file_of_others(tmp_path, last):
    path = tmp_path / "m.onnx"
    onnx.save(model(np.random.default_rng(0), last=last), path)
    found = import_weights(path, network())
    assert found.origins["separable_conv_1.pointwise"].name == "10"
    assert found.origins["dense_3.kernel"].name == "21"
    assert not found.notes
    agree(network(), found.weights, path)


def test_our_own_file_is_taken_by_name(tmp_path):
    from netspec_onnx import backend

    own = chain(
        "own",
        IMAGE,
        Conv(filters=4, kernel=3),
        BatchNorm(scale=False),
        GroupNorm(groups=2),
        GroupNorm(groups=4, center=False),
        LayerNorm(axis=(1, 2, 3)),
        SeparableConv(filters=5, kernel=3),
        Flatten(),
        Dense(units=4),
    )
    weights = draw(own, 2)
    backend.export(own, weights, tmp_path, ExportSettings())
    found = import_weights(tmp_path / "own.onnx", own)
    assert found.how == "by name"
    assert all(found.weights[name].tobytes() == weights[name].tobytes() for name in weights)


def test_a_scale_of_ones_is_none(tmp_path):
    """Exporters write one where the layer had none, for the operator wants it."""
    path, written = tmp_path / "m.onnx", model(np.random.default_rng(1))
    layers = [node.layer for node in network().nodes]
    layers[1] = BatchNorm(scale=False)
    plain = chain("net", IMAGE, *layers)
    onnx.save(written, path)
    with pytest.raises(SpecError, match="row 'batch_norm_1' needs beta, mean, var, but 8 has gamma, beta, mean, var"):
        load_weights(path, plain)
    [scale] = [tensor for tensor in written.graph.initializer if tensor.name == "4"]
    scale.CopyFrom(numpy_helper.from_array(np.ones(4, "float32"), "4"))
    onnx.save(written, path)
    agree(plain, load_weights(path, plain), path)


def test_weights_beside_the_file(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(model(np.random.default_rng(0)), path, save_as_external_data=True, location="m.data", size_threshold=60)
    agree(network(), load_weights(path, network()), path)
    (tmp_path / "m.data").write_bytes((tmp_path / "m.data").read_bytes()[:100])
    assert "is not whole" in refusal(path)


def refusal(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_weights(path, network())
    assert caught.value.exit_code == 2
    return str(caught.value)


def changed(tmp_path: Path, change) -> str:
    written = model(np.random.default_rng(0))
    change(written.graph, {tensor.name: tensor for tensor in written.graph.initializer})
    (tmp_path / "m.onnx").write_bytes(written.SerializeToString())
    return refusal(tmp_path / "m.onnx")


def test_files_that_lie(tmp_path):
    def short(_graph, tensors):
        tensors["1"].raw_data = tensors["1"].raw_data[:-4]

    def huge(_graph, tensors):
        tensors["1"].dims[:] = [10**6, 10**6, 10**6, 10**6]

    def negative(_graph, tensors):
        tensors["1"].dims[:] = [-4, 3, 3, -3]

    def whole_numbers(_graph, tensors):
        tensors["15"].CopyFrom(numpy_helper.from_array(np.ones((7, 60), "int8"), "15"))

    def escaping(_graph, tensors):
        (tmp_path.parent / "secret").write_bytes(bytes(1000))
        tensors["2"].ClearField("raw_data")
        tensors["2"].data_location = TensorProto.EXTERNAL
        tensors["2"].external_data.add(key="location", value="../secret")

    def scaled(graph, _tensors):
        graph.node[-1].attribute.append(helper.make_attribute("alpha", 0.5))

    def no_operators(graph, _tensors):
        del graph.node[:]

    def unquantized(graph, tensors):
        graph.node[0].op_type = "QLinearConv"

    assert "1 is not whole" in changed(tmp_path, short)
    assert "its tensors would take over" in changed(tmp_path, huge)
    assert "its tensors would take over" in changed(tmp_path, negative)
    assert "row 'dense_1': 15 is int8, but weights are floating point numbers" in changed(tmp_path, whole_numbers)
    assert "2 is not whole" in changed(tmp_path, escaping)
    assert "the operator out scales its kernel or its bias" in changed(tmp_path, scaled)
    assert "it has no operators" in changed(tmp_path, no_operators)
    assert "row 'conv_1': nothing in the file is its kernel 3x3x3x4 and bias 4" in changed(tmp_path, unquantized)


@pytest.mark.parametrize("rest", [0, 10, 200])
def test_truncated_files(tmp_path, rest):
    path = tmp_path / "m.onnx"
    path.write_bytes(model(np.random.default_rng(0)).SerializeToString()[:rest])
    assert "the weights cannot be read: not a whole ONNX file" in refusal(path)


@pytest.mark.parametrize("affine", [("scale", "shift"), ("scale",), ()])
def test_the_numbers_of_a_group_norm_stand_behind_its_operator(tmp_path, affine):
    """As torch.onnx.export writes one: an InstanceNormalization of the groups, with ones and zeros of its own."""
    random = np.random.default_rng(2)
    given = {
        "kernel": random.normal(size=(6, 3, 3, 3)), "ones": np.ones(2), "zeros": np.zeros(2),
        "scale": random.normal(size=(6, 1, 1)), "shift": random.normal(size=(6, 1, 1)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["a"]),
        helper.make_node("Reshape", ["a", "groups"], ["b"]),
        helper.make_node("InstanceNormalization", ["b", "ones", "zeros"], ["c"], epsilon=1e-3),
        helper.make_node("Shape", ["a"], ["whole"]),
        helper.make_node("Reshape", ["c", "whole"], ["d"]),
        *([helper.make_node("Mul", ["d", "scale"], ["e"])] if "scale" in affine else []),
        *([helper.make_node("Add", ["e", "shift"], ["f"])] if "shift" in affine else []),
        helper.make_node("Relu", ["def"[len(affine)]], ["output"]),
    ]
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in given.items()]
    tensors.append(numpy_helper.from_array(np.array([0, 2, -1]), "groups"))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("input", "output")]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "g.onnx")
    norm = GroupNorm(groups=2, epsilon=1e-3, scale="scale" in affine, center="shift" in affine)
    net = chain("net", IMAGE, Conv(filters=6, kernel=3, bias=False), (norm, RELU))
    found = load_weights(tmp_path / "g.onnx", net)
    assert len(found) == 1 + len(affine)
    np.testing.assert_array_equal(found["conv_1.kernel"], given["kernel"].transpose(2, 3, 1, 0).astype(np.float32))
    for name, ours in zip(affine, ("gamma", "beta"), strict=False):
        np.testing.assert_array_equal(found[f"group_norm_1.{ours}"], given[name].astype(np.float32).ravel())
