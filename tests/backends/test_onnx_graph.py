"""The ONNX file as a user meets it: names, types, metadata, and nothing that does not belong there."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from netspec_onnx import backend
from netspec_onnx.graph import BATCH, Rules, ordered
from netspec_onnx.rules import rules

from netspec import __version__
from netspec.backend import ExportSettings, OnnxExport
from netspec.compile import compile_spec
from netspec.errors import BackendError, UnsupportedError
from netspec.layers import KINDS
from netspec.spec.load import parse_spec
from netspec.verify.inputs import biting_weights
from tests.cases import LAYER_CASES

onnx = pytest.importorskip("onnx")

SPEC = """
name: tiny
about: a little of everything
input: 9x7x3
classes: [cat, dög]
layers:
  - CNN | 4, 3 | - | padding=same
  - BatchNorm | - | ReLU
  - MaxPool | 2
  - middle: CNN | 5, (3,1) | ReLU
  - SpatialDropout | 0.2
  - Flatten
  - FNN | 6 | ReLU
  - Dropout | 0.5
  - FNN | 2 | Softmax
"""
CHAIN = """
name: chain
input: 9x7x3
layers:
  - CNN | 4, 3 | ReLU
  - BatchNorm
  - MaxPool | 2
  - ZeroPad | 1
  - Crop | 1
  - Upsample | 2
  - GroupNorm | 2
  - SpatialDropout | 0.1
  - PReLU
"""
LAYOUTS = pytest.mark.parametrize("layout", ["nchw", "nhwc"])


def network_of(text):
    return compile_spec(parse_spec(text, "spec.yaml"))


def emit(text, layout="nchw"):
    """The network and its model, which went through the checker and through bytes."""
    network = network_of(text)
    model = backend.model(network, biting_weights(network, seed=3), ExportSettings(onnx=OnnxExport(layout=layout)))
    model = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.checker.check_model(model, full_check=True)
    return network, model


def sizes(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def weights(model):
    return {each.name for each in model.graph.initializer}


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def test_header():
    network, model = emit(SPEC)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 21)]
    assert model.ir_version == 10
    assert (model.producer_name, model.producer_version) == ("netspec", __version__)
    assert model.doc_string == "a little of everything"
    assert model.graph.name == "tiny"
    described = {each.key: each.value for each in model.metadata_props}
    assert described["netspec.digest"] == network.digest
    assert len(network.digest) == 64
    assert described["netspec.version"] == __version__
    assert described["netspec.opset"] == "21"
    assert described["netspec.layout"] == "nchw"
    assert json.loads(described["netspec.classes"]) == ["cat", "dög"]
    assert described["netspec.versions.onnx"] == onnx.__version__
    assert "netspec.versions.onnx-ir" in described


@LAYOUTS
def test_nodes_are_named_after_the_network(layout):
    network, model = emit(SPEC, layout)
    dropped = {"dropout_1", "spatial_dropout_1"}
    named = {node.name: node for node in model.graph.node if "/" not in node.name}
    assert list(named) == [node.name for node in network.nodes if node.name not in dropped]
    for node in model.graph.node:
        assert list(node.output) == ["output" if node is model.graph.node[-1] else node.name]
        props = {each.key: each.value for each in node.metadata_props}
        assert props["netspec.layer"] == node.name.partition("/")[0]
    assert named["conv_1"].doc_string == "CNN | 4, 3 | - | padding=same"
    assert operators(model)["Dropout"] == operators(model)["Identity"] == 0


@LAYOUTS
def test_every_value_states_its_shape(layout):
    network, model = emit(SPEC, layout)
    order = "first" if layout == "nchw" else "last"
    [given], [result] = model.graph.input, model.graph.output
    assert (given.name, sizes(given)) == ("input", [BATCH, *ordered(network.input_type, order)])
    assert (result.name, sizes(result)) == ("output", [BATCH, 2])
    stated = {
        value.name: sizes(value) for value in (*model.graph.value_info, result) if value.name not in weights(model)
    }
    assert set(stated) == {name for node in model.graph.node for name in node.output}
    for name, shape in stated.items():
        if "/" not in name:
            kind = network.types[network.outputs.get(name, name)]
            assert sorted(map(str, shape)) == sorted(map(str, [BATCH, *kind.shape])), name


def test_the_checker_compares_stated_shapes():
    """The assertion above rests on it: a stated shape that is wrong must be refused."""
    _, model = emit(SPEC)
    [stated] = [each for each in model.graph.value_info if each.name == "conv_1"]
    stated.type.tensor_type.shape.dim[1].dim_value += 1
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(model, full_check=True)


def test_weights_are_initializers_under_their_names():
    network, model = emit(SPEC)
    assert weights(model) == {weight.name for weight in network.weights()}
    assert {each.name for each in model.graph.input} == {"input"}
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    assert shapes["conv_1.kernel"] == (4, 3, 3, 3)
    assert shapes["middle.kernel"] == (5, 4, 3, 1)


def test_attributes_are_explicit():
    _, model = emit(SPEC)
    attributes = {
        node.name: {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        for node in model.graph.node
    }
    assert attributes["conv_1"] == {
        "group": 1, "kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]
    }  # fmt: skip
    assert attributes["max_pool_1"]["pads"] == [0, 0, 0, 0]
    assert attributes["dense_2_softmax"] == {"axis": 1}
    assert all("auto_pad" not in each for each in attributes.values())


def test_same_pads_stand_at_the_end():
    _, model = emit("{name: x, input: 8x6x3, layers: ['CNN | 4, 3 | - | stride=2, padding=same']}")
    [conv] = model.graph.node
    [pads] = [list(each.ints) for each in conv.attribute if each.name == "pads"]
    assert pads == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("layout", "layers", "transposes"),
    [
        ("nchw", "[CNN | 4, 3, GlobalAvgPool, FNN | 2]", 0),
        ("nhwc", "[CNN | 4, 3, GlobalAvgPool, FNN | 2]", 1),
        ("nchw", "[CNN | 4, 3, Flatten, FNN | 2]", 1),
        ("nchw", "[CNN | 4, 3, 'Flatten | order=chw', FNN | 2]", 0),
        ("nhwc", "[Rescale, Flatten, FNN | 2]", 0),
        ("nchw", "[Grayscale, Flatten]", 0),
        # There and back for each LayerNorm, but once where nothing between them cares.
        ("nchw", "[CNN | 4, 1, LayerNorm, ReLU, LayerNorm, CNN | 2, 1]", 2),
        ("nhwc", "[LayerNorm, Softmax, 'FNN | 4 | ReLU | every_position=true']", 0),
        ("nchw", "[CNN | 4, 1, 'LayerNorm | axis=(1,2,3)', CNN | 2, 1]", 0),
        ("nchw", "[CNN | 4, 1, 'Permute | (2,1,3)', CNN | 2, 1]", 1),
    ],
)
def test_transposes_only_where_needed(layout, layers, transposes):
    quoted = json.dumps([each.strip(" '") for each in _split(layers)])
    _, model = emit(f"{{name: x, input: 9x7x3, layers: {quoted}}}", layout)
    assert operators(model)["Transpose"] == transposes


def _split(layers):
    """Rows of a list in flow style: a comma before a capital letter ends one."""
    import re

    return re.split(r", (?=['A-Z])", layers.strip("[]"))


@pytest.mark.parametrize(("layout", "transposes"), [("nchw", 0), ("nhwc", 2)])
def test_a_chain_of_images_stays_in_one_order(layout, transposes):
    network, model = emit(CHAIN, layout)
    assert operators(model)["Transpose"] == transposes
    [result] = model.graph.output
    assert result.name == "output"
    assert network.outputs == {"output": "prelu_1"}
    assert sizes(result) == [BATCH, *ordered(network.output_type, "first" if layout == "nchw" else "last")]


def test_a_value_is_turned_once_for_all_of_its_readers():
    from netspec_onnx.graph import GraphBuilder

    from netspec.tensors import TensorType

    graph = GraphBuilder("float32")
    given = graph.input("input", TensorType((5, 4, 3)), "first")
    turned = graph.reorder(given, "last")
    assert turned.shape == (5, 4, 3)
    assert graph.reorder(given, "last") is turned
    assert graph.reorder(turned, "first") is given
    assert [node.op_type for node in graph.nodes] == ["Transpose"]


@LAYOUTS
def test_a_last_dropout_still_names_the_output(layout):
    _, model = emit("{name: x, input: 5x4x3, layers: ['CNN | 4, 1', 'Dropout | 0.5']}", layout)
    assert [each.name for each in model.graph.output] == ["output"]
    assert operators(model)["Dropout"] == 0
    _, model = emit("{name: x, input: 5x4x3, layers: ['Dropout | 0.5']}", layout)
    assert [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node] == [
        ("Identity", ["input"], ["output"])
    ]


def test_emission_is_deterministic():
    first, second = (emit(SPEC)[1].SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@LAYOUTS
@pytest.mark.parametrize("case", LAYER_CASES, ids=[case.id for case in LAYER_CASES])
def test_every_case_passes_the_checker(case, layout):
    """The full check infers every shape and compares it with the one that we state."""
    network = case.network()
    model = backend.model(network, biting_weights(network, seed=3), ExportSettings(onnx=OnnxExport(layout=layout)))
    onnx.checker.check_model(model, full_check=True)
    stated = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    assert stated - weights(model) == {name for node in model.graph.node for name in node.output}
    assert weights(model) >= {weight.name for weight in network.weights()}


@pytest.mark.parametrize("case", LAYER_CASES, ids=[case.id for case in LAYER_CASES])
def test_the_float64_graph_holds_no_rounded_number(case):
    """ONNX keeps float attributes in float32, so none may hold a number that float32 lacks."""
    from netspec_onnx.render import render

    network = case.network()
    rendering = render(network, biting_weights(network, seed=3), precision="float64", taps=True)
    for node in rendering.model.graph:
        for attribute in node.attributes.values():
            if attribute.type.name == "FLOAT":
                assert float(np.float32(attribute.value)) == attribute.value, (node.op_type, attribute.name)
    for value in rendering.model.graph.initializers.values():
        exact = "scales" in value.name  # whole factors, whose type the operator fixes
        assert value.dtype.name in (("FLOAT",) if exact else ("DOUBLE", "INT64")), value.name


def test_every_kind_has_a_rule():
    assert [kind for kind, layer in KINDS.items() if layer not in rules] == []


def test_a_kind_without_rule_is_named(monkeypatch):
    monkeypatch.setattr("netspec_onnx.render.rules", Rules("onnx"))
    network = network_of(SPEC)
    with pytest.raises(UnsupportedError, match="onnx has no rule for Conv"):
        backend.model(network, biting_weights(network, seed=3))


def test_a_missing_weight_is_named():
    network = network_of(SPEC)
    weights = dict(biting_weights(network, seed=3))
    del weights["middle.bias"]
    with pytest.raises(BackendError, match=r"middle\.bias"):
        backend.model(network, weights)


def test_settings_reach_the_file(tmp_path):
    network = network_of(SPEC)
    settings = ExportSettings(onnx=OnnxExport(layout="nhwc"))
    [name] = backend.export(network, biting_weights(network, seed=3), tmp_path, settings)
    assert name == "tiny.onnx"
    model = onnx.load(tmp_path / name)
    assert sizes(model.graph.input[0]) == [BATCH, 9, 7, 3]
    assert {each.key: each.value for each in model.metadata_props}["netspec.layout"] == "nhwc"


@LAYOUTS
def test_an_output_may_be_called_as_the_row_whose_activation_it_is(layout):
    text = """
input: 4x4x2
outputs: {mask: mask, score: score}
layers:
  - mask: CNN | 3, 1 | Sigmoid
  - Flatten
  - score: FNN | 2 | Softmax
"""
    network, model = emit(text, layout)
    assert network.outputs == {"mask": "mask_sigmoid", "score": "score_softmax"}
    assert [output.name for output in model.graph.output] == ["mask", "score"]
    names = [name for node in model.graph.node for name in node.output]
    assert len(names) == len(set(names))
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert producers["score"] == "Softmax"
