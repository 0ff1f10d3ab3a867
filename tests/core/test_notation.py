"""Cells: what they hold, where, and what is refused."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.notation import Call, NotationError, evaluate, parse_cell, parse_value, split_outside, write_value


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
        (f"mean=({','.join(['-1.5'] * 300)})", (), {"mean": (-1.5,) * 300}),
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


# What is computed


def exactly(expression: tuple | int) -> Fraction | bool:
    """The value of a tree of operations, by fractions."""
    if isinstance(expression, int):
        return Fraction(expression)
    sign, left, right = expression[0], *map(exactly, expression[1:])
    return OPERATIONS[sign](left, right)


OPERATIONS = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: Fraction(left // right),
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2}


def plainly(expression: tuple | int, binds: int = 0) -> str:
    """A tree as text, with the fewest brackets: products before sums, and from the left."""
    if isinstance(expression, int):
        return str(expression)
    sign, left, right = expression
    own = BINDS.get(sign, 0)
    text = f"{plainly(left, own)}{sign}{plainly(right, own + 1)}"
    return f"({text})" if own < binds else text


numbers_ = st.integers(0, 40)
sums = st.recursive(
    numbers_, lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "/", "//"]), inner, inner), max_leaves=8
)
trees = sums | st.tuples(st.sampled_from(["<", ">=", "==", "!="]), sums, sums)


@given(trees, st.booleans())
def test_operations_have_their_precedence_whether_names_are_known_now_or_later(tree, later):
    text, names = plainly(tree), {}
    if later:
        names = {f"n{number}": number for number in range(41)}
        text = re.sub(r"\d+", lambda number: f"n{number[0]}", text)
    try:
        expected = exactly(tree)
    except ZeroDivisionError:
        with pytest.raises(NotationError, match="division by zero"):
            evaluate(parse_value(text), names)
        return
    found = evaluate(parse_value(text), names)
    if isinstance(expected, bool):
        assert found is expected or not isclose_sides(tree)
    else:
        assert found == pytest.approx(float(expected), rel=1e-9, abs=1e-9) or "//" in text
        if "/" not in text:
            assert (found, type(found)) == (int(expected), int)


def isclose_sides(tree: tuple) -> bool:
    """Whether both sides of a comparison are far enough from each other that floats tell them apart."""
    left, right = (float(exactly(side)) for side in tree[1:])
    return "/" not in plainly(tree) or abs(left - right) > 1e-9 * max(abs(left), abs(right), 1)


@pytest.mark.parametrize(
    ("text", "names", "value"),
    [
        ("2+3*4", {}, 14),
        ("(2+3)*4", {}, 20),
        ("20-3-4", {}, 13),
        ("64/4/2", {}, 8),
        ("7//2*2", {}, 6),
        ("-7//2", {}, -4),
        ("7/2", {}, 3.5),
        ("64*0.5", {}, 32),
        ("2*-3", {}, -6),
        ("4*growth+1", {"growth": 8}, 33),
        ("width*(1+1)", {"width": 1.5}, 3),
        ("width//3*3", {"width": 16}, 15),
        ("a-(b-1)", {"a": 5, "b": 2}, 4),
        ("2<3", {}, True),
        ("a>=b", {"a": 2, "b": 3}, False),
        ("a+1==b", {"a": 2, "b": 3}, True),
        ("kind==same", {"kind": "same"}, True),
        ("kind!='same'", {"kind": "valid"}, True),
        ("(4*n, same)", {"n": 2}, (8, "same")),
        ("[n, n+1]", {"n": 2}, [2, 3]),
        ("softmax(axis=n)", {"n": 2}, Call("softmax", (), {"axis": 2})),
    ],
)
def test_values(text, names, value):
    found = evaluate(parse_value(text), names)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1/0", "division by zero"),
        ("1//n", "division by zero"),
        ("true+1", "true is not a number, so '\\+' cannot be applied"),
        ("n<word", "word is not a number, so '<' cannot be applied"),
        ("'a'*3", "'a' is not a number"),
        ("1<2<3", "a comparison has two sides"),
        ("2**3", "a value is missing before '\\*'"),
        ("2%3", "cannot read '%3'"),
        ("n.__class__*2", "n.__class__ is not a number"),
        ("n[0]", "'\\[' stands after a value"),
        ("1 if n else 2", "'if' stands after a value"),
        ("9999999999*9999999999", "the result is too large"),
        ("1e308*10", "the result is too large"),
        ("+".join(["1"] * 200), "more than 100 operations"),
    ],
)
def test_what_cannot_be_computed_is_refused(text, message):
    with pytest.raises(NotationError, match=message):
        evaluate(parse_value(text), {"n": 0})


def test_nothing_that_reads_or_compiles_a_spec_can_run_code():
    root = Path(__file__).parents[2] / "netspec"
    files = [root / "notation.py", *(root / "spec").glob("*.py"), *(root / "compile").glob("*.py")]
    forbidden = {"eval", "exec", "compile", "__import__", "globals", "getattr_static"}
    for path in files:
        called = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & forbidden, path


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
