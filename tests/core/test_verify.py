"""Verification with backends that are the reference itself, spoilt in one way: every stage and symptom is told."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from netspec.backend.worker import WorkerDied, WorkerFailed
from netspec.errors import UnsupportedError, VerificationError
from netspec.layers import Activation, BatchNorm, Conv, Dense, Flatten, LayerNorm, Rescale
from netspec.reference import evaluate, evaluate_node
from netspec.spec.model import VerifySettings
from netspec.verify import verify
from netspec.verify.result import Verdict
from netspec.weights import draw
from tests.cases import chain

NETWORK = chain(
    "net",
    (6, 5, 2),
    (Conv(filters=3, kernel=3), Activation(function="relu")),
    BatchNorm(),
    Flatten(),
    (Dense(units=4), Activation(function="softmax")),
)
WEIGHTS = draw(NETWORK, 1)
SETTINGS = VerifySettings(inputs=2)
NOWHERE = Path("nowhere")  # these backends read no files


class Exact:
    """A backend that computes as the reference does, and rounds as float32 does."""

    def call(self, method, **arguments):
        if not hasattr(self, method):
            raise WorkerFailed(f"the backend failed in {method}: AttributeError", "traceback")
        return getattr(self, method)(**arguments)

    def check_artefacts(self, folder, network):
        return []

    def counts(self, folder, network):
        return {row.name: (row.trainable, row.non_trainable) for row in network.rows if row.parameters}

    def read_weights(self, folder, network):
        return {name: values.copy() for name, values in WEIGHTS.items()}

    def run_artefact(self, folder, network, inputs):
        return {"net.bin": {"output": evaluate(network, WEIGHTS, inputs)[network.rows[-1].name].astype(np.float32)}}

    def run(self, network, weights, inputs, precision, feed=None):
        values, results = {name: np.asarray(given, float) for name, given in inputs.items()}, {}
        for row in network.rows:
            for node in row.nodes:
                values[node.name] = evaluate_node(node, weights, *(values[name] for name in node.inputs))
            results[row.name] = self.spoil(row.name, values[row.result]).astype(precision)
            values[row.result] = results[row.name]
            if feed:
                values[row.result] = feed[row.name]
        return results

    def spoil(self, row, values):
        return values


def verdict_of(backend, weights=WEIGHTS, network=NETWORK):
    [verdict] = verify(network, weights, NOWHERE, SETTINGS, {"it": backend}).backends
    return verdict


def only_failure(verdict):
    assert not verdict.passed
    [failure] = verdict.failures
    return failure


def test_the_reference_agrees_with_itself():
    verdict = verify(NETWORK, WEIGHTS, NOWHERE, SETTINGS, {"one": Exact(), "two": Exact()})
    assert verdict.passed
    assert [backend.backend for backend in verdict.backends] == ["one", "two"]
    assert verdict.samples[:2] == ("normal 1", "normal 2")
    for backend in verdict.backends:
        assert [row.row for row in backend.rows] == ["conv_1", "batch_norm_1", "flatten_1", "dense_1"]
        assert all(row.passed and row.float64.error == 0 for row in backend.rows)
        assert backend.rows[1].counted == (6, 6)
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert all("agree" in line for line in verdict.summary())


def test_a_small_error_in_float64_is_found_where_it_starts():
    class Off(Exact):
        def spoil(self, row, values):
            return values * (1 + 1e-11) if row == "batch_norm_1" else values

    verdict = verdict_of(Off())
    failure = only_failure(verdict)
    assert (failure.stage, failure.symptom, failure.row) == ("compare", "value", "batch_norm_1")
    assert "float64 error 1.0e-11" in failure.message
    assert (verdict.first_row, verdict.alone) == ("batch_norm_1", True)
    assert [row.passed for row in verdict.rows] == [True, False, False, False]


def test_one_sample_is_enough():
    class Off(Exact):
        def spoil(self, row, values):
            values = values.copy()
            if len(values) > 5 and row == "conv_1":
                values[5] *= 1 + 1e-10  # the constant input only
            return values

    failure = only_failure(verdict_of(Off()))
    assert "for input 'constant'" in failure.message


def test_real_samples_are_compared_too():
    """A fault that only they meet is found."""
    real = np.random.default_rng(0).uniform(0, 255, (2, 6, 5, 2)).astype(np.float32)

    class Off(Exact):
        def run(self, network, weights, inputs, precision, feed=None):
            found = super().run(network, weights, inputs, precision, feed)
            met = (np.asarray(inputs["input"]) == real[1]).all((1, 2, 3))
            return {**found, "batch_norm_1": found["batch_norm_1"] + met[:, None, None, None].astype(precision)}

    verdict = verify(NETWORK, WEIGHTS, NOWHERE, SETTINGS, {"off": Off(), "exact": Exact()}, {"input": real})
    assert verdict.samples[-3:] == ("offset", "data 1", "data 2")
    off, exact = verdict.backends
    assert exact.passed
    assert off.first_row == "batch_norm_1"
    assert "for input 'data 2'" in off.failures[0].message
    assert verify(NETWORK, WEIGHTS, NOWHERE, SETTINGS, {"off": Off()}).passed


def test_an_error_that_only_float32_has_is_found():
    class Off(Exact):
        def run(self, network, weights, inputs, precision, feed=None):
            results = super().run(network, weights, inputs, precision, feed)
            if precision == "float32":
                results["conv_1"] = results["conv_1"] * np.float32(1 + 1e-4)
            return results

    verdict = verdict_of(Off())
    assert only_failure(verdict).row == "conv_1"
    assert verdict.rows[0].float64.error == 0
    assert verdict.rows[0].float32.ratio > 1


def test_a_batch_of_one_is_compared():
    class Off(Exact):
        def spoil(self, row, values):
            return values + 1 if len(values) == 1 else values

    assert only_failure(verdict_of(Off())).row == "conv_1"


@pytest.mark.parametrize(
    ("spoilt", "symptom"),
    [
        (lambda values: np.where(values > 0, np.nan, values), "not finite"),
        (lambda values: np.where(values > 0, np.inf, values), "not finite"),
        (lambda values: values[:, :-1], "shape"),
        (lambda values: values[:1].repeat(3, 0), "shape"),
        (lambda values: values.ravel(), "shape"),
        (lambda values: values[0, 0, 0, 0], "shape"),
    ],
)
def test_symptoms_of_values(spoilt, symptom):
    class Off(Exact):
        def run(self, network, weights, inputs, precision, feed=None):
            results = super().run(network, weights, inputs, precision, feed)
            return {**results, "conv_1": np.asarray(spoilt(results["conv_1"]))}

    failure = only_failure(verdict_of(Off()))
    assert (failure.symptom, failure.row) == (symptom, "conv_1")


def test_a_missing_row_is_a_failure():
    class Off(Exact):
        def run(self, network, weights, inputs, precision, feed=None):
            results = dict(super().run(network, weights, inputs, precision, feed))
            del results["flatten_1"]
            return results

    failure = only_failure(verdict_of(Off()))
    assert (failure.symptom, failure.row) == ("shape", "flatten_1")
    assert "no value" in failure.message


def test_an_error_that_is_only_carried_on_is_told_from_a_wrong_row():
    network = chain("ill", (8,), Rescale(scale=1.0), LayerNorm())

    class Off(Exact):
        """Wrong by less than the gate in one row; the next one takes a mean of 1000 away."""

        def spoil(self, row, values):
            signs = np.resize([1, -1], values.shape)
            return values + 4e-13 * signs * np.abs(values).max(1, keepdims=True) if row == "rescale_1" else values

        def read_weights(self, folder, network):
            return draw(network, 1)

        def run_artefact(self, folder, network, inputs):
            found = evaluate(network, draw(network, 1), inputs)["layer_norm_1"].astype(np.float32)
            return {"ill.bin": {"output": found}}

    verdict = verdict_of(Off(), draw(network, 1), network)
    assert (verdict.first_row, verdict.alone) == ("layer_norm_1", False)
    assert "earlier errors are carried on" in only_failure(verdict).message


def test_counts_are_compared_row_by_row():
    class Off(Exact):
        def counts(self, folder, network):
            return {**super().counts(folder, network), "batch_norm_1": (12, 0), "extra": (1, 0)}

    verdict = verdict_of(Off())
    row, extra = verdict.failures
    assert (row.symptom, row.row) == ("count", "batch_norm_1")
    assert "has 12 trained and 0 other weights, inferred were 6 and 6" in row.message
    assert (extra.symptom, extra.row) == ("count", None)
    assert verdict.first_row == "batch_norm_1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop("conv_1.bias"), "conv_1.bias did not come back"),
        (lambda found: found.update({"conv_1.bias": np.zeros(4, np.float32)}), "came back with the shape (4,)"),
        (lambda found: found["conv_1.kernel"].__setitem__((0, 0, 0, 0), 9), "came back with 1 of 54 numbers changed"),
        (lambda found: found["conv_1.bias"].fill(-0.0), "came back with 3 of 3 numbers changed"),
        (lambda found: found["conv_1.bias"].fill(np.nan), "3 of 3 numbers changed, 3 of them not finite"),
        (
            lambda found: found.update({"conv_1.bias": found["conv_1.bias"].astype(np.float64)}),
            "conv_1.bias came back as float64, given was float32",
        ),
    ],
)
def test_weights_must_come_back_bit_for_bit(change, said):
    class Off(Exact):
        def read_weights(self, folder, network):
            found = super().read_weights(folder, network)
            change(found)
            return found

    verdict = verdict_of(Off())
    failure = only_failure(verdict)
    assert failure.row == verdict.first_row == "conv_1"
    assert said in failure.message
    assert verdict.alone is None, "no row's value is wrong"


def test_weights_that_are_wrong_alike_are_one_failure():
    class Off(Exact):
        def read_weights(self, folder, network):
            return {name: values.astype(np.float64) for name, values in WEIGHTS.items()}

    failure = only_failure(verdict_of(Off()))
    assert failure.row == "conv_1"
    assert failure.message == ("conv_1.kernel came back as float64, given was float32; so did conv_1.bias and 6 more")


def test_the_first_row_is_the_earliest_of_all_failures():
    class Off(Exact):
        def spoil(self, row, values):
            return values + 1 if row == "flatten_1" else values

        def counts(self, folder, network):
            return {**super().counts(folder, network), "dense_1": (1, 1)}

        def read_weights(self, folder, network):
            return {**super().read_weights(folder, network), "conv_1.bias": np.ones(3, np.float32)}

    verdict = verdict_of(Off())
    assert {failure.row for failure in verdict.failures} == {"dense_1", "flatten_1", "conv_1"}
    assert verdict.first_row == "conv_1"
    assert verdict.alone is None, "the first row was not asked alone"


def test_changed_files_are_failures():
    class Off(Exact):
        def check_artefacts(self, folder, network):
            return ["net.bin, line 3, is 'b', exported was 'a'"]

    failure = only_failure(verdict_of(Off()))
    assert (failure.stage, failure.symptom, failure.row) == ("compare", "file", None)
    assert failure.message == "net.bin, line 3, is 'b', exported was 'a'"


def test_files_that_cannot_be_read_are_one_failure():
    class Off(Exact):
        def check_artefacts(self, folder, network):
            raise VerificationError("net.bin is missing")

        def counts(self, folder, network):
            raise AssertionError("there is nothing to ask for")

        read_weights = run_artefact = counts

    verdict = verdict_of(Off())
    failure = only_failure(verdict)
    assert (failure.stage, failure.symptom, failure.message) == ("build", "file", "net.bin is missing")
    assert all(row.float64.error == 0 for row in verdict.rows), "the rows need no files"


def test_a_wrong_artefact_is_found():
    class Off(Exact):
        def run_artefact(self, folder, network, inputs):
            [(name, output)] = super().run_artefact(folder, network, inputs).items()
            return {name: output, "other.bin": {"output": output["output"][:, ::-1]}}

    verdict = verdict_of(Off())
    failure = only_failure(verdict)
    assert "other.bin, loaded afresh: at [" in failure.message
    assert [(artefact.file, artefact.passed) for artefact in verdict.artefacts] == [
        ("net.bin", True),
        ("other.bin", False),
    ]
    assert verdict.first_row is None


def test_outputs_that_are_exchanged_are_said():
    network = replace(
        chain("two", (4,), Dense(units=4), Dense(units=4)), outputs={"first": "dense_1", "second": "dense_2"}
    )
    weights = draw(network, 1)

    class Off(Exact):
        def read_weights(self, folder, network):
            return {name: values.copy() for name, values in weights.items()}

        def run_artefact(self, folder, network, inputs):
            found = {name: value.astype(np.float32) for name, value in evaluate(network, weights, inputs).items()}
            return {"net.bin": {"first": found["dense_2"], "second": found["dense_1"]}}

    failure = only_failure(verdict_of(Off(), weights, network))
    output, other = ("first", "second") if "output 'first':" in failure.message else ("second", "first")
    assert f"loaded afresh, output {output!r}: " in failure.message
    assert failure.message.endswith(f"it is what output {other!r} should be: outputs are exchanged")


def test_no_artefact_is_a_failure():
    class Off(Exact):
        def run_artefact(self, folder, network, inputs):
            return {}

    assert only_failure(verdict_of(Off())).stage == "build"


@pytest.mark.parametrize(
    ("error", "stage", "symptom"),
    [
        (WorkerFailed("it failed in run: ValueError: no", "traceback"), "run", "crash"),
        (WorkerDied("it was killed by SIGKILL"), "run", "crash"),
        (UnsupportedError("no rule for Conv"), "render", "unsupported"),
    ],
)
def test_a_backend_that_raises_is_reported_and_the_others_too(error, stage, symptom):
    class Off(Exact):
        def run(self, **arguments):
            raise error

    verdict = verify(NETWORK, WEIGHTS, NOWHERE, SETTINGS, {"off": Off(), "exact": Exact()})
    off, exact = verdict.backends
    assert exact.passed
    assert not verdict.passed
    failure = only_failure(off)
    assert (failure.stage, failure.symptom, failure.message) == (stage, symptom, str(error))
    assert not any(row.passed for row in off.rows)
    assert str(error) in verdict.summary()[0]


def test_a_dead_worker_is_asked_no_more():
    class Dead(Exact):
        asked = 0

        def call(self, method, **arguments):
            Dead.asked += 1
            raise WorkerDied("gone")

    failure = only_failure(verdict_of(Dead()))
    assert (failure.stage, Dead.asked) == ("build", 1)


def test_a_network_travels_without_what_was_computed_from_it():
    """Every backend's thread pickles the network while another may compute its rows."""
    assert {"rows", "types"} <= set(vars(NETWORK))
    travelled = pickle.loads(pickle.dumps(NETWORK))
    assert set(vars(travelled)) == {field.name for field in fields(NETWORK)}
    assert travelled == NETWORK
    assert travelled.digest == NETWORK.digest


def test_weights_that_are_no_numbers_are_refused():
    weights = {**WEIGHTS, "conv_1.bias": np.array([1, np.nan, 2], np.float32)}
    with pytest.raises(VerificationError, match=r"conv_1\.bias holds values that are not finite") as caught:
        verdict_of(Exact(), weights)
    assert caught.value.exit_code == 1
