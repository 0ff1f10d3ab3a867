"""A resolved spec is a spec again, and the same one."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.backend import ExportSettings
from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.model import VerifySettings
from netspec.spec.write import write_yaml
from netspec.verify.samples import samples_within

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_resolved_specs_mean_the_same(path: Path) -> None:
    spec = load_spec(path)
    text = write_yaml(resolved_spec(spec))
    again = parse_spec(text, "spec.yaml")
    assert compile_spec(again).digest == compile_spec(spec).digest
    assert resolved_spec(again) == resolved_spec(spec)


def test_defaults_are_filled_in() -> None:
    spec = parse_spec("input: 8x8x1\nlayers:\n  - CNN | 4, 3 | leaky_relu(0.1)\n  - MaxPool | 3\n", "x.yaml")
    conv, pool = resolved_spec(spec)["layers"]
    assert conv["name"] == "conv_1"
    assert conv["padding"] == "valid"
    assert conv["init"] == "glorot_uniform"
    assert conv["activation"] == "leaky_relu(slope=0.1)"
    assert pool["stride"] == [3]


def test_what_a_build_does_without_being_told_is_written_too() -> None:
    resolved = resolved_spec(parse_spec("input: 8x8x1\nlayers:\n  - ReLU\n", "x.yaml"))
    assert resolved["verify"] == VerifySettings().model_dump(mode="json", exclude_none=True, exclude={"inputs"})
    assert resolved["export"] == ExportSettings().model_dump(mode="json", exclude_none=True)
    assert "train" not in resolved
    assert "data" not in resolved


def test_as_many_samples_are_verified() -> None:
    text = "input: 4000\nlayers: [{repeat: 400, type: FNN, units: 4000}]\n"
    for asked in ("", "verify: {inputs: 3}\n", "verify: {seed: 3}\n"):
        spec = parse_spec(text + asked, "x.yaml")
        again = parse_spec(write_yaml(resolved_spec(spec)), "x.yaml")
        network = compile_spec(spec)
        first, second = (samples_within(network, each.verify or VerifySettings()) for each in (spec, again))
        assert first == second
    assert samples_within(network, VerifySettings()) < samples_within(network, VerifySettings(inputs=3))


def test_initial_values_keep_every_digit() -> None:
    rows = "\n  - FNN | 3 | - | init=normal(0.0123456789), bias_init=constant(2)\n"
    [row] = resolved_spec(parse_spec(f"input: 4\nlayers:{rows}", "x.yaml"))["layers"]
    assert (row["init"], row["bias_init"]) == ("normal(0.0123456789)", "constant(2)")


def test_every_kind_survives() -> None:
    rows = """
  - Grayscale
  - Normalize | - | - | mean=0.5, std=0.25
  - ConvTranspose | 6, 3 | gelu(tanh) | stride=2, padding=((1,0),(0,1)), output_padding=1, init=normal(0.02)
  - SeparableConv | 8, 3 | prelu | padding=same
  - GroupNorm | 4
  - ZeroPad | ((1,2),(0,1))
  - ReflectionPad2D | 1
  - Pad | 1 | - | value=0.1
  - MaxPool | 2 | - | ceil=true, stride=1
  - LayerScale
  - InstanceNorm | - | - | scale=false
  - RMSNorm
  - LRN | 3
  - DropPath | 0.1
  - Slice | -8
  - Split | 2, 1
  - ChannelShuffle | 4
  - PixelShuffle | 2
  - PixelUnshuffle | 2
  - PixelShuffle | 2
  - AdaptiveAvgPool | (9,7)
  - AdaptiveMaxPool | 7
  - CNN | 8, 1
  - Crop | 1
  - Upsample | 2, mode=bilinear
  - Resize | (9,11)
  - Permute | (2,1,3)
  - Reshape | (9,-1)
  - LayerNorm | - | - | axis=(1,2)
  - LeakyReLU | 0.3
  - Softmax | 1
  - Flatten | - | - | order=chw
  - Dense | 3 | - | init=torch_default
"""
    spec = parse_spec(f"input: 9x7x3\nlayers:{rows}", "x.yaml")
    again = parse_spec(write_yaml(resolved_spec(spec)), "x.yaml")
    assert compile_spec(again).digest == compile_spec(spec).digest


@pytest.mark.parametrize("text", ["1e-3", "no", "null", "0o17", "1.5", "~", "a: b", "x\ny", "'", "3x3", "- a"])
def test_words_stay_words(text: str) -> None:
    spec = parse_spec(write_yaml({"input": "4", "about": text, "layers": ["ReLU"]}), "x.yaml")
    assert spec.about == (text.strip() or None)
