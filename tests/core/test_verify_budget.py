"""The budget: what float32 rounding costs is granted, and little more; and the inputs and weights it is made with."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.compile import compile_spec
from netspec.layers import (
    Activation,
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    Rescale,
    RMSNorm,
    Slice,
)
from netspec.reference import evaluate, evaluate_node, interpret
from netspec.spec.load import parse_spec
from netspec.spec.model import HARD, VerifySettings
from netspec.verify.budget import Rounding, budget, gate, norms, predict, rounding_decides
from netspec.verify.compare import compare
from netspec.verify.gates import BUDGET_FACTOR, DRAWS, FLOAT64_GATE, FLOAT64_UNIT, FLOOR_UNITS, UNIT
from netspec.verify.inputs import biting_weights, hard_inputs, sample_names
from tests.cases import LAYER_CASES, chain, first

RELU = Activation(function="relu")
NETWORKS = {
    "one unit": chain("one", (5,), Dense(units=1)),
    "binary": chain("binary", (9,), (Dense(units=3), RELU), (Dense(units=1), Activation(function="sigmoid"))),
    "swish": chain("swish", (9,), (Dense(units=1), Activation(function="silu")), Dense(units=1)),
    "classes": chain(
        "classes", (8, 7, 3), (Conv(filters=4, kernel=3), RELU), BatchNorm(), MaxPool(), Flatten(), Dropout(),
        (Dense(units=5), Activation(function="softmax")),
    ),
    # Of two large values that nearly agree, hardly more than the rounding of their mean is left.
    "two channels": chain("two", (5, 4, 6, 2), LayerNorm()),
    "norms": chain("norms", (6, 5, 4), LayerNorm(), Conv(filters=6, kernel=3), GroupNorm(groups=3), GlobalAvgPool()),
    "deep": chain("deep", (6, 5, 2), *[(Conv(filters=4, kernel=3, padding="same"), RELU) for _ in range(30)]),
}  # fmt: skip


def rounded(network, weights, inputs):
    """The network in float32: matrices and means summed there, everything else computed exactly and rounded."""
    values, results = {"input": inputs["input"].astype(np.float32)}, {}
    for node in network.nodes:
        given = values[node.inputs[0]]
        if isinstance(node.layer, Dense):
            kernel, bias = (weights[f"{node.name}.{name}"] for name in ("kernel", "bias"))
            value = np.zeros((len(given), kernel.shape[1]), np.float32) + bias
            for index in range(kernel.shape[0]):
                value = value + given[:, index : index + 1] * kernel[index]
        elif isinstance(node.layer, LayerNorm):
            mean = given.mean(node.layer.axis, keepdims=True)
            deviation = np.sqrt(given.var(node.layer.axis, keepdims=True) + np.float32(node.layer.epsilon))
            value = (given - mean) / deviation * weights[f"{node.name}.gamma"] + weights[f"{node.name}.beta"]
        else:
            value = evaluate_node(node, weights, given).astype(np.float32)
        values[node.name] = results[node.row] = value
    return results


@pytest.mark.parametrize("name", NETWORKS)
def test_rounding_is_granted_for_every_seed(name):
    network = NETWORKS[name]
    for seed in range(20):
        weights, inputs = biting_weights(network, seed), hard_inputs(network, 2, seed)
        reference = evaluate(network, weights, inputs)
        predicted = predict(network, weights, inputs, reference, seed)
        for row, value in rounded(network, weights, inputs).items():
            found = compare(reference[row], value, budget(reference[row], predicted[row]))
            assert found.symptom is None, (seed, row, found)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_budget_is_no_free_ticket(name):
    # On ordinary inputs what is granted stays near float32: a fault of a thousandth is far outside.
    network = NETWORKS[name]
    for seed in range(5):
        weights, inputs = biting_weights(network, seed), hard_inputs(network, 8, seed)
        reference = evaluate(network, weights, inputs)
        predicted = predict(network, weights, inputs, reference, seed)
        for row, value in reference.items():
            granted = np.sqrt(np.square(budget(value, predicted[row])[:8]).mean())
            assert granted < 1e-4 * np.sqrt(np.square(norms(value)[:8]).mean()), (seed, row)


def test_the_prediction_is_of_the_size_of_the_real_error():
    # Calibration on a network of sums alone, whose rounding in float32 this test controls.
    network = chain("sums", (64,), *[Dense(units=64) for _ in range(6)])
    ratios = []
    for seed in range(10):
        weights, inputs = biting_weights(network, seed), hard_inputs(network, 4, seed)
        reference = evaluate(network, weights, inputs)
        predicted = predict(network, weights, inputs, reference, seed)
        for row, value in rounded(network, weights, inputs).items():
            ratios.append(norms(value - reference[row])[:4] / predicted[row][:4])
    assert 0.3 < np.median(ratios) < 3
    assert np.max(ratios) < BUDGET_FACTOR / 2


def test_cancelling_results_are_granted_what_their_terms_round():
    network = NETWORKS["one unit"]
    weights = {
        "dense_1.kernel": np.array([[1e3], [-1e3], [0], [0], [0]], np.float32),
        "dense_1.bias": np.zeros(1, np.float32),
    }
    inputs = {"input": np.array([[1.0, 1.0 - 2**-20, 0, 0, 0]], np.float32)}
    reference = evaluate(network, weights, inputs)
    predicted = predict(network, weights, inputs, reference)["dense_1"]
    # 1000 - 999.999 = 0.001: its terms round by 1000 u = 6e-5, six percent of the result.
    assert predicted[0] > 1e3 * UNIT


@pytest.mark.parametrize("terms", [256, 4096, 65536])
@pytest.mark.parametrize("units", [1, 8])
def test_many_products_are_granted_the_rounding_of_each_partial_sum(terms, units):
    network = chain("long", (terms,), Dense(units=units, bias=False))
    random, ratios = np.random.default_rng(5), []
    for seed in range(8):
        weights = {"dense_1.kernel": random.standard_normal((terms, units)).astype(np.float32)}
        inputs = {"input": random.standard_normal((4, terms)).astype(np.float32)}
        reference = evaluate(network, weights, inputs)
        predicted = predict(network, weights, inputs, reference, seed)["dense_1"]
        products = inputs["input"][..., np.newaxis] * weights["dense_1.kernel"]
        summed = np.add.accumulate(products, axis=1, dtype=np.float32)[:, -1]
        ratios += list(norms(summed - reference["dense_1"]) / predicted)
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 2
    assert np.max(ratios) < BUDGET_FACTOR


def test_products_at_many_places_are_added_in_blocks():
    def share(layer, *shape):
        network = chain("sums", shape, layer)
        weights = biting_weights(network, 3)
        inputs = {"input": np.random.default_rng(1).standard_normal((4, *shape)).astype(np.float32)}
        reference = evaluate(network, weights, inputs)
        [row] = network.rows
        return float(np.mean(predict(network, weights, inputs, reference)[row.name] / norms(reference[row.name])))

    few, many = (share(Conv(filters=32, kernel=1, bias=False), 8, 8, products) for products in (256, 4096))
    assert 0.8 < many / few < 1.25
    few, many = (share(Dense(units=256, bias=False), products) for products in (256, 4096))
    assert 3 < many / few < 5


def test_float64_rounds_what_is_nothing_by_nothing_that_counts():
    nothing = np.zeros((1, 5))
    assert 0 < np.abs(Rounding(0).input(nothing)).max() < 1e-37
    assert np.abs(Rounding(0, FLOAT64_UNIT).input(nothing)).max() < 1e-290


def test_products_that_are_added_one_after_the_other_are_granted_their_rounding():
    spec = parse_spec("input: 432\nlayers:\n  - flat: Flatten\n  - Dot | - | - | from=[flat, flat]\n", "dot.yaml")
    network = compile_spec(spec)
    inputs = hard_inputs(network, 4, seed=3)
    reference = evaluate(network, {}, inputs)
    predicted = predict(network, {}, inputs, reference)
    row = network.rows[-1].name
    summed = np.add.accumulate(np.square(inputs["input"]), axis=1, dtype=np.float32)[:, -1:]
    granted = budget(reference[row], predicted[row])
    assert (norms(summed - reference[row]) <= granted).all()
    assert (granted <= 1e-4 * np.maximum(norms(reference[row]), 1e-30)).all()


def test_lengths_that_are_added_one_square_after_the_other_are_granted_their_rounding():
    text = "input: 432\nlayers:\n  - flat: Flatten\n  - Dot | - | - | from=[flat, flat], normalize=true\n"
    network = compile_spec(parse_spec(text, "cosine.yaml"))
    inputs = {"input": np.full((1, 432), 0.7, np.float32)}
    reference = evaluate(network, {}, inputs)
    predicted = predict(network, {}, inputs, reference)
    row = network.rows[-1].name
    length = np.sqrt(np.add.accumulate(np.square(inputs["input"]), axis=1, dtype=np.float32)[:, -1:])
    cosine = np.add.accumulate(np.square(inputs["input"] / length), axis=1, dtype=np.float32)[:, -1:]
    granted = budget(reference[row], predicted[row])
    assert norms(cosine - reference[row]) > 8 * UNIT
    assert (norms(cosine - reference[row]) <= granted).all()
    assert (granted <= 1e-4).all()


def test_noise_that_normalisations_make_as_large_as_the_values_is_granted_in_float64_too():
    # Of a constant image each takes all but the rounding off, and makes that 300 times as large: in float32 it is as
    # large as the values behind the third, and grows no further; in float64 it does.
    network = chain("noise", (7, 6, 3), *[InstanceNorm(epsilon=1e-5)] * 5)
    weights, inputs = biting_weights(network, seed=1), hard_inputs(network, 4, seed=1)
    reference = evaluate(network, weights, inputs)
    predicted = predict(network, weights, inputs, reference)
    assert rounding_decides(network, reference, predicted)
    double = predict(network, weights, inputs, reference, unit=FLOAT64_UNIT)
    last = network.rows[-1].name
    errors = predict(network, weights, inputs, reference, seed=7, draws=1, unit=FLOAT64_UNIT)[last]
    assert (errors > gate(reference[last], predicted[last])).any()
    assert (errors <= gate(reference[last], double[last], FLOAT64_UNIT)).all()


def decided(classes):
    """A softmax over many classes, which two of them share, and a row before it whose numbers are all alike."""
    network = chain("decided", (classes,), Rescale(scale=1.5), Activation(function="softmax"))
    logits = np.random.default_rng(3).standard_normal((2, classes))
    logits[:, [3, 5]] = 60.0, 60.2
    return network, {"input": logits.astype(np.float32)}


def test_an_error_that_few_numbers_carry_is_predicted_by_as_many_runs_as_ever():
    network, inputs = decided(1000)
    reference = evaluate(network, {}, inputs)
    for seed in range(5):
        few, all_ = (predict(network, {}, inputs, reference, seed, draws) for draws in (2, DRAWS))
        for row in reference:
            np.testing.assert_allclose(few[row], all_[row], rtol=1e-12)


def test_an_error_that_many_numbers_carry_is_predicted_by_the_runs_that_are_asked_for():
    network = chain("many", (1000,), Rescale(scale=1.5))
    inputs = {"input": np.random.default_rng(3).standard_normal((2, 1000)).astype(np.float32)}
    reference = evaluate(network, {}, inputs)
    few, all_ = (predict(network, {}, inputs, reference, 0, draws)["rescale_1"] for draws in (2, DRAWS))
    np.testing.assert_allclose(few, all_, rtol=0.1)
    assert (few != all_).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_float64_is_in_proportion(name):
    network = NETWORKS[name]
    weights, inputs = biting_weights(network, seed=1), hard_inputs(network, 4, seed=1)
    reference = evaluate(network, weights, inputs)
    assert not rounding_decides(network, reference, predict(network, weights, inputs, reference))


def test_what_is_too_small_for_float32_may_be_zero():
    network = chain("small", (1, 2), Activation(function="softmax"), Slice(begin=1), Rescale(scale=64.0))
    inputs = {"input": np.array([[[0.0, -131.0]], [[0.0, -60.0]]], np.float32)}
    reference = evaluate(network, {}, inputs)
    predicted = predict(network, {}, inputs, reference)
    for row in ("slice_1", "rescale_1"):
        too_small, small = budget(reference[row], predicted[row]) / norms(reference[row])
        assert too_small > 1
        assert small < 1e-3


def test_what_rounding_decides_is_granted_in_float64_too():
    # On a constant image every window is a tie, which the rounding of the sums before it breaks in some order.
    text = """
input: 8x8x2
layers:
  - conv: CNN | 3, 3 | - | padding=same
  - pool: MaxPool | 2
  - MaxUnpool | 2 | - | from=[pool, conv]
"""
    network = compile_spec(parse_spec(text, "unpool.yaml"))
    assert rounding_decides(network, {}, {})
    weights, inputs = biting_weights(network, seed=1), hard_inputs(network, 4, seed=1)
    reference = evaluate(network, weights, inputs)
    double = predict(network, weights, inputs, reference, unit=FLOAT64_UNIT)
    row = network.rows[-1].name
    granted = gate(reference[row], double[row], FLOAT64_UNIT) / np.maximum(norms(reference[row]), 1e-300)
    constant = sample_names(4).index("constant")
    assert granted[constant] > 0.1
    assert granted[:4].max() == pytest.approx(FLOAT64_GATE), "nothing is granted where there are no ties"


LONG = {
    "mean square": (chain("wide", (20_000,), RMSNorm(scale=False)), lambda x: x / np.sqrt(summed(x * x) / x.size)),
    "mean": (chain("window", (200, 101, 1), AdaptiveAvgPool(size=1)), lambda x: summed(x) / x.size),
    "probabilities": (
        chain("classes", (20_000,), Activation(function="softmax")),
        lambda x: np.exp(x) / summed(np.exp(x)),
    ),
    "logarithms": (
        chain("logarithms", (20_000,), Activation(function="log_softmax")),
        lambda x: x - np.log(summed(np.exp(x))),
    ),
}


def summed(values):
    """The sum in float32, one number after the other."""
    return np.cumsum(values.ravel(), dtype=np.float32)[-1]


@pytest.mark.parametrize("name", LONG)
def test_long_sums_of_equal_numbers_are_granted_their_rounding(name):
    network, compute = LONG[name]
    [row] = [row.name for row in network.rows]
    inputs = np.full((1, *network.input_type.shape), 0.7, np.float32)
    reference = evaluate(network, {}, {"input": inputs})
    predicted = predict(network, {}, {"input": inputs}, reference)
    found = np.broadcast_to(compute(inputs), reference[row].shape)
    assert compare(reference[row], found, budget(reference[row], np.zeros(1))).symptom == "value", "far from float32"
    assert compare(reference[row], found, budget(reference[row], predicted[row])).symptom is None


def test_gates_have_floors():
    reference, none = np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros(2)
    assert budget(reference, none).tolist() == [BUDGET_FACTOR * FLOOR_UNITS * UNIT * 5, 0]
    assert gate(reference, none).tolist() == [FLOAT64_GATE * 5, 0]
    assert gate(reference, np.array([5.0, 0.0]))[0] > FLOAT64_GATE * 5


def test_norms_do_not_overflow():
    values = np.array([[3e300, 4e300], [3e-300, 4e-300], [0, 0]])
    np.testing.assert_allclose(norms(values), [5e300, 5e-300, 0], rtol=1e-15)


def test_a_zero_reference_must_be_met_exactly():
    reference = np.zeros((1, 3))
    assert compare(reference, np.zeros((1, 3)), np.zeros(1)).symptom is None
    found = compare(reference, np.array([[0, 1e-30, 0]]), np.zeros(1))
    assert (found.symptom, found.message) == ("value", "at [1] it is 1e-30, the reference 0")


def test_inputs_are_seeded_and_named():
    network = LAYER_CASES[0].network()
    one, again, other = (hard_inputs(network, 3, seed)["input"] for seed in (1, 1, 2))
    assert one.tobytes() == again.tobytes() != other.tobytes()
    names = sample_names(3)
    assert len(one) == len(names) == 3 + len(HARD) == VerifySettings(inputs=3).samples
    assert one.dtype == np.float32
    sample = dict(zip(names, one, strict=True))
    assert len(np.unique(sample["ramp"])) == network.input_type.size, "every coordinate has its own value"
    assert not sample["zeros"].any()
    assert len(np.unique(sample["constant"])) == 1
    assert np.abs(sample["large"]).min() >= 500
    assert np.abs(sample["tiny"]).max() < 1e-3
    assert abs(sample["offset"].mean() - 1000) < 1


@pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: case.id)
def test_biting_weights_hide_nothing(case):
    network = case.network()
    weights = biting_weights(network, 1)
    assert set(weights) == {weight.name for weight in network.weights()}
    for weight in network.weights():
        values = weights[weight.name]
        assert values.shape == weight.shape
        assert values.dtype == np.float32
        assert np.count_nonzero(values) == values.size
        assert len(np.unique(values)) == values.size, "no two numbers alike, so none can be exchanged unnoticed"


def test_signals_neither_explode_nor_vanish():
    blocks = [Conv(filters=6, kernel=3, padding="same"), (BatchNorm(), RELU)] * 30
    network = chain("deep", (7, 6, 3), Rescale(), *blocks, GlobalAvgPool(), Dense(units=3))
    weights = biting_weights(network, 4)
    for node, values in interpret(network, weights, first(hard_inputs(network, 4, 4), 4)):
        if node.row != "rescale_1":
            assert 0.02 < np.sqrt(np.square(values).mean()) < 50, node.name
    variances = [values for name, values in weights.items() if name.endswith(".var")]
    assert max(map(np.max, variances)) <= 1e-2
    gammas = np.concatenate([values for name, values in weights.items() if name.endswith(".gamma")])
    assert gammas.min() < 0 < gammas.max()
