"""The language of sizes: cells that compute with the shape of a row, `input.channels`."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.errors import SpecError
from netspec.network import Network
from netspec.spec.format import format_spec
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.write import write_yaml


def network(text: str) -> Network:
    return compile_spec(parse_spec(text, "x.yaml"))


def shapes(text: str) -> dict[str, str]:
    return {node.name: str(node.output) for node in network(text).nodes}


def said(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        network(text)
    return str(caught.value)


GATE = """
  gate:
    parameters: {reduction: 4}
    layers:
      - mean: GlobalAvgPool | keepdims=true
      - less: CNN | input.channels//reduction, 1 | ReLU
      - more: CNN | input.channels, 1 | Sigmoid
      - Multiply | from=[input, more]
"""


def test_a_block_names_the_channels_that_it_was_given():
    text = f"input: 9x7x16\nblocks:{GATE}layers:\n  - a: gate\n  - CNN | 24, 1\n  - b: gate | 3\n"
    found = shapes(text)
    assert [found[name] for name in ("a.less", "a.more", "b.less", "b.more")] == ["1x1x4", "1x1x16", "1x1x8", "1x1x24"]


def test_inner_blocks_name_what_they_themselves_were_given():
    text = f"""
input: 9x7x6
blocks:{GATE}
  unit:
    layers:
      - wide: CNN | 4*input.channels, 3 | ReLU
      - gate | input.channels//3
      - wide_again: CNN | input.channels, 1
layers:
  - unit: unit | repeat=2
"""
    found = shapes(text)
    assert found["unit_2.wide"] == "5x3x24"
    assert found["unit_2.gate_1.less"] == "1x1x12"  # of 24 channels, by 6 // 3
    assert found["unit_2.wide_again"] == "5x3x6"


def test_every_repetition_has_its_own_size():
    text = """
input: 9x7x6
blocks:
  half: {layers: ['CNN | input.channels//2, 1 | ReLU']}
  grow: {layers: [{new: 'CNN | 2, 1'}, 'Concat | from=[input, new]']}
  both: {layers: ['grow | repeat=input.channels', 'half']}
layers:
  - both: both | repeat=2
"""
    found = shapes(text)
    assert found["both_1.half_1.conv_1"] == "9x7x9"  # 6 and 6 times 2
    assert found["both_2.half_1.conv_1"] == "9x7x13"  # 9 and 9 times 2, halved


def test_a_condition_may_ask_for_a_size():
    text = """
input: 9x7x6
blocks:
  unit:
    parameters: {filters: int}
    layers:
      - body: CNN | filters, 3 | - | padding=same
      - way: CNN | filters, 1 | - | from=input, when=input.channels!=filters
      - Add | from=[body, way]
layers:
  - same: unit | 6
  - other: unit | 8
"""
    found = shapes(text)
    assert "same.way" not in found
    assert found["other.way"] == "9x7x8"


@pytest.mark.parametrize(
    ("given", "axes"),
    [
        ("9x7x6", {"height": 9, "width": 7, "channels": 6}),
        ("5x9x7x6", {"depth": 5, "height": 9, "width": 7, "channels": 6}),
        ("9x6", {"length": 9, "channels": 6}),
        ("6", {"channels": 6}),
    ],
)
def test_axes_have_names(given, axes):
    for axis in ("depth", "height", "width", "length", "channels"):
        text = f"input: {given}\nlayers:\n  - Flatten\n  - FNN | input.{axis}\n"
        if axis in axes:
            assert shapes(text)["dense_1"] == str(axes[axis])
        else:
            assert f"input is {given}, which has no {axis}\n  hint: it has {', '.join(axes)}" in said(text)


def test_any_name_that_could_be_read_has_a_size():
    text = f"""
inputs: {{left: 9x7x6, right: 8x8x3}}
blocks:{GATE}
  pair: {{inputs: [a, b], layers: [{{few: 'CNN | b.channels, 1, from=a'}}, {{more: 'CNN | b.height, 1'}}, Flatten]}}
layers:
  - pair: pair | from=[left, right]
  - whole: FNN | pair.channels//8
  - seen: CNN | left.width, 3 | prelu | from=right
  - gate: gate
  - gone: CNN | 99, 1 | - | when=false
  - wide: CNN | gate.channels*gone.channels, 1 | - | repeat=2
  - last: CNN | wide.height, 1
outputs: [whole, last]
"""
    # `b` of the block is read by no row of it: nothing but its size matters.
    found = shapes(text)
    assert (found["pair.few"], found["pair.more"], found["whole"]) == ("9x7x3", "9x7x8", "63")
    assert (found["seen"], found["wide_2"], found["last"]) == ("6x6x7", "6x6x49", "6x6x6")


def test_sizes_survive_the_notations():
    text = (
        f"name: x\ninput: 9x7x16\nblocks:{GATE}layers:\n  - a: gate | input.channels/8\n  - CNN | (a.channels+2)*3, 1\n"
    )
    wanted = network(text).digest
    for form in ("pipes", "mapping", "table"):
        assert network(format_spec(text, "x.yaml", form)).digest == wanted
    resolved = resolved_spec(parse_spec(text, "x.yaml"))
    assert "channels" not in str(resolved)
    assert network(write_yaml(resolved)).digest == wanted


BASE = """
name: trunk
input: 32x32x3
blocks:
  half: {layers: ['CNN | input.channels//2, 1', 'CNN | input.height//4, 3 | - | stride=2']}
layers:
  - stem: CNN | 4*input.channels, 3
  - body: half | repeat=2
  - large: CNN | 5, 7
  - CNN | large.channels, 1 | - | repeat=2
  - GlobalAvgPool
  - FNN | 10
"""


def test_a_base_has_the_sizes_of_its_new_input(tmp_path: Path):
    (tmp_path / "trunk.yaml").write_text(BASE)
    (tmp_path / "x.yaml").write_text("input: 20x20x3\nbase: {spec: trunk.yaml, output: body_1}\nlayers: [Flatten]\n")
    found = {node.name: str(node.output) for node in compile_spec(load_spec(tmp_path / "x.yaml")).nodes}
    assert (found["body_1.conv_1"], found["body_1.conv_2"]) == ("18x18x6", "8x8x4")
    assert "large" not in found  # 7x7 of 4x4 pixels would not fit, and nothing computes with it


def test_what_is_wrong_above_is_said_once():
    text = "input: 9x7x6\nlayers:\n  - a: CNN | 4, 33\n  - b: CNN | a.channels, 1\n  - c: CNN | b.channels, 1\n"
    assert said(text).splitlines() == [
        "x.yaml:3:14: layers.0.a: kernel 33x33 is larger than its input 9x7x6",
        "  hint: padding=same, or a smaller kernel",
    ]
    repeated = text.replace("b: CNN | a.channels, 1", "b: CNN | 4, 1 | - | repeat=a.channels")
    assert "the shape of 'a' is not known here" in said(repeated)
    assert "larger than its input" in said(repeated)


def test_a_row_that_is_left_out_may_name_another():
    text = """
input: 9x7x6
layers:
  - sum: Add | from=[input, input], when=false
  - CNN | sum.channels, 1 | - | when=false
  - CNN | 2, 1
"""
    assert list(shapes(text)) == ["conv_2"]
    assert "the row 'sum' is left out" in said(text.replace("1 | - | when=false", "1"))


@pytest.mark.parametrize("word", ["in_channels", "channels", "input_channels", "input.chanels"])
def test_other_words_are_taken_for_it(word):
    assert "'input.channels'" in said(f"input: 9x7x6\nlayers:\n  - CNN | {word}//2, 1\n")


@pytest.mark.parametrize(
    ("section", "where"),
    [
        ("variables: {w: 2*input.channels}", "variables.w"),
        ("defaults: {CNN: {filters: input.channels}}", "defaults.CNN.filters"),
        ("blocks: {b: {parameters: {n: input.channels//4}, layers: [ReLU]}}", "blocks.b.parameters.n"),
    ],
)
def test_only_rows_compute_with_sizes(section, where):
    found = said(f"input: 9x7x6\n{section}\nlayers:\n  - CNN | 4, 1\n")
    assert f"{where}: input.channels is the size of a row, with which only the cells of rows below it" in found


def test_there_is_no_size_of_a_row_below_or_outside():
    assert "own.channels is the size of a row that there is not" in said(
        "input: 9x7x6\nlayers:\n  - CNN | own.channels, 1\n"
    )
    below = said("input: 9x7x6\nlayers:\n  - CNN | last.channels, 1\n  - last: ReLU\n")
    assert "last.channels is the size of a row below" in below
    outside = said(
        "input: 9x7x6\nblocks: {b: {layers: ['CNN | stem.width, 1']}}\nlayers:\n  - stem: CNN | 4, 1\n  - b\n"
    )
    assert "stem.width is the size of a row outside of the block" in outside
