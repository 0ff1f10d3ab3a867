"""`netspec evaluate` and `predict --data`: exported artefacts of every backend give the same numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from netspec.backend import find_backend
from netspec.backend.artefact import LoadedOnce
from netspec.building.build import build
from netspec.building.options import BACKENDS, Options
from netspec.compile import compile_spec
from netspec.data import load
from netspec.errors import BackendError, SpecError
from netspec.inference.evaluation import evaluate
from netspec.reference import evaluate as reference
from netspec.spec.load import load_spec
from netspec.storage.stages import read_stages
from netspec.training.loss import Loss
from netspec.weights import draw, save
from tests.core.test_cli import Run, run

__all__ = ["run"]  # the fixture

SPEC = """
name: tiny
input: 8x8x1
layers:
  - CNN | 4, 3 | ReLU
  - BatchNorm
  - Flatten
  - FNN | 10 | Softmax
data: digits
train: {optimizer: adam, batch_size: 128, epochs: 2, seed: 3, metrics: [f1]}
preprocess: {scale: 1/16}
"""
ENDINGS = {"torch": ".py", "keras": ".keras", "onnx": ".onnx"}


def silent(event, **values):
    """Progress that nobody follows."""


@pytest.fixture(scope="module")
def finished(request, tmp_path_factory):
    """A trained build for every backend, which no test may change."""
    for name in BACKENDS:
        try:
            find_backend(name)
        except BackendError as error:
            (pytest.fail if request.config.getoption("--require-backends") else pytest.skip)(str(error))
    place = tmp_path_factory.mktemp("built")
    (place / "tiny.yaml").write_text(SPEC, encoding="utf-8")
    outcome = build(load_spec(place / "tiny.yaml"), Options(folder=place / "build", until="export"), silent)
    return place, outcome


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """A copy of the trained build in the current folder."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return finished[1]


def asked(run: Run, *options: str, command: str = "evaluate") -> dict:
    status, out, err = run(command, "tiny.yaml", "--format", "json", *map(str, options))
    assert status == 0, err
    return json.loads(out)


def test_every_artefact_gives_the_numbers_of_the_training(place, run: Run):
    found = {name: asked(run, "--backend", name) for name in BACKENDS}
    for name, each in found.items():
        assert (each["backend"], Path(each["artefact"]).suffix) == (name, ENDINGS[name])
        assert Path(each["artefact"]).parent == Path("build/tiny").resolve() / name
        assert (each["data"], each["split"], each["images"]) == ("digits", "test", 359)
        assert each["confusion"] == found["torch"]["confusion"]
        assert each["classes"] == found["torch"]["classes"]
        for metric, value in each["metrics"].items():
            assert value == pytest.approx(found["torch"]["metrics"][metric], rel=1e-5), metric
        # A training judges its weights itself, before anything is exported.
        assert each["confusion"] == [list(row) for row in place.evaluation.confusion]
        for metric, value in place.evaluation.metrics.items():
            assert each["metrics"][metric] == pytest.approx(value, rel=1e-5), metric
    assert set(place.evaluation.metrics) < set(found["torch"]["metrics"])


def test_progress_says_what_was_asked_for(place, run: Run):
    _, _, err = run("evaluate", "tiny.yaml", "--backend", "onnx")
    assert "tiny: evaluation done in " in err
    assert "predict" not in err


def test_the_numbers_are_those_of_the_reference(place, run: Run):
    spec = load_spec("tiny.yaml")
    network = compile_spec(spec)
    save(Path("w.safetensors"), draw(network, 9), network)
    test = load(spec.data, network).test
    values = reference(network, draw(network, 9), {"input": test.images / np.float32(16)})
    wanted = evaluate(values[network.rows[-1].name], test.labels, Loss.model_validate("cross_entropy"), "softmax")
    found = asked(run, "--backend", "onnx", "--weights", "w.safetensors")
    assert found["artefact"] is None
    assert found["metrics"] == pytest.approx(wanted.metrics, rel=1e-5)
    assert found["confusion"] == [list(row) for row in wanted.confusion]


def test_pixels_go_into_artefacts_that_read_them(place, run: Run, backend):
    """With the preprocessing inside, what is exported reads bytes; nothing is scaled twice, and the build's is left."""
    plain = asked(run, "--backend", backend)
    inside = asked(run, "--backend", backend, "--set", "export.preprocessing=true")
    assert plain["artefact"] is not None
    assert inside["artefact"] is None
    assert inside["confusion"] == plain["confusion"]
    assert inside["metrics"] == pytest.approx(plain["metrics"], rel=1e-5)


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_file_that_keras_wrote_runs_on_whatever_keras_does(place, run: Run, monkeypatch, command):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    more = ("--split", "test", "--top", "1") if command == "predict" else ()
    expected = asked(run, "--backend", "keras", *more, command=command)
    found = asked(run, "--backend", "keras", "--keras-backend", "torch", *more, command=command)
    assert Path(found["artefact"]) == Path("build/tiny/keras/tiny.keras").resolve()
    assert {**found, "metrics": None, "samples": None} == {**expected, "metrics": None, "samples": None}
    if command == "evaluate":
        assert found["metrics"] == pytest.approx(expected["metrics"], rel=1e-5)


def test_a_file_that_is_named_runs_with_its_weights(place, run: Run, backend):
    [file] = Path("build/tiny", backend).glob(f"*{ENDINGS[backend]}")
    expected = asked(run, "--backend", backend)
    shutil.move(file.parent, "elsewhere")
    shutil.rmtree("build")
    found = asked(run, "--artefact", Path("elsewhere") / file.name)
    assert (found["backend"], found["weights"]) == (backend, None)
    assert found["metrics"] == expected["metrics"]


def test_a_file_of_another_network_is_refused(place, run: Run, backend):
    [file] = Path("build/tiny", backend).glob(f"*{ENDINGS[backend]}")
    other = SPEC.replace("input: 8x8x1", "input: 9x9x1").replace("data: digits\n", "data: {file: a.npz}\n")
    Path("tiny.yaml").write_text(other, encoding="utf-8")
    np.savez("a.npz", images=np.zeros((400, 9, 9), np.uint8), labels=np.arange(400) % 10)
    status, _, err = run("evaluate", "tiny.yaml", "--artefact", file)
    assert status == 2, err
    assert f"{file.name} cannot be run as tiny" in err


def test_a_file_with_other_outputs_is_refused(place, run: Run, backend):
    """Its input fits, so it runs: neither are its ten numbers judged as twelve, nor printed as if they were."""
    [file] = Path("build/tiny", backend).glob(f"*{ENDINGS[backend]}")
    other = SPEC.replace("FNN | 10", "FNN | 12").replace("data: digits\n", "data: {file: a.npz}\n")
    Path("tiny.yaml").write_text(other, encoding="utf-8")
    np.savez("a.npz", images=np.zeros((400, 8, 8), np.uint8), labels=np.arange(400) % 12)
    for command in ("evaluate", "predict"):
        status, _, err = run(command, "tiny.yaml", "--split", "validation", "--artefact", file)
        assert status == 2, err
        assert f"{file.name} cannot be run as tiny" in err


def test_a_file_with_more_outputs_is_refused(place, run: Run, backend):
    """The same weights, so that nothing else tells them apart."""
    [file] = Path("build/tiny", backend).glob(f"*{ENDINGS[backend]}")
    layers, _, _ = SPEC.partition("data:")
    Path("tiny.yaml").write_text(f"{layers}outputs: {{output: dense_1, early: conv_1}}\n", encoding="utf-8")
    np.save("x.npy", np.zeros((2, 8, 8, 1), np.float32))
    status, _, err = run("predict", "tiny.yaml", "--input", "x.npy", "--artefact", file)
    assert status == 2, err
    assert f"{file.name} cannot be run as tiny: it gives " in err


@pytest.mark.parametrize("ending", [".onnx", ".keras"])
def test_a_file_that_is_not_whole_is_refused(place, run: Run, ending):
    Path(f"tiny{ending}").write_bytes(b"nothing that can be loaded")
    status, _, err = run("evaluate", "tiny.yaml", "--artefact", f"tiny{ending}")
    assert status == 2
    assert f"tiny{ending} cannot be run as tiny" in err


def test_an_onnx_file_that_is_not_ours_is_refused_in_words(place, run: Run):
    import onnx

    model = onnx.load("build/tiny/onnx/tiny.onnx")
    del model.metadata_props[:]
    onnx.save(model, "other.onnx")
    status, _, err = run("evaluate", "tiny.yaml", "--artefact", "other.onnx")
    assert status == 2
    assert "other.onnx cannot be run as tiny: its metadata have no netspec.layout" in err


def test_an_onnx_file_is_not_to_blame_for_what_this_machine_lacks(place, monkeypatch):
    """ONNX Runtime calls both a file that it does not understand and memory that it does not get a `Fail`."""
    from netspec_onnx import model
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    network, file = compile_spec(load_spec("tiny.yaml")), Path("build/tiny/onnx/tiny.onnx")
    for error, shows in (
        (Fail("Load model from tiny.onnx failed:foo:Nope(-1) is not a registered function/op"), True),
        (Fail("Load model from tiny.onnx failed:std::bad_alloc"), False),
        (MemoryError(), False),
        (RuntimeError("a bug of ours"), False),
    ):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(model, "_optimised", LoadedOnce(fail))
        with pytest.raises(SpecError if shows else type(error)):
            model.predict_artefact(file, network, {"input": np.zeros((1, 8, 8, 1), np.float32)})


def test_a_file_that_was_changed_since_is_not_run(place, run: Run):
    [file] = Path("build/tiny/onnx").glob("*.onnx")
    file.write_bytes(file.read_bytes() + b"\0")
    status, _, err = run("evaluate", "tiny.yaml", "--backend", "onnx")
    assert status == 2
    assert "tiny.onnx is not the file that was exported: it is missing or was changed" in err
    assert "`netspec export tiny.yaml` writes it anew" in err


def test_other_data_a_picture_and_chosen_metrics(place, run: Run):
    random = np.random.default_rng(0)
    np.savez("b.npz", images=random.integers(0, 17, (40, 8, 8)).astype(np.uint8), labels=np.arange(40) % 10)
    options = ("--backend", "onnx", "--data", "b.npz", "--metrics", "acc,top3", "-o", "c.png")
    found = asked(run, *options)
    assert list(found["metrics"]) == ["accuracy", "top_3_accuracy"]
    assert (found["data"], found["split"], found["images"]) == ("the file b.npz", "all", 40)
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = run("evaluate", "tiny.yaml", *options)
    assert status == 0
    assert out.startswith("On 40 images of the file b.npz\n  accuracy ")
    assert "is, predicted as" in out
    assert "tiny.onnx, run by onnx\nTrained with torch on digits" in out


def test_predict_takes_a_split(place, run: Run):
    found = asked(run, "--backend", "onnx", "--split", "test", "--output", "y.npy", command="predict")
    evaluated, outputs = asked(run, "--backend", "onnx"), np.load("y.npy")
    assert len(found["samples"]) == len(outputs) == 359
    right = 0
    for sample, output in zip(found["samples"], outputs, strict=True):
        name, _, label = sample["input"].partition(": ")
        assert name.startswith("test[")
        assert sample["outputs"]["output"]["top"][0]["index"] == output.argmax()
        right += int(label) == output.argmax()
    assert right / 359 == pytest.approx(evaluated["metrics"]["accuracy"])


def test_values_of_another_range_than_was_trained_on_are_warned_of(place, run: Run):
    """The build notes what the data are, and what preprocessing makes of them: sixteenths."""
    noted = read_stages(Path("build/tiny"))["weights"].facts["values"]
    assert noted == {"data": [0.0, 16.0], "input": [0.0, 1.0]}
    x = np.random.default_rng(1).random((3, 8, 8, 1)).astype(np.float32)
    np.save("x.npy", x)
    np.save("bytes.npy", x * 255)
    ask = ("predict", "tiny.yaml", "--backend", "onnx")
    assert "warning" not in run(*ask, "--input", "x.npy")[2]
    assert "warning" not in run(*ask, "--split", "test")[2]
    for file in ((), ("--artefact", "build/tiny/onnx/tiny.onnx")):
        status, out, err = run(*ask, "--input", "bytes.npy", *file)
        assert status == 0
        assert "warning" not in out
        assert "tiny: warning: the inputs are values of " in err
        assert ", but the network was trained on values of 0 to 1\n  hint: scale them as the training data were" in err
    shutil.copy("build/tiny/onnx/tiny.onnx", "elsewhere.onnx")
    assert "warning" not in run(*ask, "--input", "bytes.npy", "--artefact", "elsewhere.onnx")[2]


def test_predict_runs_the_file_of_the_build_and_arrays_are_what_the_network_reads(place, run: Run):
    x = np.random.default_rng(1).random((3, 8, 8, 1)).astype(np.float32)
    np.save("x.npy", x)
    options = ("--backend", "onnx", "--input", "x.npy", "--output", "y.npy")
    assert Path(asked(run, *options, command="predict")["artefact"]).name == "tiny.onnx"
    plain = np.load("y.npy")
    assert asked(run, *options, "--set", "export.preprocessing=true", command="predict")["artefact"] is None
    np.testing.assert_array_equal(np.load("y.npy"), plain)


def test_arrays_are_what_a_file_that_is_named_reads(place, run: Run):
    """The file reads bytes, the network sixteenths of them; what the build exports of the network is something else."""
    inside = ("--set", "export.preprocessing=true")
    assert run("export", "tiny.yaml", "--targets", "onnx", *inside)[0] == 0
    x = np.random.default_rng(1).integers(0, 17, (3, 8, 8, 1)).astype(np.float32)
    np.save("x.npy", x)
    np.save("sixteenths.npy", x / 16)
    [file] = Path("build/tiny/onnx").glob("*.onnx")
    for number, options in enumerate((("--input", "x.npy", "--artefact", file), ("--input", "sixteenths.npy"))):
        asked(run, "--backend", "onnx", *options, *inside, "--output", f"y{number}.npy", command="predict")
    np.testing.assert_allclose(np.load("y0.npy"), np.load("y1.npy"), rtol=1e-5, atol=1e-6)


def test_a_file_is_loaded_once_and_again_when_it_was_touched(tmp_path):
    path, loads = tmp_path / "a", []
    path.write_text("1", encoding="utf-8")
    kept = LoadedOnce(lambda file, *more: loads.append(more) or file.read_text(encoding="utf-8"))
    assert [kept(path), kept(path)] == ["1", "1"]
    assert len(loads) == 1
    kept(path, "another")
    assert len(loads) == 2
    path.write_text("22", encoding="utf-8")
    assert kept(path, "another") == "22"
    kept.forget()
    kept(path, "another")
    assert len(loads) == 4


def test_a_file_is_loaded_again_when_one_beside_it_was_touched(tmp_path):
    path, beside, loads = tmp_path / "a", tmp_path / "a.data", []
    path.write_text("1", encoding="utf-8")

    def load(file: Path) -> list[str]:
        loads.append(file)
        return [each.read_text(encoding="utf-8") for each in (path, beside) if each.exists()]

    kept = LoadedOnce(load, "w", "{}.data")
    assert kept(path) is kept(path)
    for text in ("2", "33"):
        beside.write_text(text, encoding="utf-8")
        assert kept(path) == ["1", text]
        assert kept(path) is kept(path)
    beside.unlink()
    assert kept(path) == ["1"]
    assert len(loads) == 4


def test_numbers_that_are_none_are_refused(place, run: Run):
    spec = load_spec("tiny.yaml")
    network = compile_spec(spec)
    weights = draw(network, 1)
    weights["dense_1.kernel"][:] = 3e38  # the sums overflow
    save(Path("w.safetensors"), weights, network)
    status, _, err = run("evaluate", "tiny.yaml", "--backend", "onnx", "--weights", "w.safetensors")
    assert status == 2
    assert "outputs are not numbers" in err


TABLE = """
name: table
input: 2
layers:
  - FNN | 1 | Sigmoid
classes: ["no", "yes"]
data: {file: a.csv, labels: kind, standardise: true}
"""


def test_a_table_and_one_output_for_two_classes(tmp_path, monkeypatch, run: Run):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(4)
    features, kinds = random.standard_normal((60, 2)) * (3, 5) + (1, 2), random.integers(0, 2, 60)
    for name, rows in (("a.csv", range(40)), ("b.csv", range(40, 60))):
        lines = (f"{features[row, 0]},{features[row, 1]},{('no', 'yes')[kinds[row]]}" for row in rows)
        Path(name).write_text("\n".join(["one,two,kind", *lines]), encoding="utf-8")
    Path("table.yaml").write_text(TABLE, encoding="utf-8")
    spec = load_spec("table.yaml")
    network = compile_spec(spec)
    save(Path("w.safetensors"), draw(network, 5), network)
    options = ("table.yaml", "--backend", "onnx", "--weights", "w.safetensors", "--data", "b.csv", "--format", "json")
    status, out, err = run("evaluate", *options)
    assert status == 0, err
    found = json.loads(out)
    own = load(spec.data, network)
    mean, deviation = np.array(own.scale).T
    given = ((features[40:].astype(np.float32) - mean) / deviation).astype(np.float32)
    outputs = reference(network, draw(network, 5), {"input": given})["dense_1"]
    wanted = evaluate(outputs, kinds[40:], Loss.model_validate("binary_cross_entropy"), "sigmoid")
    assert found["metrics"] == pytest.approx(wanted.metrics, rel=1e-5)
    assert found["confusion"] == [list(row) for row in wanted.confusion]
    assert [each["name"] for each in found["classes"]] == ["no", "yes"]
