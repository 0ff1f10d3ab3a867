"""How predictions and activations are shown: classes in order, numbers as they are, pictures that say what is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.compile import compile_spec
from netspec.data.preprocess import Preprocess
from netspec.errors import SpecError
from netspec.inference.artefact import Artefact, Known
from netspec.inference.predict import Predicted, up_to
from netspec.report.montage import DEAD, Grid, draw_activations, normalised, tile
from netspec.report.predicted import (
    Ranked,
    Summary,
    activations_text,
    pictures_text,
    predicted_json,
    predicted_text,
    ranked,
)
from netspec.spec.load import parse_spec
from netspec.tensors import TensorType

HEADS = {
    "softmax": "  - FNN | 3 | Softmax\n",
    "spatial": "  - Reshape | 1x1x8\n  - CNN | 3, 1 | Softmax\n  - Flatten\n",
    "logits": "  - FNN | 3\n",
    "sigmoid": "  - FNN | 1 | Sigmoid\n",
    "number": "  - FNN | 1\n",
    "map": "  - Reshape | 2x2x2\n  - CNN | 3, 1 | Softmax\n",
}
KNOWN = Known({}, Path("weights.safetensors"), {"trained": False, "seed": 7})


def network(head: str):
    return compile_spec(parse_spec(f"name: net\ninput: 8\nlayers:\n{HEADS[head]}", "net.yaml"))


ARTEFACT = Artefact("torch", network("softmax"), ExportSettings(), Path("torch/net.py"), KNOWN)


def predicted(*values: float) -> Predicted:
    return Predicted(("a.png",), {"output": np.array([values], np.float32)})


def test_the_highest_come_first_and_the_first_of_equals():
    found = ranked(network("softmax"), "output", np.array([0.25, 0.5, 0.25]), ("a", "b", "c"), 2)
    assert found == [Ranked(1, "b", 0.5), Ranked(0, "a", 0.25)]


def test_names_of_another_number_are_not_used():
    found = ranked(network("softmax"), "output", np.array([0.25, 0.5, 0.25]), ("a", "b"), 1)
    assert found == [Ranked(1, None, 0.5)]


def test_one_probability_tells_two_classes_apart():
    values = np.array([0.25])
    assert ranked(network("sigmoid"), "output", values, ("horse", "human"), 5) == [
        Ranked(0, "horse", 0.75),
        Ranked(1, "human", 0.25),
    ]
    assert ranked(network("sigmoid"), "output", values, (), 5) == [Ranked(0, None, 0.25)]
    assert ranked(network("number"), "output", values, ("horse", "human"), 5) == [Ranked(0, None, 0.25)]


def test_an_output_with_positions_is_summed_up():
    values = np.array([[[0.0, 1.0, 0.5]] * 2] * 2)
    assert ranked(network("map"), "output", values, (), 5) == Summary((2, 2, 3), 0.0, 1.0, 0.5)
    assert ranked(network("softmax"), "output", values[:1, :1], (), 1) == [Ranked(1, None, 1.0)]


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        ("softmax", ["  50.00%  b", "  25.00%  a"]),
        ("spatial", ["  50.00%  b", "  25.00%  a"]),
        ("logits", ["   0.5  b", "  0.25  a"]),
    ],
)
def test_probabilities_are_per_cent_and_logits_are_not(head, lines):
    text = predicted_text(predicted(0.25, 0.5, 0.125), network(head), ("a", "b", "c"), 2, ARTEFACT)
    assert text.splitlines()[:3] == ["a.png", *lines]
    assert "1 sample on torch, weights of weights.safetensors" in text
    assert "drawn from seed 7; not trained" in text


def test_as_json():
    found = predicted_json(predicted(0.25, 0.5, float("nan")), network("softmax"), ("a", "b", "c"), 3, ARTEFACT)
    json.dumps(found, allow_nan=False)
    [sample] = found["samples"]
    assert sample["input"] == "a.png"
    assert [each["class"] for each in sample["outputs"]["output"]["top"]] == ["b", "a", "c"]
    assert [each["probability"] for each in sample["outputs"]["output"]["top"]] == [0.5, 0.25, None]


def test_many_samples_are_cut_for_people_alone():
    many = Predicted(tuple(f"x[{n}]" for n in range(150)), {"output": np.full((150, 3), 0.5, np.float32)})
    text = predicted_text(many, network("softmax"), (), 1, ARTEFACT)
    assert "and 50 more" in text
    assert "x[99]" in text
    assert "x[100]" not in text
    assert len(predicted_json(many, network("softmax"), (), 1, ARTEFACT)["samples"]) == 150


# The part of a network up to a row


GRAPH = """
inputs: {left: 4x4x2, right: 4x4x2}
blocks:
  pair:
    parameters: {width: int}
    layers:
      - first: CNN | width, 1 | ReLU
      - CNN | width, 3 | - | padding=same
layers:
  - a: pair | 3 | from=left
  - b: CNN | 3, 1 | from=right
  - sum: Add | from=[a, b]
  - Flatten
  - FNN | 2 | Softmax
"""


@pytest.mark.parametrize(
    ("name", "inputs", "nodes", "output"),
    [
        ("a.first", ["left"], ["a.first", "a.first_relu"], "a.first_relu"),
        ("a", ["left"], ["a.first", "a.first_relu", "a.conv_1"], "a.conv_1"),
        ("b", ["right"], ["b"], "b"),
        ("sum", ["left", "right"], ["a.first", "a.first_relu", "a.conv_1", "b", "sum"], "sum"),
    ],
)
def test_the_part_that_a_row_is_computed_from(name, inputs, nodes, output):
    part = up_to(compile_spec(parse_spec(GRAPH, "g.yaml")), name)
    assert (list(part.inputs), [node.name for node in part.nodes]) == (inputs, nodes)
    assert part.outputs == {"output": output}


def test_a_row_that_is_not_there():
    with pytest.raises(SpecError, match=r"no row 'a.frist'\n  hint: did you mean 'a.first'\?"):
        up_to(compile_spec(parse_spec(GRAPH, "g.yaml")), "a.frist")


# Pictures


def test_a_channel_is_normalised_by_itself():
    assert np.array_equal(normalised(np.array([[2.0, 4.0], [3.0, 2.0]])), [[0, 1], [0.5, 0]])
    assert normalised(np.full((2, 2), 5.0)) is None
    assert normalised(np.full((2, 2), np.nan)) is None
    assert np.array_equal(normalised(np.array([[np.inf, 4.0], [2.0, 3.0]])), [[0, 1], [0, 0.5]])


@pytest.mark.parametrize(
    ("count", "height", "width"), [(1, 5, 5), (64, 111, 111), (256, 13, 13), (7, 3, 40), (97, 8, 8)]
)
def test_a_grid_has_a_place_of_its_own_for_every_channel(count, height, width):
    grid = Grid.of(count, height, width)
    assert grid.rows * grid.columns >= count > (grid.rows - 1) * grid.columns
    taken = np.zeros(grid.size, int)
    for index in range(count):
        top, left = grid.corner(index)
        part = taken[top : top + grid.height, left : left + grid.width]
        assert part.shape == (grid.height, grid.width)
        part += 1
    assert taken.max() == 1


def test_the_last_row_of_a_grid_is_full_where_it_can_be():
    assert (Grid.of(64, 111, 111).columns, Grid.of(256, 13, 13).rows * Grid.of(256, 13, 13).columns) == (8, 256)


def test_small_channels_are_enlarged_in_squares_and_large_ones_averaged():
    colormaps = pytest.importorskip("matplotlib").colormaps
    channel = np.array([[0.0, 1.0], [2.0, 4.0]])
    pixels = tile(channel, 6, 6)
    colours = (colormaps["viridis"](channel / 4)[..., :3] * 255 + 0.5).astype(np.uint8)
    assert np.array_equal(pixels, colours.repeat(3, axis=0).repeat(3, axis=1))
    fine = np.kron(channel, np.ones((4, 4)))
    assert np.array_equal(tile(fine, 2, 2), colours)
    assert (tile(np.ones((3, 3)), 4, 4) == DEAD).all()


@pytest.mark.parametrize("shape", [(9, 7, 5), (1, 1, 600), (12,), (30, 6), (3, 5, 4, 8), (300, 200, 3), (1, 8, 4)])
def test_any_row_is_drawn_and_twice_the_same(tmp_path, shape):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    for name in ("a.png", "b.png"):
        draw_activations(values, tmp_path / name, "row", "about")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with image.open(tmp_path / "a.png") as drawn:
        assert np.asarray(drawn.convert("L")).std() > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_the_tiles_are_in_the_picture_where_the_grid_says(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    values = np.random.default_rng(1).standard_normal((9, 7, 12)).astype(np.float32)
    draw_activations(values, tmp_path / "a.png", "row", "about")
    pixels = np.asarray(image.open(tmp_path / "a.png").convert("RGB"))
    grid = Grid.of(12, 9, 7)
    top = pixels.shape[0] - grid.size[0] - 16
    for index in range(12):
        y, x = grid.corner(index)
        found = pixels[top + y : top + y + grid.height, 16 + x : 16 + x + grid.width]
        assert np.array_equal(found, tile(values[..., index], grid.height, grid.width)), index


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "resized to 227x227, bytes 0 to 255"),
        (
            {"resize": 256, "crop": 227, "scale": "1/255", "mean": [0.485, 0.456, 0.406], "std": 0.2},
            "shorter side resized to 256, cropped to 227x227, bytes times 1/255, less 0.485, 0.456, 0.406, over 0.2",
        ),
        ({"crop": 227, "channels": "bgr", "mean": 127}, "cropped to 227x227, blue first, bytes 0 to 255, less 127"),
        ({"resize": "240x300", "scale": "1/127.5"}, "resized to 240x300, cropped to 227x227, bytes times 1/127.5"),
    ],
)
def test_how_pictures_were_read_is_the_last_line(settings, said):
    read = pictures_text(Preprocess.model_validate(settings), TensorType((227, 227, 3)))
    assert read == f"pictures: {said}"
    text = predicted_text(predicted(0.25, 0.5, 0.125), network("softmax"), (), 1, ARTEFACT, read)
    assert text.splitlines()[-1] == read


def test_what_a_picture_shows_in_a_line():
    values = np.zeros((2, 2, 3), np.float32)
    values[0, 0, 1] = 2
    said = activations_text(Path("a.png"), "conv1", values)
    assert said == "a.png: conv1 2x2x3, from 0 to 2, 2 of 3 channels with one value everywhere"
