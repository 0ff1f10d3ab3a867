"""Folders of images from training to artefacts: what is exported reads pixels as the spec says pictures are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netspec.backend import find_backend
from netspec.building.build import build
from netspec.building.options import BACKENDS, Options
from netspec.compile import compile_spec
from netspec.compile.pixels import exported_network
from netspec.data.preprocess import read_image, read_pixels
from netspec.errors import BackendError, SpecError
from netspec.reference import evaluate
from netspec.spec.load import load_spec
from netspec.weights import load

Image = pytest.importorskip("PIL.Image")
SPEC = """
name: tiny-photos
about: red or blue
input: 8x10x3
layers:
  - CNN       | 4, (3,3) | ReLU
  - BatchNorm | - | - | momentum=0.5
  - GlobalAvgPool
  - FNN       | 2 | Softmax
data: {folder: photos}
preprocess: {resize: 10, channels: bgr, scale: 1/255, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4]}
train: {optimizer: {adam: {learning_rate: 0.03}}, batch_size: 8, epochs: 6, seed: 3}
verify: {inputs: 2}
"""
INSIDE = "export: {preprocessing: true}\n"


def silent(event, **values):
    """Progress that nobody follows."""


@pytest.fixture(scope="module")
def available(request):
    for name in BACKENDS:
        try:
            find_backend(name)
        except BackendError as error:
            (pytest.fail if request.config.getoption("--require-backends") else pytest.skip)(str(error))


@pytest.fixture(scope="module")
def place(available, tmp_path_factory) -> Path:
    """Noisy pictures, red ones and blue ones, 24 to train on and 10 to validate on, of several sizes."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(1)
    for split, count in (("train", 12), ("val", 5)):
        for name, colour in (("blue", 2), ("red", 0)):
            (folder / "photos" / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(0, 120, (12 + k, 16, 3), dtype=np.uint8)
                pixels[..., colour] += 80
                Image.fromarray(pixels).save(folder / "photos" / split / name / f"{k}.png")
    return folder


def run(place: Path, text: str, **options):
    """A spec beside the pictures, built in a folder of that name."""
    (place / "spec.yaml").write_text(text, encoding="utf-8")
    return build(load_spec(place / "spec.yaml"), Options(folder=place / "built", **options), silent)


@pytest.fixture(scope="module")
def finished(place):
    outcome = run(place, SPEC + INSIDE)
    assert outcome.verdict.passed, outcome.verdict.summary()
    return outcome


def test_artefacts_read_pixels(finished, place, workers):
    spec = load_spec(place / "spec.yaml")
    plain = compile_spec(spec)
    inside = exported_network(spec, plain)
    weights = load(finished.folder / "weights.safetensors", plain)
    paths = sorted((place / "photos/val").rglob("*.png"))
    numbers = np.stack([read_image(path, plain.input_type, spec.preprocess) for path in paths])
    pixels = np.stack([read_pixels(path, plain.input_type, spec.preprocess) for path in paths]).astype(np.float32)
    expected = evaluate(plain, weights, {"input": numbers})[plain.rows[-1].name]
    assert expected.argmax(1).tolist() == [0] * 5 + [1] * 5
    for name in BACKENDS:
        found = workers[name].call(
            "run_artefact", folder=finished.folder / name, network=inside, inputs={"input": pixels}
        )
        for file, outputs in found.items():
            np.testing.assert_allclose(outputs["output"], expected, rtol=1e-4, atol=1e-5, err_msg=file)


def test_the_verdict_is_of_what_was_exported(finished):
    for verdict in finished.verdict.backends:
        assert [row.row for row in verdict.rows][:2] == ["pixels_blue", "pixels_green"]


def test_the_classes_are_in_the_artefacts(finished):
    assert 'CLASSES = ("blue", "red")' in (finished.folder / "torch/tiny_photos.py").read_text()


def test_what_is_current_is_not_done_again_until_a_picture_comes(finished, place):
    assert run(place, SPEC + INSIDE).ran == []
    extra = place / "photos/val/red/extra.png"
    Image.new("RGB", (20, 20), (255, 0, 0)).save(extra)
    try:
        assert "weights" in run(place, SPEC + INSIDE, until="train").ran
    finally:
        extra.unlink()
    # The older files are there again, and so is what they gave; trained weights are the same for the same pictures.
    assert "weights" in run(place, SPEC + INSIDE, until="train").ran


@pytest.mark.parametrize("trainer", ["torch", "keras"])
def test_both_trainers_learn_from_pictures(place, trainer):
    text = SPEC.replace("tiny-photos", f"by-{trainer}")
    outcome = run(place, text, trainer=trainer, targets=("onnx",), until="train")
    last = (outcome.folder / "history.csv").read_text().splitlines()[-1].split(",")
    header = (outcome.folder / "history.csv").read_text().splitlines()[0].split(",")
    assert float(last[header.index("val_accuracy")]) == 1.0


def test_a_folder_that_is_gone_is_named(place, tmp_path, monkeypatch):
    monkeypatch.delenv("NETSPEC_DATA", raising=False)
    (tmp_path / "spec.yaml").write_text(SPEC)
    with pytest.raises(SpecError, match="there is no folder 'photos'"):
        build(load_spec(tmp_path / "spec.yaml"), Options(folder=tmp_path / "built"), silent)
