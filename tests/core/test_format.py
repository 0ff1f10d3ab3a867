"""`netspec fmt`: rows in another notation, and nothing lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.notation import WORD, Call, Value, write_value
from netspec.spec.format import format_spec
from netspec.spec.load import parse_spec
from netspec.spec.row import Row
from netspec.spec.written import as_tuples, positional

STYLES = ("pipes", "mapping", "table")
ZOO = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))

PIPES = """\
# a spec
name: a    # its name
input:   8x8x3

layers:  # the rows
  # type         | size       | activation
  - CNN          | 32, (3,3)  # first
  - conv2: CNN   | 64, (3,3)  | leaky_relu(0.2) | stride=2, padding=((0,1),(0,1))

  # second block
  - Conv         | 32, 3      | ReLU            | padding=same, init=normal(0.02)
  - x:     Dense | 10         | softmax
  - Dropout      | rate = 0.5
  # the end

classes: [ a, b ]
"""
MAPPING = """\
# a spec
name: a    # its name
input:   8x8x3

layers:  # the rows
  # type         | size       | activation
  - {type: CNN, filters: 32, kernel: 3x3}  # first
  - conv2:
      type: CNN
      filters: 64
      kernel: 3x3
      stride: 2
      padding: [[0, 1], [0, 1]]
      activation: leaky_relu(0.2)

  # second block
  - {type: Conv, filters: 32, kernel: 3, padding: same, init: normal(0.02), activation: ReLU}
  - x: {type: Dense, units: 10, activation: softmax}
  - {type: Dropout, rate: 0.5}
  # the end

classes: [ a, b ]
"""
TABLE = """\
# a spec
name: a    # its name
input:   8x8x3

layers: |  # the rows
  | layer | type    | size       | activation      | options                         |
  |-------|---------|------------|-----------------|---------------------------------|
  # type         | size       | activation
  # first
  |       | CNN     | 32, (3,3)  | -               | -                               |
  | conv2 | CNN     | 64, (3,3)  | leaky_relu(0.2) | stride=2, padding=((0,1),(0,1)) |

  # second block
  |       | Conv    | 32, 3      | ReLU            | padding=same, init=normal(0.02) |
  | x     | Dense   | 10         | softmax         | -                               |
  |       | Dropout | rate = 0.5 | -               | -                               |
  # the end

classes: [ a, b ]
"""


def meaning(row: Row) -> tuple[object, ...]:
    """What a row says whatever the notation: its size cell by the names of the kind's fields."""
    names = positional(row.type, {})
    fields: dict[str, Value] = dict(zip(names, row.size, strict=False)) | dict(row.options)
    extra = row.size[len(names) :]
    activation: Value = row.activation
    return row.type, row.name, row.label, {name: as_tuples(value) for name, value in fields.items()}, extra, activation


def meanings(text: str) -> list[tuple[object, ...]]:
    return [meaning(row) for row in parse_spec(text, "f.yaml").rows]


@pytest.mark.parametrize(("style", "expected"), [("pipes", PIPES), ("mapping", MAPPING), ("table", TABLE)])
def test_each_notation_of_an_example(style, expected):
    assert format_spec(PIPES, "f.yaml", style) == expected
    assert format_spec(expected, "f.yaml", style) == expected


def test_the_pasted_table_of_a_document():
    text = "input: 3\nlayers: |\n  층수 | 종류 | 크기\n  1 | CNN | 32, (3,3)\n  | Flatten\n  out | FNN | 10\n# end"
    assert format_spec(text, "f", "pipes") == (
        "input: 3\nlayers:\n  - CNN      | 32, (3,3)  # layer 1\n  - Flatten\n  - out: FNN | 10\n# end"
    )
    table = (
        "input: 3\nlayers: |\n  | 층수 | 종류    | 크기      |\n  |------|---------|-----------|\n"
        "  | 1    | CNN     | 32, (3,3) |\n  |      | Flatten | -         |\n  | out  | FNN     | 10        |\n# end"
    )
    assert format_spec(text, "f", "table") == table
    back = format_spec(format_spec(text, "f", "pipes"), "f", "table")
    assert meanings(back) == meanings(text)


BLOCKS = """\
# a graph
input: 8x8x3
blocks:   # shared
  unit:
    parameters: {filters: int, stride: 1}   # what it takes
    layers:                # its rows
      # type | size
      - CNN|filters, 3|ReLU|stride=stride, padding=same   # first
      - BatchNorm   | -|-|when=stride>1
      # the end of unit

  flow: {layers: [unit | 2*3]}
  pair:
    inputs: [left, right]
    layers:
      - {type: unit, filters: 4, stride: 1, from: left}

      # side by side
      - other: {type: unit, filters: 4, from: right}
      - Concat | from=[unit_1, other]
  pasted:
    layers: |
      | type | size |
      |---|---|
      | CNN | 8/2, 1 |
    about: a table
layers:
  - a: unit|4
  - pair|-|-|from=[a, input]
"""
BLOCKS_PIPES = """\
# a graph
input: 8x8x3
blocks:   # shared
  unit:
    parameters: {filters: int, stride: 1}   # what it takes
    layers:  # its rows
      # type      | size
      - CNN       | filters, 3 | ReLU | stride=stride, padding=same  # first
      - BatchNorm | -          | -    | when=stride>1
      # the end of unit

  flow: {layers: [unit | 2*3]}
  pair:
    inputs: [left, right]
    layers:
      - unit        | 4, 1 | - | from=left

      # side by side
      - other: unit | 4    | - | from=right
      - Concat      | from=[unit_1, other]
  pasted:
    layers:
      - CNN | 8/2, 1
    about: a table
layers:
  - a: unit | 4
  - pair    | - | - | from=[a, input]
"""


def test_the_rows_of_blocks_are_formatted_too():
    assert format_spec(BLOCKS, "f", "pipes") == BLOCKS_PIPES
    assert format_spec(BLOCKS_PIPES, "f", "pipes") == BLOCKS_PIPES


def test_blocks_in_every_notation_are_the_same_network():
    digest = compile_spec(parse_spec(BLOCKS, "f.yaml")).digest
    for first in STYLES:
        written = format_spec(BLOCKS, "f", first)
        assert compile_spec(parse_spec(written, "f.yaml")).digest == digest
        for comment in ("# a graph", "# what it takes", "# first", "# the end of unit", "# side by side"):
            assert written.count(comment) == 1
        for second in STYLES:
            again = format_spec(written, "f", second)
            assert format_spec(again, "f", second) == again
            assert compile_spec(parse_spec(again, "f.yaml")).digest == digest


def test_a_spec_of_blocks_alone_is_formatted():
    text = "base: other.yaml\nblocks:\n  a:\n    layers: ['CNN|3, 1']\n"
    assert format_spec(text, "f", "pipes").endswith("    layers:\n      - CNN | 3, 1\n")


def test_a_file_of_blocks_that_specs_include_is_formatted():
    text = (
        "unit:\n  parameters: {n: int}\n  layers:\n    - CNN|n, 3\ntwo:\n  layers:\n    - {type: unit, n: 4}  # one\n"
    )
    expected = "unit:\n  parameters: {n: int}\n  layers:\n    - CNN | n, 3\ntwo:\n  layers:\n    - unit | 4  # one\n"
    assert format_spec(text, "blocks.yaml", "pipes") == expected
    assert format_spec(expected, "blocks.yaml", "mapping").endswith("    - {type: unit, n: 4}  # one\n")


def test_rows_that_stand_in_another_file_are_left_to_it(tmp_path):
    (tmp_path / "b.yaml").write_text("[Flatten]\n")
    file = str(tmp_path / "f.yaml")
    text = "input: 3\nlayers: {$include: rows.yaml}\nblocks:\n  a:\n    layers: ['CNN|3, 1']\n"
    text += "  b:\n    layers: {$include: b.yaml}\n"
    for style in STYLES:
        written = format_spec(text, file, style)
        assert "layers: {$include: rows.yaml}\n" in written
        assert "    layers: {$include: b.yaml}\n" in written
    assert "      - CNN | 3, 1\n" in format_spec(text, file, "pipes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input: 3\nlayers: {$include: r.yaml}\n", "f:2:9: layers: the rows stand in another file"),
        ("input: 3\nlayers:\n  - ReLU\n  - {$include: r.yaml}\n", "f:4:5: layers.1: the row stands in another file"),
    ],
)
def test_there_is_nothing_to_format_of_rows_in_another_file(text, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        format_spec(text, "f", "pipes")


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("      - CNN | 3, (\n", "blocks.a.layers.0: this '(' is never closed"),
        ("      - &x CNN | 3\n      - *x\n", "blocks.a.layers: line 5 has an anchor"),
        ("      - Flatten | 3\n", "blocks.a.layers: the size cell holds 3"),
    ],
)
def test_what_is_wrong_in_a_block_is_said_with_its_path(inside, message):
    text = f"input: 3\nblocks:\n  a:\n    layers:\n{inside}layers: [a]\n"
    with pytest.raises(SpecError, match=re.escape(message)):
        format_spec(text, "f", "mapping")


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
@pytest.mark.parametrize("style", STYLES)
def test_the_zoo_in_every_notation_is_the_same_network(path, style):
    text = path.read_text(encoding="utf-8")
    written = format_spec(text, str(path), style)
    assert format_spec(written, str(path), style) == written
    digests = [compile_spec(parse_spec(each, str(path))).digest for each in (text, written)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_the_zoo_is_written_as_the_formatter_writes_it(path):
    text = path.read_text(encoding="utf-8")
    styles = [style for style in STYLES if format_spec(text, str(path), style) == text]
    assert styles, f"netspec fmt {path.name} would change it"


def test_names_in_every_row_align_their_types():
    text = "input: 3\nlayers:\n- a: CNN | 1, 1 | ReLU\n- long: Flatten\n"
    assert format_spec(text, "f", "pipes") == "input: 3\nlayers:\n- a:    CNN     | 1, 1 | ReLU\n- long: Flatten\n"


WILD = """\
input: 8x8x3
layers: |
    # from the paper
    | # | **Type**  | Filters | Kernel Size | Strides | Activation |
    |---|-----------|---------|-------------|---------|------------|
    | 1 | `CNN`     | 32      | 3x3         | 1, 2    | *ReLU*     |

    # then
    | 2 | MaxPool   | —       | 2           | –       | —          |
    # | 3 | CNN | 4 |
    | 3 | **Dense** | 10      | -           | -       | softmax    |
    +---+
    # behind
name: b
"""


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (
            "pipes",
            """\
input: 8x8x3
layers:
  # from the paper
  - CNN     | 32 | ReLU    | kernel_size=3x3, strides=(1, 2)  # layer 1

  # then
  - MaxPool | -  | -       | kernel_size=2  # layer 2
  # | 3 | CNN | 4 |
  - Dense   | 10 | softmax  # layer 3
    # behind
name: b
""",
        ),
        (
            "mapping",
            """\
input: 8x8x3
layers:
  # from the paper
  - {type: CNN, filters: 32, kernel: 3x3, strides: 1x2, activation: ReLU}  # layer 1

  # then
  - {type: MaxPool, size: 2}  # layer 2
  # | 3 | CNN | 4 |
  - {type: Dense, units: 10, activation: softmax}  # layer 3
    # behind
name: b
""",
        ),
        (
            "table",
            """\
input: 8x8x3
layers: |
  | # | **Type** | Filters | Kernel Size | Strides | Activation |
  |---|----------|---------|-------------|---------|------------|
  # from the paper
  | 1 | CNN      | 32      | 3x3         | 1, 2    | ReLU       |

  # then
  | 2 | MaxPool  | -       | 2           | -       | -          |
  # | 3 | CNN | 4 |
  | 3 | Dense    | 10      | -           | -       | softmax    |
    # behind
name: b
""",
        ),
    ],
)
def test_a_table_from_the_wild_keeps_its_columns_and_comments(style, expected):
    assert format_spec(WILD, "f", style) == expected
    assert format_spec(expected, "f", style) == expected
    back = format_spec(expected, "f", "table")
    assert [row[2] for row in meanings(back)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("CNN | 32 | - | stride=2, kernel_size=3", "{type: CNN, filters: 32, kernel: 3, stride: 2}"),
        ("CNN | kernel=3", "{type: CNN, kernel: 3}"),
        (
            "{type: Conv, kernel_size: 3, strides: 2, out_channels: 4}",
            "{type: Conv, filters: 4, kernel: 3, strides: 2}",
        ),
    ],
)
def test_what_a_size_cell_may_hold_comes_first_in_a_mapping(row, expected):
    written = format_spec(f"input: 3\nlayers:\n  - {row}\n", "f", "mapping")
    assert written == f"input: 3\nlayers:\n  - {expected}\n"
    assert format_spec(written, "f", "mapping") == written


def test_words_keep_their_quotes_in_a_mapping_for_such_words_are_no_names():
    text = "input: 3\nlayers:\n  - CNN | 3, 3 | - | padding = \"same\", a='b c', b=[\"x\", 'y']\n"
    written = format_spec(text, "f", "mapping")
    assert '{type: CNN, filters: 3, kernel: 3, padding: "\\"same\\"", a: "\'b c\'", b: ["\\"x\\"", "\'y\'"]}' in written
    assert format_spec(written, "f", "mapping") == written


@pytest.mark.parametrize(
    ("notation", "yaml"),
    [
        ("((1,1),(0,2))", "[[1, 1], [0, 2]]"),
        ("((1,2),(3,4))", "[[1, 2], [3, 4]]"),
        ("[1x1, (0,2)]", "[[1, 1], [0, 2]]"),
        ("(3,3)", "3x3"),
        ("3x3", "3x3"),
        ("[3, 3]", "3x3"),
    ],
)
def test_pads_are_pairs_in_a_mapping(notation, yaml):
    written = format_spec(f"input: 3\nlayers:\n  - ZeroPad | {notation}\n", "f", "mapping")
    assert written.endswith(f"  - {{type: ZeroPad, padding: {yaml}}}\n")
    assert format_spec(written, "f", "mapping") == written


def test_comments_that_stood_in_one_column_stand_in_one_again():
    text = (
        "input: 3\nlayers:\n  - CNN|32,3|ReLU   # a\n  - Flatten         # b\n"
        "  - ReLU # alone\n  - FNN|10          # c\n"
    )
    expected = (
        "input: 3\nlayers:\n  - CNN     | 32,3 | ReLU  # a\n  - Flatten                # b\n"
        "  - ReLU  # alone\n  - FNN     | 10           # c\n"
    )
    assert format_spec(text, "f", "pipes") == expected
    assert format_spec(expected, "f", "pipes") == expected


def test_line_ends_and_a_byte_order_mark_stay():
    text = "\ufeffinput: 3\r\nlayers:\r\n  - CNN | 3, 1 # c\r\n  - Flatten\r\nname: b\r\n"
    for style in STYLES:
        written = format_spec(text, "f", style)
        assert written.startswith("\ufeffinput: 3\r\n")
        assert "\n" not in written.replace("\r\n", "")
        assert written.endswith("\r\nname: b\r\n")


@pytest.mark.parametrize(
    ("text", "style", "message"),
    [
        ("{input: 3, layers: [Flatten]}", "pipes", "layers stands inside of { }"),
        ("input: 3\nlayers:\n  - &x CNN | 3\n  - *x\n", "pipes", "line 3 has an anchor or an alias"),
        ("input: 3\nlayers:\n  - Flatten | 3\n", "mapping", "the size cell holds 3, but Flatten reads nothing there"),
        ("input: 3\nlayers:\n  - CNN | 3, (\n", "mapping", "this '(' is never closed"),
        ("input: 3\nlayers:\n  - CNN | 3 | - | filters=3\n", "mapping", "filters is given twice"),
        ("input: 3\nlayers:\n  - 'a b': Flatten\n", "table", "the name 'a b' cannot stand in a table"),
        ("input: 3\n", "pipes", "layers is missing"),
    ],
)
def test_what_cannot_be_written_is_refused(text, style, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        format_spec(text, "f", style)


words = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda word: word not in ("null", "true", "false", "name", "type")
)
sizes = (
    st.integers(0, 99)
    | st.floats(-2, 2, allow_nan=False)
    | st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple)
)
pads = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3).map(tuple)
calls = st.builds(
    Call,
    words,
    st.lists(st.integers(0, 9), max_size=2).map(tuple),
    st.dictionaries(words, st.integers(0, 9), max_size=2),
)
strings = st.text(st.characters(exclude_characters="'\n\r", categories=["L", "N", "P", "S", "Zs"]), max_size=6)
values = sizes | pads | words | calls | strings | st.booleans() | st.none() | st.lists(words, max_size=3)
COMMENTS = st.sampled_from(["# why", "# a: b | c", "#", "# 'x"])


@st.composite
def row_lines(draw: st.DrawFn) -> str:
    """A pipe row as a line of YAML, perhaps with comments and blank lines around it."""
    kind = draw(
        st.sampled_from(["Conv", "cnn", "Dense", "Flatten", "MaxPool2D", "leaky_relu", "Activation", "Nothing"])
    )
    fields = positional(kind, {})
    size = draw(st.lists(values, max_size=len(fields)))
    activation = draw(st.none() | words | calls)
    options = draw(st.dictionaries(words.filter(lambda word: word not in (*fields, "activation")), values, max_size=3))
    cells = [kind, ", ".join(map(write_value, size)) or "-", write_value(activation) if activation else "-"]
    quote = draw(st.sampled_from(["", "'"]))
    written = {
        name: f"{quote}{value}{quote}" if isinstance(value, str) and WORD.fullmatch(value) else write_value(value)
        for name, value in options.items()
    }
    cells.append(", ".join(f"{name}={value}" for name, value in written.items()) or "-")
    name = draw(st.none() | words)
    text = '"' + " | ".join(cells).replace("\\", "\\\\").replace('"', '\\"') + '"'
    above = draw(st.lists(COMMENTS | st.just(""), max_size=2))
    behind = draw(st.just("") | COMMENTS.map(lambda comment: f"  {comment}"))
    lines = [f"  {line}".rstrip() for line in above]
    return "\n".join([*lines, f"  - {name}: {text}{behind}" if name else f"  - {text}{behind}"])


@settings(max_examples=100, deadline=None)
@given(st.lists(row_lines(), min_size=1, max_size=4), st.permutations(STYLES))
def test_every_notation_means_the_same_and_loses_no_comment(lines, styles):
    text = "# top\ninput: 3\nlayers:  # rows\n" + "\n".join(lines) + "\n\n# tail\nname: x\n"
    expected = meanings(text)
    comments = sorted(line.strip() for line in re.findall(r"(?<=  )#.*$", re.sub('".*"', "", text), re.MULTILINE))
    current = text
    for style in styles:
        current = format_spec(current, "f", style)
        assert meanings(current) == expected
        assert format_spec(current, "f", style) == current
        assert current.startswith("# top\ninput: 3\n")
        assert current.endswith("\n\n# tail\nname: x\n")
        for comment in set(comments):
            assert current.count(comment) >= comments.count(comment)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "layers:",
                "\n",
                "  - ",
                "CNN | 3",
                "{type: a",
                "}",
                " # c",
                "- x: ",
                "|",
                " type | size",
                "  ",
                "'",
                "(",
                ",",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_any_text_is_formatted_or_refused(text):
    whole = f"input: 3\nlayers:\n  - {text}"
    for style in STYLES:
        try:
            expected = meanings(whole)
            written = format_spec(whole, "f.yaml", style)
        except SpecError:
            continue
        assert meanings(written) == expected
