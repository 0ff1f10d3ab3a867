"""Texts that differ in their literals -> one text with parameters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.codegen.template import generalise, optional, settled, shape_of


def evaluated(text: str, names: dict[str, Any]) -> Any:
    """What calls are made with, and in which order; a call gives itself."""

    def call(*arguments: Any, **options: Any) -> Any:
        return arguments, {name: value for name, value in options.items() if value != {"size": 1}["size"]}

    return eval(settled(text), {"f": call, "g": call}, names)


def call_of(values: list[Any], step: int) -> str:
    first, second, third = values
    stride = f"stride={step}"
    return f'f({first}, g({second!r}, {optional(stride) if step == 1 else stride}), k={third!r}, name="{first}")'


LITERAL = st.one_of(st.integers(0, 60), st.tuples(st.integers(1, 5), st.integers(1, 60)), st.booleans())


@given(
    st.lists(
        st.tuples(st.tuples(st.integers(1, 60), LITERAL, LITERAL), st.integers(1, 3), st.integers(1, 60)), min_size=1
    )
)
def test_every_text_is_the_template_with_its_arguments(uses):
    texts = [call_of(list(values), step) for values, step, _ in uses]
    named = [{"filters": values[0], "stride": step, "width": width} for values, step, width in uses]
    template = generalise(texts, named)
    for text, arguments in zip(texts, template.arguments, strict=True):
        names = {name: evaluated(written, {}) for name, written in arguments.items()}
        assert set(names) == set(template.parameters)
        assert evaluated(template.text, names) == evaluated(text, {})


def test_a_literal_is_explained_by_the_simplest_that_gives_it():
    texts = ["f(16, 8, 32, 5)", "f(48, 24, 96, 12)"]
    made = generalise(texts, [{"filters": 16}, {"filters": 48}])
    assert made.text == "f(filters, filters // 2, 2 * filters, value)"
    assert made.parameters == {"filters": "int", "value": "int"}


def test_sizes_that_are_alike_are_the_one_number_of_a_call():
    made = generalise(["f(3)", "f(1)"], [{"kernel": (3, 3)}, {"kernel": 1}])
    assert (made.text, [dict(given) for given in made.arguments]) == ("f(kernel)", [{"kernel": "3"}, {"kernel": "1"}])


def test_the_numbers_of_a_tuple_are_explained_one_by_one():
    made = generalise(["f((1, 96))", "f((1, 192))"], [{"channels": 96}, {"channels": 192}])
    assert (made.text, made.parameters) == ("f((1, channels))", {"channels": "int"})
    made = generalise(["f((96,))", "f((192,))"], [{"channels": 96}, {"channels": 192}])
    assert made.text == "f((channels,))"
    made = generalise(["f(size=(2, 96))", "f(size=(1, 192))"], [{"channels": 96}, {"channels": 192}])
    assert (made.text, made.parameters) == ("f(size=size)", {"size": "tuple[int, ...]"})


def test_a_parameter_that_means_something_else_gives_only_its_name():
    made = generalise(["f(padding=1)", "f(padding=0)"], [{"padding": "same"}, {"padding": "valid"}])
    assert made.text == "f(padding=padding)"
    both = generalise(
        ['f(padding=1, mode="same")', 'f(padding=0, mode="valid")'], [{"padding": "same"}, {"padding": "valid"}]
    )
    assert both.text == "f(padding=padding, mode=mode)"


def test_small_numbers_are_no_products():
    made = generalise(["f(stride=2)", "f(stride=4)"], [{"filters": 1}, {"filters": 2}])
    assert made.text == "f(stride=stride)"


def test_names_that_are_bound_keep_their_values():
    made = generalise(["f(1)", "f(2)"], [{"n": 1}, {"n": 2}], bound={"n": ["5", "6"]})
    assert made.text == "f(value)"
    assert made.parameters == {"value": "int"}


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("f(1, (2, 3))", "f(4, 5)", True),
        ("f(True)", "f(False)", True),
        ("f(x, 1)", "f(y, 1)", False),
        ("f(1)", "f(1, a=2)", False),
        (f"f(1, {optional('a=2')})", "f(1, a=3)", True),
        ('f"{name}.a"', 'f"{name}.b"', False),
        ("x[:, ::2]", "x[:, ::3]", True),
    ],
)
def test_which_texts_share_a_template(left, right, same):
    assert (shape_of(left) == shape_of(right)) is same


def test_an_optional_argument_stays_where_one_text_differs():
    alike = [f"f(1, {optional('stride=1')})", f"f(2, {optional('stride=1')})"]
    assert settled(generalise(alike, [{}, {}]).text) == "f(value)"
    apart = [f"f(1, {optional('stride=1')})", "f(1, stride=2)"]
    made = generalise(apart, [{"stride": 1}, {"stride": 2}])
    assert settled(made.text) == "f(1, stride=stride)"


SIGNATURES = {"Conv": ("filters", "size"), "Linear": ("in_features", "out_features"), "pool": ("x", "size")}


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        ("Conv2D(3, 5)", "Conv2D(4, 5)", "Conv2D(filters, 5)"),
        ("pool2d(x, (1, 2))", "pool2d(x, (3, 2))", "pool2d(x, size)"),
        ("g(Conv1d(3, 5), 2)", "g(Conv1d(3, 6), 2)", "g(Conv1d(3, size), 2)"),
        ("f(3, k=5)", "f(3, k=6)", "f(3, k=k)"),
        ("x[:, 1:7]", "x[:, 2:5]", "x[:, begin:end]"),
        ("x[:, -3:]", "x[:, -2:]", "x[:, -begin:]"),
        ("x * 0.5 + 2", "x * 0.25 + 3", "x * scale + offset"),
        ("f(3)", "f(4)", "f(value)"),
    ],
)
def test_a_parameter_is_called_as_the_argument_that_it_is(left, right, text):
    assert generalise([left, right], [{}, {}], signatures=SIGNATURES).text == text


def test_arguments_of_several_rows_are_told_apart_by_their_names():
    def text(*filters: int) -> str:
        lines = [f"self.{row} = Conv2d({count}, 3)" for row, count in zip("abc", filters, strict=True)]
        return "\n".join([*lines, f"x = Conv2d({filters[0] + 1}, 3)"])

    made = generalise([text(3, 5, 3), text(4, 2, 4)], [{}, {}], signatures=SIGNATURES)
    assert made.text.splitlines() == [
        "self.a = Conv2d(a_filters, 3)",
        "self.b = Conv2d(b_filters, 3)",
        "self.c = Conv2d(a_filters, 3)",
        "x = Conv2d(filters, 3)",
    ]
    named = generalise(
        [f'x = Conv2D({a}, 3, name=f"{{name}}.{row}")(x)' for a, row in ((3, "a"), (4, "a"))],
        [{}, {}],
        signatures=SIGNATURES,
        taken={"filters"},
    )
    assert named.text == 'x = Conv2D(a_filters, 3, name=f"{name}.a")(x)'


def test_what_a_library_takes_anyway_is_the_default():
    texts = [f"Conv(8, 3, {optional('stride=1')})", "Conv(9, 3, stride=2)", f"Conv(9, 3, {optional('stride=1')})"]
    made = generalise(texts, [{}, {}, {}], signatures=SIGNATURES)
    assert (made.text, made.defaults) == ("Conv(filters, 3, stride=stride)", {"stride": "1"})
    assert generalise(["f(k=1)", "f(k=2)"], [{}, {}]).defaults == {}


def test_sizes_of_the_input_explain_what_nothing_else_does():
    """Where a layer takes them they come first, and then what the layer before gives."""
    texts = [
        f"Linear({given}, {units})\nLinear({units}, {given})\nLinear({given}, {2 * given})"
        for given, units in ((16, 16), (32, 32))
    ]
    sizes = [{"height": given, "width": given, "in_features": given} for given in (16, 32)]
    made = generalise(
        texts, [{"units": 16}, {"units": 32}], signatures=SIGNATURES, sizes=[{"in_features": 16}, {"in_features": 32}]
    )
    assert made.text.splitlines() == [
        "Linear(in_features, units)",
        "Linear(units, units)",
        "Linear(units, 2 * units)",
    ]
    squares = generalise(["Reshape((16, 16, 2))", "Reshape((32, 32, 2))"], [{}, {}], sizes=sizes)
    assert squares.text == "Reshape((height, width, 2))"


def test_a_group_for_each_channel_gives_what_it_takes():
    texts = [f"nn.Conv2d({given}, {given}, 3, groups={given})" for given in (16, 32)]
    signatures = {"Conv": ("in_channels", "out_channels")}
    sizes = [{"in_channels": 16}, {"in_channels": 32}]
    made = generalise(texts, [{"filters": 16}, {"filters": 32}], signatures=signatures, sizes=sizes)
    assert made.text == "nn.Conv2d(in_channels, in_channels, 3, groups=in_channels)"


def test_two_named_values_may_be_computed_with():
    uses = [{"filters": 240, "groups": 3, "reduction": 4}, {"filters": 480, "groups": 2, "reduction": 8}]
    texts = ["f(216, 120, 72)", "f(240, 60, 480)"]
    wide = [{**use, "width": 480} for use in uses]
    made = generalise(texts, wide, sizes=[{"in_channels": 24}, {"in_channels": 240}])
    # A value that is the same everywhere is a number, as it is where it stands alone.
    assert made.text == "f(filters - in_channels, 480 // reduction, groups * in_channels)"
    assert list(made.parameters) == ["in_channels", "filters", "groups", "reduction"]
