"""Random specs in the suite: the generator says what it should, and on some of its specs every backend agrees."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import netspec.compile.resolved
import tests.fuzz.check
import tests.fuzz.shown
from netspec.backend.worker import Worker
from netspec.compile import compile_spec
from netspec.diff.specs import diff_specs
from netspec.importing import Imported
from netspec.layers import Layer
from netspec.network import Network
from netspec.report.mermaid import show_mermaid
from netspec.report.table import show_text
from netspec.spec.format import format_spec
from netspec.spec.load import parse_spec
from tests.fuzz.check import Case, check
from tests.fuzz.coverage import coverage
from tests.fuzz.document import NOTE, Document, Row
from tests.fuzz.generate import document
from tests.fuzz.kept import INVALID
from tests.fuzz.meaning import meaning, meanings
from tests.fuzz.shrink import shrink
from tests.fuzz.workers import Workers
from tests.test_architecture import forget

ROOT = Path(__file__).parents[2]
REGRESSIONS = sorted((Path(__file__).parent / "regressions").iterdir())
CORE = 200
"""How many specs the core is asked about."""
EACH = 16
"""How many specs each backend is asked about: with all three about a minute on two cores."""
DRAWN = 1500
"""How many specs have all of the language between them."""
SEED = "suite"


class Shared(Workers):
    """The workers of the whole test session."""

    def __init__(self, workers, backend: str) -> None:
        super().__init__([backend])
        self.shared = workers

    def worker(self, backend: str) -> Worker:
        return self.shared[backend]

    def drop(self, backend: str) -> None:
        self.shared.started.pop(backend).close()


def differs(each: Document) -> bool:
    """Whether one of the variants of a document has other rows, and none has the same."""
    own, *others = (means.rows for means in meanings(each).values())
    return bool(others) and own not in others


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return [document(f"{SEED}:{number}") for number in range(CORE)]


def test_a_seed_gives_the_same_spec_in_every_process(documents):
    code = "from tests.fuzz.generate import document; print(document('suite:3').shown(), document('suite:4').shown())"
    for salt in ("1", "2"):
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": salt}
        )
        assert done.stdout.strip() == f"{documents[3].shown()} {documents[4].shown()}".strip()


def test_all_of_the_language_is_drawn():
    found = coverage(document(f"{SEED}:{number}") for number in range(DRAWN))
    missing = [thing for thing, count in found.items() if not count]
    assert not missing, f"of {DRAWN} specs none has {missing}; tests/fuzz/kinds.py draws the fields of layers"


def test_a_kind_or_a_field_that_is_not_drawn_would_be_noticed(documents):
    class Novelty(Layer, kind="Novelty"):
        sharp: bool = False

    try:
        found = coverage(documents[:5])
    finally:
        forget(Novelty)
    assert [thing for thing in found if thing.startswith("Novelty")] == [
        "Novelty", "Novelty.sharp True", "Novelty.sharp False",
    ]  # fmt: skip
    assert not found["Novelty"]


def test_networks_are_small_enough_to_be_many(documents):
    macs = sorted(meaning(each).macs for each in documents)
    assert macs[-1] < 200_000
    assert macs[len(macs) // 2] < 10_000


def test_specs_mean_the_same_resolved_and_in_every_notation(documents):
    for number, each in enumerate(documents):
        failures = check(Case.of(each), None)
        assert not failures, f"python -m tests.fuzz --seed {SEED} --first {number} --count 1\n{failures[0]}"


@pytest.mark.parametrize("number", range(EACH))
def test_backends_agree(workers, backend, number):
    spec = document(f"{SEED}:{number}")
    failures = check(Case.of(spec), Shared(workers, backend))
    assert not failures, f"python -m tests.fuzz --seed {SEED} --first {number} --count 1\n{failures[0]}\n{spec.shown()}"


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_once_failed_agrees(workers, backend, path):
    failures = check(Case.at(path), Shared(workers, backend))
    assert not failures, failures[0]


def test_a_difference_would_be_found(documents, monkeypatch):
    # A resolved spec without initialisers is another network wherever a row has one of its own.
    honest = netspec.compile.resolved._fields
    monkeypatch.setattr(
        netspec.compile.resolved, "_fields",
        lambda layer: {name: value for name, value in honest(layer).items() if name != "init"},
    )  # fmt: skip
    found = {failure.key for each in documents[:60] for failure in check(Case.of(each), None)}
    assert found == {("resolve", "", "resolved", "")}


def test_a_comment_that_is_lost_would_be_found(documents, monkeypatch):
    monkeypatch.setattr(tests.fuzz.check, "format_spec", lambda *given: format_spec(*given).replace(NOTE, ""))
    [each, *_] = [each for each in documents if NOTE in each.text()]
    assert ("format", "comment") in {(found.stage, found.symptom) for found in check(Case.of(each), None)}


def test_a_row_that_is_not_shown_would_be_found(documents, monkeypatch):
    monkeypatch.setattr(tests.fuzz.shown, "show_text", lambda network: show_text(network).replace("conv_1", ""))
    monkeypatch.setattr(
        tests.fuzz.shown, "show_mermaid", lambda network: show_mermaid(network).replace("row_1[", "row[")
    )
    [each, *_] = [each for each in documents if "conv_1" in meaning(each).rows]
    messages = [found.message for found in check(Case.of(each), None) if found.stage == "show"]
    assert any(message.startswith("the table lacks [") and "'conv_1'" in message for message in messages)
    assert any("the graph has no nodes for the edge" in message for message in messages)


def test_a_difference_that_is_not_told_would_be_found(documents, monkeypatch):
    monkeypatch.setattr(tests.fuzz.check, "diff_specs", lambda left, right: diff_specs(left, left))
    [each, *_] = filter(differs, documents)
    assert {found.stage for found in check(Case.of(each), None)} == {"diff"}


def test_weights_that_are_read_back_as_others_would_be_found(workers, backend, documents, monkeypatch):
    honest = tests.fuzz.check.import_weights

    def spoilt(path: Path, network: Network) -> Imported:
        found = honest(path, network)
        name, array = next(iter(found.weights.items()))
        return replace(found, weights={**found.weights, name: array + 1})

    monkeypatch.setattr(tests.fuzz.check, "import_weights", spoilt)
    [each, *_] = [each for each in documents if meaning(each, each.chosen).parameters]
    [failure] = check(Case.of(each), Shared(workers, backend))
    assert failure.key == ("import", backend, "value", "")


def test_a_crash_is_a_failure(documents, monkeypatch):
    monkeypatch.setattr(netspec.compile.resolved, "_rows", lambda spec, rows: 1 // 0)
    [failure] = check(Case.of(documents[0]), None)
    assert (failure.stage, failure.symptom) == ("crash", "ZeroDivisionError")


def test_what_the_compiler_makes_is_held_against_another_reckoning(documents):
    [each, *_] = [each for each in documents if not each.outputs and not each.variants]
    other = replace(each, rows=(*each.rows, Row("Flatten"), Row("Dense", size=(3,))))
    found = {failure.symptom for failure in check(replace(Case.of(each), means=meanings(other)), None)}
    assert {"rows", "shape"} <= found


def test_a_variant_that_means_something_else_would_be_found(documents):
    [each, *_] = filter(differs, documents)
    found = check(replace(Case.of(each), means=dict.fromkeys(meanings(each), meaning(each))), None)
    assert {failure.stage for failure in found} == {"compile"}


def test_overrides_on_a_command_line_are_held_against_the_variant(documents):
    [each, *_] = [each for each in documents if each.variants and not each.base]
    case = Case.of(each)
    said = {each.variants[0].name: [*case.overrides[each.variants[0].name], "name=another"]}
    assert [failure.stage for failure in check(replace(case, overrides=said), None)] == ["override"]


@pytest.mark.parametrize("kind", ["LRN", "Concat", "Pad"])
def test_what_fails_is_made_small(documents, kind):
    def fails(spec: Document) -> bool:
        try:
            meaning(spec)
            network = compile_spec(parse_spec(spec.text(), "f"))
        except Exception:  # noqa: BLE001 - what is not valid does not fail in this way
            return False
        return any(node.layer.kind == kind for node in network.nodes)

    large = max(filter(fails, documents), key=lambda each: len(each.text()))
    small = shrink(large, fails)
    assert fails(small)
    rows = [row for body in small.bodies().values() for row in body]
    assert len(rows) <= (3 if kind == "Concat" else 2), small.text()
    assert len(small.text()) < len(large.text()) / 2


def test_what_fails_in_a_base_is_made_small(documents):
    def fails(spec: Document) -> bool:
        try:
            rows = meaning(spec, spec.chosen).rows.values()
        except INVALID:
            return False
        return any(kept.frozen and kept.trained and not kept.own for kept in rows)

    large = max(filter(fails, documents), key=lambda each: len(each.shown()))
    small = shrink(large, fails)
    assert fails(small)
    assert small.base is not None
    inner = small.base.document
    assert not small.variants + small.included + small.blocks + inner.blocks, small.shown()
    assert len(small.rows) <= 1, small.shown()  # that of the base itself, which is frozen
    assert len(inner.rows) <= 1, small.shown()
    assert not inner.variables, small.shown()
