"""What differs between two specs, and how it is said; nothing where they only are written otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netspec.backend.stored import StoredTensor
from netspec.compile import compile_spec
from netspec.diff import diff_specs
from netspec.diff.files import BY_NUMBERS, _compared, _paired
from netspec.diff.result import FileDiff, OutputDiff, SpecDiff, TensorDiff
from netspec.report.diff import files_text, specs_text
from netspec.spec.load import load_spec, parse_spec

LEFT = """
name: net
input: 12x12x3
layers:
  - conv1: CNN | 8, 3 | ReLU | padding=same
  - pool1: MaxPool | 2
  - flat: Flatten
  - fc: FNN | 5 | Softmax
verify: {inputs: 3}
"""


def diff(right: str, left: str = LEFT) -> SpecDiff:
    return diff_specs(parse_spec(left, "left.yaml"), parse_spec(right, "right.yaml"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("padding=same", "padding=1"),
        (
            "- conv1: CNN | 8, 3 | ReLU | padding=same",
            "- {name: conv1, type: Conv2D, filters: 8, kernel: 3, padding: same, activation: relu}",
        ),
        ("MaxPool | 2", "MaxPool | 2 | - | stride=2"),
        ("layers:", "# a comment\nlayers:"),
        ("verify: {inputs: 3}", "verify: {inputs: 3, seed: 0}"),
    ],
)
def test_what_is_only_written_otherwise_is_equal(old, new):
    assert old in LEFT
    found = diff(LEFT.replace(old, new))
    assert found.equal, found
    assert specs_text(found) == "left.yaml and right.yaml mean the same"


def test_a_field_is_named_with_both_values():
    found = diff(
        LEFT.replace("8, 3 | ReLU", "8, 3 | leaky_relu(0.1)").replace("| padding=same", "| padding=((0,2),(1,1))")
    )
    [row] = found.rows
    assert (row.row, row.how, row.kind) == ("conv1", "changed", "Conv")
    changes = {change.path: (change.left, change.right) for change in row.changes}
    assert changes == {
        "padding": (((1, 1), (1, 1)), ((0, 2), (1, 1))),
        "activation.function": ("relu", "leaky_relu"),
        "activation.slope": (None, 0.1),
    }
    assert not found.totals
    assert "~ conv1  Conv: padding ((1, 1), (1, 1)) -> ((0, 2), (1, 1))" in specs_text(found)


def test_an_edit_is_shown_though_the_spec_no_longer_meets_what_it_expects():
    expects = LEFT + "expect: {parameters: 4317}\n"
    right = expects.replace("FNN | 5", "FNN | 6")
    found = diff(right, expects.replace("4317", str(parameters(LEFT))))
    assert [(row.row, row.how) for row in found.rows] == [("fc", "changed")]
    [said] = found.unmet
    assert said.startswith("right.yaml:10:22: expect.parameters: parameters should be 4,317, but")
    assert specs_text(found).splitlines()[1] == f"  not met  {said}"
    assert diff(right, right).equal


def parameters(text: str) -> int:
    return compile_spec(parse_spec(text, "spec.yaml")).parameters


def test_rows_are_found_again_by_name():
    found = diff(LEFT.replace("  - pool1: MaxPool | 2\n", "  - norm: BatchNorm\n"))
    rows = [(row.row, row.how) for row in found.rows]
    assert rows == [("norm", "added"), ("pool1", "removed"), ("flat", "changed"), ("fc", "changed")]
    changes = {change.path: (change.left, change.right) for change in found.rows[2].changes}
    assert changes == {"from": (["pool1"], ["norm"]), "result": ("288", "1152")}
    totals = {change.path: change.right for change in found.totals}
    assert set(totals) == {"parameters", "trainable", "non_trainable", "macs"}
    text = specs_text(found)
    assert "  + norm  BatchNorm, 12x12x8, 32 parameters" in text
    assert "  - pool1  MaxPool, 6x6x8, 0 parameters" in text


def test_inputs_outputs_and_sections_are_compared():
    found = diff(LEFT.replace("12x12x3", "12x12x1").replace("inputs: 3", "inputs: 4") + "outputs: {chances: fc}\n")
    totals = {change.path: (change.left, change.right) for change in found.totals}
    assert totals["input input"] == ("12x12x3", "12x12x1")
    assert (totals["output output"], totals["output chances"]) == (("fc", None), (None, "fc"))
    sections = {change.path: (change.left, change.right) for change in found.sections}
    assert sections == {"verify.inputs": (3, 4)}


def test_a_spec_is_equal_to_itself_in_the_zoo():
    for name in ("cifar10-cnn", "squeezenet-1.1", "resnet18"):
        path = Path(__file__).parents[2] / "specs" / f"{name}.yaml"
        assert diff_specs(load_spec(path), load_spec(path)).equal


def tensor(name: str, values: object) -> StoredTensor:
    array = np.asarray(values, np.float32)
    return StoredTensor(name, array, "float32", array.shape)


A, B = np.arange(6.0).reshape(2, 3), np.arange(4.0)


def compared(left: list[StoredTensor], right: list[StoredTensor]) -> tuple[str, list[TensorDiff | None]]:
    pairs, aligned = _paired(left, right)
    return aligned, [_compared(name, one, other, aligned) for name, one, other in pairs]


def test_tensors_are_paired_by_name():
    aligned, found = compared([tensor("a", A), tensor("b", B)], [tensor("b", [*B[:3], 3.5]), tensor("a", A)])
    assert aligned == "by name"
    assert found[0] is None
    assert found[1] is not None
    assert (found[1].tensor, found[1].how, found[1].changed, found[1].most) == ("b", "changed", 1, 0.5)
    assert found[1].relative == pytest.approx(0.5 / np.linalg.norm(B))


def test_another_layout_is_no_difference():
    assert compared([tensor("a", A)], [tensor("a", A.T)]) == ("by name", [None])
    aligned, found = compared([tensor("a", A), tensor("b", B)], [tensor("y", B), tensor("x", A.T)])
    assert (aligned, found) == (BY_NUMBERS, [None, None])


def test_other_names_in_the_same_order_are_paired():
    aligned, found = compared([tensor("a", A), tensor("b", B)], [tensor("x", A), tensor("y", B + 1)])
    assert aligned == "by order and shape"
    assert found[0] is None
    assert found[1] is not None
    assert (found[1].tensor, found[1].changed) == ("b = y", 4)


def test_what_one_side_lacks_is_said():
    _, found = compared([tensor("a", A), tensor("b", B)], [tensor("a", A), tensor("c", B)])
    assert [each.how for each in found if each] == ["removed", "added"]
    _, [changed] = compared([tensor("a", A)], [tensor("a", A[:1])])
    assert changed is not None
    assert (changed.how, changed.left_shape, changed.right_shape, changed.changed) == ("changed", (2, 3), (1, 3), None)


def test_files_are_printed():
    outputs = (OutputDiff(left="y", right="probs", equal=False, error=0.5, granted=1e-6, sample="ramp"),)
    tensors = (
        TensorDiff(tensor="a", how="changed", left_shape=(2,), right_shape=(2,), changed=1, most=0.25, relative=0.125),
        TensorDiff(
            tensor="b", how="added", left_shape=None, right_shape=(3, 4), changed=None, most=None, relative=None
        ),
    )
    found = FileDiff(
        left="x.onnx",
        right="y.onnx",
        equal=False,
        aligned="by name",
        same=1,
        tensors=tensors,
        outputs=outputs,
        notes=(),
    )
    assert files_text(found).splitlines() == [
        "x.onnx and y.onnx differ",
        "",
        "  output  in the other     error  rounding may cost  worst input",
        "  y       probs         5.0e-01!            1.0e-06  ramp",
        "",
        "1 tensor is the same, paired by name",
        "  ~ a  1 number differs, by 0.25 at most, 1.2e-01 of its size in all",
        "  + b  3x4",
    ]
    assert found.differs
    hung = found.model_copy(update={"tensors": (), "outputs": None, "notes": ("not done",)})
    assert not hung.equal
    assert not hung.differs
    assert files_text(hung).startswith("x.onnx and y.onnx hold the same, but are not known to compute it\n")
