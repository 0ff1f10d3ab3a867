"""Values put back where a pool found the largest ones, as in SegNet: in a network, and where values are equal."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.compile import compile_spec
from netspec.layers import MaxUnpool
from netspec.reference import evaluate
from netspec.spec.load import parse_spec
from netspec.verify.budget import budget, gate, predict
from netspec.verify.compare import compare
from netspec.verify.gates import FLOAT64_UNIT, UNIT
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import Case

SEGNET = """
name: segnet
input: 40x88x3
blocks:
  unit:
    parameters: {filters: int}
    layers:
      - conv: CNN       | filters, 3 | -    | padding=same, bias=false
      - norm: BatchNorm | -          | ReLU
  up:
    parameters: {filters: int}
    inputs: [below, kept]
    layers:
      - larger: MaxUnpool | 2 | - | from=[below, kept]
      - unit:   unit      | filters
layers:
  - down1: unit    | 8
  - pool1: MaxPool | 2
  - down2: unit    | 16
  - pool2: MaxPool | 2
  - down3: unit    | 16
  - pool3: MaxPool | 2
  - up3:   up      | 16 | from=[pool3, down3]
  - up2:   up      | 8  | from=[up3, down2]
  - up1:   up      | 8  | from=[up2, down1]
  - classes: CNN   | 5, 1 | Softmax
expect: {output: 40x88x5, shapes: {up3: 10x22x16, up1: 40x88x8}}
"""


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_segnet(workers, backend, precision):
    network = compile_spec(parse_spec(SEGNET, "segnet.yaml"))
    weights, inputs = biting_weights(network, seed=7), hard_inputs(network, 2, seed=11)
    reference = evaluate(network, weights, inputs)
    unit = FLOAT64_UNIT if precision == "float64" else UNIT
    predicted = predict(network, weights, inputs, reference, unit=unit)
    values = workers[backend].call("run", network=network, weights=weights, inputs=inputs, precision=precision)
    assert len(values) == len(network.rows)
    for row, value in values.items():
        expected, rounding = reference[row], predicted[row]
        granted = gate(expected, rounding, unit) if precision == "float64" else budget(expected, rounding)
        found = compare(expected, value, granted)
        assert found.symptom is None, (row, found)


SHAPES = {1: (12,), 2: (6, 8), 3: (4, 6, 2)}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("rank", SHAPES)
def test_the_first_of_equal_values_is_the_largest(workers, backend, precision, rank):
    spatial = SHAPES[rank]
    small = tuple(size // 2 for size in spatial)
    network = Case("ties", MaxUnpool(size=2), (*small, 3), ((*spatial, 3),)).network()
    random = np.random.default_rng(5)
    values = random.standard_normal((9, *small, 3)).astype(np.float32)
    image = random.integers(-2, 2, (9, *spatial, 3)).astype(np.float32)  # four numbers: nearly every window has ties
    inputs = {"given_0": values, "given_1": image}
    [expected] = evaluate(network, {}, inputs).values()
    [found] = workers[backend].call("run", network=network, weights={}, inputs=inputs, precision=precision).values()
    np.testing.assert_array_equal(found, expected)
