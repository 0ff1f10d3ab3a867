"""Files that are broken, unknown, endless or mean harm: a verdict with stage and symptom; nothing of them is run."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.backend.worker import Worker, WorkerDied, within
from netspec.errors import SpecError
from netspec.layers import Dropout
from netspec.layers.activation import Activation
from netspec.report.against import against_text
from netspec.verify.against import Request, check_against
from tests.cases import chain
from tests.failing_runtime import PLACE, failing
from tests.stock_models import (
    SETTINGS,
    against,
    good,
    keras_files,
    network,
    node_of,
    spoilt,
    torch_files,
    write_ours,
)

__all__ = ["good", "keras_files", "torch_files"]  # the fixtures

pytest.importorskip("torch")
pytest.importorskip("keras")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> tuple[Path, Any]:
    return write_ours(tmp_path_factory.mktemp("ours"))


def test_no_file_of_a_known_kind_is_a_wrong_argument(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    for name in ("model.tflite", "missing.onnx"):
        with pytest.raises(SpecError, match=name):
            against(tmp_path / name)


@pytest.mark.parametrize("name", ["model.pt", "model.pt2", "model.onnx"])
def test_a_truncated_file_is_a_verdict_and_the_others_are_still_judged(good, tmp_path, name):
    whole = (good / name).read_bytes()
    broken = tmp_path / name
    broken.write_bytes(whole[: len(whole) // 2])
    verdict = check_against(network(), [broken, good / name], Request(SETTINGS))
    first, second = verdict.files
    assert [(each.stage, each.symptom) for each in first.failures] == [("build", "file")]
    assert second.passed
    assert (verdict.passed, verdict.differs) == (False, False), "what was never run is not said to differ"


def test_a_missing_part_is_named(ours, tmp_path):
    import onnx

    path, weights = ours
    model = onnx.load(path)
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    assert against(tmp_path / "net.onnx").passed
    (tmp_path / "net.data").unlink()
    for asked in ({}, {"weights": weights}):
        [failure] = against(tmp_path / "net.onnx", **asked).failures
        assert (failure.stage, failure.symptom) == ("build", "file")
        assert "net.data" in failure.message


def test_an_unknown_operator_is_named(ours, tmp_path):
    def unknown(model: Any) -> None:
        node_of(model, "Relu").op_type = "Novelty"

    path, _ = ours
    [failure] = against(spoilt(path, tmp_path / "net.onnx", unknown)).failures
    assert (failure.stage, failure.symptom) == ("build", "unsupported")
    assert "Novelty" in failure.message


def test_a_lambda_is_not_run(keras_files, tmp_path):
    net = chain("lambda", (12, 10, 3), Dropout())
    folder = keras_files(tmp_path)
    for name in ("lambda.keras", "lambda.h5"):
        [failure] = against(folder / name, net).failures
        assert (failure.stage, failure.symptom) == ("build", "file")
        assert "lambda" in failure.message.casefold()


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as archive:
        for member in whole.infolist():
            archive.writestr(member.filename, change(member.filename, whole.read(member)))
    return target


EVIL = "open('{}', 'w')"


def evil_guard(model: Any, mark: Path) -> None:
    model["guards_code"] = [EVIL.format(mark)]


def evil_size(model: Any, mark: Path) -> None:
    for value in model["graph_module"]["graph"]["tensor_values"].values():
        for size in value["sizes"]:
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = EVIL.format(mark)


def evil_operator(model: Any, mark: Path) -> None:
    model["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"


@pytest.mark.parametrize(
    ("plant", "symptom"), [(evil_guard, "file"), (evil_size, "file"), (evil_operator, "unsupported")]
)
def test_a_program_that_means_harm_is_not_run(good, tmp_path, plant, symptom):
    mark = tmp_path / "was_run"

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        model = json.loads(content)
        plant(model, mark)
        return json.dumps(model).encode()

    path = rewritten(good / "model.pt2", tmp_path / "model.pt2", change)
    [failure] = against(path).failures
    assert (failure.stage, failure.symptom) == ("build", symptom)
    assert not mark.exists()


def test_pickled_weights_in_a_program_are_not_read(good, tmp_path):
    def change(name: str, content: bytes) -> bytes:
        return (
            content.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("config.json") else content
        )

    [failure] = against(rewritten(good / "model.pt2", tmp_path / "model.pt2", change)).failures
    assert (failure.stage, failure.symptom) == ("build", "file")
    assert "pickles" in failure.message


def endless(path: Path) -> Path:
    """A graph whose loop has 2^62 turns."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    turn = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Tanh", ["a"], ["b"])],
        "turn",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, None),
        ],
    )
    shape = ["n", 3]
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=turn)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.int64(2**62), "turns"), numpy_helper.from_array(np.bool_(True), "yes")],
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_file_that_hangs_is_ended(tmp_path):
    net = chain("tanh", (3,), Activation(function="tanh"))
    file = against(endless(tmp_path / "m.onnx"), net, limit_s=5.0)
    [failure] = file.failures
    assert (failure.stage, failure.symptom) == ("run", "crash")
    assert failure.message == "it was not done after 5 seconds, and was ended"
    assert not file.differs


@pytest.fixture
def dying(ours, tmp_path, monkeypatch) -> Callable[..., Any]:
    """The verdict on our own file under names at which its runtime fails."""
    monkeypatch.setattr("netspec.verify.against.check.openers", lambda: {PLACE: failing})
    monkeypatch.setattr("netspec.importing.file.importers", lambda: {PLACE: failing})

    def verdict(*names: str, **asked: Any) -> Any:
        paths = [Path(shutil.copy(ours[0], tmp_path / f"{name}.onnx")) for name in names]
        return check_against(network(), paths, Request(SETTINGS, **asked))

    return verdict


KILLED = {
    "describe-SIGSEGV": ("build", "was killed by SIGSEGV"),
    "read-SIGKILL": ("build", "was killed by SIGKILL (out of memory?)"),
    "run-SIGKILL": ("run", "was killed by SIGKILL (out of memory?)"),
    "run-SIGFPE": ("run", "was killed by SIGFPE"),
}
"""By the name of the file, when its runtime is killed, and what is said of that."""


def test_a_runtime_that_a_signal_ends_is_a_verdict_and_the_others_are_still_judged(dying):
    verdict = dying(*KILLED, "whole")
    *killed, whole = verdict.files
    assert whole.passed
    for file, (stage, said) in zip(killed, KILLED.values(), strict=True):
        [failure] = file.failures
        assert (failure.stage, failure.symptom, file.differs) == (stage, "crash", False)
        assert said in failure.message
    text = against_text(verdict, "net.yaml")
    assert [f"NOT PROVEN. {name}.onnx did not answer" in text for name in KILLED] == [True] * len(KILLED)
    assert "Traceback" not in text


def test_a_process_that_stands_still_is_ended(dying):
    *stopped, whole = dying("read-SIGSTOP", "run-SIGSTOP", "whole", limit_s=20.0).files  # a right one takes two
    assert whole.passed
    for file, stage in zip(stopped, ("build", "run"), strict=True):
        [failure] = file.failures
        assert (failure.stage, failure.symptom) == (stage, "crash")
        assert "it was not done after 20 seconds, and was ended" in failure.message


def test_a_runtime_that_dies_of_showing_its_values_has_given_its_outputs(dying):
    [file] = dying("trace-SIGKILL").files
    assert file.passed
    [output] = file.outputs
    assert output.measure is not None
    assert any("its values on the way could not be read: the " in note and "SIGKILL" in note for note in file.notes)


class Sleeper:
    def nap(self, seconds: float) -> str:
        import time

        time.sleep(seconds)
        return "awake"


sleeper = Sleeper()


def test_a_worker_has_a_time_to_answer():
    with Worker("tests.backends.test_against_harm:sleeper") as worker:
        with within(worker, 60):
            assert worker.call("nap", seconds=0.0) == "awake"
        with within(worker, None):
            assert worker.call("nap", seconds=0.0) == "awake"
        with pytest.raises(WorkerDied, match=r"not done after 0\.5 seconds"), within(worker, 0.5):
            worker.call("nap", seconds=60)
