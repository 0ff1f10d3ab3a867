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
