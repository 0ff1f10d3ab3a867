"""Verify a network: ask every backend side by side, run the reference meanwhile, then compare."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from netspec.errors import VerificationError
from netspec.network import Network
from netspec.reference import evaluate
from netspec.reference.table import Array
from netspec.verify.budget import predict, rounding_decides
from netspec.verify.gates import FLOAT64_UNIT
from netspec.verify.gather import Caller, gather
from netspec.verify.inputs import biting_weights, finite_problem, hard_inputs, sample_names
from netspec.verify.judge import Standard, judge
from netspec.verify.result import Verdict
from netspec.verify.settings import VerifySettings


def check(
    network: Network,
    weights: Mapping[str, Array],
    folder: Path,
    settings: VerifySettings,
    workers: Mapping[str, Caller],
) -> Verdict:
    """The verdict on every backend of `workers`, whose artefacts lie in `folder / name`.

    Every row is compared with weights and inputs that bite; the artefacts with the network's own `weights`. What
    goes wrong in a backend is a failure of that backend. Raises VerificationError when `weights` are not numbers.
    """
    if lost := finite_problem(weights):
        raise VerificationError(f"weight {lost} holds values that are not finite, so nothing can be compared with it")
    inputs = hard_inputs(network, settings.inputs, settings.seed)
    biting: Future[dict[str, Array]] = Future()
    with ThreadPoolExecutor(max(len(workers), 1)) as threads:
        # The workers begin with their artefacts while the biting weights are made here.
        asked = {
            name: threads.submit(gather, worker, network, folder / name, inputs, biting)
            for name, worker in workers.items()
        }
        try:
            biting.set_result(biting_weights(network, settings.seed))
        except BaseException as error:
            biting.set_exception(error)
            raise
        standard = make_standard(network, weights, biting.result(), inputs, settings)
        answers = {name: future.result() for name, future in asked.items()}
    verdicts = tuple(judge(name, workers[name], standard, found) for name, found in answers.items())
    return Verdict(
        network=network.name,
        passed=all(verdict.passed for verdict in verdicts),
        parameters=network.parameters,
        trainable=network.trainable,
        non_trainable=network.non_trainable,
        samples=standard.samples,
        backends=verdicts,
    )


def make_standard(
    network: Network,
    weights: Mapping[str, Array],
    biting: Mapping[str, Array],
    inputs: Mapping[str, Array],
    settings: VerifySettings,
) -> Standard:
    """What the reference computes, and how far rounding may lead away from it."""
    reference = evaluate(network, biting, inputs)
    predicted = predict(network, biting, inputs, reference, settings.seed)
    double = None
    if rounding_decides(network):
        double = predict(network, biting, inputs, reference, settings.seed, unit=FLOAT64_UNIT)
    rows = {row.result: row.name for row in network.rows}
    ends = {name: rows[value] for name, value in network.outputs.items()}
    values = evaluate(network, weights, inputs)
    own = {row: values[row] for row in ends.values()}
    own_predicted = predict(network, weights, inputs, own, settings.seed)
    return Standard(
        network=network,
        weights=weights,
        biting=biting,
        inputs=inputs,
        samples=sample_names(settings.inputs),
        reference=reference,
        predicted=predicted,
        predicted_double=double,
        outputs={name: own[row] for name, row in ends.items()},
        outputs_predicted={name: own_predicted[row] for name, row in ends.items()},
    )
