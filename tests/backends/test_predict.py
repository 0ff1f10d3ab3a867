"""`netspec predict` and `netspec activations` on every backend, and what SqueezeNet says of real photographs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compile import compile_spec
from netspec.data.given import array_samples, read_samples
from netspec.errors import SpecError
from netspec.inference import predict as work
from netspec.inference.artefact import Known, known_weights
from netspec.reference import evaluate
from netspec.spec.load import load_spec
from netspec.storage.stages import BuildFolder
from netspec.weights import draw, save
from tests.core.test_cli import Run, run

__all__ = ["run"]  # the fixture

SPECS = Path(__file__).parents[2] / "specs"
GRAPH = """
name: graph
inputs: {left: 5x6x2, right: 5x6x2}
outputs: {mask: mask, classes: classes}
blocks:
  pair:
    parameters: {width: int}
    layers:
      - first: CNN | width, 1 | ReLU
      - CNN | width, 3 | - | padding=same
layers:
  - a: pair | 3 | from=left
  - b: CNN | 3, 1 | ReLU | from=right
  - sum: Add | from=[a, b]
  - mask: CNN | 1, 1 | Sigmoid
  - Flatten | from=sum
  - classes: FNN | 4 | Softmax
"""
TRUNK = "name: trunk\ninput: 8x8x1\nlayers:\n  - conv1: CNN | 4, 3 | ReLU\n  - Flatten\n  - prob: FNN | 3 | Softmax\n"


def silent(event, **values):
    """Progress that nobody follows."""


@pytest.fixture
def graph(tmp_path):
    """A network of two inputs and outputs, its weights in a file, and a batch for it in another."""
    spec = tmp_path / "graph.yaml"
    spec.write_text(GRAPH, encoding="utf-8")
    network = compile_spec(load_spec(spec))
    save(tmp_path / "graph.safetensors", draw(network, 3), network)
    random = np.random.default_rng(5)
    inputs = {
        name: random.standard_normal((4, *given.shape)).astype(np.float32) for name, given in network.inputs.items()
    }
    np.savez(tmp_path / "x.npz", **inputs)
    return spec, network, inputs


def expected(network, inputs):
    """The value of every row and of every output, by the reference."""
    values = evaluate(network, draw(network, 3), inputs)
    return {name: values[rows[-1].name] for name, rows in network.named.items()}


def test_outputs_are_those_of_the_reference(backend, graph, run: Run, tmp_path):
    spec, network, inputs = graph
    files = ("--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz", "--weights", tmp_path / "graph.safetensors")
    status, out, _ = run("predict", spec, "--backend", backend, *files, "--format", "json")
    assert status == 0
    wanted, found = expected(network, inputs), np.load(tmp_path / "y.npz")
    assert sorted(found.files) == ["classes", "mask"]
    for name in found.files:
        assert np.allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6), name
    said = json.loads(out)
    assert said["backend"] == backend
    assert said["output"] == str(tmp_path / "y.npz")
    assert len(said["samples"]) == 4
    for number, sample in enumerate(said["samples"]):
        assert sample["input"] == f"{tmp_path / 'x.npz'}[{number}]"
        best = sample["outputs"]["classes"]["top"][0]
        assert best["index"] == wanted["classes"][number].argmax()
        assert best["probability"] == pytest.approx(wanted["classes"][number].max(), rel=1e-5)
        assert sample["outputs"]["mask"]["shape"] == [5, 6, 1]


@pytest.mark.parametrize("row", ["a.first", "a", "b", "sum", "mask", "classes"])
def test_activations_of_any_row_are_those_of_the_reference(backend, graph, row):
    _, network, inputs = graph
    part = work.up_to(network, row)
    given = {name: inputs[name] for name in part.inputs}
    samples = array_samples(given, part, "x.npz")
    found = work.activations(part, Known(draw(network, 3), Path("w.safetensors")), samples, backend, silent)
    name = network.named[row][-1].name
    assert np.allclose(found, expected(network, inputs)[name][0], rtol=1e-5, atol=1e-6)


def test_a_model_of_the_api_predicts(graph, tmp_path):
    pytest.importorskip("onnxruntime")
    spec, network, inputs = graph
    model = netspec.load(spec, weights=tmp_path / "graph.safetensors")
    wanted = expected(network, inputs)
    for given in (inputs, tmp_path / "x.npz", [str(tmp_path / "x.npz")]):
        found = model.predict(given, "onnx")
        assert list(found) == ["mask", "classes"]
        assert np.allclose(found["classes"], wanted["classes"], rtol=1e-5, atol=1e-6)
    with pytest.raises(SpecError, match="no array for the input 'right'"):
        model.predict({"left": inputs["left"]}, "onnx")


def test_an_array_and_pictures_to_a_model_with_one_input(tmp_path):
    pytest.importorskip("onnxruntime")
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "trunk.yaml").write_text(
        TRUNK.replace("layers", "preprocess: {scale: 1/255}\nlayers"), encoding="utf-8"
    )
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    model = netspec.load(tmp_path / "trunk.yaml")
    found = model.predict(tmp_path / "a.png", "onnx")
    assert found.shape == (1, 3)
    assert np.array_equal(found, model.predict(pixels[np.newaxis, :, :, np.newaxis] * np.float32(1 / 255), "onnx"))


# Which weights are taken


@pytest.fixture
def trunk(tmp_path, monkeypatch):
    """A spec, a sample for it, and an empty folder for builds, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETSPEC_DATA", raising=False)
    Path("trunk.yaml").write_text(TRUNK, encoding="utf-8")
    np.save("x.npy", np.random.default_rng(2).standard_normal((1, 8, 8, 1)))
    return compile_spec(load_spec("trunk.yaml"))


def known(spec="trunk.yaml", part=None, given=None):
    loaded = load_spec(spec)
    network = compile_spec(loaded)
    return known_weights(loaded, network, Path("build"), given, part and work.up_to(network, part))


def built(network, seed=0):
    """A build folder with weights from this seed."""
    folder = BuildFolder(Path("build") / network.name)
    with folder.stage("weights", "key", {"network": network.digest, "trained": False, "seed": seed}) as partial:
        save(partial / "weights.safetensors", draw(network, seed), network)
    folder.close()


def test_no_weights_are_an_error_with_a_way_out(trunk, run: Run):
    for command in (
        ["predict", "trunk.yaml", "--input", "x.npy"],
        ["activations", "trunk.yaml", "--image", "x.npy", "--row", "conv1"],
    ):
        status, out, err = run(*command)
        assert (status, out) == (2, "")
        assert "there are no weights in build/trunk" in err
        assert "`netspec build trunk.yaml` makes some, or --weights FILE names a file" in err
    assert sorted(path.name for path in Path().iterdir()) == ["trunk.yaml", "x.npy"]


def test_those_of_the_build_folder(trunk):
    built(trunk, seed=8)
    found = known()
    assert np.array_equal(found.weights["conv1.kernel"], draw(trunk, 8)["conv1.kernel"])
    assert found.facts["seed"] == 8


def test_those_of_a_file_come_first(trunk):
    built(trunk, seed=8)
    save(Path("w.safetensors"), draw(trunk, 9), trunk)
    found = known(given=Path("w.safetensors"))
    assert np.array_equal(found.weights["conv1.kernel"], draw(trunk, 9)["conv1.kernel"])


def test_those_of_another_version_are_refused_but_can_be_named(trunk):
    built(trunk)
    Path("trunk.yaml").write_text(TRUNK.replace("ReLU", "tanh"), encoding="utf-8")
    with pytest.raises(SpecError, match="another version of this network"):
        known()
    assert known(given=Path("build/trunk/weights.safetensors")).weights


def test_those_that_were_changed_are_refused(trunk):
    built(trunk)
    save(Path("build/trunk/weights.safetensors"), draw(trunk, 9), trunk)
    with pytest.raises(SpecError, match="missing or was changed since the build"):
        known()


def test_those_of_the_base_as_far_as_they_go(trunk):
    save(Path("trunk.safetensors"), draw(trunk, 9), trunk)
    base = "base: {spec: trunk.yaml, weights: trunk.safetensors}\n"
    Path("same.yaml").write_text(base, encoding="utf-8")
    assert np.array_equal(known("same.yaml").weights["prob.kernel"], draw(trunk, 9)["prob.kernel"])
    cut = base.replace("weights", "output: flatten_1, weights") + "layers:\n  - head: FNN | 2 | Softmax\n"
    Path("cut.yaml").write_text(cut, encoding="utf-8")
    assert np.array_equal(known("cut.yaml", part="conv1").weights["conv1.kernel"], draw(trunk, 9)["conv1.kernel"])
    with pytest.raises(SpecError, match="there are no weights in build/cut"):
        known("cut.yaml")


# The commands


def test_nothing_is_computed_for_an_output_that_cannot_be_written(trunk, run: Run, monkeypatch):
    built(trunk)
    monkeypatch.setattr(work, "Worker", None)
    for name, said in (("y.csv", ".npy or .npz"), ("nowhere/y.npy", "there is no folder nowhere")):
        status, _, err = run("predict", "trunk.yaml", "--input", "x.npy", "--output", name)
        assert status == 2
        assert said in err
    for name, said in (("y.jpg", "the picture is a PNG"), ("nowhere/y.png", "there is no folder nowhere")):
        status, _, err = run("activations", "trunk.yaml", "--image", "x.npy", "--row", "conv1", "-o", name)
        assert status == 2
        assert said in err


def test_the_names_of_classes_are_read_from_a_file(trunk, run: Run):
    pytest.importorskip("onnxruntime")
    built(trunk)
    Path("names.txt").write_text("red fox\ngrey wolf\n\nbear\n", encoding="utf-8")
    status, out, _ = run("predict", "trunk.yaml", "--input", "x.npy", "--backend", "onnx", "--classes", "names.txt")
    assert status == 0
    assert {line.partition("%  ")[2] for line in out.splitlines()[1:4]} == {"red fox", "grey wolf", "bear"}
    Path("names.txt").write_text("red fox\n", encoding="utf-8")
    status, _, err = run("predict", "trunk.yaml", "--input", "x.npy", "--backend", "onnx", "--classes", "names.txt")
    assert status == 2
    assert "names.txt has 1 names, but the network gives 3 numbers" in err


def test_a_backend_that_is_none(trunk, run: Run):
    for written, said in (("onxn", "did you mean 'onnx'?"), ("torch,onnx", "2 backends, of which one can be chosen")):
        status, _, err = run("predict", "trunk.yaml", "--input", "x.npy", "--backend", written)
        assert status == 2
        assert said in err


def test_activations_write_a_picture(trunk, run: Run):
    for module in ("onnxruntime", "matplotlib"):
        pytest.importorskip(module)
    built(trunk)
    status, out, _ = run("activations", "trunk.yaml", "--image", "x.npy", "--row", "conv1", "--backend", "onnx")
    assert status == 0
    assert out.startswith("trunk-conv1.png: conv1 6x6x4, from 0 to ")
    assert Path("trunk-conv1.png").read_bytes().startswith(b"\x89PNG")
    status, _, err = run("activations", "trunk.yaml", "--image", "x.npy", "--row", "con1", "--backend", "onnx")
    assert status == 2
    assert "did you mean 'conv1'?" in err


# SqueezeNet and real photographs


DATA = Path(os.environ.get("NETSPEC_DATA") or "nowhere")
TRAINED = DATA / "weights" / "squeezenet1_1-torchvision.safetensors"
PHOTOGRAPHS = DATA / "images"


@pytest.mark.skipif(not TRAINED.is_file(), reason="NETSPEC_DATA has no weights of SqueezeNet")
def test_squeezenet_names_the_classes_of_photographs(backend, run: Run, tmp_path):
    """With torchvision's weights each backend gives the five classes that an independent computation gave."""
    recorded = json.loads((PHOTOGRAPHS / "expected.json").read_text(encoding="utf-8"))
    assert len(recorded) == 10
    files = [part for name in recorded for part in ("--input", PHOTOGRAPHS / name)]
    names = PHOTOGRAPHS / "synset_words.txt"
    spec = (SPECS / "squeezenet-1.1.yaml", "--variant", "torchvision")
    options = ("--weights", TRAINED, "--backend", backend, "--classes", names, "--format", "json")
    status, out, _ = run("predict", *spec, *files, *options, "--output", tmp_path / "y.npy")
    assert status == 0
    samples = json.loads(out)["samples"]
    assert [Path(sample["input"]).name for sample in samples] == list(recorded)
    for sample, facts in zip(samples, recorded.values(), strict=True):
        top = sample["outputs"]["output"]["top"]
        assert [each["index"] for each in top] == facts["reference_top5"], sample["input"]
        words = names.read_text(encoding="utf-8").splitlines()
        assert [each["class"] for each in top] == [words[index] for index in facts["reference_top5"]]
    assert np.load(tmp_path / "y.npy").shape == (10, 1, 1, 1000)


@pytest.mark.skipif(not TRAINED.is_file(), reason="NETSPEC_DATA has no weights of SqueezeNet")
def test_an_array_of_the_same_pixels_gives_the_same(tmp_path):
    pytest.importorskip("onnxruntime")
    model = netspec.load(SPECS / "squeezenet-1.1.yaml", variant="torchvision", weights=TRAINED)
    path = PHOTOGRAPHS / "parrot_macaw.jpg"
    [batch] = read_samples([path], model.network, model.spec.preprocess).batches()
    found = model.predict(batch.inputs["input"], "onnx")
    assert np.array_equal(found, model.predict(path, "onnx"))
    assert found.reshape(-1).argmax() == 88
