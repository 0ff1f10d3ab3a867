"""The language of graphs: from, blocks, repeat, when, variables, variants, bases, inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.network import Network
from netspec.spec.load import load_spec, parse_spec


def compiled(text: str, *overrides: str) -> Network:
    return compile_spec(parse_spec(text, "x.yaml", overrides))


def edges(network: Network) -> dict[str, list[str]]:
    """What each row reads, by the names of inputs and rows."""
    rows = {name: name for name in network.inputs} | {row.result: row.name for row in network.rows}
    return {row.name: [rows[value] for value in row.nodes[0].inputs] for row in network.rows}


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        compiled(text)
    return [problem.message for problem in caught.value.problems]


def block(parameters: str, row: str, use: str = "tested", head: str = "") -> str:
    """A spec whose block `tested` has one row, and whose only row is `use`."""
    return f"""
input: 8x8x4
{head}
blocks:
  tested:
    parameters: {{{parameters}}}
    layers:
      - {row}
layers:
  - {use}
"""


# from, inputs, outputs


def test_a_row_reads_the_row_above_or_what_it_names():
    network = compiled("""
inputs: {left: 8x8x3, right: 8x8x5}
layers:
  - a: CNN | 4, 1 | ReLU | from=left
  - b: CNN | 4, 1 | - | from=right
  - c: Add | - | ReLU | from=[b, a]
  - d: Multiply | from=[a, a, c]
outputs: [d, b]
""")
    assert edges(network) == {"a": ["left"], "b": ["right"], "c": ["b", "a"], "d": ["a", "a", "c"]}
    assert dict(network.outputs) == {"d": "d", "b": "b"}
    assert network.nodes[-1].inputs == ("a_relu", "a_relu", "c_relu"), "what a row gives is behind its activation"


def test_outputs_have_names_of_their_own():
    network = compiled(
        "input: 6\nlayers:\n  - a: FNN | 4 | ReLU\n  - FNN | 3\noutputs: {classes: dense_1, hidden: a}\n"
    )
    assert dict(network.outputs) == {"classes": "dense_1", "hidden": "a_relu"}
    assert network.output_type.shape == (3,)


def test_the_input_is_called_input_wherever_one_is_named():
    network = compiled("input: 8x8x4\nlayers:\n  - CNN | 4, 1\n  - Add | from=[input, conv_1]\n")
    assert edges(network)["add_1"] == ["input", "conv_1"]


def test_several_inputs_make_a_row_say_which_it_reads():
    [message] = problems("inputs: {left: 4, right: 4}\nlayers:\n  - FNN | 3\n  - Add | from=[left, right]\n")
    assert message == "the first row says which of the inputs it reads: left, right"


# Blocks


def test_rows_of_a_block_are_named_after_its_use_and_its_last_row_is_its_result():
    network = compiled("""
input: 8x8x3
blocks:
  fire:
    parameters: {squeeze: int, expand: int}
    layers:
      - squeeze: CNN | squeeze, 1 | ReLU
      - left:    CNN | expand, 1  | ReLU | from=squeeze
      - right:   CNN | expand, 3  | ReLU | from=squeeze, padding=same
      - Concat | from=[left, right]
layers:
  - fire2: fire | squeeze=2, expand=3
  - fire | 4, 2
  - CNN | 1, 1 | - | from=fire2
  - Add | from=[fire_1, conv_1]
""")
    assert edges(network) == {
        "fire2.squeeze": ["input"],
        "fire2.left": ["fire2.squeeze"],
        "fire2.right": ["fire2.squeeze"],
        "fire2.concat_1": ["fire2.left", "fire2.right"],
        "fire_1.squeeze": ["fire2.concat_1"],
        "fire_1.left": ["fire_1.squeeze"],
        "fire_1.right": ["fire_1.squeeze"],
        "fire_1.concat_1": ["fire_1.left", "fire_1.right"],
        "conv_1": ["fire2.concat_1"],
        "add_1": ["fire_1.concat_1", "conv_1"],
    }
    assert [(use.name, use.block, dict(use.parameters)) for use in network.uses] == [
        ("fire2", "fire", {"squeeze": 2, "expand": 3}),
        ("fire_1", "fire", {"squeeze": 4, "expand": 2}),
    ]
    assert network.types["fire_1.concat_1"].shape == (8, 8, 4)
    assert next(network.weights()).name == "fire2.squeeze.kernel"


def test_a_block_in_a_block_and_input_by_name():
    network = compiled("""
input: 8x8x4
blocks:
  unit:
    parameters: {filters: int}
    layers:
      - conv: CNN | filters, 3 | - | padding=same
      - bn: BatchNorm
  residual:
    parameters: {filters: int}
    layers:
      - first: unit | filters
      - second: unit | 2*filters/2
      - Add | - | ReLU | from=[input, second]
layers:
  - residual | 4
""")
    assert edges(network)["residual_1.second.conv"] == ["residual_1.first.bn"]
    assert edges(network)["residual_1.add_1"] == ["input", "residual_1.second.bn"]
    assert [use.name for use in network.uses] == ["residual_1", "residual_1.first", "residual_1.second"]
    assert [use.name for use in network.holding("residual_1.first.bn")] == ["residual_1", "residual_1.first"]


def test_a_block_of_two_inputs_is_given_them_in_order():
    network = compiled("""
inputs: {deep: 4x4x3, skip: 8x8x3}
blocks:
  up:
    inputs: [below, skip]
    layers:
      - larger: Upsample | 2
      - Concat | from=[skip, larger]
layers:
  - up | from=[deep, skip]
""")
    assert edges(network) == {"up_1.larger": ["deep"], "up_1.concat_1": ["skip", "up_1.larger"]}
    [use] = network.uses
    assert (use.inputs, use.names) == (("deep", "skip"), ("below", "skip"))


@pytest.mark.parametrize(
    ("parameter", "given", "row", "taken"),
    [
        ("n: int", "3", "FNN | n | - | every_position=true", True),
        ("n: int", "6/2", "FNN | n | - | every_position=true", True),
        ("n: int", "2.5", "FNN | n | - | every_position=true", False),
        ("n: int", "true", "FNN | n | - | every_position=true", False),
        ("n: 8", "3", "FNN | n | - | every_position=true", True),
        ("n: 8", "many", "FNN | n | - | every_position=true", False),
        ("r: float", "1/4", "Dropout | r", True),
        ("r: float", "0", "Dropout | r", True),
        ("r: 0.5", "half", "Dropout | r", False),
        ("r: number", "0.25", "Dropout | r", True),
        ("b: bool", "false", "CNN | 3, 1 | - | bias=b", True),
        ("b: true", "1", "CNN | 3, 1 | - | bias=b", False),
        ("w: word", "same", "CNN | 3, 3 | - | padding=w", True),
        ("w: valid", "same", "CNN | 3, 3 | - | padding=w", True),
        ("w: valid", "3", "CNN | 3, 3 | - | padding=w", False),
        ("s: size", "(1,3)", "CNN | 3, s", True),
        ("s: size", "3x1", "CNN | 3, s", True),
        ("s: size", "3", "CNN | 3, s", True),
        ("s: [1, 3]", "[3, 1]", "CNN | 3, s", True),
        ("s: size", "wide", "CNN | 3, s", False),
    ],
)
def test_parameters_have_types(parameter, given, row, taken):
    text = block(parameter, row, f"'tested | {given}'")
    if taken:
        assert compiled(text).rows
    else:
        [message] = problems(text)
        assert f"{parameter[0]} of the block tested must be" in message


def test_defaults_of_parameters_may_use_variables():
    text = block("filters: 2*width, k: 3", "CNN | filters, k", head="variables: {width: 3}")
    assert compiled(text).types["tested_1.conv_1"].shape == (6, 6, 6)
    assert compiled(text, "variables.width=5").types["tested_1.conv_1"].shape == (6, 6, 10)


def test_a_parameter_hides_the_variable_of_its_name():
    text = block("width: int", "CNN | width, 1", "tested | 7", head="variables: {width: 3}")
    assert compiled(text).output_type.channels == 7


def test_a_word_in_quotes_is_no_name():
    text = block("same: int", "CNN | same, 3 | - | padding='same'", "tested | 5")
    assert compiled(text).output_type.shape == (8, 8, 5)


# repeat and when


def test_repeat_puts_rows_and_blocks_one_behind_the_other():
    network = compiled("""
input: 8x8x4
blocks:
  dense_layer:
    parameters: {growth: int}
    layers:
      - new: CNN | growth, 3 | - | padding=same
      - Concat | from=[input, new]
layers:
  - stem: CNN | 4, 1 | repeat=2
  - dense: dense_layer | growth=3 | repeat=3
  - CNN | 2, 1 | repeat=2
  - Concat | from=[stem, stem_1, dense, conv_2]
""")
    assert edges(network)["stem_2"] == ["stem_1"]
    assert edges(network)["dense_2.new"] == ["dense_1.concat_1"]
    assert edges(network)["concat_1"] == ["stem_2", "stem_1", "dense_3.concat_1", "conv_2"]
    assert network.types["dense_3.concat_1"].channels == 4 + 3 * 3
    assert [use.name for use in network.uses] == ["dense_1", "dense_2", "dense_3"]


def test_how_often_may_be_a_parameter():
    text = block("depth: int", "CNN | 4, 1 | repeat=depth-1", "tested | 4")
    assert [row.name for row in compiled(text).rows] == [f"tested_1.conv_{number}" for number in (1, 2, 3)]


def test_a_repeated_row_is_numbered_even_if_it_stands_once():
    assert [row.name for row in compiled("input: 4\nlayers:\n  - a: FNN | 4 | repeat=1\n").rows] == ["a_1"]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("stride>1", [2, 3]),
        ("stride>=2", [2, 3]),
        ("stride<2", [1]),
        ("stride<=2", [1, 2]),
        ("stride==2", [2]),
        ("stride!=2", [1, 3]),
        ("2*stride-1>stride+1", [3]),
        ("true", [1, 2, 3]),
        ("false", []),
    ],
)
def test_when_keeps_a_row_where_its_condition_holds(condition, kept):
    text = f"""
input: 8x8x4
blocks:
  b:
    parameters: {{stride: int}}
    layers:
      - shortcut: CNN | 4, 1 | - | when={condition}
      - Add | from=[input, shortcut]
layers:
  - b | STRIDE
"""
    for stride in (1, 2, 3):
        found = edges(compiled(text.replace("STRIDE", str(stride))))
        assert ("b_1.shortcut" in found) == (stride in kept)
        # A row that is left out stands for what it would have read.
        assert found["b_1.add_1"] == ["input", "b_1.shortcut" if stride in kept else "input"]


def test_how_often_a_row_stands_there_is_not_judged_where_it_is_left_out():
    text = block("n: int", "first: CNN | 4, 1\n      - rest: CNN | 4, 1 | - | repeat=n-1, when=n>1", "tested | TIMES")
    rows = {n: [row.name for row in compiled(text.replace("TIMES", str(n))).rows] for n in (1, 2, 3)}
    assert rows[1] == ["tested_1.first"]
    assert rows[3] == ["tested_1.first", "tested_1.rest_1", "tested_1.rest_2"]


def test_a_merge_that_is_left_out_is_as_if_it_were_not_written():
    text = """
input: 8x8x4
blocks:
  unit:
    parameters: {skip: false, again: false}
    layers:
      - inside: CNN | 4, 1
      - sum: Add | from=[input, inside], when=skip
      - after: ReLU | when=again
layers:
  - a: unit
  - b: unit | true
  - c: unit | again=true
  - BatchNorm
"""
    found = edges(compiled(text))
    assert found["b.inside"] == ["a.inside"]
    assert found["c.inside"] == ["b.sum"]
    assert found["c.after"] == ["c.inside"]
    assert found["batch_norm_1"] == ["c.after"]


def test_of_two_rows_with_opposite_conditions_one_is_there():
    text = """
input: 8x8x4
blocks:
  unit:
    parameters: {project: false}
    layers:
      - pre: BatchNorm
      - projected: CNN | 4, 1 | - | from=pre, when=project
      - inside: CNN | 4, 3 | - | padding=1, from=pre
      - changed: Add | from=[inside, projected], when=project
      - same: Add | from=[inside, input], when=project==false
layers:
  - a: unit
  - b: unit | true
  - ReLU
"""
    found = edges(compiled(text))
    assert found["a.same"] == ["a.inside", "input"]
    assert found["b.pre"] == ["a.same"]
    assert found["b.changed"] == ["b.inside", "b.projected"]
    assert found["relu_1"] == ["b.changed"]
    assert not {"a.changed", "a.projected", "b.same"} & set(found)


def test_a_row_has_the_same_name_whether_those_above_are_left_out_or_not():
    text = block("norm: true", "BatchNorm | - | - | when=norm\n      - CNN | 3, 1\n      - CNN | 3, 1", "tested | NORM")
    with_it, without = ([row.name for row in compiled(text.replace("NORM", norm)).rows] for norm in ("true", "false"))
    assert with_it == ["tested_1.batch_norm_1", *without]


def test_a_row_that_would_have_read_several_stands_for_none_of_them():
    text = """
input: 8
layers:
  - a: FNN | 8
  - b: FNN | 8
  - both: Add | from=[a, b], when=false
  - FNN | 3{}
"""
    assert edges(compiled(text.format("")))["dense_1"] == ["b"], "the row above is the last that stands for one"
    [message] = problems(text.format(" | from=both"))
    assert message == "the row 'both' is left out, and reads several rows, so that it stands for none of them"
    assert problems(text.format("") + "outputs: [both, dense_1]\n") == [message]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("input", "an output is a row, but 'input' is an input"),
        ("gone", "an output is a row, but 'gone' is left out, and stands for an input"),
    ],
)
def test_an_output_is_no_input(output, message):
    text = "input: 8\nlayers:\n  - gone: FNN | 3 | from=input, when=false\n  - a: FNN | 8\noutputs: {y: a, z: %s}\n"
    assert problems(text % output) == [message]


def test_a_block_of_which_nothing_is_left_stands_for_what_it_reads():
    text = block("on: true", "CNN | 3, 1 | - | when=on", "a: tested | false\n  - b: Add | from=[a, input]")
    network = compiled(text)
    assert edges(network) == {"b": ["input", "input"]}
    assert not network.uses


# variables, variants


def test_a_variable_may_use_those_above_it_and_be_overridden():
    text = "input: 8x8x3\nvariables: {width: 4, wide: 2*width, deep: width>3}\nlayers:\n  - CNN | wide, 1\n"
    text += "  - CNN | 3*(width+1), 1 | - | when=deep\n"
    assert [row.output.channels for row in compiled(text).rows] == [8, 15]
    assert [row.output.channels for row in compiled(text, "variables.width=2").rows] == [4]


def test_variants_change_what_their_paths_name_and_the_name():
    text = """
name: net
input: 8x8x3
variables: {width: 4}
layers:
  - head: CNN | width, 1
variants:
  small: {variables.width: 2, layers.head.kernel: 3}
  large: {input: 16x16x3}
"""
    assert compiled(text).output_type.shape == (8, 8, 4)
    small = compile_spec(parse_spec(text, "x.yaml", variant="small"))
    assert (small.name, small.output_type.shape) == ("net-small", (6, 6, 2))
    assert compile_spec(parse_spec(text, "x.yaml", variant="large")).output_type.shape == (16, 16, 4)
    # What the command line says comes over the variant.
    both = parse_spec(text, "x.yaml", ["variables.width=7"], variant="small")
    assert compile_spec(both).output_type.shape == (6, 6, 7)
    with pytest.raises(SpecError, match="there is no variant 'smal'"):
        parse_spec(text, "x.yaml", variant="smal")


@pytest.mark.parametrize("written", ["unit | 4, 3", "unit | 4 | kernel=3", "unit | filters=4, kernel=3"])
def test_what_a_row_gives_a_block_can_be_overridden_however_it_is_given(written):
    text = f"""
input: 8x8x3
blocks:
  unit: {{parameters: {{filters: int, kernel: 1}}, layers: ["CNN | filters, kernel"]}}
layers:
  - a: {written}
"""
    assert compiled(text, "layers.a.filters=6").output_type.shape == (6, 6, 6)
    assert compiled(text, "layers.a.kernel=5").output_type.shape == (4, 4, 4)
    with pytest.raises(SpecError, match="the block unit has no parameter 'filter'"):
        compiled(text, "layers.a.filter=6")


# base


TRUNK = """
name: trunk
input: 9x9x3
variables: {width: 4}
defaults: {Conv: {padding: same}}
blocks:
  unit: {parameters: {n: int}, layers: ["CNN | n, 3", "BatchNorm | - | ReLU"]}
layers:
  - stem: unit | width
  - body: unit | 2*width | repeat=2
  - flat: Flatten
  - head: FNN | 10 | Softmax
"""


@pytest.fixture
def transfer(tmp_path: Path):
    (tmp_path / "trunk.yaml").write_text(TRUNK)

    def load(text: str, **options) -> Network:
        path = tmp_path / "transfer.yaml"
        path.write_text(text)
        return compile_spec(load_spec(path, **options))

    return load


def test_rows_of_a_base_up_to_the_cut_come_first(transfer):
    network = transfer("base: {spec: trunk.yaml, output: body_1}\nlayers:\n  - CNN | 2, 3\n  - Flatten\n")
    assert network.name == "transfer"
    assert list(edges(network)) == [
        "stem.conv_1", "stem.batch_norm_1", "body_1.conv_1", "body_1.batch_norm_1", "conv_1", "flatten_1",
    ]  # fmt: skip
    assert edges(network)["conv_1"] == ["body_1.batch_norm_1"]
    # The base's own defaults hold in it, and in it alone.
    assert network.types["body_1.conv_1"].shape == (9, 9, 8)
    assert network.types["conv_1"].shape == (7, 7, 2)
    assert network.trainable == sum(weight.size for weight in network.weights() if weight.trainable)


def test_without_a_cut_a_base_gives_its_output(transfer):
    assert edges(transfer("base: {spec: trunk.yaml}\nlayers:\n  - FNN | 2\n"))["dense_1"] == ["head"]
    assert transfer("base: {spec: trunk.yaml}\n").output_type.shape == (10,)


def test_the_base_stands_where_a_row_says(transfer):
    network = transfer("""
input: 18x18x3
base: {spec: trunk.yaml, output: stem}
layers:
  - small: AvgPool | 2
  - base
  - skip: Concat | from=[small, stem]
""")
    assert edges(network)["stem.conv_1"] == ["small"]
    assert edges(network)["skip"] == ["small", "stem.batch_norm_1"]


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("true", {"stem", "body_1"}),
        ("false", set()),
        ("stem", {"stem"}),
        ("'body*'", {"body_1"}),
        ("'[b]ody_[1-3]'", {"body_1"}),
        ("[stem, body_1]", {"stem", "body_1"}),
    ],
)
def test_what_is_frozen_is_not_trained(transfer, freeze, frozen):
    network = transfer(f"base: {{spec: trunk.yaml, output: body_1, freeze: {freeze}}}\nlayers: [Flatten, FNN | 2]\n")
    found = {node.name.partition(".")[0] for node in network.nodes if node.frozen}
    assert found == frozen
    head = next(row for row in network.rows if row.kind == "Dense")
    assert head.trainable == head.parameters
    assert all(row.trainable == 0 for row in network.rows if row.nodes[0].frozen)


def test_the_row_of_the_base_may_freeze_it_and_says_nothing_else(transfer):
    text = "base: {spec: trunk.yaml, output: stem}\nlayers:\n  - base%s\n  - CNN | 2, 3\n"
    assert [node.frozen for node in transfer(text % " | frozen=true").nodes] == [True, True, True, False]
    with pytest.raises(SpecError) as caught:
        transfer(text % " | 3 | ReLU | variant=wide")
    assert [problem.message for problem in caught.value.problems] == [
        f"the row of the base says from, when and frozen, but no {cell}" for cell in ("size", "activation", "variant")
    ]


def test_so_many_specs_are_the_base_of_each_other(tmp_path):
    (tmp_path / "x0.yaml").write_text("input: 4\nlayers:\n  - r0: ReLU\n")
    for number in range(1, 34):
        text = f"base: {{spec: x{number - 1}.yaml}}\nlayers:\n  - r{number}: ReLU\n"
        (tmp_path / f"x{number}.yaml").write_text(text)
    assert len(compile_spec(load_spec(tmp_path / "x32.yaml")).nodes) == 33
    with pytest.raises(SpecError, match=r"x1.yaml:1:14: base.spec: more than 32 specs are each other's base"):
        load_spec(tmp_path / "x33.yaml")


def test_a_frozen_base_is_frozen_with_its_own_base(transfer, tmp_path):
    (tmp_path / "middle.yaml").write_text("base: {spec: trunk.yaml, output: stem}\nlayers:\n  - mid: CNN | 6, 1\n")
    network = transfer("base: {spec: middle.yaml}\nlayers:\n  - base | - | - | frozen=true\n  - CNN | 2, 3\n")
    assert [node.frozen for node in network.nodes] == [True, True, True, True, False]


def test_a_base_of_several_inputs_reads_as_many(transfer, tmp_path):
    (tmp_path / "two.yaml").write_text("inputs: {left: 4, right: 4}\nlayers:\n  - Subtract | from=[right, left]\n")
    assert edges(transfer("base: {spec: two.yaml}\n"))["subtract_1"] == ["right", "left"]
    renamed = transfer("inputs: {a: 4, b: 4}\nbase: {spec: two.yaml}\nlayers: [FNN | 2]\n")
    assert edges(renamed)["subtract_1"] == ["b", "a"]


def test_a_base_may_have_a_base_and_a_variant(transfer, tmp_path):
    (tmp_path / "middle.yaml").write_text(
        "base: {spec: trunk.yaml, output: stem}\nlayers:\n  - mid: CNN | 6, 1\n  - end: Flatten\n"
        "variants: {wide: {layers.mid.filters: 12}}\n"
    )
    network = transfer("base: {spec: middle.yaml, output: mid, variant: wide}\nlayers:\n  - Flatten\n")
    assert edges(network) == {
        "stem.conv_1": ["input"],
        "stem.batch_norm_1": ["stem.conv_1"],
        "mid": ["stem.batch_norm_1"],
        "flatten_1": ["mid"],
    }
    assert network.types["mid"].channels == 12


def test_overrides_reach_the_spec_and_not_its_base(transfer):
    text = "base: {spec: trunk.yaml, output: stem}\nlayers:\n  - top: CNN | 2, 1\n"
    assert transfer(text, overrides=["base.output=body_1"]).types["body_1.conv_1"].channels == 8
    assert transfer(text, overrides=["layers.top.filters=5"]).output_type.channels == 5


@pytest.mark.parametrize(
    "written",
    [
        "block: 'x y', parameters: {}, inputs: [input], names: [input], result: a.b",
        "block: pair, parameters: {'f=print(1)': 4}, inputs: [input], names: [input], result: a.b",
        "block: pair, parameters: {}, inputs: [input], names: ['x=1, y'], result: a.b",
        "block: pair, parameters: {}, inputs: [input], names: [], result: a.b",
        "block: pair, parameters: 3, inputs: [input], names: [input], result: a.b",
        "block: pair, inputs: [input], names: [input], result: a.b",
    ],
)
def test_what_a_build_says_of_blocks_is_held_against_the_names_that_code_may_have(written):
    text = "input: 4\nlayers:\n  - {name: a.b, type: dense, units: 4}\nuses:\n  a: {%s}\n"
    good = "block: pair, parameters: {f: 4}, inputs: [input], names: [input], result: a.b"
    assert compiled(text % good).uses[0].block == "pair"
    assert len(problems(text % written)) == 1
