"""Files of today's exporters, held against the spec that they were written for: `tests/exported` says how they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netspec.spec.load import load_spec
from netspec.verify.against.files import verify_against
from netspec.verify.result import FileVerdict

onnx = pytest.importorskip("onnx")
numpy_helper = pytest.importorskip("onnx.numpy_helper")
pytest.importorskip("onnxruntime")

FOLDER = Path(__file__).parents[1] / "exported"
WEIGHTS = {"torch": ("torch.pth", "torch"), "keras": ("keras.keras", "keras")}
"""The file of the weights that each exporter was given, and the module that reads it."""
ROWS = {
    "epsilon": ("bn1", "another epsilon"),
    "padding": ("right", "shifted padding"),
    "relu": ("squeeze", "activation missing"),
}


def exported(name: str, weights: str | None = None, **asked: Any) -> FileVerdict:
    return verified(FOLDER / f"{name}.onnx", weights, **asked)


def verified(path: Path, weights: str | None = None, **asked: Any) -> FileVerdict:
    if weights is not None:
        pytest.importorskip(WEIGHTS[weights][1])
    given = FOLDER / WEIGHTS[weights][0] if weights else None
    spec = load_spec(FOLDER / "small.yaml")
    [file] = verify_against(spec, [path], given, **asked, limit_s=300.0).files
    return file


def causes(file: FileVerdict) -> list[tuple[str | None, str | None]]:
    first = (file.first_row, file.cause.name if file.cause else None)
    return [first, *((each.row, each.cause.name if each.cause else None) for each in file.further)]


def test_what_torch_exports_as_it_is_is_equal():
    file = exported("torch-good-plain")
    assert file.passed, file.failures
    assert "input image, the spec's input: channels first" in file.notes


@pytest.mark.parametrize("maker", WEIGHTS)
def test_what_is_exported_is_equal_once_its_weights_are_told(maker):
    file = exported(f"{maker}-good", maker)
    assert file.passed, file.failures
    assert file.notes[0] == (
        "the numbers of its BatchNorms 'bn1', 'bn2' were put together: they are held against the given ones, put "
        "together likewise in float64"
    )


@pytest.mark.parametrize("maker", WEIGHTS)
def test_weights_that_were_put_together_are_compared_with_the_given_ones(maker, tmp_path):
    """A number of one kernel that is off by a ten thousandth, which the outputs hide."""
    model = onnx.load(FOLDER / f"{maker}-good.onnx")
    kernels = {
        node.input[1]: each
        for node in model.graph.node if node.op_type == "Conv"
        for each in model.graph.initializer if each.name == node.input[1]
    }  # fmt: skip
    name, kernel = next((name, each) for name, each in kernels.items() if list(each.dims) == [8, 8, 3, 3])
    array = numpy_helper.to_array(kernel).copy()
    array[0, 0, 0, 0] *= 1.0001
    kernel.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "model.onnx")
    file = verified(tmp_path / "model.onnx", maker)
    failure = file.failures[0]
    assert file.differs
    assert (failure.symptom, failure.row) == ("value", "conv2")
    assert failure.message.startswith(
        f"its {name} is not what the given weights of 'conv2' and 'bn2' make: 1 of 576 numbers differ"
    )


@pytest.mark.parametrize("maker", WEIGHTS)
def test_the_epsilon_of_what_was_put_together_is_named(maker):
    file = exported(f"{maker}-epsilon", maker)
    failure = file.failures[0]
    assert failure.row == "bn1"
    whose = {"torch": "'conv1' and 'bn1'", "keras": "'bn1'"}[maker]
    assert failure.message.endswith(f"are what the weights of {whose} make with epsilon=1e-05, not 0.001")


@pytest.mark.parametrize("maker", WEIGHTS)
def test_what_is_exported_is_judged_as_far_as_it_tells(maker):
    file = exported(f"{maker}-good")
    [failure] = file.failures
    assert (failure.stage, failure.symptom, file.differs) == ("build", "weights", False)
    assert "whether they are the spec's, epsilons too, cannot be told from it" in failure.message
    [output] = file.outputs
    assert output.measure is not None
    assert output.measure.ratio is not None
    assert output.measure.ratio <= 1
    assert {"conv2", "right", "add", "fc"} <= {row.row for row in file.rows} | {"conv2"}
    assert all(row.passed for row in file.rows)


@pytest.mark.parametrize("fault", ["padding", "relu"])
@pytest.mark.parametrize("maker", WEIGHTS)
def test_a_fault_is_found_without_the_numbers_that_were_put_together(maker, fault):
    file = exported(f"{maker}-{fault}")
    assert file.differs
    assert causes(file) == [ROWS[fault]]


@pytest.mark.parametrize("fault", ROWS)
@pytest.mark.parametrize("maker", WEIGHTS)
def test_a_fault_is_found_where_the_weights_are_told(maker, fault):
    assert causes(exported(f"{maker}-{fault}", maker)) == [ROWS[fault]]


@pytest.mark.parametrize("fault", ROWS)
def test_a_fault_is_found_in_what_was_not_optimised(fault):
    assert causes(exported(f"torch-{fault}-plain")) == [ROWS[fault]]


@pytest.mark.parametrize(
    ("name", "weights"), [("torch-two-plain", None), ("torch-two", "torch"), ("keras-two", "keras")]
)
def test_two_faults_are_both_found(name, weights):
    assert causes(exported(name, weights)) == [ROWS["epsilon"], ROWS["relu"]]


def test_another_order_of_flattening_is_found_where_the_weights_say_theirs():
    file = exported("keras-order", "keras")
    assert causes(file) == [("flat", "flattened in another order")]


def test_another_order_of_flattening_is_told_from_that_of_a_state_dict():
    """A state dict does not say how its network flattens images, but whoever gives it may."""
    file = exported("torch-order", "torch")
    assert file.passed, file.failures
    said = "both were tried, and the other than that of the names makes them those of the file"
    assert any(said in note for note in file.notes)
    file = exported("torch-order", "torch", flattened="first")
    assert (file.differs, file.first_row) == (True, "fc")
    assert "with images flattened height, width, channels before those of" in file.notes[-2]
    assert exported("torch-order", "torch", flattened="last").passed
    assert exported("torch-good", "torch", flattened="first").passed
