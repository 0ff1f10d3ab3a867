"""Names and prose of emitted source: no name of a spec hides a module or a keyword, no text of a spec becomes code."""

from __future__ import annotations

import ast
import doctest
import keyword
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.codegen import source
from netspec.codegen.source import (
    LINE_LENGTH,
    class_name,
    file_docstring,
    flow_docstring,
    module_name,
    plain_text,
    row_comment,
)
from netspec.layers import Activation, Dense
from tests.cases import chain

SMALL = chain("small", (3,), Dense(units=2))


@pytest.mark.parametrize("word", keyword.kwlist)
def test_no_name_is_a_keyword(word):
    for name in (word, word.lower(), word.upper()):
        assert class_name(name).isidentifier()
        assert not keyword.iskeyword(class_name(name))
        assert not keyword.iskeyword(module_name(name))


@pytest.mark.parametrize("imports", ["torch, safetensors.torch", "keras", "onnx, onnx_ir, onnxruntime"])
def test_no_module_hides_what_a_framework_imports(imports):
    for module in imports.split(", "):
        if find_spec(module.partition(".")[0]) is None:
            pytest.skip(f"{module} is not installed")
    program = f"import {imports}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = {name for name in done.stdout.split() if not name.startswith("_")}
    assert imports.partition(",")[0] in names
    assert sorted(name for name in names if module_name(name) == name) == []


@given(st.text())
def test_no_text_ends_a_docstring_or_a_comment(text):
    plain = plain_text(text)
    tree = ast.parse(f'"""{plain}"""\nx = 1  # {plain}\n{row_comment("row", text)}\n"""a {plain}"""\n')
    assert len(tree.body) == 3
    assert ast.literal_eval(f'"""{plain}"""') == plain
    assert "#" not in plain


@given(st.text(max_size=300))
def test_the_docstring_of_a_file_is_one_statement_of_short_lines(text):
    written = file_docstring(replace(SMALL, about=text, name=text), "PyTorch", "Usage.")
    [statement] = ast.parse(written).body
    assert isinstance(statement, ast.Expr)
    assert max(map(len, written.splitlines())) <= LINE_LENGTH


def test_a_long_row_is_shortened():
    comment = row_comment("conv_1", "CNN | 8, 3 | ReLU | " + ", ".join(["padding=((0,1),(2,1))"] * 9))
    assert len(comment) <= LINE_LENGTH - 8
    assert comment.startswith("# conv_1: CNN | 8, 3 | ReLU | padding=((0,1),(2,1)),")
    assert comment.endswith(" ...")


@pytest.mark.parametrize(
    ("units", "function", "result"),
    [
        (10, "softmax", "class probabilities [batch, 10]"),
        (4, "sigmoid", "-> probabilities [batch, 4]"),
        (1, "sigmoid", "-> probability [batch, 1]"),
        (4, "log_softmax", "-> log-probabilities [batch, 4]"),
        (4, "relu", "-> values [batch, 4]"),
    ],
)
def test_what_comes_out_is_said(units, function, result):
    said = flow_docstring(chain("n", (3,), (Dense(units=units), Activation(function=function))), "last")
    assert said.startswith('"""Features [batch, 3] -> ')
    assert result in said


def test_channels_stand_where_the_framework_has_them():
    network = chain("n", (5, 4, 3), Activation(function="relu"))
    assert flow_docstring(network, "first") == '"""Image [batch, 3, 5, 4] -> values [batch, 3, 5, 4]; no weights."""'
    assert flow_docstring(network, "last") == '"""Image [batch, 5, 4, 3] -> values [batch, 5, 4, 3]; no weights."""'


def test_examples_in_docstrings():
    tested = doctest.testmod(source)
    assert tested.attempted
    assert not tested.failed
