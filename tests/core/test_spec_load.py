"""Files, sections and overrides: what a spec holds, and what is said when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.layers import Activation
from netspec.notation import Call
from netspec.spec.load import decode, load_spec, parse_spec
from netspec.spec.model import Spec
from netspec.spec.reader import MAX_BYTES

TEXT = """\
name: small
about: a small one
input: 8x8x1
layers:
  - conv1: Conv | 4, (3,3) | ReLU
  - Flatten
  - {type: Dense, units: 10, activation: softmax}
defaults: {Conv: {padding: same, init: normal(0.02)}}
classes: [no, 1, two]
expect:
  parameters: 1_0
  shapes: {conv1: 8x8x4}
"""
GOOD = TEXT.replace("1_0", "2610")


def spec(text: str = GOOD, *overrides: str) -> Spec:
    return parse_spec(text, "f.yaml", overrides)


def problems(text: str = GOOD, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        spec(text, *overrides)
    return [str(problem) for problem in caught.value.problems]


def test_a_spec_holds_its_sections_and_their_places():
    found = spec()
    assert (found.name, found.about, found.inputs["input"].shape) == ("small", "a small one", (8, 8, 1))
    assert found.defaults == {"Conv": {"padding": "same", "init": Call("normal", (0.02,))}}
    assert found.classes == ("no", "1", "two")
    assert found.expect is not None
    assert (found.expect.parameters, found.expect.shapes) == (2610, {"conv1": (8, 8, 4)})
    assert (found.data, found.train, found.verify, found.export) == (None, None, None, None)
    assert str(found.place("expect.parameters")) == "f.yaml:11:15"
    assert str(found.place("defaults.Conv.padding")) == "f.yaml:8:28"
    assert found.place("train.epochs") is None


@pytest.mark.parametrize(
    ("written", "shape"),
    [
        ("32x32x3", (32, 32, 3)),
        ("32 x 32 x 3", (32, 32, 3)),
        ("32×32×3", (32, 32, 3)),
        ("8000x1", (8000, 1)),
        ("100", (100,)),
        ("[32, 32, 3]", (32, 32, 3)),
        ("(32, 32, 3)", (32, 32, 3)),
    ],
)
def test_shapes(written, shape):
    assert spec(GOOD.replace("8x8x1", written)).inputs["input"].shape == shape


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("0x8x1", "every size of a shape is at least 1, but '0x8x1' has 0"),
        ("-1", "every size of a shape is at least 1, but '-1' has -1"),
        ("[8, -8]", "every size of a shape is at least 1, but [8, -8] has -8"),
        ("1x2x3x4x5", "a shape has at most 4 axes without the batch, '1x2x3x4x5' has 5"),
        ("3000000000", "every size of a shape is at most 2,147,483,647"),
        ("1.5", "a shape is written 32x32x3, 100 or [32, 32, 3], not '1.5'"),
        ("{a: 1}", "a shape is written 32x32x3"),
        ("", "a shape is written 32x32x3"),
        ("9" * 30, "every size of a shape is at most 2,147,483,647"),
        ("9" * 50, "a shape is written 32x32x3"),
    ],
)
def test_shapes_that_are_none(written, message):
    [problem] = problems(GOOD.replace("8x8x1", written))
    assert problem.startswith(f"f.yaml:3:{8 if written else 7}: input: {message}")


def test_the_name_is_that_of_the_file_when_it_is_not_written():
    assert parse_spec(GOOD.replace("name: small\n", ""), "specs/other-net.yaml").name == "other-net"
    with pytest.raises(SpecError, match="the file's name '2 nets' cannot be the name of a network"):
        parse_spec(GOOD.replace("name: small\n", ""), "specs/2 nets.yaml")


@pytest.mark.parametrize("name", ["../up", "a b", "'x\"'", "é", "[a]", "", "__import__('os')", "a" * 101, ".a", "/a"])
def test_a_hostile_name_is_refused(name):
    [problem] = problems(GOOD.replace("name: small", f"name: {name}"))
    assert "cannot be the name of a network" in problem


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_text():
    text = "bogs: 1\nname: é\nlayers:\n  - CNN | (\ndefaults: {Conv: 3}\nclasses: [a, a]\n"
    text += "expect: {parameter: 1, macs: x}\ntrain: {epochs: 0}\n"
    assert [problem.split(": ")[1] for problem in problems(text)] == [
        "bogs",
        "input",
        "name",
        "layers.0",
        "defaults.Conv",
        "classes.1",
        "expect.parameter",
        "expect.macs",
        "train.epochs",
    ]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("trian: {epochs: 3}", "f.yaml:13:1: trian: unknown key 'trian'\n  hint: did you mean 'train'?"),
        ("train: {epoch: 3}", "f.yaml:13:9: train.epoch: unknown key 'epoch'\n  hint: did you mean 'epochs'?"),
        (
            "export: {onnx: {layot: nchw}}",
            "f.yaml:13:17: export.onnx.layot: unknown key 'layot'\n  hint: did you mean 'layout'?",
        ),
        ("train: {epochs: many}", "f.yaml:13:17: train.epochs: epochs must be a whole number, got many"),
        ("train: 3", "f.yaml:13:8: train: "),
        ("variabels: {a: 1}", "f.yaml:13:1: variabels: unknown key 'variabels'"),
    ],
)
def test_sections_say_what_is_wrong_in_words(section, message):
    [problem] = problems(GOOD + section + "\n")
    assert message in problem
    assert "http" not in problem


def test_overrides_replace_values_of_sections():
    found = spec(GOOD, "train.epochs=3", "input=28x28x1", "expect.shapes.conv1=28x28x4", "name=other", "data=digits")
    assert found.train is not None
    assert (found.train.epochs, found.inputs["input"].shape, found.name) == (3, (28, 28, 1), "other")
    assert found.expect is not None
    assert found.expect.shapes == {"conv1": (28, 28, 4)}


def test_overrides_reach_into_short_forms():
    text = GOOD + "data: digits\ntrain: {optimizer: adam, schedule: {step: {every: 3}}}\n"
    found = spec(text, "data.validation_split=0.2", "train.optimizer.learning_rate=0.5", "train.schedule.factor=0.25")
    assert found.data is not None
    assert found.train is not None
    assert (found.data.source, found.data.validation_split) == ("digits", 0.2)
    assert (found.train.optimizer.name, found.train.optimizer.learning_rate) == ("adam", 0.5)
    assert (found.train.schedule.name, found.train.schedule.every, found.train.schedule.factor) == ("step", 3, 0.25)


def test_an_override_does_not_reach_what_shares_its_anchor():
    text = GOOD.replace("{Conv: {padding: same, init: normal(0.02)}}", "{Conv: &x {bias: true}, Dense: *x}")
    assert spec(text, "defaults.Conv.bias=false").defaults == {"Conv": {"bias": False}, "Dense": {"bias": True}}


def test_overrides_reach_rows_by_name_and_by_index():
    found = spec(
        GOOD, "layers.conv1.filters=16", "layers.0.kernel_size=5", "layers.2.units=7", "layers.2.activation=tanh"
    ).rows
    assert found[0].size == (16, 5)
    assert (found[2].options, found[2].activation) == ({"units": 7}, "tanh")
    assert spec(GOOD, "layers.0.stride=2").rows[0].options == {"stride": 2}
    replaced = spec(GOOD, "layers.conv1=Conv | 8, 5").rows[0]
    assert (replaced.name, replaced.size, replaced.activation) == ("conv1", (8, 5), None)
    assert spec(GOOD, "layers.1.type=Dropout", "layers.1.name=drop").rows[1].name == "drop"


def test_overrides_reach_rows_by_the_names_that_show_prints():
    text = "input: 8x8x1\nlayers:\n  - Conv | 4, 3\n  - conv_2: Conv | 4, 3\n  - Conv | 4, 3\n  - relu\n"
    found = spec(text, "layers.conv_1.filters=16", "layers.conv_3.filters=32", "layers.relu_1.type=tanh").rows
    assert [row.size[0] for row in found[:3]] == [16, 4, 32]
    assert [row.name for row in found] == [None, "conv_2", None, None]
    assert found[3].type == "tanh"


@pytest.mark.parametrize("written", ["celu | 0.5", "celu | alpha=0.5", "celu | - | - | alpha=0.5"])
def test_the_argument_of_an_activation_can_be_overridden_however_it_is_given(written):
    text = f"input: 8x8x1\nlayers:\n  - Conv | 4, 3\n  - {written}\n"
    network = compile_spec(spec(text, "layers.celu_1.alpha=0.25"))
    assert network.nodes[-1].layer == Activation(function="celu", alpha=0.25)


def test_given_names_count_repetitions_and_what_the_base_has(tmp_path):
    (tmp_path / "base.yaml").write_text("input: 8x8x1\nlayers:\n  - CNN | 2, 1\n  - end: CNN | 2, 1 | repeat=2\n")
    path = tmp_path / "net.yaml"
    path.write_text(
        "base: {spec: base.yaml, output: conv_1}\nvariables: {n: 2}\nlayers:\n  - CNN | 3, 1 | repeat=n\n"
        "  - CNN | 4, 1\n  - dense: FNN | 5 | repeat=2, every_position=true\n  - FNN | 6 | every_position=true\n"
    )
    names = [row.name for row in compile_spec(load_spec(path)).rows]
    assert names == ["conv_1", "conv_2", "conv_3", "conv_4", "dense_1", "dense_2", "dense_3"]
    for override, channels in (
        ("layers.conv_2.filters=7", [2, 7, 7, 4, 5, 5, 6]),
        ("layers.conv_4.filters=7", [2, 3, 3, 7, 5, 5, 6]),
        ("layers.dense_3.units=7", [2, 3, 3, 4, 5, 5, 7]),
    ):
        assert [row.output.channels for row in compile_spec(load_spec(path, [override])).rows] == channels
    with pytest.raises(SpecError, match=r"no row named 'conv_1'\n  hint: it is a row of the base, which its variants"):
        load_spec(path, ["layers.conv_1.filters=7"])


BLOCKS = """
input: 8x8x3
blocks:
  fire:
    parameters: {squeeze: int}
    layers: |
      | layer   | type | size       | activation |
      |---------|------|------------|------------|
      | squeeze | CNN  | squeeze, 1 | ReLU       |
      | expand  | CNN  | 8, 3       |            |
      |         | CNN  | 9, 1       |            |
  many:
    parameters: {n: int}
    layers:
      - CNN | 4, 1 | repeat=n
      - CNN | 5, 1
      - last: CNN | 6, 1
layers:
  - fire2: fire | 4
  - fire3: fire | 5
  - many | 2
"""


def test_overrides_reach_the_rows_of_blocks_by_name_and_by_index():
    for override, channels in (
        ("blocks.fire.layers.expand.filters=7", [4, 7, 9, 5, 7, 9, 4, 4, 5, 6]),
        ("blocks.fire.layers.1.filters=7", [4, 7, 9, 5, 7, 9, 4, 4, 5, 6]),
        ("blocks.fire.layers.conv_1.filters=7", [4, 8, 7, 5, 8, 7, 4, 4, 5, 6]),
        ("blocks.many.layers.conv_1.filters=7", [4, 8, 9, 5, 8, 9, 7, 7, 5, 6]),
        ("blocks.fire.layers.expand=MaxPool | 2", [4, 4, 9, 5, 5, 9, 4, 4, 5, 6]),
    ):
        network = compile_spec(spec(BLOCKS, override))
        assert [row.output.channels for row in network.rows] == channels, override
        assert [row.name for row in network.rows][1] == "fire2.expand"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "layers.fire2.squeeze.filters=8",
            "'fire2' is a use of the block 'fire', whose rows are those of every use",
        ),
        ("layers.fire2.squeeze.filters=8", "hint: blocks.fire.layers.squeeze.filters changes it in all of them"),
        ("layers.fire3.expnd.filters=8", "hint: blocks.fire.layers.expand.filters changes it in all of them"),
        ("layers.fire3.zzz.filters=8", "hint: its rows are squeeze, expand, conv_1"),
        ("layers.many_1.zzz.filters=8", "hint: its rows are conv_1, last"),
        (
            "blocks.fire.layers.expnd.filters=8",
            "there is no row named 'expnd' in the block 'fire'\n  hint: did you mean 'expand'?",
        ),
        ("blocks.fier.layers.expand.filters=8", "there is no block 'fier'\n  hint: did you mean 'fire'?"),
        ("blocks.many.layers.conv_2.filters=8", "there is no row named 'conv_2' in the block 'many'"),
        ("blocks.fire.layers.7.filters=8", "there is no row 7; the last is row 2"),
    ],
)
def test_an_override_that_fits_no_row_of_a_block_is_refused(override, message):
    [problem] = problems(BLOCKS, override)
    assert message in problem


def test_an_override_may_put_a_row_in_the_place_of_a_broken_one():
    broken = GOOD.replace("- Flatten", "- Flatten | (")
    assert [row.problem is None for row in spec(broken).rows] == [True, False, True]
    assert [row.problem is None for row in spec(broken, "layers.1=Flatten").rows] == [True, True, True]


def test_everything_wrong_with_overrides_is_said_at_once():
    found = problems(
        GOOD,
        "nonsense",
        "classes.7=3",
        "layers.9.filters=3",
        "layers.conv1.a.b=1",
        "layers.0.kernel=(3",
        "train.epoch=3",
    )
    assert [problem.split(":")[1] for problem in found] == ["1", "2", "6"]
    found = problems(GOOD, "classes.7=3", "layers.9.filters=3", "layers.conv1.a.b=1", "layers.0.kernel=(3")
    assert [problem.split(":")[1] for problem in found] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("layers.flaten_1.name=f", "there is no row named 'flaten_1'\n  hint: did you mean 'flatten_1'?"),
        ("layers.zzz.name=f", "there is no row named 'zzz'\n  hint: `netspec show` prints the name of every row"),
        ("nonsense", "--set:1:1: 'nonsense' is not path=value"),
        ("=3", "--set:1:1: '=3' is not path=value"),
        ("a..b=3", "is not path=value"),
        ("trian.epochs=3", "--set:1:1: trian: unknown key 'trian'\n  hint: did you mean 'train'?"),
        ("train.epoch=3", "--set:1:7: train.epoch: unknown key 'epoch'\n  hint: did you mean 'epochs'?"),
        ("train.epochs=x", "--set:1:14: train.epochs: epochs must be a whole number, got x"),
        ("name.x=3", "--set:1:1: name.x: name is the value 'small', which has no 'x'"),
        ("classes.7=3", "'7' is no index of this list of 3"),
        (
            "layers.conv2.filters=3",
            "layers.conv2.filters: there is no row named 'conv2'\n  hint: did you mean 'conv1'?",
        ),
        ("layers.9.filters=3", "there is no row 9; the last is row 2"),
        ("layers.0.filters=(3", "--set:1:18: layers.0.filters: this '(' is never closed"),
        ("layers.0.a.b=3", "'a' has no parts of its own"),
        ("layers.0.type=3", "the type of a row is a word, not 3"),
        ("layers.0.activation=3", "3 is not an activation"),
        ("train.epochs=[", "--set:1:14: train.epochs: this '[' is never closed"),
        ("layers.0=Conv | (", "--set:1:17: layers.0: this '(' is never closed"),
    ],
)
def test_an_override_that_fits_nothing_is_refused(override, message):
    [problem] = problems(GOOD, override)
    assert message in problem


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "variables.widht=3",
            "--set:1:1: variables.widht: there is no variable 'widht'\n  hint: did you mean 'width'?",
        ),
        ("variables.zzz=3", "variables.zzz: there is no variable 'zzz'\n  hint: one of 'width', 'deep', 'wide'"),
        ("width=3", "--set:1:1: width: there is no section 'width'\n  hint: did you mean 'variables.width'?"),
        ("widht=3", "--set:1:1: widht: there is no section 'widht'\n  hint: did you mean 'variables.width'?"),
        ("variables.width=abc", "--set:1:1: variables.width: width is a number, 4 in the spec, but 'abc' is a word"),
        ("variables.width=dep", "width is a number, 4 in the spec, but 'dep' is a word\n  hint: did you mean 'deep'?"),
        (
            "variables.deep=yes",
            "--set:1:1: variables.deep: deep is true or false, true in the spec, but 'yes' is a word",
        ),
    ],
)
def test_a_variable_that_is_not_there_or_would_be_a_word_is_refused_once(override, message):
    text = "input: 8x8x3\nvariables: {width: 4, deep: true, wide: 2*width}\nlayers:\n"
    text += "  - CNN | 4*width, 3 | - | when=deep\n  - CNN | 2*width, 3\n  - CNN | wide, 1\n"
    [problem] = problems(text, override)
    assert message in problem


def test_a_variable_needs_a_section_of_variables_and_a_variant_a_variable():
    [problem] = problems(GOOD, "variables.width=3")
    assert "there is no variable 'width'\n  hint: the spec has no section `variables`" in problem
    text = f"{GOOD}variables: {{width: 1}}\nvariants: {{wide: {{variables.widht: 4}}}}\n"
    with pytest.raises(SpecError, match="there is no variable 'widht'"):
        parse_spec(text, "f.yaml", variant="wide")


@pytest.mark.parametrize("override", ["variants={}", "variants.wide.name=x", "variants.wide={variables.width: 2}"])
def test_variants_are_not_changed(override):
    text = f"{GOOD}variables: {{width: 1}}\nvariants: {{wide: {{variables.width: 4}}}}\n"
    [problem] = problems(text, override)
    assert "a variant is chosen, not changed\n  hint: what it changes can be changed itself" in problem
    path, _, value = override.partition("=")
    nested = f"{GOOD}variants: {{wide: {{{path}: {value}}}, other: {{name: y}}}}\n"
    with pytest.raises(SpecError, match="a variant is chosen, not changed"):
        parse_spec(nested, "f.yaml", variant="wide")


def test_a_path_has_so_many_parts():
    [problem] = problems(GOOD, f"train{'.a' * 5000}=3")
    assert "a path has at most 64 parts, this one 5,001" in problem


def test_no_hint_names_the_section_that_a_build_writes():
    [problem] = problems(f"{GOOD}zzzzz: 3\n")
    assert "'variables', 'blocks', 'layers'" in problem
    assert "uses" not in problem


def test_one_metric_needs_no_list():
    for written, read in (("acc", ("accuracy",)), ("[f1, auc]", ("f1", "auc"))):
        train = spec(GOOD, f"train.metrics={written}").train
        assert train is not None
        assert train.metrics == read


def test_files_that_are_no_specs(tmp_path):
    (tmp_path / "net.yaml").write_text(GOOD)
    assert load_spec(tmp_path / "net.yaml").name == "small"
    with pytest.raises(SpecError, match=r"there is no such file\n  hint: did you mean 'net.yaml'\?"):
        load_spec(tmp_path / "nett.yaml")
    with pytest.raises(SpecError) as far:
        load_spec(tmp_path / "other.yaml")  # whose ending alone is that of a file
    assert far.value.problems[0].hint is None
    with pytest.raises(SpecError, match="there is no such file"):
        load_spec(tmp_path / "none" / "nett.yaml")
    with pytest.raises(SpecError, match=r"is a folder, not a spec file\n  hint: name the file in it: net.yaml"):
        load_spec(tmp_path)
    with pytest.raises(SpecError, match=r"there is no such file|cannot be read"):
        load_spec("a\0b")
    with pytest.raises(SpecError, match="cannot be read: File name too long"):
        load_spec(tmp_path / ("a" * 300))
    (tmp_path / "latin.yaml").write_bytes("name: a\nabout: caf\xe9\n".encode("latin-1"))
    with pytest.raises(SpecError, match=r"latin.yaml:2:11: the byte 0xe9 is not UTF-8"):
        load_spec(tmp_path / "latin.yaml")
    (tmp_path / "wide.yaml").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(SpecError, match="the file is UTF-16"):
        load_spec(tmp_path / "wide.yaml")


def test_a_file_without_permission(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(SpecError, match="cannot be read: Permission denied"):
        load_spec(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError, match="is no regular file"):
        load_spec(tmp_path / "pipe.yaml")


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)  # sparse: NUL bytes, which reading would report instead
    with pytest.raises(SpecError, match=rf"has 100.0 MB; a spec has at most {MAX_BYTES / 1e6:.0f} MB"):
        load_spec(path)


def test_reading_a_spec_imports_no_framework_and_no_numpy():
    code = (
        "import sys; from netspec.spec.load import parse_spec; from netspec.compile import compile_spec\n"
        "compile_spec(parse_spec('input: 8x8x1\\nlayers: [Flatten, Dense | 3]\\nexpect: {output: 3}', 'f.yaml'))\n"
        "print([name for name in ('numpy', 'torch', 'keras', 'onnx', 'rich', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_spec_of_ten_thousand_rows():
    layers = "\n".join("  - CNN | 3, (3,3) | ReLU | padding=same" for _ in range(10_000))
    assert len(spec(f"input: 8x8x3\nlayers:\n{layers}\n").rows) == 10_000
    mappings = "\n".join(
        "  - {type: CNN, filters: 3, kernel: 3x3, activation: ReLU, padding: same}" for _ in range(10_000)
    )
    assert len(spec(f"input: 8x8x3\nlayers:\n{mappings}\n").rows) == 10_000


pieces = st.sampled_from(
    [
        *(
            "layers:\n",
            "input: ",
            "8x8",
            "  - ",
            "CNN | ",
            "32, (3,3)",
            " | ReLU",
            "x: ",
            "{type: Conv, ",
            "}",
            "(",
            "[",
            "\n",
            "=",
            "'",
        ),
        *(
            "expect: {",
            "train: {epochs: ",
            "data: ",
            "defaults: {Conv: ",
            "classes: [a, ",
            "]",
            "-1",
            "null",
            "&a ",
            "*a",
            " |\n",
            "| type |",
        ),
        *("  ", "\t", ",", "name: ", "a", "\n---\n", "é", '"', "!x ", "softmax(axis=", ")"),
    ]
)


@settings(max_examples=500)
@given(st.lists(pieces, max_size=30).map("".join))
def test_any_text_is_a_spec_or_a_spec_error(text):
    for whole in (text, f"input: 8x8x1\nlayers:\n{text}", f"input: 3\nlayers:\n  - {text}", f"{GOOD}{text}"):
        try:
            assert isinstance(spec(whole), Spec)
        except SpecError as error:
            assert error.problems  # noqa: PT017 - only some are refused


@given(st.binary(max_size=200))
def test_any_bytes_are_a_spec_or_a_spec_error(content):
    try:
        assert isinstance(spec(decode(content, "f.yaml")), Spec)
    except SpecError as error:
        assert error.problems  # noqa: PT017 - only some are refused


@settings(max_examples=300)
@given(
    st.text(max_size=30),
    st.sampled_from(["", "train.", "layers.0.", "layers.0=", "expect.shapes.", "data=", "defaults.Conv.", "input="]),
)
def test_any_override_is_taken_or_refused(text, start):
    try:
        assert isinstance(spec(GOOD, start + text), Spec)
    except SpecError as error:
        assert error.problems  # noqa: PT017 - only some are refused
