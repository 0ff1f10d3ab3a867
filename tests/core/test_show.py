"""The layer table, as a table that adds up, as JSON and as a flowchart: every edge of the network can be followed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from netspec.compile import compile_spec
from netspec.layers import (
    LRN,
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv,
    Dense,
    DepthwiseConv,
    InstanceNorm,
    Layer,
    LayerNorm,
    LayerScale,
    MaxPool,
    Normalize,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Rescale,
    RMSNorm,
    Slice,
    Split,
    StochasticDepth,
)
from netspec.network import Network
from netspec.report.columns import MB
from netspec.report.graph import reads
from netspec.report.mermaid import show_mermaid
from netspec.report.table import layer_text, show_json, show_text, sizes
from netspec.spec.load import load_spec, parse_spec
from netspec.tensors import TensorType
from tests.cases import chain

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SPECS = sorted((ROOT / "specs").glob("*.yaml"))


def network(name: str) -> Network:
    return compile_spec(load_spec(ROOT / "specs" / f"{name}.yaml"))


@pytest.mark.parametrize("name", ["fashion-mnist-cnn", "mnist-deep-cnn", "unet"])
def test_table_is_the_golden_one(name: str) -> None:
    assert show_text(network(name), batch=64) + "\n" == (GOLDEN / f"show-{name}.txt").read_text()


def number(text: str) -> int:
    return 0 if text == "-" else int(text.replace(",", ""))


def totals(text: str) -> dict[str, float]:
    found = re.findall(r"^([A-Z][A-Za-z/ -]*?) {2,}([\d,.]+)$", text, re.MULTILINE)
    return {name: float(value.replace(",", "")) for name, value in found}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_columns_of_the_table_add_up(path: Path) -> None:
    """Read the printed table back: nothing is computed from the network but what a reader could."""
    text, batch = show_text(compile_spec(load_spec(path)), batch=64), 64
    head, body, *_ = text.split("\n\n")
    # The lines of a block have subtotals, but no MACs; those of more names that a row reads have no numbers.
    rows = re.findall(r" ([\dx]+) +([\d,]+|-) +([\d,]+|-) +([\d,]+\.\d\d)$", body, re.MULTILINE)
    shapes = [[int(size) for size in row[0].split("x")] for row in rows]
    found = totals(text)
    assert sum(number(row[1]) for row in rows) == found["Total params"]
    assert found["Trainable params"] + found["Non-trainable params"] == found["Total params"]
    assert sum(number(row[2]) for row in rows) == found["MACs per sample"]
    assert all(
        float(row[3].replace(",", "")) == pytest.approx(prod(s) / 256, abs=0.006)
        for row, s in zip(rows, shapes, strict=True)
    )
    given = prod(int(size) for size in re.search(r"input ([\dx]+) ->", head)[1].split("x"))
    assert found["Input size"] == pytest.approx(batch * given * 4 / MB, abs=0.006)
    assert found["Forward/backward pass"] == pytest.approx(2 * batch * sum(map(prod, shapes)) * 4 / MB, abs=0.006)
    assert found["Params size"] == pytest.approx(found["Total params"] * 4 / MB, abs=0.006)
    parts = found["Input size"] + found["Forward/backward pass"] + found["Params size"]
    assert found["Estimated total size"] == pytest.approx(parts, abs=0.02)


@pytest.mark.parametrize("name", ["mobilenet-v2", "unet", "squeezenet-1.1"])
def test_the_line_of_a_block_has_what_its_rows_have_in_all(name: str) -> None:
    """Read back as printed: a line of a block ends behind its parameters, and its rows are indented."""
    _, body, *_ = show_text(network(name)).split("\n\n")
    blocks: list[tuple[str, int, list[tuple[str, int]]]] = []
    for line in body.splitlines()[2:]:
        if line[0] != " " and (found := re.search(r" ([\dx]+) +([\d,]+)$", line)):
            blocks.append((found[1], number(found[2]), []))
        elif line.startswith("  ") and (found := re.search(r" ([\dx]+) +([\d,]+|-) +([\d,]+|-) +[\d,]+\.\d\d$", line)):
            blocks[-1][2].append((found[1], number(found[2])))
    assert len(blocks) == len({use.name.partition(".")[0] for use in network(name).uses})
    for output, parameters, rows in blocks:
        assert sum(count for _, count in rows) == parameters
        assert rows[-1][0] == output


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_table_fits_a_terminal(path: Path) -> None:
    """80 columns; rows in blocks have long names, and large networks large numbers."""
    network = compile_spec(load_spec(path))
    columns = 80 if not network.uses and network.macs < 10**9 else 120
    assert max(map(len, show_text(network, batch=128).splitlines())) <= columns


def test_published_sizes_of_a_batch_of_64() -> None:
    """The summary that was published listed five rows; for those, ours gives the 4.09 MB that it printed."""
    found = network("fashion-mnist-cnn")
    ours = sizes(found, batch=64)
    assert f"{ours['Input size'] / MB:.2f}" == "0.19"
    assert f"{ours['Params size'] / MB:.2f}" == "0.08"
    listed = {"conv_1", "conv_2", "spatial_dropout_1", "dense_1", "dense_2"}
    passes = sum(2 * 64 * 4 * row.output.size for row in found.rows if row.name in listed)
    assert f"{passes / MB:.2f}" == "4.09"
    assert ours["Forward/backward pass"] > passes


def test_json_has_exactly_the_promised_keys() -> None:
    found = show_json(network("cifar10-cnn"))
    assert list(found) == ["name", "inputs", "outputs", "rows", "blocks", "totals"]
    assert (found["inputs"], found["outputs"]) == ({"input": [32, 32, 3]}, {"output": found["rows"][-1]["name"]})
    assert {tuple(row) for row in found["rows"]} == {
        ("name", "kind", "reads", "output", "parameters", "trainable", "non_trainable", "macs")
    }
    assert found["totals"] == {"parameters": 91146, "trainable": 90826, "non_trainable": 320, "macs": 4516480}
    assert found["rows"][0] == {
        "name": "conv_1",
        "kind": "Conv",
        "reads": ["input"],
        "output": [30, 30, 32],
        "parameters": 896,
        "trainable": 896,
        "non_trainable": 0,
        "macs": 30 * 30 * 32 * 27,
    }
    for key, total in found["totals"].items():
        assert sum(row[key] for row in found["rows"]) == total


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (Conv(filters=8, kernel=3), (8, 8, 3), "Conv 8, 3x3"),
        (Conv(filters=8, kernel=(3, 5), stride=2, bias=False), (8, 8, 4), "Conv 8, 3x5, stride 2, no bias"),
        (Conv(filters=8, kernel=3, stride=2, padding="same"), (8, 8, 3), "Conv 8, 3x3, stride 2, pad 0+1"),
        (Conv(filters=8, kernel=3, stride=(2, 1)), (8, 8, 3), "Conv 8, 3x3, stride 2x1"),
        (Conv(filters=6, kernel=(3, 5), padding="same", groups=3), (8, 8, 6), "Conv 6, 3x5, pad 1x2, groups 3"),
        (Conv(filters=8, kernel=3, padding="causal", dilation=2), (9, 2), "Conv 8, 3, pad 4+0, dilation 2"),
        (DepthwiseConv(kernel=3, multiplier=2), (8, 8, 3), "DepthwiseConv 3x3, multiplier 2"),
        (MaxPool(), (8, 8, 3), "MaxPool 2x2"),
        (MaxPool(size=3, stride=2), (8, 8, 3), "MaxPool 3x3, stride 2"),
        (AvgPool(padding=1, count_include_pad=True), (8, 8, 3), "AvgPool 2x2, pad 1, count include pad"),
        (BatchNorm(epsilon=1e-5), (8, 8, 3), "BatchNorm"),
        (BatchNorm(center=False), (8, 8, 3), "BatchNorm no center"),
        (MaxPool(size=3, stride=2, ceil=True), (8, 7, 3), "MaxPool 3x3, stride 2, ceil"),
        (MaxPool(size=3, stride=2, ceil=True), (9, 7, 3), "MaxPool 3x3, stride 2"),
        (AdaptiveAvgPool(size=(3, 1)), (8, 8, 3), "AdaptiveAvgPool 3x1"),
        (InstanceNorm(scale=False), (8, 8, 3), "InstanceNorm no scale"),
        (RMSNorm(), (8, 8, 3), "RMSNorm"),
        (LayerScale(), (8, 8, 3), "LayerScale"),
        (LRN(size=3, k=2.0), (8, 8, 3), "LRN 3, k 2"),
        (StochasticDepth(rate=0.1), (8, 8, 3), "StochasticDepth 0.1"),
        (Pad(padding=((1, 2), (0, 0))), (8, 8, 3), "Pad (1+2, 0)"),
        (Pad(padding=2, mode="reflect"), (8, 8, 3), "Pad 2, mode reflect"),
        (Slice(begin=-2), (8, 8, 3), "Slice 1, 3"),
        (Split(parts=4, index=1, axis=1), (8, 8, 3), "Split 4, 1, axis 1"),
        (ChannelShuffle(groups=2), (8, 8, 4), "ChannelShuffle 2"),
        (PixelShuffle(size=2), (8, 8, 4), "PixelShuffle 2"),
        (PixelUnshuffle(size=4), (8, 8, 4), "PixelUnshuffle 4"),
        (Rescale(), (8, 8, 3), "Rescale 0.003922"),
        (Normalize(mean=(0.1, 0.2, 0.3)), (8, 8, 3), "Normalize mean (0.1, 0.2, 0.3)"),
        (Activation(function="elu", alpha=0.5), (3,), "elu(0.5)"),
        (Activation(function="elu"), (3,), "elu"),
        (Activation(function="leaky_relu", slope=0.0), (3,), "leaky_relu(0)"),
        (Activation(function="gelu", approximate="tanh"), (3,), "gelu(tanh)"),
    ],
)
def test_a_layer_says_what_distinguishes_it(layer: Layer, shape: tuple[int, ...], text: str) -> None:
    resolved = layer.resolve((TensorType(shape),))
    assert layer_text(resolved, resolved.output((TensorType(shape),)).rank) == text


def test_the_axis_is_said_where_it_is_not_that_of_the_channels() -> None:
    image = TensorType((4, 5, 3))
    for layer, text in [
        (Concat(), "Concat"),
        (Concat(axis=1), "Concat axis 1"),
        (LayerNorm(), "LayerNorm"),
        (LayerNorm(axis=(1, 2, 3)), "LayerNorm axis 1x2x3"),
        (Activation(function="softmax"), "softmax"),
        (Activation(function="softmax", axis=-2), "softmax(axis=2)"),
    ]:
        assert layer_text(layer.resolve((image, image)[: layer.arity[0]]), 3) == text


# The graph


GRAPH = """
name: graph
inputs: {left: 8x8x3, right: 8x8x3}
blocks:
  unit:
    parameters: {filters: int, stride: 1}
    layers:
      - conv: CNN | filters, 3 | ReLU | padding=same, stride=stride
      - norm: BatchNorm
  pair:
    inputs: [one, other]
    layers:
      - first:  unit | 4 | - | from=one
      - second: unit | 4, 1 | - | from=other
      - sum:    Add | - | ReLU | from=[first, second]
layers:
  - stem: CNN | 3, 1 | - | from=left, frozen=true
  - both: pair | from=[stem, right]
  - gate: GlobalAvgPool | keepdims=true
  - scaled: Multiply | from=[gate, both]
  - deep: unit | 4 | repeat=2
  - head: Flatten
  - side: CNN | 1, 1 | - | from=both
outputs: {head: head, map: side}
"""


def graph() -> Network:
    return compile_spec(parse_spec(GRAPH, "graph.yaml"))


@pytest.mark.parametrize("show", [show_text, show_mermaid])
def test_a_graph_is_shown_as_the_golden_one_is(show: Callable[[Network], str]) -> None:
    suffix = "mmd" if show is show_mermaid else "txt"
    assert show(graph()) + "\n" == (GOLDEN / f"show-graph.{suffix}").read_text()


def test_a_chain_has_no_column_of_what_it_reads() -> None:
    assert not any(reads(network("cifar10-cnn")).values())
    assert "reads" not in show_text(network("cifar10-cnn"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_what_rows_are_said_to_read_is_what_they_read(path: Path) -> None:
    """From the names in the column alone, and the order of the rows, every edge of the network is found again."""
    found = compile_spec(load_spec(path))
    said, above = reads(found), tuple(found.inputs)
    results = {row.name: row.result for row in found.rows} | {use.name: use.result for use in found.uses}
    results |= {name: name for name in found.inputs}
    for row in found.rows:
        block = f"{row.name.partition('.')[0]}."
        values = tuple(results.get(f"{block}{name}") or results[name] for name in said[row.name]) or above
        assert values == row.nodes[0].inputs, row.name
        above = (row.result,)


def test_graph_as_json_names_its_blocks() -> None:
    found = show_json(graph())
    assert [block["name"] for block in found["blocks"]] == ["both", "both.first", "both.second", "deep_1", "deep_2"]
    assert found["blocks"][0] == {
        "name": "both",
        "block": "pair",
        "parameters": {},
        "reads": ["stem", "right"],
        "result": "both.sum",
    }
    assert found["outputs"] == {"head": "head", "map": "side"}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_flowchart_opens_and_closes_its_frames(path: Path) -> None:
    found = compile_spec(load_spec(path))
    lines = [line.strip() for line in show_mermaid(found).splitlines()]
    depth, boxes = 0, {}
    for line in lines:
        depth += line.startswith("subgraph ") - (line == "end")
        assert depth >= 0
        if box := re.match(r"(row_\d+)\[", line):
            boxes[box[1]] = depth
    assert depth == 0
    assert list(boxes.values()) == [len(list(found.holding(row.name))) for row in found.rows]
    arrows = [line for line in lines if "-->" in line]
    assert len(arrows) == sum(len(row.nodes[0].inputs) for row in found.rows) + len(found.outputs)


def test_no_name_can_end_a_label_or_be_marked_up() -> None:
    hostile = 'a"]; click b "x" <b>&`#quot;\n  end'
    layer = Dense(units=2)
    node = replace(chain("x", (3,), layer).nodes[0], inputs=(hostile,))
    found = Network(name=hostile, inputs={hostile: TensorType((3,))}, nodes=(node,), outputs={hostile: node.name})
    drawn = show_mermaid(found)
    assert hostile not in drawn
    title, *lines = drawn.splitlines()[1:]
    assert title == f"title: {json.dumps(hostile)}"
    for line in lines:
        assert line.count('"') in (0, 2), line
        assert "`" not in line
    assert not [line for line in lines if line.strip() == "end"]


def test_show_loads_neither_numpy_nor_rich() -> None:
    code = (
        "import sys, netspec.report.table, netspec.report.problems\n"
        "print(sorted({'numpy', 'rich', 'matplotlib', 'torch', 'keras', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
