"""The three notations of a row, and that they mean the same."""

from __future__ import annotations

import pytest

from netspec.errors import SpecError
from netspec.notation import Call
from netspec.spec.load import parse_spec
from netspec.spec.row import Row
from netspec.spec.rows import row_problems


def rows(layers: str) -> tuple[Row, ...]:
    return parse_spec(f"input: 32x32x3\nlayers:{layers}", "f.yaml").rows


def row(text: str) -> Row:
    [found] = rows(f"\n  - {text}\n")
    return found


def problems(layers: str) -> list[str]:
    try:
        found = row_problems(rows(layers))
    except SpecError as error:
        found = list(error.problems)
    return [str(problem) for problem in found]


def test_a_pipe_row_has_four_cells():
    found = row("conv1: CNN | 64, (3,3) | leaky_relu(0.2) | stride=2, padding=same")
    assert (found.name, found.type, found.size) == ("conv1", "CNN", (64, (3, 3)))
    assert found.activation == Call("leaky_relu", (0.2,))
    assert found.options == {"stride": 2, "padding": "same"}
    assert {cell: place.column for cell, place in found.cells.items()} == {
        "type": 12,
        "size": 18,
        "activation": 30,
        "stride": 48,
        "padding": 58,
        "name": 5,
    }
    assert (str(found.position), found.path) == ("f.yaml:3:5", "layers.0")


@pytest.mark.parametrize(
    ("text", "size", "activation", "options"),
    [
        ("Flatten", (), None, {}),
        ("Flatten |", (), None, {}),
        ("Flatten | - | - | -", (), None, {}),
        ("MaxPool | (2,2), stride=2", ((2, 2),), None, {"stride": 2}),
        ("Dropout | rate = 0.5", (), None, {"rate": 0.5}),
        ("BatchNorm | - | ReLU", (), "ReLU", {}),
        ("CNN | 32, 3 | padding=same", (32, 3), None, {"padding": "same"}),
        ("CNN | 32, 3 | ReLu, padding=same | stride=2", (32, 3), "ReLu", {"padding": "same", "stride": 2}),
        ("CNN | 32, 3 | - | activation=tanh", (32, 3), "tanh", {}),
        ("Concat | from=[left, right]", (), None, {"from": ["left", "right"]}),
        ('"CNN | 32, 3"', (32, 3), None, {}),
        ("CNN | 32, 3 |\n    ReLU", (32, 3), "ReLU", {}),
    ],
)
def test_cells_may_be_left_out_and_options_stand_anywhere(text, size, activation, options):
    found = row(text)
    assert (found.size, found.activation, found.options) == (size, activation, options)


@pytest.mark.parametrize(
    "text",
    [
        "conv1: {type: Conv, filters: 32, kernel: (3,3) , activation: leaky_relu(0.2), init: normal(0.02)}",
        "{type: Conv, name: conv1, filters: 32, kernel: '(3,3)', activation: {leaky_relu: 0.2}, init: {normal: 0.02}}",
        """conv1:
      type: Conv
      filters: 32
      kernel: 3x3
      activation: leaky_relu(0.2)
      init: normal(0.02)""",
        """type: Conv
    name: conv1
    filters: 32
    kernel: (3,3)
    activation: leaky_relu(0.2)
    init: normal(0.02)""",
    ],
)
def test_mappings_read_their_values_as_cells_do(text):
    found = row(text.replace("(3,3) ,", '"(3,3)",'))
    assert (found.type, found.name, found.size) == ("Conv", "conv1", ())
    assert found.activation == Call("leaky_relu", (0.2,))
    assert found.options == {"filters": 32, "kernel": (3, 3), "init": Call("normal", (0.02,))}
    assert found.text.startswith(("{type: Conv", "conv1: {type: Conv"))


def test_a_call_may_name_its_arguments_in_a_mapping():
    assert row("{type: Conv, init: {normal: {std: 0.02}}}").options == {"init": Call("normal", (), {"std": 0.02})}


def test_a_list_in_a_mapping_stays_a_list():
    assert row("{type: ZeroPad, padding: [[0, 1], [0, 1]]}").options == {"padding": [[0, 1], [0, 1]]}


TABLE = """ |
  | layer | type      | size      | activation |
  |-------|-----------|-----------|------------|
  | 1     | CNN       | 32, (3,3) | -          |
  |       | BatchNorm | -         | ReLu       |
  | out   | FNN       | 10        | SoftMax    |
"""


def test_a_pasted_table_reads_as_its_rows():
    found = rows(TABLE)
    assert [(each.label, each.name, each.type, each.size, each.activation) for each in found] == [
        ("1", None, "CNN", (32, (3, 3)), None),
        (None, None, "BatchNorm", (), "ReLu"),
        (None, "out", "FNN", (10,), "SoftMax"),
    ]
    assert [str(each.position) for each in found] == ["f.yaml:5:13", "f.yaml:6:13", "f.yaml:7:5"]
    assert str(found[0].cells["size"]) == "f.yaml:5:25"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "| type | Filters | Kernel Size | Strides |\n  | CNN | 32 | 3, 5 | 2 |\n  | Flatten | - | - | |",
            [("CNN", (32,), {"kernel_size": (3, 5), "strides": 2}), ("Flatten", (), {})],
        ),
        (
            "| type | Filters | Units | rate |\n  | CNN | 32 | | |\n  | FNN | | 10 | |\n  | Dropout | | | .5 |",
            [("CNN", (), {"filters": 32}), ("FNN", (), {"units": 10}), ("Dropout", (), {"rate": 0.5})],
        ),
        (
            "| type | Units |\n  | CNN | 32, (3,3) |\n  | FNN | 10 |",
            [("CNN", (32, (3, 3)), {}), ("FNN", (10,), {})],
        ),
        (
            "| type | `size` | units |\n  | **CNN** | `2*16, 3` | |\n  | *CNN* | 4, **(3,3)** |\n  | __a__ | '`*`'",
            [("CNN", (32, 3), {}), ("CNN", (4, (3, 3)), {}), ("a", ("`*`",), {})],
        ),
        ("| type | size |\n  | BN | — |\n  | BN | – |", [("BN", (), {}), ("BN", (), {})]),
        (
            "# a table\n  # with comments\n  type | size\n  # one\n\n  CNN | 3\n  # CNN | 4\n  #",
            [("CNN", (3,), {})],
        ),
        ("# | type\n  1 | CNN\n  # 2 | CNN\n  3 | FNN", [("CNN", (), {}), ("FNN", (), {})]),
        (
            "┌──────┬──────┐\n  │ type │ size │\n  ├──────┼──────┤\n  │ CNN  │ 3    │\n  └──────┴──────┘",
            [("CNN", (3,), {})],
        ),
    ],
    ids=["kernel", "filters and units", "units alone", "markup", "dashes", "comments", "numbers", "boxes"],
)
def test_tables_from_the_wild(table, expected):
    assert [(row.type, row.size, row.options) for row in rows(f" |\n  {table}\n")] == expected


def test_markup_moves_no_place():
    [found] = rows(" |\n  | type | size |\n  | **CNN** | `32`, *stride* = 2 |\n")[:1]
    assert found.problem is not None
    [found] = rows(" |\n  | layer | type | size |\n  | **a** | `CNN` | **32**, stride = 2 |\n")
    assert {cell: place.column for cell, place in found.cells.items()} == {
        "name": 7,
        "type": 14,
        "size": 23,
        "stride": 29,
    }


SUMMARY = """ |
  Layer (type:depth-idx)        Output Shape      Param #
  =======================================================
  ├─Conv2d: 1-1                 [1, 64, 112, 112]   9,408
"""


@pytest.mark.parametrize("table", [SUMMARY, SUMMARY.replace(" |", " >"), SUMMARY.replace("Layer (", "| layer(")])
def test_a_summary_is_told_from_a_table(table):
    [problem] = problems(table)
    assert problem.startswith("f.yaml:2:9: layers: this is a model's summary")


DRESSES = [
    """ |
  층수 | 종류 | 크기 | 활성화 함수
  1 | CNN | 32, (3,3) | -
  | BatchNorm | - | ReLu
  out | FNN | 10 | SoftMax
""",
    """ |
  | 활성화 함수 | 크기 | 종류 | 층수 |
  |:--|--:|:-:|---|
  | - | 32, (3,3) | CNN | 1 |
  | ReLu | | BatchNorm | |

  | SoftMax | 10 | FNN | out |
""",
    """ |
  +---+
  | Layer | **Layer type** | Size | Activation function | Options |
  | 1 | CNN | 32, (3,3) |
  | | BatchNorm | - | ReLu | - |
  | out | FNN | 10 | SoftMax | |
  +---+
""",
]


@pytest.mark.parametrize("table", DRESSES, ids=["korean", "any order", "grid"])
def test_tables_come_in_many_dresses(table):
    assert [(each.label, each.name, each.type, each.size, each.activation) for each in rows(table)] == [
        (each.label, each.name, each.type, each.size, each.activation) for each in rows(TABLE)
    ]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("\n  - CNN | 32,(3,3\n", "f.yaml:3:14: layers.0: this '(' is never closed"),
        ("\n  - CNN | 32,(3,3 | ReLU\n", "f.yaml:3:14: layers.0: this '(' is never closed"),
        ("\n  - CNN | 32, 3) | ReLU\n", "f.yaml:3:16: layers.0: this ')' closes nothing"),
        ("\n  - CNN | 32 3\n", "f.yaml:3:14: layers.0: '3' stands after the values of the cell"),
        ("\n  - CNN | 2 | 3\n", "f.yaml:3:15: layers.0: 3 is not an activation"),
        ("\n  - CNN | 2 | ReLU | 5\n", "f.yaml:3:22: layers.0: 5 is not an option"),
        ("\n  - CNN | 2 | ReLU | a=1 | b=2\n", "f.yaml:3:28: layers.0: the row has 5 cells"),
        ("\n  - CNN | a=1 | ReLU | a=2\n", "f.yaml:3:24: layers.0: a is given twice in this row"),
        ("\n  - CNN | 1 | ReLU | activation=tanh\n", "the activation is given twice in this row"),
        ("\n  - x: CNN | 1 | name=y\n", "f.yaml:3:18: layers.0: the row has two names, 'x' and y"),
        ("\n  - CNN | 1 | name=3\n", "the name of a row is a word, not 3"),
        ("\n  - x:\n", "f.yaml:3:5: layers.0: the row 'x' is empty"),
        ("\n  - CNN: 32\n", "f.yaml:3:10: layers.0: '32' is not the name of a kind of layer"),
        ("\n  - [a, b]\n", "f.yaml:3:5: layers.0: a row is a text or a mapping, not a list"),
        (
            "\n  - {tpye: Conv, filters: 3}\n",
            "f.yaml:3:5: layers.0: a row that is written as a mapping needs `type`\n  hint: did you mean 'type'?",
        ),
        ("\n  - {type: Conv, kernel: 3 3}\n", "f.yaml:3:28: layers.0: '3' stands after a value"),
        ("\n  - {type: Conv, init: {a: 1, b: 2}}\n", "a value that is a mapping has one key"),
        ("\n  - {type: [Conv]}\n", "f.yaml:3:12: layers.0: this is not the name of a kind of layer"),
        (" 3\n", "f.yaml:2:9: layers: layers is not a list of rows"),
        ("\n", "layers has no rows"),
        (" []\n", "layers has no rows"),
        (" |\n  | type | foo |\n  | CNN | 1 |\n", "f.yaml:3:12: layers: 'foo' is not a column of a layer table"),
        (
            " |\n  | type | output shape |\n  | CNN | 1 |\n",
            "the column 'output shape' is a result, which the layers give",
        ),
        (" |\n  | size | activation |\n  | CNN | 1 |\n", "the header of the table names no column `type`"),
        (" |\n  | type | kind |\n  | CNN | 1 |\n", "two columns of the table mean the type"),
        (
            " |\n  | type | size |\n  | CNN | 1 | ReLU |\n",
            "f.yaml:4:15: layers.0: the header names no column for 'ReLU'",
        ),
        (" |\n  | type | size |\n", "the table has a header, but no rows"),
        (" |\n  | type | size |\n  | CNN | (1 |\n", "f.yaml:4:11: layers.0: this '(' is never closed"),
        (" |\n  |---|\n", "the table has no header"),
        (" |\n  # type\n", "layers is not a list of rows"),
        (" |\n  # type\n  #|\n  |-|\n", "the header of the table names no column `type`"),
        (" |\n  | size | type |\n  | 3 | - |\n", "f.yaml:4:9: layers.0: the type cell is empty"),
        (" |\n  | size | type |\n  | CNN | CNN |\n  | 3\n", "f.yaml:5:5: layers.1: the type cell is empty"),
        (
            " |\n  | type | kernel | options |\n  | CNN | 3 | kernel=3 |\n",
            "f.yaml:4:11: layers.0: kernel is given twice in this row",
        ),
        (" |\n  | type | kernl |\n  | CNN | 3 |\n", "did you mean 'kernel'?"),
        (" |\n  | type | kernel | Kernel |\n  | CNN | 3 | 3 |\n", "two columns of the table mean the kernel"),
        (' "| type |\\n| CNN |"\n', "f.yaml:2:9: layers: layers is not a list of rows"),
        (f"\n  - CNN | {'1, ' * 5000}\n", "f.yaml:3:5: layers.0: 15,005 characters are too many for a row"),
        (f"\n  - {{type: CNN, a: {'1' * 15_000}}}\n", "15,000 characters are too many for a row"),
        (f" |\n  | type |\n  | CNN {'-' * 15_000} |\n", "characters are too many for a row"),
    ],
)
def test_a_row_that_cannot_be_read_is_cited_where_it_fails(layers, message):
    [problem] = problems(layers)
    assert message in problem


def test_every_row_that_is_wrong_is_reported():
    assert len(problems("\n  - CNN | (\n  - Flatten\n  - CNN | )\n")) == 2
    assert len(problems(" |\n  | type | size |\n  | CNN | ( |\n  | CNN | 1 |\n  | CNN | ) |\n")) == 2


def test_no_more_than_a_hundred_problems_are_reported():
    assert len(problems("\n" + "  - CNN | (\n" * 200)) == 100
    assert len(problems(" |\n  | type | size |\n" + "  | CNN | ( |\n" * 200)) == 100
    assert len(problems("\n  - Flatten\n" + "".join(f"k{n}: 1\n" for n in range(200)))) == 100
