"""Files as colleagues have them: a right model in odd clothes, which is right, or is told what is odd about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.test_exported import FOLDER, causes, verified
from tests.stock_models import node_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FLOAT, UINT8 = 1, 2
GIVEN = "given"


@pytest.fixture
def odd(tmp_path) -> Callable[[Callable[[Any], None]], Path]:
    """What torch wrote, changed."""

    def made(change: Callable[[Any], None]) -> Path:
        model = onnx.load(FOLDER / "torch-good-plain.onnx")
        change(model)
        onnx.save(model, tmp_path / "odd.onnx")
        return tmp_path / "odd.onnx"

    return made


def constant(model: Any, name: str, value: Any) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))


def read_as(model: Any, dtype: int, shape: tuple[Any, ...], *nodes: Any) -> None:
    """Another input, of which these operators make what the model read."""
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(GIVEN, dtype, list(shape)))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def node(operator: str, inputs: tuple[str, ...], output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(operator, list(inputs), [output], **attributes)


def two_outputs(model: Any) -> None:
    """What the softmax reads is an output too, and the first one."""
    [logits] = node_of(model, "Softmax").input
    model.graph.output.insert(0, onnx.helper.make_tensor_value_info(logits, FLOAT, ["n", 5]))


def test_another_output_of_the_same_shape_is_not_taken_for_the_specs(odd):
    file = verified(odd(two_outputs))
    assert file.passed, file.failures
    assert "outputs by what agrees best, for their shapes allow more: softmax is output" in file.notes


def symbols(model: Any) -> None:
    for size, name in zip(model.graph.input[0].type.tensor_type.shape.dim, ("rows", "c", "h", "w"), strict=True):
        size.ClearField("dim_value")
        size.dim_param = name


def test_where_no_size_is_stated_the_layout_counts_that_can_be_run(odd):
    file = verified(odd(symbols))
    assert file.passed, file.failures
    assert any(note.startswith("input image, the spec's input: channels first") for note in file.notes)


def half(model: Any) -> None:
    """Weights that are stored in float16, and computed with in float32."""
    for tensor in [each for each in model.graph.initializer if each.data_type == FLOAT]:
        name, array = tensor.name, onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), f"{name}/half"))
        model.graph.node.insert(0, node("Cast", (tensor.name,), name, to=FLOAT))


def test_weights_in_float16_are_the_given_ones_that_were_rounded(odd):
    file = verified(odd(half))
    assert file.passed, file.failures
    assert any("of the tensors were float16" in note for note in file.notes)
    file = verified(odd(half), "torch")
    assert file.passed, file.failures
    assert file.weights is not None
    assert file.weights.endswith("torch.pth, rounded to float16 as in the file")

    def other(model: Any) -> None:
        half(model)
        tensor = next(each for each in model.graph.initializer if each.name == "head.bias/half")
        array = onnx.numpy_helper.to_array(tensor).copy()
        array[2] *= np.float16(1.01)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))

    first = verified(odd(other), "torch").failures[0]
    assert first.row == "fc"
    assert first.message.startswith("its head.bias/half is not the given fc.bias: 1 of 5 numbers differ")


def quantized(model: Any) -> None:
    """Kernels in int8: one scale each, or one for every filter."""
    kernels = [each for each in model.graph.initializer if each.data_type == FLOAT and len(each.dims) == 4]
    for place, tensor in enumerate(kernels):
        name, array = tensor.name, onnx.numpy_helper.to_array(tensor)
        axes = (1, 2, 3) if place % 2 else None
        scale = np.abs(array).max(axes, keepdims=bool(axes)) / 127
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.round(array / scale).astype(np.int8), f"{name}/whole"))
        constant(model, f"{name}/scale", scale.astype(np.float32).ravel() if axes else np.float32(scale))
        model.graph.node.insert(0, node("DequantizeLinear", (f"{name}/whole", f"{name}/scale"), name, axis=0))


def test_kernels_in_whole_numbers_are_what_they_stand_for(odd):
    file = verified(odd(quantized))
    assert file.passed, file.failures
    assert any(note.endswith("of its tensors are quantized: taken as what they stand for") for note in file.notes)
    first = verified(odd(quantized), "torch").failures[0]
    assert first.row == "conv1"
    assert "is not the given conv1.kernel" in first.message


def scaled(model: Any) -> None:
    """Bytes in, a 255th of them on."""
    constant(model, "whole", np.float32(255))
    floats = node("Cast", (GIVEN,), "floats", to=FLOAT)
    read_as(model, UINT8, ("n", 2, 8, 8), floats, node("Div", ("floats", "whole"), "image"))


def normalised(model: Any) -> None:
    for name, values in (("mean", (0.4, 0.5)), ("deviation", (0.2, 0.25))):
        constant(model, name, np.array(values, np.float32).reshape(2, 1, 1))
    centred = node("Sub", (GIVEN, "mean"), "centred")
    read_as(model, FLOAT, ("n", 2, 8, 8), centred, node("Div", ("centred", "deviation"), "image"))


@pytest.mark.parametrize(
    ("change", "formula"), [(scaled, "reads x / 255"), (normalised, "reads (x - (0.4, 0.5)) / (0.2, 0.25)")]
)
def test_an_input_that_the_file_prepares_is_told(odd, change, formula):
    file = verified(odd(change))
    assert causes(file) == [("conv1", "input prepared")]
    assert file.cause is not None
    assert file.cause.found == formula
    assert [row.row for row in file.rows if not row.passed] == ["conv1"]


def newer(model: Any) -> None:
    model.ir_version = 99


def no_batch(model: Any) -> None:
    constant(model, "first", np.array([0]))
    read_as(model, FLOAT, (2, 8, 8), node("Unsqueeze", (GIVEN, "first"), "image"))


@pytest.mark.parametrize(
    ("change", "symptom", "said"),
    [
        (newer, "unsupported", r"ONNX Runtime \S+ cannot run it: Unsupported model IR version: 99, max supported .*"),
        (no_batch, "shape", r"its input given \(float32 2x8x8\) cannot be .*; the axis of the batch is missing"),
    ],
)
def test_what_cannot_be_run_says_why_in_a_line(odd, change, symptom, said):
    import re

    [failure] = verified(odd(change)).failures
    assert (failure.stage, failure.symptom) == ("build", symptom)
    assert re.fullmatch(said, failure.message)
