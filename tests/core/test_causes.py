"""The library of causes: each hypothesis, planted in the reference's own numbers, is found by its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from netspec.compile import compile_spec
from netspec.errors import NetspecError
from netspec.layers import LRN, Activation, BatchNorm, Concat, Conv, Dense, MaxPool, PReLU
from netspec.reference import interpret
from netspec.spec.load import parse_spec
from netspec.tensors import TensorType
from netspec.verify.budget import budget, gate, norms
from netspec.verify.causes import explain, judge_of, pairs
from netspec.verify.causes.explain import OUTPUT, Trial, part_of
from netspec.verify.causes.hypothesis import Alternative, Call, Hypothesis
from netspec.verify.causes.signature import signature
from netspec.verify.causes.table import HYPOTHESES, hypotheses
from netspec.verify.causes.weight import as_bfloat16, as_float16
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import LAYER_CASES, Case, chain

GRANTED = {"float64": gate, "float32": budget}
# Shapes in which two mistakes differ that look alike in others: square kernels, as many channels as rows, values
# where exp overflows in the middle of a softmax.
OTHERS = (
    Case("conv-square", Conv(filters=4, kernel=3), (7, 6, 4)),
    Case("dense-square", Dense(units=5), (5,)),
    Case("concat-alike", Concat(), (4, 3, 2), ((4, 3, 2),)),
    Case("prelu-square", PReLU(), (5, 4, 5)),
)
CASES = (*LAYER_CASES, *OTHERS)
ENOUGH = 2
"""In so many cases of a kind each hypothesis is planted, and in each so many of its values."""
INVISIBLE = {
    "linear above a threshold": "it differs by 2e-9 at most, where x is a little above 20",
    "largest value not taken off": "it differs where exp overflows, and then is not finite",
    "softplus overflows": "the same",
}


class Planted:
    """A case with what its layer reads, and all that could be done instead."""

    def __init__(self, case: Case, precision: str) -> None:
        self.network, self.precision = case.network(), precision
        self.weights, given = biting_weights(self.network, 0), hard_inputs(self.network, 1, 0)
        [self.node] = self.network.nodes
        self.inputs = given
        part = part_of(self.network, (self.node,))
        trial = Trial(part, self.weights, given, np.zeros(1), GRANTED[precision], {})
        with np.errstate(all="ignore"):
            values = trial.values()
            self.call: Call = trial.call(self.node, values)
            self.right = values[self.node.name]

    def measured(self, alternative: Alternative) -> Any:
        """What a backend that does this gives; None where it makes no sense, or does not differ."""
        found = (float(np.sqrt(np.prod(alternative.fitted))) * 1.234,) if alternative.fitted else ()
        try:
            with np.errstate(all="ignore"):
                value = alternative.value(*found).astype(self.precision)
        except (ValueError, LookupError, TypeError, NetspecError):
            return None
        return value if np.isfinite(value).all() and value.size else None

    def made(self, hypothesis: Hypothesis) -> Iterator[Any]:
        """What backends give that do what it says."""
        for alternative in hypothesis.alternatives(self.call):
            if (measured := self.measured(alternative)) is not None:
                yield measured

    def explained(self, measured: Any) -> Any:
        return explain(
            self.network, (self.node,), self.weights, self.inputs, measured, GRANTED[self.precision], worst=0
        )


@cache
def planted(precision: str) -> dict[str, set[str]]:
    """For each hypothesis that some case shows, the names that were said instead of it where the values differ."""
    wrong: dict[str, set[str]] = {}
    shown: Counter[tuple[str, str]] = Counter()
    for case in CASES:
        wanted = [each for each in hypotheses(case.layer) if shown[each.name, case.layer.kind] < ENOUGH]
        if not wanted:
            continue
        plan = Planted(case, precision)
        made: dict[str, list[Any]] = {}
        for hypothesis in hypotheses(case.layer):
            made.setdefault(hypothesis.name, []).extend(plan.made(hypothesis))
        for name in {hypothesis.name for hypothesis in wanted}:
            for measured in made[name][:ENOUGH]:
                cause = plan.explained(measured)
                if cause is None:
                    continue  # here it makes no difference
                shown[name, case.layer.kind] += 1
                said = wrong.setdefault(name, set())
                if cause.name == name:
                    wrong.setdefault(f"found {name}", set())
                # Two mistakes may be one: a leaky ReLU of slope 0 and a ReLU.
                elif not any(close(value, measured) for value in made.get(cause.name, ())):
                    said.add(f"{case.id}: {cause.name}")
    return wrong


def close(left: Any, right: Any) -> bool:
    return left.shape == right.shape and bool(
        np.allclose(left, right, rtol=1e-6 if left.dtype == np.float32 else 1e-13, atol=0)
    )


@pytest.mark.parametrize("precision", GRANTED)
@pytest.mark.parametrize("name", sorted({hypothesis.name for hypothesis in HYPOTHESES} - set(INVISIBLE)))
def test_what_is_planted_is_said(name, precision):
    found = planted(precision)
    assert f"found {name}" in found, "no case shows it"
    assert not found[name]


def test_a_right_value_has_no_cause():
    for case in LAYER_CASES:
        plan = Planted(case, "float32")
        assert plan.explained(plan.right.astype(np.float32)) is None, case.id


def test_the_threshold_of_softplus_is_seen_in_float64():
    network = chain("softplus", (64,), Activation(function="softplus"))
    [node] = network.nodes
    inputs = {"input": np.linspace(18.0, 24.0, 2 * 64).reshape(2, 64)}
    right = np.logaddexp(0.0, inputs["input"])
    measured = np.where(inputs["input"] > 20, inputs["input"], right)
    cause = explain(network, (node,), {}, inputs, measured, gate, worst=0)
    assert cause is not None
    assert (cause.name, cause.found) == ("linear above a threshold", "x if x > 20 else log(1 + exp(x))")


@pytest.mark.parametrize(("count", "wrong"), [(64, "63 / 64"), (50176, "50175 / 50176")])
def test_a_variance_of_another_count_is_said(count, wrong):
    """A BatchNorm whose statistics were taken for biased ones and corrected once more."""
    network = chain("bessel", (6, 5, 4), BatchNorm(), Activation(function="relu"))
    weights, inputs = biting_weights(network, 0), hard_inputs(network, 3, 0)
    spoilt = {**weights, "batch_norm_1.var": weights["batch_norm_1.var"].astype(np.float64) * (count - 1) / count}
    measured = last_value(network, network.nodes, spoilt, inputs)
    cause = explain(network, network.nodes, weights, inputs, measured, gate, worst=0)
    assert cause is not None
    assert (cause.row, cause.name, cause.known) == ("batch_norm_1", "variance by a factor", True)
    assert f"which is {wrong}: (n - 1) / n" in cause.says


def test_weights_of_another_row_are_recognised():
    network = chain("swapped", (6, 5, 4), Conv(filters=4, kernel=3, padding="same"), Conv(filters=4, kernel=3))
    weights, inputs = biting_weights(network, 0), hard_inputs(network, 2, 0)
    first, second = ({name: weights[f"{row}.{name}"] for name in ("kernel", "bias")} for row in ("conv_1", "conv_2"))
    spoilt = {f"conv_1.{name}": array for name, array in second.items()}
    spoilt |= {f"conv_2.{name}": array for name, array in first.items()}
    [node, _] = network.nodes
    measured = last_value(network, [node], spoilt, inputs)
    cause = explain(network, (node,), weights, inputs, measured, gate, worst=0)
    assert cause is not None
    assert (cause.row, cause.name) == ("conv_1", "weights of another row")
    assert "'conv_2'" in cause.says


RESIDUAL = """
input: 6x5x3
layers:
  - first:  CNN | 4, 3 | -    | padding=same
  - second: CNN | 4, 3 | -    | padding=same
  - sum:    Add | -    | ReLU | from=[second, first]
  - last:   CNN | 5, 3
"""


def test_two_mistakes_of_one_row_are_found_where_all_pairs_are_too_many(monkeypatch):
    """The activation stands before the sum, and not behind it; only what reads the sum was measured."""
    network = compile_spec(parse_spec(RESIDUAL, "net.yaml"))
    weights, inputs = biting_weights(network, 0), hard_inputs(network, 2, 0)
    right = {node.name: value for node, value in interpret(network, weights, inputs)}
    part, total = network.nodes[2:], right["first"] + np.maximum(right["second"], 0)
    [(_, measured)] = interpret(part_of(network, part[-1:]), weights, {part[-1].inputs[0]: total})
    given = {name: right[name] for name in ("first", "second")}
    judge = judge_of(network, part, weights, given, measured, gate, 0)
    counts = pairs._counts(judge)
    for limit, found in (
        (pairs._work(judge, counts, pairs._same_row), ("an input activated", "activation missing")),
        (0, None),
    ):
        assert pairs._work(judge, counts, pairs._all_later) > limit
        monkeypatch.setattr(pairs, "WORK", limit)
        reasons = pairs.pair_of_reasons(judge, network)
        assert (reasons and tuple(reason.cause.name for reason in reasons)) == found
        assert not reasons or {reason.cause.row for reason in reasons} == {"sum"}


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("function", ["softmax", "softplus"])
def test_an_exponential_that_overflows_is_said_of_its_precision(precision, function):
    """What is infinite, or no number, is so at the same places."""
    network = chain("overflow", (8,), Activation(function=function))
    [node] = network.nodes
    large = np.linspace(1.0, 1.5, 2 * 8).reshape(2, 8) * np.log(float(np.finfo(precision).max)) / 1.25
    with np.errstate(all="ignore"):
        raised = np.exp(large.astype(precision))
        measured = np.log(1 + raised) if function == "softplus" else raised / raised.sum(1, keepdims=True)
    granted = budget if precision is np.float32 else gate
    cause = explain(network, (node,), {}, {"input": large.astype(precision)}, measured, granted, worst=0)
    assert cause is not None
    assert cause.name == ("softplus overflows" if function == "softplus" else "largest value not taken off")
    assert np.dtype(precision).name in cause.says


def test_a_cause_is_found_within_several_rows():
    """Where only the end of a part is known, the row in it is named that is to blame."""
    network = chain(
        "part",
        (9, 8, 3),
        Conv(filters=4, kernel=3),
        BatchNorm(),
        MaxPool(size=3, stride=2, padding="same"),
        LRN(size=3),
    )
    weights, inputs = biting_weights(network, 0), hard_inputs(network, 2, 0)
    spoilt = [node if node.name != "max_pool_1" else alter(node, padding=((1, 1), (1, 0))) for node in network.nodes]
    measured = last_value(network, spoilt, weights, inputs).astype(np.float32)
    cause = explain(network, network.nodes, weights, inputs, measured, budget, worst=0)
    assert cause is not None
    assert (cause.row, cause.name) == ("max_pool_1", "shifted padding")
    # The pixel at the end meets no window, so that this is the same.
    assert cause.fields == {"padding": "((1,1),(1,1))"}


def alter(node, **fields):
    return replace(node, layer=node.layer.replace(**fields))


def last_value(network, nodes, weights, inputs):
    spoilt = replace(network, nodes=tuple(nodes), outputs={OUTPUT: nodes[-1].name})
    return [value for _, value in interpret(spoilt, weights, inputs)][-1]


def dense():
    network = chain("dense", (6, 5, 4), Conv(filters=6, kernel=3))
    weights, inputs = biting_weights(network, 3), hard_inputs(network, 3, 3)
    [right] = [value for _, value in interpret(network, weights, inputs)]
    return network, weights, inputs, right


def swap_channels(y):
    return y[..., [3, 0, 5, 1, 4, 2]]


ORDER = np.random.default_rng(0).permutation(4 * 3 * 6)
UNKNOWN = {
    "a constant factor": lambda y: y * 7.0,
    "a constant offset": lambda y: y + 0.5,
    "a factor a channel": lambda y: y * np.linspace(1, 2, y.shape[-1]),
    "an offset a channel": lambda y: y + np.linspace(1, 2, y.shape[-1]),
    "channels in another order": swap_channels,
    "an axis reversed": lambda y: y[:, ::-1],
    "clipped values": lambda y: np.minimum(y, 1.5),
    "wrong where negative": lambda y: np.where(y < 0, y - np.sin(7 * y) ** 2, y),
    "some channels wrong": lambda y: np.where(np.arange(y.shape[-1]) == 2, np.cos(y), y),
    "wrong at the border": lambda y: np.pad(y[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=0.123),
    "another shape": lambda y: y.reshape(len(y), -1),
    "values in another order": lambda y: np.take(y.reshape(len(y), -1), ORDER, axis=1).reshape(y.shape),
    "samples mixed": lambda y: y.reshape(-1, y.shape[-1]).swapaxes(0, 1).reshape(y.shape),
    "values dropped": lambda y: np.where(np.sin(1e3 * y) < -0.5, 0.0, y / 0.7),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_no_hypothesis_explains_is_described(name):
    network, weights, inputs, right = dense()
    measured = UNKNOWN[name](right).astype(np.float32)
    cause = explain(network, network.nodes, weights, inputs, measured, budget, worst=0)
    assert cause is not None
    assert (cause.name, cause.known, cause.ratio) == (name, False, None)


def test_a_lower_precision_is_told_by_its_bits():
    network, weights, inputs, right = dense()
    sizes = np.abs(right).mean((1, 2, 3), keepdims=True)
    noise = np.random.default_rng(0).standard_normal(right.shape)
    cause = explain(
        network, network.nodes, weights, inputs, (right + sizes * noise * 2.0**-11).astype(np.float32), budget, worst=0
    )
    assert cause is not None
    assert cause.name == "a lower precision"
    assert "float16" in cause.says


def test_another_certain_class_is_no_lower_precision():
    """Where a softmax is certain, rounding before it is predicted to cost a lot, and says nothing of bits."""
    right = np.full((2, 1, 1, 10), 4e-17)
    right[:, 0, 0, 3] = 0.99999
    found = np.roll(right, 2, -1) * np.linspace(0.9, 1, 10)
    predicted = norms(found - right) / 2.0**16  # eight bits, by that prediction
    said = signature(right, found, lambda value: False, predicted, TensorType((1, 1, 10)))
    assert said is None or said.name != "a lower precision"


@pytest.mark.parametrize(
    ("bits", "name"), [(5, None), (6, None), (8, "bfloat16"), (9.5, "bfloat16"), (12, "float16"), (15, None)]
)
def test_a_precision_is_named_within_one_bit(bits, name):
    right = np.random.default_rng(1).standard_normal((2, 4, 4, 3))
    found = right * (1 + np.random.default_rng(2).standard_normal(right.shape) * 2.0**-bits)
    predicted = norms(found - right) / 2.0 ** (24 - bits)
    said = signature(right, found, lambda value: False, predicted, TensorType((4, 4, 3)))
    assert (said.says if said and said.name == "a lower precision" else "").count(name or "bits") == bool(name)


@pytest.mark.parametrize(
    ("kept", "said"), [(as_bfloat16, "bfloat16"), (as_float16, "float16, or"), (np.float32, "float32, which")]
)
def test_a_type_that_values_were_kept_in_is_named(kept, said):
    network, weights, inputs, right = dense()
    cause = explain(network, network.nodes, weights, inputs, kept(right).astype(np.float64), gate, worst=0)
    assert cause is not None
    assert (cause.name, cause.known) == ("a lower precision", False)
    assert said in cause.says
    short = np.round(right)  # what is short by itself says nothing
    found = signature(short, short + np.eye(6)[0], lambda value: False, np.ones(len(right)), TensorType((4, 3, 6)))
    assert found is None or "number of" not in found.says


def test_what_goes_with_the_values_is_no_lower_precision():
    """An epsilon below a root makes all values a little smaller; rounding makes half of them larger."""
    right = np.random.default_rng(1).standard_normal((4, 4, 4, 3))
    found = right * (1 - 2.0**-9 * np.random.default_rng(2).uniform(0.5, 1.5, right.shape))
    predicted = norms(found - right) / 2.0**15
    said = signature(right, found, lambda value: False, predicted, TensorType((4, 4, 3)))
    assert said is None or said.name != "a lower precision"


def test_nothing_is_said_of_a_sign_that_all_values_have():
    right = np.random.default_rng(1).uniform(0.5, 1.5, (4, 4, 4, 3))
    found = right + np.random.default_rng(2).standard_normal(right.shape)
    found[0, 0, 0, 0] = right[0, 0, 0, 0]
    assert signature(right, found, lambda value: False, np.ones(4), TensorType((4, 4, 3))) is None


def test_nothing_is_said_of_mere_noise():
    network, weights, inputs, right = dense()
    noise = np.random.default_rng(0).standard_normal(right.shape)
    assert explain(network, network.nodes, weights, inputs, right + noise, budget, worst=0) is None
