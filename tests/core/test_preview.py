"""`netspec data`: what a training sees, as numbers and as a picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from netspec.cli import app
from netspec.compile import compile_spec
from netspec.data.batches import epoch_order
from netspec.preview import first_batch, read_data
from netspec.report.contact import draw_sheet, pixels, tile_size
from netspec.spec.load import parse_spec

pytest.importorskip("sklearn")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

SPEC = """
name: seen
input: 8x8x1
layers:
  - Flatten
  - FNN | 10 | Softmax
data: digits
train: {batch_size: 16, seed: 5, augment: {flip: horizontal, crop: 1, cutmix: {probability: 0.5}}}
"""


def read(text: str = SPEC):
    spec = parse_spec(text, "x.yaml")
    network = compile_spec(spec)
    return spec, network, read_data(spec, network, lambda event, **values: None)


def test_the_batch_is_the_one_that_is_trained_on():
    spec, network, dataset = read()
    batch = first_batch(spec, network, dataset, 3)
    chosen = epoch_order(len(dataset.train), 5, 3)[:16]
    np.testing.assert_array_equal(batch.before, dataset.train.images[chosen])
    assert batch.after.shape == batch.before.shape
    assert (batch.after != batch.before).any(axis=(1, 2, 3)).sum() > 8
    plain = [dataset.classes[label] for label in dataset.train.labels[chosen]]
    assert any(" + " in name for name in batch.names)
    assert sum(name == own for name, own in zip(batch.names, plain, strict=True)) >= 4


def test_without_augmentation_there_is_one_picture_each():
    spec, network, dataset = read(SPEC[: SPEC.index("train:")])
    batch = first_batch(spec, network, dataset, 1)
    assert batch.after is None
    assert len(batch.names) == 32


def test_the_command_counts_and_draws(tmp_path):
    (tmp_path / "seen.yaml").write_text(SPEC)
    arguments = ["data", str(tmp_path / "seen.yaml"), "-o", str(tmp_path / "x.png"), "--count", "7"]
    said = CliRunner().invoke(app, arguments, obj={"format": "text"})
    assert said.exit_code == 0, said.output
    assert "digits: 8x8x1, uint8 from 0 to 16" in said.stdout
    assert "in all  1,295         143   359" in said.stdout
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 800
    found = CliRunner().invoke(app, [*arguments, "--format", "json"], obj={"format": "text"})
    assert json.loads(found.stdout)["splits"]["train"]["images"] == 1295


def test_tiles_stand_side_by_side(tmp_path):
    before, after = np.zeros((3, 4, 5, 3), np.uint8), np.zeros((3, 4, 5, 3), np.float32)
    before[..., 0], after[..., 2] = 255, 300.0  # red, and more blue than there is
    draw_sheet(before, after, ["a", "b", "c"], tmp_path / "x.png", "title", "about", (0, 255))
    with Image.open(tmp_path / "x.png") as picture:
        shown = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    height, width = tile_size(4, 5)
    assert (height, width) == (68, 85)
    for colour in ([255, 0, 0], [0, 0, 255]):
        assert (shown == colour).all(axis=1).sum() == 3 * height * width


def test_gray_and_many_channels():
    gray = pixels(np.array([[[0.0], [16.0]]]), 1, 2, (0, 16))
    assert gray.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert pixels(np.ones((2, 2, 5)), 2, 2, (0, 1)).shape == (2, 2, 3)


def test_what_was_left_out_and_standardised_is_said(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "".join(f"{k},{k * k},{'xy'[k % 2]}\n" for k in range(40)))
    text = "input: 2\nlayers:\n  - FNN | 2 | Softmax\ndata: {file: t.csv, labels: kind, standardise: true}\n"
    (tmp_path / "x.yaml").write_text(text)
    said = CliRunner().invoke(app, ["data", str(tmp_path / "x.yaml"), "-o", str(tmp_path / "x.png")], obj={})
    assert said.exit_code == 0, said.output
    row = next(line for line in said.stdout.splitlines() if "Normalize" in line)
    assert not (tmp_path / "x.png").exists()  # a table is no picture
    plain = text.replace(", standardise: true", "").replace("layers:\n", f"layers:\n{row}\n")
    spec = parse_spec(plain, str(tmp_path / "y.yaml"))
    network = compile_spec(spec)
    raw = read_data(spec, network, lambda event, **values: None).validation.images
    scaled_spec = parse_spec(text, str(tmp_path / "x.yaml"))
    scaled = read_data(scaled_spec, compile_spec(scaled_spec), lambda event, **values: None).validation.images
    normalize = network.nodes[0].layer
    np.testing.assert_allclose((raw - normalize.mean) / normalize.std, scaled, rtol=1e-5)
