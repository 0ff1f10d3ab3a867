"""Blocks in what is exported: the same values, names that follow the table, frozen rows that stay as they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from netspec_keras.render import render as render_keras
from netspec_torch.render import render as render_torch
from safetensors import safe_open

from netspec.backend import ExportSettings
from netspec.codegen.source import head
from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.errors import SpecError
from netspec.network import Network
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.model import VerifySettings
from netspec.spec.write import write_yaml
from netspec.verify import verify
from netspec.weights import draw

ROOT = Path(__file__).parents[2]
BLOCKS = compile_spec(load_spec(ROOT / "tests" / "golden" / "blocks.yaml"))


def compiled(text: str) -> Network:
    return compile_spec(parse_spec(text, "x.yaml"))


TWO_OF_EACH = """\
name: two-of-each
inputs: {left: 6x5x2, right: 6x5x2}
outputs: {mask: end, side: left_side}
blocks:
  join:
    inputs: [one, other]
    parameters: {filters: int}
    layers:
      - both: Concat | from=[other, one]
      - mixed: CNN | filters, 3 | gelu | padding=same
      - back: Add | from=[mixed, one]
  nothing:
    parameters: {on: bool}
    layers:
      - inside: CNN | 2, 1 | when=on
layers:
  - left_side: CNN | 2, 1 | from=left
  - stays: nothing | false
  - first: join | 2 | from=[stays, right]
  - second: join | 2 | from=[right, first]
  - end: CNN | 1, 1 | Sigmoid
"""


TOKENS = """\
name: tokens
input: 8x6x4
blocks:
  mixer:
    parameters: {hidden: int}
    layers:
      - LayerNorm
      - Permute | (2,1)
      - across: FNN | input.length | gelu | every_position=true
      - Permute | (2,1)
      - sum: Add | from=[input, permute_2]
      - FNN | hidden | gelu | every_position=true
      - FNN | input.channels | - | every_position=true
      - Add | from=[sum, dense_2]
  wave:
    layers:
      - CNN | input.channels, 3 | ReLU | padding=same
layers:
  - patches: CNN | 5, 2 | - | stride=2
  - Reshape | (-1, patches.channels)
  - mixer: mixer | 7 | repeat=2
  - wave
  - last: mixer | 9
  - GlobalAvgPool
  - FNN | 3 | Softmax
"""


SAID = """\
name: said
input: 9x7x24
blocks:
  gate:
    about: 'Squeeze "and" excitation'
    parameters: {reduction: 4}
    layers:
      - GlobalAvgPool | keepdims=true
      - less: CNN | input.channels//reduction, 1 | ReLU
      - more: CNN | input.channels, 1 | Sigmoid
      - Multiply | from=[input, more]
  unit:
    about: A convolution in groups whose channels are mixed afterwards, and one that doubles how many there are
    parameters: {stride: 1}
    layers:
      - CNN | input.channels, 3 | ReLU | groups=3, stride=stride, padding=same
      - ChannelShuffle | 3
      - last: CNN | 2*input.channels, 1
      - gate | 8, when=stride>1
layers:
  - a: unit
  - b: unit
  - c: unit | 2
  - gate
  - GlobalAvgPool
  - FNN | 3 | Softmax
"""


@pytest.mark.parametrize(
    "network", [BLOCKS, *map(compiled, (TWO_OF_EACH, SAID, TOKENS))], ids=lambda network: network.name
)
def test_exported_blocks_are_the_rows_of_the_table(workers, backend, network, tmp_path):
    weights, folder = draw(network, 4), tmp_path / backend
    folder.mkdir()
    workers[backend].call("export", network=network, weights=weights, folder=folder, settings=ExportSettings())
    verdict = verify(network, weights, tmp_path, VerifySettings(inputs=2), {backend: workers[backend]})
    assert verdict.passed, [str(failure) for one in verdict.backends for failure in one.failures]


def test_names_in_the_state_dict_follow_the_table(workers, tmp_path):
    network = compile_spec(load_spec(ROOT / "specs" / "squeezenet-1.1.yaml"))
    workers["torch"].call(
        "export", network=network, weights=draw(network, 1), folder=tmp_path, settings=ExportSettings()
    )
    with safe_open(tmp_path / "weights.safetensors", framework="numpy") as file:
        names = set(file.keys())
    assert {"conv1.weight", "fire2.squeeze.weight", "fire9.expand3x3.bias", "conv10.bias"} <= names
    assert len(names) == 52


def test_a_block_that_is_used_several_times_is_written_once():
    network = compile_spec(load_spec(ROOT / "specs" / "squeezenet-1.1.yaml"))
    assert render_torch(network).source.count("\nclass ") == 2
    keras = render_keras(network)
    assert keras.count("\ndef ") == 2
    assert 'x = fire(x, squeeze=48, expand=192, name="fire6")' in keras


CLOSED = """\
name: closed
input: 8x8x1
data: digits
train: {epochs: 1}
blocks:
  ends: {layers: [FNN | 10 | SoftMax]}
layers:
  - Flatten
  - end: ends
"""


def test_blocks_are_written_as_people_write_them():
    """In their own words, with the names and defaults of the library, and sizes taken from what goes in."""
    network = compiled(SAID)
    torch, keras = render_torch(network).source, render_keras(network)
    assert '"""Squeeze \'and\' excitation."""' in torch
    assert 'one that doubles\n    how many there are. With stride=1.\n    """' in torch
    assert "class Unit(nn.Module):" in torch
    assert "class UnitStride2(nn.Module):" in torch
    assert "def __init__(self, in_channels: int) -> None:" in torch
    assert "nn.Conv2d(in_channels, 2 * in_channels, 1)" in torch
    assert "nn.Conv2d(192, 192 // reduction, 1)" in torch
    assert "def unit(x: keras.KerasTensor, name: str)" in keras
    assert "in_channels = x.shape[-1]" in keras
    assert "value" not in re.sub(r'"""[^"]*"""', "", torch + keras)
    resolved = parse_spec(write_yaml(resolved_spec(parse_spec(SAID, "x.yaml"))), "x.yaml")
    assert render_torch(compile_spec(resolved)).source == torch


def test_sequences_cross_the_border_of_a_block_as_it_computes_them():
    mixer, _, others = render_torch(compiled(TOKENS)).source.partition("class Wave")
    assert "x = self.layer_norm_1(input)" in mixer
    assert "permute" not in others.partition("def logits")[2].partition("self.mixer_1")[2].partition("self.wave_1")[0]
    assert "x = self.wave_1(x.permute(0, 2, 1))" in others


def test_a_final_softmax_inside_of_a_block_stays_there():
    assert head(BLOCKS) is None
    with pytest.raises(SpecError, match=r"'end\.dense_1', inside of the block ends"):
        compiled(CLOSED)


def test_frozen_rows_are_not_trained(workers, backend, tmp_path):
    workers[backend].call("export", network=BLOCKS, weights=draw(BLOCKS, 1), folder=tmp_path, settings=ExportSettings())
    counted = workers[backend].call("counts", folder=tmp_path, network=BLOCKS)
    assert counted["down.first.conv"] == (0, 3 * 16 * 32)
    assert counted["narrow.first.conv"] == (3 * 32 * 16, 0)
    assert np.sum(list(counted.values())) == BLOCKS.parameters
