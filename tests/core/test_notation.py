"""Cells: what they hold, where, and what is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.notation import Call, NotationError, parse_cell, parse_value, split_outside, write_value


@pytest.mark.parametrize(
    ("text", "arguments", "options"),
    [
        ("", (), {}),
        ("-", (), {}),
        (" – ", (), {}),
        ("—", (), {}),
        ("32, (3,3)", (32, (3, 3)), {}),
        ("32, 3x3", (32, (3, 3)), {}),
        ("(2,2), stride=2", ((2, 2),), {"stride": 2}),
        ("rate = 0.5", (), {"rate": 0.5}),
        ("rate=.5", (), {"rate": 0.5}),
        ("-1", (-1,), {}),
        ("padding=((0,1),(0,1))", (), {"padding": ((0, 1), (0, 1))}),
        ("from=[left, right]", (), {"from": ["left", "right"]}),
        ("bias=False", (), {"bias": False}),
        ("1/255, offset=-1", (1 / 255,), {"offset": -1}),
        ("softmax(axis=1)", (Call("softmax", (), {"axis": 1}),), {}),
        ("'a|b'", ("a|b",), {}),
        ("2*3+4", (10,), {}),
        ("7//2, -7//2, 7.5 // 2, 2+7//2*3", (3, -4, 3, 11), {}),
    ],
)
def test_cell(text, arguments, options):
    cell = parse_cell(text)
    assert (cell.arguments, cell.options) == (arguments, options)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("32, (3,3", 4),
        ("32, )", 4),
        ("3 4", 2),
        ("a=1, a=2", 5),
        ("a=1, 2", 5),
        ("1/0", 1),
        ("1//0", 1),
        ("1e999", 0),
        ("'x", 0),
        ("true*2", 4),
        (",", 0),
    ],
)
def test_what_cannot_be_read_is_cited_where_it_stands(text, offset):
    with pytest.raises(NotationError) as caught:
        parse_cell(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "offset"), [("a | (3 | b", 4), ("a) | b", 1), ("a | 'b", 4), ("(a] | b", 0), ("((a) | b", 0)]
)
def test_a_bracket_without_partner_is_cited(text, offset):
    with pytest.raises(NotationError) as caught:
        split_outside(text, "|")
    assert caught.value.offset == offset


def test_brackets_nested_without_end_are_refused():
    with pytest.raises(NotationError, match="nested"):
        parse_value("(" * 5000 + "1" + ")" * 5000)


words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,8}", fullmatch=True)
numbers = st.integers(-(10**15), 10**15) | st.floats(-1e15, 1e15, allow_nan=False)
texts = st.text(st.characters(exclude_characters="'", categories=["L", "N", "P", "S", "Zs"]), max_size=8)
leaves = numbers | words | texts | st.booleans() | st.none()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.builds(Call, words, st.lists(inner, max_size=2).map(tuple), st.dictionaries(words, inner, max_size=2))
    ),
    max_leaves=6,
)


@given(values)
def test_a_written_value_reads_back_as_itself(value):
    assert parse_value(write_value(value)) == value


@given(st.text(max_size=40))
def test_any_text_is_a_cell_or_a_notation_error(text):
    for read in (parse_cell, parse_value, lambda cell: split_outside(cell, "|")):
        with suppress(NotationError):
            read(text)


@given(st.text("()[]{}'\"|, a1=", min_size=1, max_size=12))
def test_an_error_points_into_its_text(text):
    offsets = []
    for read in (parse_cell, parse_value, lambda cell: split_outside(cell, "|")):
        try:
            read(text)
        except NotationError as error:
            offsets.append(error.offset)
    assert all(0 <= offset <= len(text) for offset in offsets)
