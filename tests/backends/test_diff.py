"""Two exported models, held against each other: what they compute counts, and what both of them have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netspec.backend import ExportSettings, OnnxExport
from netspec.backend.worker import Worker
from netspec.diff import diff_files
from netspec.errors import UnreadableError
from netspec.verify.inputs import biting_weights
from tests.core.test_cli import Run, run
from tests.stock_models import attribute, network, node_of, spoilt

__all__ = ["run"]  # the fixture

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

EXPORTED = Path(__file__).parents[1] / "exported"


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> dict[str, Path]:
    """The same network and weights as ONNX with channels first, and with channels last."""
    files = {}
    with Worker("onnx") as worker:
        for layout in ("nchw", "nhwc"):
            folder = tmp_path_factory.mktemp(layout)
            settings = ExportSettings(onnx=OnnxExport(layout=layout))
            net = network()
            worker.call("export", network=net, weights=biting_weights(net, 3), folder=folder, settings=settings)
            files[layout] = folder / "net.onnx"
    return files


def test_models_of_other_layouts_are_equal(ours):
    found = diff_files(ours["nchw"], ours["nhwc"], 300.0)
    assert found.equal, found
    assert not found.tensors
    [output] = found.outputs or ()
    assert output.error is not None
    assert output.granted is not None
    assert 0 <= output.error <= output.granted


def test_a_folded_model_computes_the_same_with_other_numbers():
    """PyTorch's exporter leaves their names to the weights that it folds into: both have them, with other numbers."""
    found = diff_files(EXPORTED / "torch-good-plain.onnx", EXPORTED / "torch-good.onnx", 300.0)
    assert all(each.equal for each in found.outputs or ())
    assert found.outputs
    assert {"stem.weight", "stem.bias"} <= {each.tensor for each in found.tensors if each.how == "changed"}
    assert "stem_norm.weight" in {each.tensor for each in found.tensors if each.how == "removed"}
    assert not found.equal


def test_another_epsilon_shows_in_what_models_compute(ours, tmp_path):
    def change(model):
        attribute(node_of(model, "BatchNormalization"), "epsilon").f = 1e-3

    found = diff_files(ours["nchw"], spoilt(ours["nchw"], tmp_path / "net.onnx", change), 300.0)
    assert not found.equal
    assert not found.tensors
    [output] = found.outputs or ()
    assert not output.equal
    assert output.error is not None
    assert output.granted is not None
    assert output.error > output.granted


def test_another_number_shows_in_both(ours, tmp_path):
    def change(model):
        from onnx import numpy_helper

        [bias] = [each for each in model.graph.initializer if each.name == "conv_1.bias"]
        values = numpy_helper.to_array(bias).copy()
        values[0] += 0.5
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))

    found = diff_files(ours["nchw"], spoilt(ours["nchw"], tmp_path / "net.onnx", change), 300.0)
    [tensor] = found.tensors
    assert (tensor.tensor, tensor.how, tensor.changed) == ("conv_1.bias", "changed", 1)
    assert tensor.most == pytest.approx(0.5)
    assert not found.equal
    assert not any(each.equal for each in found.outputs or ())


def test_an_output_that_only_one_has_is_a_difference(ours, tmp_path):
    def change(model):
        import onnx

        name = node_of(model, "Relu").output[0]
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))

    more = spoilt(ours["nchw"], tmp_path / "net.onnx", change)
    for pair in ((ours["nchw"], more), (more, ours["nchw"])):
        found = diff_files(*pair, 300.0)
        assert not found.equal
        same, other = found.outputs or ()
        assert same.equal
        assert (other.equal, other.error, None in (other.left, other.right)) == (False, None, True)


def test_models_of_other_inputs_are_said_to_be(ours):
    found = diff_files(ours["nchw"], EXPORTED / "torch-good.onnx", 300.0)
    assert not found.equal
    assert found.outputs is None
    [note] = found.notes
    assert note.startswith("what they compute was not compared: the input input (float32 ?x3x12x10) is not image")


def test_a_model_of_another_framework(tmp_path):
    pytest.importorskip("keras")
    found = diff_files(EXPORTED / "keras.keras", EXPORTED / "keras-good.onnx", 300.0)
    assert all(each.equal for each in found.outputs or ()), found
    assert found.outputs


def test_a_truncated_model_is_refused(ours, tmp_path):
    whole = ours["nchw"].read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableError, match=r"half\.onnx"):
        diff_files(ours["nchw"], tmp_path / "half.onnx", 300.0)


def test_the_command_says_what_models_compute(run: Run, ours, tmp_path):
    status, out, _ = run("diff", ours["nchw"], ours["nhwc"])
    assert status == 0
    assert out.startswith(f"{ours['nchw']} and {ours['nhwc']} hold and compute the same")

    def change(model):
        attribute(node_of(model, "BatchNormalization"), "epsilon").f = 1e-3

    other = spoilt(ours["nchw"], tmp_path / "net.onnx", change)
    status, out, _ = run("diff", ours["nchw"], other, "--format", "json")
    found = json.loads(out)
    assert (status, found["equal"], found["tensors"]) == (1, False, [])
    assert [each["equal"] for each in found["outputs"]] == [False]
