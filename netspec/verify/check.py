"""Verify a network: ask every backend side by side, run the reference meanwhile, then compare."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

from netspec.backend import differentiable_backends, optimising_backends
from netspec.errors import VerificationError
from netspec.memory import fits_together
from netspec.network import Network
from netspec.reference import evaluate, interpret
from netspec.reference.table import Array, Values
from netspec.spec.model import VerifySettings
from netspec.tensors import Precision
from netspec.verify.budget import predict, rounding_decides
from netspec.verify.compare import Comparison
from netspec.verify.gates import FLOAT64_UNIT
from netspec.verify.gather import Answers, Caller, ask_artefacts, ask_rows
from netspec.verify.gradients import Derivation, Slopes, ask_gradients, judge_gradients, plan
from netspec.verify.inputs import biting_weights, finite_problem
from netspec.verify.isolated import Alone, ask_alone
from netspec.verify.judge import Standard, judge
from netspec.verify.pieces import Piece, Reference, in_pieces
from netspec.verify.result import Verdict
from netspec.verify.samples import Samples, choose_samples


def check(
    network: Network,
    weights: Mapping[str, Array],
    folder: Path,
    settings: VerifySettings,
    workers: Mapping[str, Caller],
    real: Mapping[str, Array] | None = None,
) -> Verdict:
    """The verdict on every backend of `workers`, whose artefacts lie in `folder / name`.

    Every row is compared with weights and inputs that bite, and with `real` inputs too; the artefacts with the
    network's own `weights`. What goes wrong in a backend is a failure of that backend. Raises VerificationError when
    `weights` are not numbers.
    """
    if lost := finite_problem(weights):
        raise VerificationError(f"weight {lost} holds values that are not finite, so nothing can be compared with it")
    samples, derived = choose_samples(network, settings, real), plan(network, settings.seed)
    deriving = [name for name in workers if name in differentiable_backends()]
    pieces = in_pieces(network, samples.inputs)
    weighty = not fits_together(network)
    optimising = optimising_backends() if (settings.levels if settings.levels is not None else not weighty) else set()
    # Its weights in double precision here, and in a backend, would be too many at one time.
    turn: AbstractContextManager[Any] = Lock() if weighty else nullcontext()
    with ThreadPoolExecutor(max(len(workers), 1)) as threads:
        # The workers begin with their artefacts while the biting weights are made here.
        given = samples.artefact_inputs
        about = {
            name: threads.submit(
                ask_artefacts, worker, network, weights, folder / name, given, turn, levels=name in optimising
            )
            for name, worker in workers.items()
        }
        with turn:
            biting = biting_weights(network, settings.seed)
            own = _outputs(network, weights, samples, settings.seed) if weighty else None

        slopes: list[Slopes] = []

        def rows(name: str, piece: Piece, reference: Future[Reference]) -> Answers:
            answers = about[name].result()
            ask_rows(workers[name], answers, network, biting, piece, reference, turn)
            if piece is pieces[-1] and name in deriving and "float64" in answers.rows:
                with turn:
                    answers.gradients = ask_gradients(workers[name], answers, derived.problems, biting)
            return answers

        for piece in pieces:
            reference: Future[Reference] = Future()
            if weighty:
                with turn:
                    reference.set_result(_reference(network, biting, piece.inputs, settings.seed, samples.draws))
            asked = {name: threads.submit(rows, name, piece, reference) for name in workers}
            try:
                if not weighty:
                    reference.set_result(_reference(network, biting, piece.inputs, settings.seed, samples.draws))
            except BaseException as error:
                reference.set_exception(error)
                raise
            own = own or _outputs(network, weights, samples, settings.seed)
            if piece is pieces[-1] and deriving and derived.directions:
                slopes = [Slopes(problem, biting, derived.directions, settings.seed) for problem in derived.problems]
            answers = {name: future.result() for name, future in asked.items()}

    def alone(backend: Caller, row: str, found: Comparison, precision: Precision) -> Alone:
        piece = next(each for each in reversed(pieces) if each.start <= found.sample)
        reference = _reference(network, biting, piece.inputs, settings.seed, samples.draws)
        return ask_alone(backend, network, biting, piece, reference, row, precision)

    assert own is not None, "there is a piece"
    standard = Standard(network, samples.names, *own, alone)
    found = {name: Derivation(workers[name], each.gradients) for name, each in answers.items() if each.derives}
    gradients, wrong = judge_gradients(derived, slopes, biting, found)
    for name, failures in wrong.items():
        answers[name].gradient_failures = failures
    verdicts = tuple(judge(name, workers[name], standard, said) for name, said in answers.items())
    return Verdict(
        network=network.name,
        passed=all(verdict.passed for verdict in verdicts),
        parameters=network.parameters,
        trainable=network.trainable,
        non_trainable=network.non_trainable,
        samples=samples.names,
        backends=verdicts,
        gradients=gradients if deriving else None,
    )


def _reference(
    network: Network, weights: Mapping[str, Array], inputs: Mapping[str, Array], seed: int, draws: int
) -> Reference:
    """What the reference computes for every row, and how far rounding may lead away from it."""
    values = evaluate(network, weights, inputs)
    predicted = predict(network, weights, inputs, values, seed, draws)
    if rounding_decides(network, values, predicted):
        again = predict(network, weights, inputs, values, seed, draws, unit=FLOAT64_UNIT)
        return Reference(values, predicted, again)
    return Reference(values, predicted)


def _outputs(
    network: Network, weights: Mapping[str, Array], samples: Samples, seed: int
) -> tuple[dict[str, Values], dict[str, Values]]:
    """The network's outputs with its own weights, for what the artefacts are given, and their predicted errors."""
    rows = {row.result: row.name for row in network.rows}
    ends = {name: rows[value] for name, value in network.outputs.items()}
    own = {
        node.row: value
        for node, value in interpret(network, weights, samples.artefact_inputs)
        if node.name in rows and node.row in ends.values()
    }
    predicted = predict(network, weights, samples.artefact_inputs, own, seed, samples.draws)
    return {name: own[row] for name, row in ends.items()}, {name: predicted[row] for name, row in ends.items()}
