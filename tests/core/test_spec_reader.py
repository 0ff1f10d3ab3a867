"""The YAML reader: scalars, places, bounds, and what hostile text does to it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netspec.errors import SpecError
from netspec.spec.reader import MAX_DEPTH, MAX_KEYS, MAX_NODES, Mapping, Scalar, anchored, find, plain, read


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(text, "f")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("12", 12),
        ("-12", -12),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
        ("=", "="),
        ("9" * 50, "9" * 50),
        ("'1'", "1"),
        ('"true"', "true"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    got = plain(read(f"a: {text}\n", "f"))["a"]
    assert (got, type(got)) == (value, type(value))


def test_values_and_keys_are_found_by_path_with_their_places():
    root = read("a: 1\nlayers:\n  - CNN | 3\n  - conv: {type: Conv, x.y: 2}\n", "f")
    key, value = find(root, "layers.1.conv.x.y")
    assert (str(key.position), str(value.position)) == ("f:4:24", "f:4:29")
    assert str(find(root, "layers.0")[1].position) == "f:3:5"
    assert find(root, "layers.2") is None
    assert find(root, "a.b") is None


def place(text: str, sign: str) -> str:
    node = read(text, "f")
    assert isinstance(node, Mapping)
    value = node.get("a")
    assert isinstance(value, Scalar)
    return str(value.place(value.text.index(sign)))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: one §\n", "f:1:8"),
        ("한 글: x\na: 한국 §\n", "f:2:7"),
        ("a: 'it''s §'\n", "f:1:11"),
        ('a: "\\t\\u0041\\x41 §"\n', "f:1:18"),
        ("a: one\n  two §\n", "f:2:7"),
        ("a: 'one\n\n  two §'\n", "f:3:7"),
        ('a: "one\n  two §"\n', "f:2:7"),
        ("a: |\n  one\n\n   two §\n", "f:4:8"),
        ("a: |2-\n    one §\n", "f:2:9"),
        ("a: |  # why\r\n  one\r\n  two §\r\n", "f:3:7"),
        ("a: >\n  one\n  two §\n", "f:3:7"),
    ],
)
def test_a_place_inside_of_a_scalar_is_that_of_the_file(text, where):
    assert place(text, "§") == where


def test_a_byte_order_mark_does_not_move_places():
    assert str(find(read("\ufeffa: 1", "f"), "a")[1].position) == "f:1:4"


def test_duplicate_keys_are_all_reported_with_both_lines():
    assert problems("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n") == [
        "f:3:1: the key 'a' is here for the second time; line 1 has it too\n  hint: keep one of the two",
        "f:4:11: the key 'd' is here for the second time; line 4 has it too\n  hint: keep one of the two",
    ]


def test_mappings_and_reports_are_bounded():
    [problem] = problems("\n".join(f"k{n}: 1" for n in range(30_000)))
    assert problem == f"f:1:1: this mapping has more than {MAX_KEYS:,} keys"
    assert len(problems("a: 1\n" * 5000)) == 100


def test_aliases_share_their_value():
    assert plain(read("a: &x [1, {b: 2}]\nc: *x\n", "f"))["c"] == [1, {"b": 2}]
    assert [line for _, line in anchored("a: &x [1]\nb:\n  - *x\n")] == [0, 2]


def test_alias_bombs_are_refused_by_their_expanded_size():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    [problem] = problems("\n".join(lines))
    assert f"more than {MAX_NODES:,} values" in problem


def test_aliases_cannot_nest_deeper_than_text_could():
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 5000))]
    [problem] = problems("\n".join(lines))
    assert f"more than {MAX_DEPTH} levels deep" in problem


@pytest.mark.parametrize("sign", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused(sign):
    [problem] = problems(sign * 20_000)
    assert f"more than {MAX_DEPTH} levels deep" in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [*x]\n", "f:1:8: the alias *x refers to the value that it stands in"),
        ("a: *x\n", "f:1:4: the alias *x refers to no anchor above it"),
        ("? [a]\n: b\n", "f:1:3: a key must be a word, not a list or a mapping"),
        ("a: &x b\n*x : c\n", "f:2:1: a key must be a word, not an alias"),
        ("?\n: b\n", "f:1:2: a key is missing before ':'"),
        ("a: {b: [", "f:1:8: this '[' is never closed"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document begins here"),
        ("a: b\0c\n", "f:1:5: a NUL character cannot stand in a spec"),
        ("a:\n  b: \x07\n", "f:2:6: the character U+0007 cannot stand in a spec"),
        ("a: \ud800\n", "f:1:4: the character U+D800 cannot stand in a spec"),
        ("a: !!python/object/apply:os.system [x]\n", "f:1:4: the tag !!python/object/apply:os.system is not allowed"),
        ("a: !!str 1\n", "f:1:4: the tag !!str is not allowed"),
        ("a: ! b\n", "f:1:4: the tag ! is not allowed"),
        ("a: !x!y b\n", "tags are not allowed"),
        ("<<: {a: 1}\n", "f:1:1: '<<' is not a key"),
        ("a:\n\tb: 1\n", "f:2:1: a tab indents this line"),
        ("a: [1,\n2\nb: 3\n", "f:1:4: this '[' is never closed"),
        ("a: 'x\n", "f:1:4: this quote is never closed"),
        ("a: b: c\n", "f:1:5: a ':' stands where no key can be"),
        ("a: @b\n", "f:1:4: a value cannot begin with '@'"),
        ("", "f:1:1: the file is empty"),
        ("# only this\n", "f:1:1: the file is empty"),
        ("a: {b: (3,3)}\n", "f:1:8: the brackets of '(3' do not balance"),
    ],
)
def test_what_is_refused_is_named_where_it_stands(text, message):
    [problem] = problems(text)
    assert message in problem


fragments = st.sampled_from(
    [
        "a",
        ": ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        '"',
        "|",
        ">",
        "#",
        "&x ",
        "*x",
        "!t ",
        "---\n",
        "\t",
        "1",
        "? ",
        "\r",
        "%",
        "é",
    ]
)


@settings(max_examples=400)
@given(st.lists(fragments, max_size=40).map("".join) | st.text(max_size=60))
@example("a: |\r  x\r  y")
@example("a: >-\n\n\n")
def test_any_text_is_a_tree_or_an_error_and_every_place_is_found(text):
    try:
        root = read(text, "f")
    except SpecError as error:
        assert all(problem.position for problem in error.problems)  # noqa: PT017 - only some are refused
        return
    plain(root)
    pending = [root]
    while pending:
        node = pending.pop()
        assert node.position.line >= 1
        if isinstance(node, Scalar):
            assert all(node.place(offset).column >= 1 for offset in range(len(node.text) + 1))
        elif isinstance(node, Mapping):
            pending += [value for _, value in node.entries.values()]
        else:
            pending += node.items
