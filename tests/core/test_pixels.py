"""Networks that read pixels: the same results as from preprocessed numbers, the same weights, honest names."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.compile import compile_spec
from netspec.compile.pixels import exported_network, reading_pixels, trained_network
from netspec.data.preprocess import Preprocess, scaled
from netspec.errors import SpecError
from netspec.network import Network
from netspec.reference import evaluate
from netspec.spec.load import parse_spec
from netspec.spec.model import Spec
from netspec.weights import draw

BLOCKS = """
about: two branches
input: 6x5x3
blocks:
  both:
    layers:
      - left:  CNN | 4, 3 | ReLU | from=input, padding=same
      - right: CNN | 4, 1 | from=input
      - sum:   Add | from=[left, right]
layers:
  - pair: both
  - skip: Concat | from=[input, pair]
  - GlobalAvgPool
  - FNN | 2
"""
SETTINGS = {
    "scale": Preprocess(scale=1 / 255),
    "statistics": Preprocess(scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
    "one number": Preprocess(mean=(127.5,), std=(2,)),
    "blue first": Preprocess(channels="bgr", mean=(103.939, 116.779, 123.68)),
}


def spec_of(text: str, more: str = "") -> Spec:
    return parse_spec(text + more, "x.yaml")


def last(network: Network, weights, values: np.ndarray) -> np.ndarray:
    return evaluate(network, weights, dict.fromkeys(network.inputs, values))[network.rows[-1].name]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_pixels_give_what_preprocessed_numbers_give(settings):
    network = compile_spec(spec_of(BLOCKS))
    inside = reading_pixels(network, settings)
    assert [weight.name for weight in inside.weights()] == [weight.name for weight in network.weights()]
    weights = draw(network, 3)
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    expected = last(network, weights, scaled(pixels, settings))
    np.testing.assert_allclose(last(inside, weights, pixels), expected, rtol=1e-5)
    assert not np.allclose(last(network, weights, pixels), expected, rtol=1e-3)


def test_blocks_and_outputs_that_read_the_input_read_the_new_rows():
    text = BLOCKS + "outputs: {same: same, scores: dense_1}\n"
    text = text.replace("  - pair: both\n", "  - same: Add | from=[input, input]\n  - pair: both | from=input\n")
    network = reading_pixels(compile_spec(spec_of(text)), SETTINGS["statistics"])
    [use] = network.uses
    assert use.inputs == ("pixels_normalized",)
    assert network.consumers["input"] == ("pixels_scaled",)
    assert network.outputs["same"] == "same"


def test_names_that_are_taken_are_passed_over():
    network = compile_spec(spec_of("input: 4x4x1\nlayers:\n  - pixels_scaled: CNN | 2, 3 | ReLU\n"))
    inside = reading_pixels(network, SETTINGS["scale"])
    assert [node.name for node in inside.nodes] == ["pixels_scaled_1", "pixels_scaled", "pixels_scaled_relu"]


def test_nothing_to_do_is_nothing_done():
    network = compile_spec(spec_of(BLOCKS))
    assert reading_pixels(network, Preprocess(resize=256)) is network


def test_artefacts_have_it_only_where_the_spec_says_so():
    section = "preprocess: {scale: 1/255}\n"
    without, asked = spec_of(BLOCKS, section), spec_of(BLOCKS, section + "export: {preprocessing: true}\n")
    network = compile_spec(asked)
    assert exported_network(without, network) is network
    assert exported_network(asked, network).nodes[0].name == "pixels_scaled"
    assert trained_network(without, network).nodes[0].name == "pixels_scaled"
    assert exported_network(asked, network).about == "two branches. It reads pixels from 0 to 255, red first."
    assert trained_network(spec_of(BLOCKS), network) is network


def test_it_needs_the_section():
    with pytest.raises(SpecError, match=r"x\.yaml:15:25: export\.preprocessing: there is no section preprocess"):
        compile_spec(spec_of(BLOCKS, "export: {preprocessing: true}\n"))
