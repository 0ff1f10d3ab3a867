"""The PyTorch source: what it looks like, what tools say to it, and that no text of a user becomes code."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from netspec_torch.render import render
from ruff import find_ruff_bin

from netspec.codegen.source import LINE_LENGTH, module_name
from netspec.compile import compile_spec
from netspec.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    MaxPool,
    Permute,
    PReLU,
    SeparableConv,
)
from netspec.network import Network
from netspec.spec.load import load_spec, parse_spec
from netspec.tensors import TensorType
from tests.cases import LAYER_CASES, chain, make_node

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"

CROOKED = compile_spec(
    parse_spec(
        """
name: crooked
about: everything that PyTorch does another way
input: 17x16x3
classes: [a, b, c, d, e, f, g, h]
layers:
  - Rescale
  - Normalize     | mean=[0.4, 0.5, 0.6], std=[0.1, 0.1, 0.2]
  - CNN           | 4, (3,3)  | leaky_relu(0.2) | stride=2, padding=same
  - LayerNorm
  - LayerNorm     | axis=[1, 2, 3], center=false
  - PReLU
  - SeparableConv | 6, (3,3)  | -               | padding=same, multiplier=2
  - AvgPool       | 3         | -               | stride=2, padding=same
  - MaxPool       | 3         | -               | stride=2, padding=same
  - up: ConvTranspose | 3, 3 | - | stride=2, padding=same
  - ConvTranspose | 5, 1      | -               | stride=3, output_padding=2
  - Permute       | (2,1,3)
  - BatchNorm     | -         | gelu(tanh)      | momentum=0.9, epsilon=1e-5
  - FNN           | 4         | softmax(axis=1) | bias=false, every_position=true
  - Crop
  - ZeroPad       | ((0,1),(2,0))
  - Upsample      | (2,3)
  - Resize        | (5,4)
  - Resize        | (2,4)     | -               | mode=nearest
  - Flatten
  - Reshape       | (4,8)
  - GlobalAvgPool | -         | log_softmax
""",
        "crooked.yaml",
    )
)


UNCOMMON, BLOCKS = (compile_spec(load_spec(GOLDEN / f"{name}.yaml")) for name in ("uncommon", "blocks"))


def specs() -> list[Path]:
    found = sorted((ROOT / "specs").glob("*.yaml"))
    assert found
    return found


def compiled(name: str) -> Network:
    return compile_spec(load_spec(ROOT / "specs" / f"{name}.yaml"))


def ruff(command: str, source: str, *options: str) -> str:
    run = [find_ruff_bin(), command, "--isolated", *options, "-"]
    done = subprocess.run(run, input=source, capture_output=True, encoding="utf-8", check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    "network", [compiled("cifar10-cnn"), CROOKED, UNCOMMON, BLOCKS], ids=lambda network: network.name
)
def test_golden(network):
    path = GOLDEN / f"torch_{network.name}.py.txt"
    source = render(network).source
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (["a: Split | 2, 0", "b: Split | 2, 1, from=input"], ["a, x = input.chunk(2, 1)"]),
        (["a: Split | 2, 1", "b: Split | 2, 0, from=input"], ["a = input.chunk(2, 1)[1]", "x = input.chunk(2, 1)[0]"]),
        (["a: Split | 3, 0", "b: Split | 3, 1, from=input"], ["a = input.chunk(3, 1)[0]", "x = input.chunk(3, 1)[1]"]),
    ],
)
def test_all_parts_of_a_split_are_taken_at_once(rows, lines):
    text = "\n".join(f"  - {row}" for row in [*rows, "Add | from=[a, b]"])
    source = render(compile_spec(parse_spec(f"name: x\ninput: 3x4x6\nlayers:\n{text}\n", "x.yaml"))).source
    body = source.partition("def forward")[2].splitlines()[1:-1]
    assert [line.strip() for line in body] == lines


def test_golden_adds_up():
    source = (GOLDEN / "torch_cifar10-cnn.py.txt").read_text(encoding="utf-8")
    weights = 0
    for channels, filters, kernel in re.findall(r"nn\.Conv2d\((\d+), (\d+), (\d+)\)", source):
        weights += int(channels) * int(filters) * int(kernel) ** 2 + int(filters)
    for given, units in re.findall(r"nn\.Linear\((\d+), (\d+)\)", source):
        weights += (int(given) + 1) * int(units)
    statistics = sum(2 * int(channels) for channels in re.findall(r"nn\.BatchNorm2d\((\d+)", source))
    weights += statistics  # gamma and beta
    assert f"{weights + statistics:,} weights, {weights:,} trained" in source
    assert (weights + statistics, statistics) == (91146, 320)


def test_tools_find_nothing(tmp_path):
    """Every spec and every case of every layer: ruff's default rules are content, and its formatter too."""
    networks = [CROOKED, UNCOMMON, *(case.network() for case in LAYER_CASES)]
    networks += [compile_spec(load_spec(path)) for path in specs()]
    for network in networks:
        source = render(network).source
        assert imports(source) == {"torch"}, network.name
        assert max(map(len, source.splitlines())) <= LINE_LENGTH, network.name
        (tmp_path / f"{module_name(network.name)}.py").write_text(source, encoding="utf-8")
    for command in (["check"], ["format", "--diff"]):
        run = [find_ruff_bin(), *command, "--isolated", "--no-cache", tmp_path]
        done = subprocess.run(run, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stdout


def imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_only_what_differs_from_torch_is_said():
    network = chain(
        "defaults",
        (8, 8, 3),
        Conv(filters=4, kernel=(3, 3), padding="same"),
        BatchNorm(epsilon=1e-5, momentum=0.9),
        AvgPool(size=(2, 2), stride=(2, 2)),
        Flatten(),
        (Dense(units=2), Activation(function="leaky_relu", slope=0.01)),
    )
    source = render(network).source
    assert "nn.Conv2d(3, 4, 3, padding=1)" in source
    assert "nn.BatchNorm2d(4)" in source
    assert "F.avg_pool2d(x, 2)" in source
    assert "F.leaky_relu(self.dense_1(x))" in source


def test_permutes_cancel():
    """Two LayerNorms in a row are computed channels last, with one permute before and one after them."""
    source = render(chain("twice", (5, 4, 3), Conv(filters=4, kernel=1), LayerNorm(), LayerNorm(), PReLU())).source
    assert source.count(".permute(0, 2, 3, 1)") == 1
    assert source.count(".permute(0, 3, 1, 2)") == 1


def test_an_exchange_of_axes_that_is_only_another_order_is_none():
    source = render(chain("swap", (9, 4), LayerNorm(), Permute(order=(2, 1)), Conv(filters=3, kernel=2))).source
    assert source.count("permute") == 1
    assert "self.layer_norm_1(x.permute(0, 2, 1))" in source


def test_a_flat_end_is_not_permuted():
    source = render(chain("flat", (5, 4, 3), GlobalAvgPool(keepdims=True), Flatten(), Dense(units=2))).source
    assert "permute" not in source


def test_logits_only_before_softmax_and_sigmoid():
    def methods(*rows):
        tree = ast.parse(render(chain("head", (4,), *rows)).source)
        return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    assert methods((Dense(units=2), Activation(function="softmax"))) == {"__init__", "logits", "forward"}
    assert methods(Dense(units=1), Activation(function="sigmoid")) == {"__init__", "logits", "forward"}
    assert methods((Dense(units=2), Activation(function="relu"))) == {"__init__", "forward"}


def branched() -> Network:
    """A value that two later rows read: the first of them is a row that nothing reads."""
    given = TensorType((6, 5, 3))
    conv = make_node("stem", Conv(filters=4, kernel=3), "input", given, "stem")
    side = make_node("side", MaxPool(), "stem", conv.output, "side")
    norm = make_node("norm", LayerNorm(), "stem", conv.output, "norm")
    return Network("branched", {"input": given}, (conv, side, norm), {"output": "norm"})


def test_an_output_that_no_row_reads_has_its_own_variable():
    text = """
input: 8
outputs: {first: first, second: second}
layers:
  - trunk: FNN | 4 | ReLU
  - first: FNN | 3 | Sigmoid
  - second: FNN | 2 | Softmax | from=trunk
"""
    source = render(compile_spec(parse_spec(text, "two.yaml"))).source
    assert "first = torch.sigmoid(self.first(trunk))" in source
    assert "return first, x" in source


def test_a_value_with_several_readers_has_its_own_variable():
    source = render(branched()).source
    assert "stem = self.stem(x)" in source
    assert "side = F.max_pool2d(stem, 2)" in source
    assert "self.norm(stem.permute(0, 2, 3, 1))" in source


def test_names_that_differ_in_signs_are_variables_of_their_own():
    text = """
input: 8
layers:
  - sum: FNN | 8
  - sum_: FNN | 8
  - less: Subtract | from=[sum, sum_]
  - more: Add | from=[sum, sum_, less]
"""
    source = render(compile_spec(parse_spec(text, "signs.yaml"))).source
    assert "less = sum_ - sum__" in source or "x = sum_ - sum__" in source


HOSTILE = 'a"""\nimport os  # noqa\r\u2028\u202e\\'


def test_no_text_of_a_user_becomes_code():
    network = chain("quiet", (6, 6, 2), Conv(filters=2, kernel=3, stride=2, padding="same"))
    nodes = tuple(replace(node, text=f"fmt: off {HOSTILE} torch.x F.y") for node in network.nodes)
    plain = ast.parse(render(network).source)
    loud = render(replace(network, nodes=nodes, about=HOSTILE, classes=(HOSTILE, "b"), name=HOSTILE))
    tree = ast.parse(loud.source)
    assert ruff("check", loud.source) == ""
    assert ruff("format", loud.source, "--diff") == ""
    assert imports(loud.source) == {"torch"}
    assert [type(node) for node in tree.body if not isinstance(node, ast.Assign)] == [type(n) for n in plain.body]
    [classes] = [node for node in tree.body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(classes.value) == (HOSTILE, "b")


@pytest.mark.parametrize(
    ("name", "module", "class_name"),
    [("f", "f", "FNet"), ("tensor", "tensor", "TensorNet"), ("torch", "torch_net", "TorchNet")],
)
def test_names_that_would_hide_others(name, module, class_name):
    rendering = render(chain(name, (3,), Dense(units=2)))
    assert (rendering.module, rendering.class_name) == (module, class_name)


def test_an_attribute_that_is_taken_gets_another_name():
    given = TensorType((6, 6, 2))
    dense = make_node("a_depthwise", Conv(filters=2, kernel=1), "input", given, "a_depthwise")
    separable = make_node("a", SeparableConv(filters=2, kernel=3), "a_depthwise", dense.output, "a")
    rendering = render(Network("clash", {"input": given}, (dense, separable), {"output": "a"}))
    assert rendering.placements["a_depthwise.kernel"].name == "a_depthwise.weight"
    assert rendering.placements["a.depthwise"].name == "a__depthwise.weight"
    assert rendering.attributes == {"a_depthwise": "a_depthwise", "a__depthwise": "a", "a__pointwise": "a"}


def test_a_parameter_hides_no_method_of_a_module():
    text = """
input: 8
blocks:
  leak: {parameters: {state_dict: 0.5}, layers: ["FNN | 8 | leaky_relu(state_dict)"]}
layers:
  - leak
  - leak | 0.25
"""
    source = render(compile_spec(parse_spec(text, "leaks.yaml"))).source
    assert "self.state_dict_ = state_dict" in source
    assert "self.state_dict =" not in source


@pytest.mark.parametrize("module", ["line", "rules.conv", "rules.image", "rules.shape"])
def test_examples_in_docstrings(module):
    tested = doctest.testmod(importlib.import_module(f"netspec_torch.{module}"))
    assert tested.attempted
    assert not tested.failed


def test_rendering_needs_no_torch():
    program = (
        "import sys\n"
        "from netspec_torch import backend\n"
        "from netspec_torch.render import render\n"
        "from tests.cases import LAYER_CASES\n"
        "render(LAYER_CASES[0].network())\n"
        "backend.versions()\n"
        "assert not {'torch', 'keras', 'onnx'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
