"""The mutation score: every planted fact is found, at its row, by verification as a user has it.

`make test` plants a part of them on every backend, `make large` all.
"""

from __future__ import annotations

from itertools import product

import pytest

from netspec.backend import ExportSettings
from netspec.spec.model import VerifySettings
from netspec.verify import verify
from netspec.weights import draw
from tests.mutations.facts import FACTS, RULEWISE, TRAINWISE
from tests.mutations.score import Range
from tests.mutations.specs import network

BACKENDS = ("torch", "keras", "onnx")
MUTANTS = [(fact, backend) for fact, backend in product(FACTS, BACKENDS) if backend in FACTS[fact].backends]
PART = 12
"""Of so many facts one is planted in every run, another for each backend."""


def chosen(fact: str, backend: str) -> bool:
    return (list(FACTS).index(fact) + BACKENDS.index(backend)) % PART == 0


@pytest.fixture(scope="module")
def planting():
    with Range() as found:
        yield found


def test_there_are_enough_facts():
    assert len(FACTS) >= 60
    for backend in BACKENDS:
        assert sum(backend in fact.backends for fact in FACTS.values()) >= 60


@pytest.mark.parametrize(
    ("fact", "backend_name"),
    [
        pytest.param(fact, backend, marks=() if chosen(fact, backend) else pytest.mark.large, id=f"{fact}-{backend}")
        for fact, backend in MUTANTS
    ],
)
def test_a_planted_fact_is_found(planting, fact, backend_name):
    finding = planting.find(fact, backend_name)
    assert finding.found, finding.said


@pytest.mark.parametrize("wrong", ["torch", "keras"])
def test_of_two_backends_the_wrong_one_is_blamed(planting, wrong, tmp_path):
    fact = RULEWISE["a pool taken for a constant"]
    built = network(fact.network)
    weights = draw(built, 4)
    workers = {name: planting.worker(name) for name in ("torch", "keras")}
    for name, worker in workers.items():
        worker.call("plant", fact=None)
        (tmp_path / name).mkdir()
        worker.call("export", network=built, weights=weights, folder=tmp_path / name, settings=ExportSettings())
    workers[wrong].call("plant", fact="a pool taken for a constant")
    verdict = verify(built, weights, tmp_path, VerifySettings(inputs=1), workers)
    workers[wrong].call("plant", fact=None)
    for found in verdict.backends:
        assert found.passed == (found.backend != wrong), found.failures
        assert {(failure.symptom, failure.row) for failure in found.failures} == (
            {("gradient", fact.row)} if found.backend == wrong else set()
        )
    assert verdict.gradients is not None
    assert any(share.exceeds for each in verdict.gradients.weights for share in each.apart.values())


def test_training_facts_are_told_to_one_backend():
    for fact in TRAINWISE.values():
        assert fact.change or fact.patch or fact.rate != 1
