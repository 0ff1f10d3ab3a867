"""Gradients: every case is derived as the reference's slopes say, and what is derived wrongly is found at its row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.layers import Activation, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool, Rescale
from netspec.report.page_verdict import verdict_section
from netspec.report.verdict import verify_text
from netspec.spec.model import VerifySettings
from netspec.verify import verify
from netspec.verify.gradients import Derivation, Slopes, derive, judge_gradients, plan
from netspec.verify.inputs import biting_weights
from netspec.verify.result import Verdict
from netspec.verify.rounding import Roundings, least
from netspec.verify.slopes import Surface
from netspec.weights import draw
from tests.cases import LAYER_CASES, chain

ALONE = {"MaxUnpool"}
"""Kinds that Keras has no rule for."""


def judged(network, callers, seed=3):
    weights, planned = biting_weights(network, seed), plan(network, seed)
    slopes = [Slopes(problem, weights, planned.directions, seed) for problem in planned.problems]
    derived = {
        name: Derivation(caller, [derive(caller, problem, weights, rows=False) for problem in planned.problems])
        for name, caller in callers.items()
    }
    return judge_gradients(planned, slopes, weights, derived)


@pytest.mark.parametrize("case", LAYER_CASES, ids=[case.id for case in LAYER_CASES])
def test_every_case_is_derived_as_the_reference_slopes(learners, case):
    network = case.network()
    able = {
        name: worker for name, worker in learners.items() if name == "torch" or network.nodes[0].layer.kind not in ALONE
    }
    found, failures = judged(network, able)
    assert not any(failures.values()), failures
    assert len(found.weights) >= len(network.inputs) + sum(weight.trainable for weight in network.weights())
    assert not found.unclear


def net():
    return chain(
        "derived",
        (8, 6, 3),
        Conv(filters=4, kernel=3, padding="same"),
        (BatchNorm(), Activation(function="silu")),
        MaxPool(size=2),
        (Conv(filters=5, kernel=3), Activation(function="leaky_relu", slope=0.2)),
        Flatten(),
        Dropout(rate=0.4),
        (Dense(units=6), Activation(function="tanh")),
        (Dense(units=4), Activation(function="softmax")),
    )


def test_a_batch_has_its_own_statistics(learners):
    found, failures = judged(net(), learners)
    assert not any(failures.values()), failures
    assert {each.mode for each in found.weights} == {"evaluation", "training"}
    # A bias in front of a BatchNorm does nothing in training, and the reference's slope says so.
    idle = next(each for each in found.weights if (each.name, each.mode) == ("conv_1.bias", "training"))
    assert all(share.error < 1e-9 for share in idle.apart.values())
    assert all(share.error < 1e-6 for share in idle.slopes.values())


CONSTANT = {
    "alone": chain("alone", (7, 6, 1), Rescale(scale=0.0, offset=0.37), BatchNorm(epsilon=1e-7, center=False)),
    "behind a convolution": chain(
        "behind", (7, 6, 2), Rescale(scale=0.0, offset=0.123), Conv(filters=4, kernel=3), BatchNorm(center=False)
    ),
    "one behind the other": chain(
        "two", (7, 6, 2), Rescale(scale=0.0, offset=0.123), Dense(units=3, every_position=True),
        BatchNorm(scale=False, center=False),
        Conv(filters=4, kernel=2), BatchNorm(center=False),
    ),
    "small beside an offset": chain(
        "small", (7, 6, 1), Rescale(scale=0.001, offset=7.3), Dense(units=3, every_position=True), BatchNorm()
    ),
}  # fmt: skip
"""Networks in which the batch's statistics leave nothing of a channel but its rounding, or little more."""


@pytest.mark.parametrize("name", CONSTANT)
@pytest.mark.parametrize("seed", [0, 13, 176])
def test_what_is_rounding_alone_is_granted(learners, name, seed):
    found, failures = judged(CONSTANT[name], learners, seed)
    assert not any(failures.values()), failures
    assert {each.mode for each in found.weights} == {"evaluation", "training"}


class Amiss:
    """A backend that derives one weight, or computes its output, by a little too much with the batch's statistics."""

    def __init__(self, worker, error, weight=None):
        self.worker, self.error, self.weight = worker, error, weight

    def call(self, method, **arguments):
        found = self.worker.call(method, **arguments)
        if method == "gradients" and arguments["training"]:
            if self.weight:
                weights = {**found.weights, self.weight: found.weights[self.weight] + self.error}
                return replace(found, weights=weights)
            return replace(found, outputs={name: value + self.error for name, value in found.outputs.items()})
        return found


@pytest.mark.parametrize("weight", ["batch_norm_1.gamma", "conv_1.kernel", None])
def test_what_is_more_than_rounding_is_found_beside_it(learners, weight):
    callers = {**learners, "keras": Amiss(learners["keras"], 1e-6, weight)}
    _, failures = judged(CONSTANT["behind a convolution"], callers)
    assert [failure.symptom for failure in failures["keras"]] == ["gradient"]


def test_a_backend_is_not_granted_what_others_do_not_make_of_rounding():
    own, other = (
        Roundings({("output", "y"): 1.0, ("gradient", "w"): 5.0}),
        Roundings({("output", "y"): 3.0, ("gradient", "w"): 2.0}),
    )
    assert least([own, other]).errors == {("output", "y"): 1.0, ("gradient", "w"): 2.0}


def test_slopes_of_the_reference_are_those_of_the_formula():
    network = chain("product", (3,), Dense(units=2, bias=False))
    weights = biting_weights(network, 0)
    [problem] = plan(network, 0).problems
    surface = Surface(problem, weights)
    along = np.random.default_rng(0).standard_normal((3, 2))
    [(_, cotangent)] = problem.cotangents.items()
    [(name, given)] = problem.inputs.items()
    slope = surface.slope({"dense_1.kernel": along})
    assert slope.value == pytest.approx(((given @ along) * cotangent).sum(), rel=1e-8)
    assert slope.doubt < 1e-7 * abs(slope.value)
    moved = np.random.default_rng(1).standard_normal(given.shape)
    expected = ((moved @ weights["dense_1.kernel"]) * cotangent).sum()
    assert surface.slope({name: moved}).value == pytest.approx(expected, rel=1e-8)


def test_a_kink_leaves_a_doubt_unless_a_smaller_step_stays_before_it():
    network = chain("kink", (1,), Activation(function="relu"))
    [problem] = plan(network, 0).problems
    cotangent = sum(value.sum() for value in problem.cotangents.values())

    def slope(at):
        given = {name: np.full_like(value, at) for name, value in problem.inputs.items()}
        along = {name: np.ones_like(value) for name, value in given.items()}
        return Surface(replace(problem, inputs=given), {}).slope(along)

    assert slope(0.0).doubt > 0.9 * abs(cotangent)
    near = slope(3e-8)
    assert near.value == pytest.approx(cotangent, rel=1e-6)
    assert near.doubt < 1e-6 * abs(near.value)


def test_verdict_tells_of_gradients(learners, tmp_path):
    network, weights = net(), draw(net(), 4)
    for name, worker in learners.items():
        (tmp_path / name).mkdir()
        worker.call("export", network=network, weights=weights, folder=tmp_path / name, settings=ExportSettings())
    verdict = verify(network, weights, tmp_path, VerifySettings(inputs=1), learners)
    assert verdict.passed
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert verdict.gradients is not None
    assert verdict.gradients.backends == ("torch", "keras")
    said = verify_text(verdict)
    assert "Gradients in float64: torch and keras by 11 weights and inputs, 4 samples" in said
    assert "from the reference's slopes" in said
    page = verdict_section(verdict)
    assert page.count("<code>dense_2.kernel</code>") == 2, "as evaluated, and with the batch's statistics"


def test_costly_networks_say_what_is_left_out():
    large = chain("large", (224, 224, 3), Conv(filters=64, kernel=7), BatchNorm(), Conv(filters=64, kernel=3))
    found = plan(large, 0)
    assert found.directions == 0
    assert [problem.mode for problem in found.problems] == ["evaluation"]
    assert all("costs too much" in note for note in found.notes)
    assert len(found.notes) == 2
