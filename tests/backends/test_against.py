"""Files that others made, held against a spec: stock torch, Keras and ONNX wrote them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.backend import ExportSettings, OnnxExport
from netspec.backend.worker import Worker
from netspec.layers import BatchNorm, Conv, Dense, Flatten
from netspec.layers.activation import Activation
from netspec.network import Network
from netspec.verify.inputs import biting_weights
from tests.cases import chain
from tests.stock_models import (
    RELU,
    SOFTMAX,
    against,
    attribute,
    good,
    keras_files,
    network,
    node_of,
    spoilt,
    torch_files,
    write_ours,
)

__all__ = ["good", "keras_files", "torch_files"]  # the fixtures

pytest.importorskip("torch")
pytest.importorskip("keras")
pytest.importorskip("onnx")


def imported(path: Path) -> Any:
    from netspec.importing import load_weights

    return load_weights(path, network())


# What is equal


@pytest.mark.parametrize("name", ["model.pt", "model.pt2", "model.onnx", "64.pt2", "16.pt2"])
def test_what_torch_wrote_is_equal(good, name):
    file = against(good / name)
    assert file.passed, file.failures
    assert file.weights == ("its own, matched by the graph and the shapes" if "onnx" in name else
                            "its own, matched by order and shape")  # fmt: skip
    if name == "model.pt":
        assert file.runtime == "the emitted torch module"
        assert any("it holds weights and no model" in note for note in file.notes)
    if name == "model.onnx":
        assert "input image, the spec's input: channels first" in file.notes
    if name.startswith("16"):
        assert any("float16" in note for note in file.notes)


def test_what_keras_wrote_is_equal(keras_files, tmp_path):
    folder = keras_files(tmp_path)
    for name in ("model.keras", "model.weights.h5"):
        file = against(folder / name)
        assert file.passed, file.failures
    assert "input picture, the spec's input: channels last" in against(folder / "model.keras").notes


def test_a_folded_file_needs_to_be_told_its_weights(good):
    refused = against(good / "folded.onnx")
    assert [(each.stage, each.symptom) for each in refused.failures] == [("build", "weights")]
    assert not refused.differs
    assert "the numbers of its BatchNorms 'batch_norm_1' were put together" in refused.failures[0].message
    assert "--weights FILE gives what they were before" in refused.failures[0].message
    assert refused.outputs, "all else was compared"
    file = against(good / "folded.onnx", weights=imported(good / "model.pt"), given="those of model.pt")
    assert file.passed, file.failures
    assert file.weights == "those of model.pt"
    assert any("a fixed batch of 1" in note for note in file.notes)


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> tuple[Path, Any]:
    return write_ours(tmp_path_factory.mktemp("ours"))


def test_our_own_file_is_equal(ours):
    path, weights = ours
    assert against(path).passed
    assert against(path, weights=weights).passed


def test_constants_of_operators_are_no_weights(tmp_path):
    """The bounds of a ReLU6 in a block have a dot in their names, as weights have."""
    net = network()
    named = {node.name: f"block.{node.name}" for node in net.nodes}
    nodes = tuple(
        replace(
            node,
            name=named[node.name],
            row=f"block.{node.row}",
            inputs=tuple(named.get(name, name) for name in node.inputs),
            weights=tuple(replace(weight, name=f"block.{weight.name}") for weight in node.weights),
            layer=Activation(function="relu6") if node.layer == RELU else node.layer,
        )
        for node in net.nodes
    )
    net = replace(net, nodes=nodes, outputs={"output": nodes[-1].name})
    with Worker("onnx") as worker:
        weights = biting_weights(net, 3)
        worker.call("export", network=net, weights=weights, folder=tmp_path, settings=ExportSettings())
    file = against(tmp_path / "net.onnx", net)
    assert file.passed, file.failures
    assert file.weights == "its own, matched by name"


# What differs, where and why


def test_another_epsilon_is_found_in_a_program(torch_files, tmp_path):
    file = against(torch_files(tmp_path, epsilon=1e-3) / "model.pt2")
    assert (file.passed, file.differs, file.first_row, file.alone) == (False, True, "batch_norm_1", True)
    assert file.cause is not None
    assert (file.cause.name, file.cause.fields) == ("another epsilon", {"epsilon": "0.001"})
    found = {row.row: row for row in file.rows}
    assert found["conv_1"].passed
    assert (found["batch_norm_1"].passed, found["batch_norm_1"].whole) == (False, False)
    assert found["batch_norm_1"].value == "batch_norm"


def test_another_activation_is_found_between_weights(torch_files, tmp_path):
    folder = torch_files(tmp_path, slope=0.01)
    for name in ("model.pt2", "model.onnx"):
        file = against(folder / name)
        assert file.first_row == "batch_norm_1", name
        assert file.cause is not None
        assert file.cause.fields == {"activation": "leaky_relu(0.01)"}


def test_a_folded_file_is_looked_into_as_well(torch_files, tmp_path):
    folder = torch_files(tmp_path, slope=0.01)
    file = against(folder / "folded.onnx", weights=imported(folder / "model.pt"))
    assert file.first_row == "batch_norm_1"
    assert file.cause is not None
    assert file.cause.fields == {"activation": "leaky_relu(0.01)"}


def fold_convolutions(model: Any) -> None:
    """What exporters do that leave a BatchNorm behind a dense layer, or behind what others read too, as it is."""
    from onnx import numpy_helper

    graph, held = model.graph, {each.name: each for each in model.graph.initializer}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        host = next(node for node in graph.node if norm.input[0] in node.output)
        readers = sum(norm.input[0] in node.input for node in graph.node)
        shown = norm.input[0] in [output.name for output in graph.output]
        if host.op_type != "Conv" or readers + shown > 1:
            continue
        gamma, beta, mean, var = (numpy_helper.to_array(held[name]) for name in norm.input[1:])
        factor = gamma / np.sqrt(var + np.float32(attribute(norm, "epsilon").f))
        kernel, bias = (numpy_helper.to_array(held[name]) for name in host.input[1:])
        for name, array in zip(
            host.input[1:], (kernel * factor.reshape(-1, 1, 1, 1), (bias - mean) * factor + beta), strict=True
        ):
            held[name].CopyFrom(numpy_helper.from_array(array, name))
        for name in norm.input[1:]:
            graph.initializer.remove(held[name])
        host.output[0] = norm.output[0]
        graph.node.remove(norm)


def test_some_batch_norms_may_be_folded_and_others_not(tmp_path):
    net = chain(
        "partly",
        (6, 5, 3),
        Conv(filters=4, kernel=3, padding="same"),
        (BatchNorm(), RELU),
        Conv(filters=4, kernel=3, padding="same"),
        BatchNorm(),
        Flatten(),
        Dense(units=5),
        (BatchNorm(), RELU),
    )
    net = replace(net, outputs={**net.outputs, "middle": "conv_2"})
    weights = biting_weights(net, 3)
    with Worker("onnx") as worker:
        worker.call("export", network=net, weights=weights, folder=tmp_path, settings=ExportSettings())
    path = spoilt(tmp_path / "partly.onnx", tmp_path / "folded.onnx", fold_convolutions)
    [failure] = against(path, net).failures
    assert failure.message.startswith("the numbers of its BatchNorms 'batch_norm_1' were put together: ")
    file = against(path, net, weights=weights)
    assert file.passed, file.failures
    other = {**weights, "batch_norm_1.gamma": weights["batch_norm_1.gamma"] * np.float32(1.001)}
    first = against(path, net, weights=other).failures[0]
    assert (first.symptom, first.row) == ("value", "conv_1")
    assert "what the given weights of 'conv_1' and 'batch_norm_1' make: 108 of 108 numbers differ" in first.message


def test_logits_are_told_from_probabilities(torch_files, keras_files, tmp_path):
    for path in (
        torch_files(tmp_path / "torch", soft=False) / "model.onnx",
        keras_files(tmp_path / "keras", activation=None) / "model.keras",
    ):
        file = against(path)
        assert not file.passed
        assert file.first_row == "dense_1"
        assert file.cause is not None
        assert file.cause.name == "activation missing"


def test_probabilities_are_told_from_logits(good):
    net = network()
    logits = replace(net, nodes=net.nodes[:-1], outputs={"output": net.nodes[-2].name})
    file = against(good / "model.pt2", logits)
    assert file.cause is not None
    assert (file.cause.name, file.cause.found) == ("an activation too many", "softmax(x @ kernel + bias)")


def test_a_model_inside_of_a_model_is_looked_into(keras_files, tmp_path):
    file = against(keras_files(tmp_path, epsilon=1e-3) / "nested.keras")
    first, second = file.cause, *(each.cause for each in file.further)
    assert first is not None
    assert (first.row, first.name, first.found) == ("conv_1", "input prepared", "reads x / 127.5 - 1")
    assert second is not None
    assert (second.row, second.name, second.fields) == ("batch_norm_1", "another epsilon", {"epsilon": "0.001"})
    assert [row.row for row in file.rows if not row.passed] == ["conv_1", "batch_norm_1"]


def test_another_epsilon_is_found_in_an_archive(keras_files, tmp_path):
    file = against(keras_files(tmp_path, epsilon=1e-3) / "model.keras")
    assert file.first_row == "batch_norm_1"
    assert file.cause is not None
    assert file.cause.fields == {"epsilon": "0.001"}


def shift_pads(model: Any) -> None:
    attribute(node_of(model, "Conv"), "pads").ints[:] = [2, 1, 0, 1]


def keep_order(model: Any) -> None:
    """Flatten without the transposition before it: channels, height, width."""
    [node] = [
        node for node in model.graph.node
        if node.op_type == "Transpose" and list(attribute(node, "perm").ints) == [0, 2, 3, 1]
    ]  # fmt: skip
    attribute(node, "perm").ints[:] = [0, 1, 2, 3]


def change_epsilon(model: Any) -> None:
    attribute(node_of(model, "BatchNormalization"), "epsilon").f = 1e-3


def lose_softmax(model: Any) -> None:
    node = node_of(model, "Softmax")
    node.op_type = "Identity"
    del node.attribute[:]


FAULTS = {
    "shifted padding": (shift_pads, "conv_1", {"padding": "((2,0),(1,1))"}),
    "another epsilon": (change_epsilon, "batch_norm_1", {"epsilon": "0.001"}),
    "flattened in another order": (keep_order, "flatten_1", {"order": "chw"}),
    "activation missing": (lose_softmax, "dense_1", {}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_our_own_file_is_found_and_named(ours, tmp_path, name):
    path, weights = ours
    change, row, fields = FAULTS[name]
    file = against(spoilt(path, tmp_path / "net.onnx", change), weights=weights)
    assert file.first_row == row, file.failures
    assert file.cause is not None
    assert (file.cause.name, file.cause.fields) == (name, fields)


def test_a_row_that_the_outputs_hide_is_found(tmp_path):
    net = chain(
        "hidden", (6, 5, 3), Conv(filters=4, kernel=3), BatchNorm(epsilon=1e-5), Flatten(), (Dense(units=3), SOFTMAX)
    )
    weights = biting_weights(net, 0)
    weights["batch_norm_1.var"] = np.ones_like(weights["batch_norm_1.var"])
    weights["dense_1.kernel"] = weights["dense_1.kernel"] * np.float32(1e4)  # so sure that nothing shows
    with Worker("onnx") as worker:
        worker.call("export", network=net, weights=weights, folder=tmp_path, settings=ExportSettings())
    assert against(tmp_path / "hidden.onnx", net).passed
    file = against(spoilt(tmp_path / "hidden.onnx", tmp_path / "bad.onnx", change_epsilon), net)
    [output] = file.outputs
    assert output.measure is not None
    assert output.measure.ratio is not None
    assert output.measure.ratio <= 1
    [failure] = file.failures
    assert (failure.symptom, failure.row) == ("value", "batch_norm_1")
    assert failure.message.endswith("its outputs hide it")
    assert file.cause is not None
    assert file.cause.fields == {"epsilon": "0.001"}


def test_weights_that_are_no_numbers_are_said(ours, tmp_path):
    def lose(model: Any) -> None:
        from onnx import numpy_helper

        [bias] = [each for each in model.graph.initializer if each.name == "conv_1.bias"]
        bias.CopyFrom(numpy_helper.from_array(np.full(8, np.nan, np.float32), bias.name))

    [failure] = against(spoilt(ours[0], tmp_path / "net.onnx", lose)).failures
    assert (failure.stage, failure.symptom) == ("build", "not finite")


def test_other_weights_than_given_are_named(ours, tmp_path):
    path, weights = ours
    other = {**weights, "conv_2.bias": weights["conv_2.bias"] + np.float32(0.5)}
    file = against(path, weights=other)
    first = file.failures[0]
    assert (first.symptom, first.row) == ("value", "conv_2")
    assert "6 of 6 numbers differ, by 0.5 at most" in first.message


# Ports


def square() -> Network:
    return chain("square", (3, 3, 3), Conv(filters=3, kernel=1), (Flatten(), RELU), Dense(units=2))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_an_ambiguous_layout_is_tried_both_ways(tmp_path, layout):
    net = square()
    with Worker("onnx") as worker:
        settings = ExportSettings(onnx=OnnxExport(layout=layout))
        worker.call("export", network=net, weights=biting_weights(net, 0), folder=tmp_path, settings=settings)
    file = against(tmp_path / "square.onnx", net)
    assert file.passed, file.failures
    word, other = ("first", "last") if layout == "nchw" else ("last", "first")
    said = f"input input: channels {word}, its shape allows channels {other} too: all were tried, this one fits best"
    assert said in file.notes


def pixel_model(path: Path, dtype: int) -> Path:
    """x -> Cast -> Flatten, of other types and names than ours, with no weights."""
    from onnx import TensorProto, helper, save_model

    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("Flatten", ["f"], ["y"])]
    given = helper.make_tensor_value_info("x", dtype, [2, 4, 5, 1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 20])
    graph = helper.make_graph(nodes, "g", [given], [result])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_file_of_bytes_and_a_fixed_batch_is_given_them(tmp_path):
    net = chain("flat", (4, 5, 1), Flatten())
    file = against(pixel_model(tmp_path / "m.onnx", 2), net)
    assert file.passed, file.failures
    assert "input x, the spec's input: channels last, uint8, a fixed batch of 2" in file.notes
    assert file.samples[0] == "pixels 1"


def test_a_type_that_nobody_reads_is_said(tmp_path):
    net = chain("flat", (4, 5, 1), Flatten())
    [failure] = against(pixel_model(tmp_path / "m.onnx", 9), net).failures
    assert (failure.stage, failure.symptom) == ("build", "unsupported")
    assert "x (bool 2x4x5x1)" in failure.message


def test_an_input_of_another_shape_is_said(good):
    other = chain("net", (12, 10, 1), Flatten())
    [failure] = against(pixel_model(good / "pixels.onnx", 1), other).failures
    assert (failure.stage, failure.symptom) == ("build", "shape")
    assert failure.message == (
        "its input x (float32 2x4x5x1) cannot be the spec's input, 12x10x1, in any order of axes"
    )
