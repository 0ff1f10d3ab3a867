"""The source that the Keras backend renders; nothing here imports Keras."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from netspec_keras.realised import Rendering
from netspec_keras.render import ENTRY, render, render_taps
from ruff import find_ruff_bin

from netspec.codegen.source import LINE_LENGTH
from netspec.compile import compile_spec
from netspec.layers import KINDS, Activation, AvgPool, BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, MaxPool
from netspec.network import Network
from netspec.spec.load import parse_spec
from netspec.tensors import TensorType
from tests.cases import LAYER_CASES, chain, make_node

GOLDEN = Path(__file__).parents[1] / "golden"


def compiled(text: str) -> Network:
    return compile_spec(parse_spec(text, "x.yaml"))


PLAIN = """\
name: plain-cnn
about: what a table of a course gives
input: 28x28x1
layers:
  - Rescale   | 1/255
  - CNN       | 32, (3,3) | - | padding=same
  - BatchNorm | -         | ReLU
  - MaxPool   | (2,2)
  - CNN       | 64, (5,3) | ReLU | stride=2, padding=same
  - BatchNorm | epsilon=1e-5, momentum=0.9
  - Flatten
  - FNN       | 128       | ReLU
  - Dropout   | rate = 0.5
  - FNN       | 10        | SoftMax
"""
AWKWARD = """\
name: awkward-cnn
input: 32x24x3
layers:
  - Normalize | mean=(0.485,0.456,0.406), std=(0.229,0.224,0.225)
  - CNN       | 8, 3 | leaky_relu(0.1) | stride=2, dilation=2
  - shifted: CNN | 8, 3 | ReLU | padding=((0,1),(2,1)), stride=2
  - DepthwiseConv | 3 | gelu(tanh) | stride=(1,2), padding=same
  - AvgPool   | 3 | - | padding=((0,1),(2,1)), stride=2
  - ConvTranspose | 4, 3 | ReLU | stride=2, dilation=2
  - MaxPool   | 3 | - | padding=((1,0),(0,1)), stride=2
  - PReLU
  - CNN       | 3, 1 | silu
  - Grayscale
  - Flatten   | order=chw
  - FNN       | 7, bias=false | elu(0.5)
  - FNN       | 1 | Sigmoid
"""


UNCOMMON, BLOCKS = ((GOLDEN / f"{name}.yaml").read_text(encoding="utf-8") for name in ("uncommon", "blocks"))


@pytest.mark.parametrize(
    ("name", "spec"), [("plain", PLAIN), ("awkward", AWKWARD), ("uncommon", UNCOMMON), ("blocks", BLOCKS)]
)
def test_golden(name, spec):
    assert render(compiled(spec)) == (GOLDEN / f"keras_{name}.py.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def every_case(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    for case in LAYER_CASES:
        (folder / f"{case.id.replace('-', '_')}.py").write_text(render(case.network()), encoding="utf-8")
    return folder


def test_ruff_finds_nothing(every_case):
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [find_ruff_bin(), *command, "--isolated", "--no-cache", every_case],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_only_keras_is_imported_and_all_of_it_is_used(every_case):
    for path in every_case.iterdir():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        _, *imports, function = tree.body
        names = []
        for line in imports:
            if isinstance(line, ast.ImportFrom):
                assert line.module == "keras"
            else:
                assert isinstance(line, ast.Import)
                assert [name.name for name in line.names] == ["keras"]
            names += [name.name for name in line.names]
        assert isinstance(function, ast.FunctionDef)
        assert function.name == ENTRY
        assert set(names) == {node.id for node in ast.walk(function) if isinstance(node, ast.Name)} & {
            "keras",
            "layers",
            "ops",
        }


def test_importing_the_backend_imports_no_framework():
    code = "import sys, netspec_keras.render; print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_kind_has_a_rule():
    from netspec_keras.rules import rules

    assert [kind for kind, layer in KINDS.items() if layer not in rules] == []


def lines_of(network: Network) -> list[str]:
    return [line.strip() for line in render(network).splitlines()]


def test_an_activation_is_fused_only_where_it_is_alone_and_not_the_end():
    conv, relu, softmax = Conv(filters=2, kernel=1), Activation(function="relu"), Activation(function="softmax")
    network = chain("n", (4, 4, 2), (conv, relu), (BatchNorm(), relu), Flatten(), (Dense(units=3), softmax))
    rendering = Rendering(network)
    assert dict(rendering.fused) == {"conv_1_activation": "relu"}
    assert 'x = layers.Conv2D(2, 1, activation="relu", name="conv_1")(inputs)' in lines_of(network)
    assert 'x = layers.Softmax(name="dense_1_activation")(x)' in lines_of(network)


def test_an_activation_with_an_argument_of_its_own_is_not_fused():
    network = chain("n", (4, 4, 2), (Conv(filters=2, kernel=1), Activation(function="elu", alpha=0.5)), Flatten())
    assert 'x = layers.ELU(0.5, name="conv_1_activation")(x)' in lines_of(network)


def branched() -> Network:
    """A value that two nodes read, and two outputs."""
    type_ = TensorType((6, 5, 3))
    stem = make_node("stem", Conv(filters=4, kernel=3), "input", type_, "stem")
    left = make_node("left", GlobalAvgPool(), "stem", stem.output, "left")
    right = make_node("right", Flatten(), "stem", stem.output, "right")
    return Network("branched", {"input": type_}, (stem, left, right), {"left": "left", "right": "right"})


def test_a_value_with_several_readers_has_a_variable_of_its_own():
    lines = lines_of(branched())
    assert 'stem = layers.Conv2D(4, 3, name="stem")(inputs)' in lines
    assert 'left = layers.GlobalAveragePooling2D(name="left")(stem)' in lines
    assert 'right = layers.Flatten(name="right")(stem)' in lines
    assert 'return keras.Model(inputs, [left, right], name="branched")' in lines


def test_variables_are_in_lower_case_and_keep_apart():
    type_ = TensorType((6, 5, 3))
    stem = make_node("Stem", Conv(filters=4, kernel=3), "input", type_, "Stem")
    left = make_node("IF", GlobalAvgPool(), "Stem", stem.output, "IF")
    right = make_node("stem", Flatten(), "Stem", stem.output, "stem")
    lines = lines_of(Network("n", {"input": type_}, (stem, left, right), {"IF": "IF", "stem": "stem"}))
    assert 'stem = layers.Conv2D(4, 3, name="Stem")(inputs)' in lines
    assert 'if_ = layers.GlobalAveragePooling2D(name="IF")(stem)' in lines
    assert 'stem_ = layers.Flatten(name="stem")(stem)' in lines
    assert 'return keras.Model(inputs, [if_, stem_], name="n")' in lines


def test_the_names_of_the_classes_are_there():
    network = replace(chain("n", (3,), (Dense(units=2), Activation(function="softmax"))), classes=('a"b', "c"))
    [classes] = [line for line in ast.parse(render(network)).body if isinstance(line, ast.Assign)]
    assert ast.literal_eval(classes.value) == ('a"b', "c")
    assert isinstance(classes.targets[0], ast.Name)
    assert classes.targets[0].id == "CLASSES"


def test_how_to_load_the_weights_is_said():
    said = ast.get_docstring(ast.parse(render(compiled(PLAIN)))) or ""
    assert 'model = build_model()\n    model.load_weights("plain-cnn.keras")' in said
    assert 'keras.saving.load_model("plain-cnn.keras")' in said


def test_lines_are_short():
    for network in (compiled(PLAIN), compiled(AWKWARD), *(case.network() for case in LAYER_CASES)):
        assert max(map(len, render(network).splitlines())) <= LINE_LENGTH, network.name


def test_names_that_keras_gives_itself_are_left_to_it():
    type_ = TensorType((9, 9, 2))
    conv = make_node("get_item_1", Conv(filters=2, kernel=2, stride=2, dilation=2), "input", type_, "get_item_1")
    relu = make_node("get_item_1_layer", Activation(function="relu"), "get_item_1", conv.output, "get_item_1_layer")
    network = Network("n", {"input": type_}, (conv, relu), {"output": "get_item_1_layer"})
    assert dict(Rendering(network).names) == {
        "get_item_1": "get_item_1_layer_",
        "get_item_1_layer": "get_item_1_layer",
    }
    assert Rendering(network).placements["get_item_1.kernel"].name == "get_item_1_layer_/kernel"


def test_a_helping_layer_takes_no_name_of_a_row():
    type_ = TensorType((9, 9, 2))
    conv = make_node("a", Conv(filters=2, kernel=2, padding=((2, 0), (0, 0))), "input", type_, "a")
    pool = make_node("a_pad", MaxPool(), "a", conv.output, "a_pad")
    source = render(Network("n", {"input": type_}, (conv, pool), {"output": "a_pad"}))
    assert 'name="a_pad_"' in source
    assert source.count('name="a_pad"') == 1


def test_native_padding_only_where_it_computes_the_same_pads():
    def paddings(layer, shape):
        source = render(chain("n", shape, layer))
        return "ZeroPadding" in source, 'padding="same"' in source, 'padding="causal"' in source

    assert paddings(Conv(filters=1, kernel=3, padding="same", stride=2), (8, 8, 1)) == (False, True, False)
    # stride 2 on 8 pixels: Keras' same pads (0, 1), so that (1, 1) must be explicit
    assert paddings(Conv(filters=1, kernel=3, padding=1, stride=2), (8, 8, 1)) == (True, False, False)
    assert paddings(Conv(filters=1, kernel=3, padding=1, stride=2), (7, 7, 1)) == (False, True, False)
    assert paddings(Conv(filters=1, kernel=3, padding="causal", dilation=2), (9, 1)) == (False, False, True)
    assert paddings(AvgPool(size=3, stride=2, padding="same"), (7, 7, 1)) == (False, True, False)
    assert paddings(AvgPool(size=3, stride=2, padding="same", count_include_pad=True), (7, 7, 1)) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    "about", ['"""\nimport os\n"""', "\\", 'ends with "', "two\nlines", "\u202e turned", '\\"""; import os #']
)
def test_no_text_of_a_spec_becomes_code(about):
    network = chain("n", (8, 8, 2), Conv(filters=2, kernel=3, padding=((2, 0), (0, 0))))
    [node] = network.nodes
    hostile = Network(
        network.name,
        network.inputs,
        (type(node)(*(about if field == "text" else getattr(node, field) for field in node.__slots__)),),
        network.outputs,
        about=about,
    )
    plain, odd = (ast.parse(render(given)).body[-1] for given in (network, hostile))
    assert isinstance(plain, ast.FunctionDef)
    assert isinstance(odd, ast.FunctionDef)
    assert [ast.dump(line) for line in odd.body[1:]] == [ast.dump(line) for line in plain.body[1:]]
    assert "\u202e" not in render(hostile)


def test_taps_give_the_result_of_every_row():
    network = compiled(AWKWARD)
    tree = ast.parse(render_taps(network))
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    returned = function.body[-1]
    assert isinstance(returned, ast.Return)
    assert isinstance(returned.value, ast.Call)
    outputs = returned.value.args[1]
    assert isinstance(outputs, ast.List)
    assert len(outputs.elts) == len(network.rows)
