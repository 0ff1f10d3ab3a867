"""Whole builds in a folder of their own: what is written, what runs again, what survives an accident."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import netspec.building.run
from netspec.backend import find_backend
from netspec.backend.worker import Worker
from netspec.building.build import build
from netspec.building.options import BACKENDS, Options
from netspec.compile import compile_spec
from netspec.data import load as load_data
from netspec.errors import BackendError, FolderError, SpecError, VerificationError
from netspec.report.outcome import outcome_text
from netspec.spec.load import load_spec
from netspec.storage.stages import BuildFolder, sha256
from netspec.training.history import StoppedError
from netspec.training.tensorboard import EventFile
from netspec.weights import draw, load, save

SPEC = """
name: tiny-net
about: a test
input: 8x8x1
layers:
  - Rescale   | 1/16
  - CNN       | 4, (3,3) | ReLU
  - BatchNorm
  - Flatten
  - FNN       | 10       | Softmax
verify: {inputs: 2}
"""
TRAINING = """
data: digits
train: {optimizer: adam, batch_size: 256, epochs: 1, seed: 3}
"""
FILES = {
    "manifest.json", "spec.yaml", "weights.safetensors", "history.csv", "history.png", "evaluation.json",
    "confusion.png", "verify.json", "report.html", "torch/tiny_net.py", "torch/weights.safetensors",
    "keras/tiny_net.py", "keras/tiny-net.keras", "onnx/tiny-net.onnx",
}  # fmt: skip
EXPORTS = {f"export {name}" for name in BACKENDS}
# ONNX alone needs neither torch nor TensorFlow, which take seconds to load.
QUICK = ("onnx",)


def silent(event, **values):
    """Progress that nobody follows."""


class Place:
    """A spec, and the parent of its build folder."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.text = folder, text
        self.path = folder / "tiny-net"

    def build(self, progress=silent, **options):
        spec = self.folder / "spec.yaml"
        spec.write_text(self.text, encoding="utf-8")
        return build(load_spec(spec), Options(folder=self.folder, **options), progress)

    def files(self) -> dict[str, str]:
        """The sha256 of every file."""
        found = [path for path in self.path.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path.relative_to(self.path).as_posix(): sha256(path) for path in found}


@pytest.fixture(scope="module")
def available(request):
    for name in BACKENDS:
        try:
            find_backend(name)
        except BackendError as error:
            (pytest.fail if request.config.getoption("--require-backends") else pytest.skip)(str(error))


@pytest.fixture(scope="module")
def finished(available, tmp_path_factory):
    """A trained build for every backend, which no test may change."""
    place = Place(tmp_path_factory.mktemp("built"), SPEC + TRAINING)
    return place, place.build()


@pytest.fixture
def trained(finished, tmp_path):
    """A copy of the trained build."""
    place, _ = finished
    shutil.copytree(place.folder, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path, place.text)


@pytest.fixture
def quick(available, tmp_path):
    """An untrained build for ONNX alone."""
    place = Place(tmp_path, SPEC)
    outcome = place.build(targets=QUICK)
    assert outcome.verdict.passed, outcome.verdict.summary()
    return place


@pytest.fixture
def no_workers(monkeypatch):
    """Nothing may be asked of a backend."""

    def refuse(*_):
        raise AssertionError("a worker was started")

    monkeypatch.setattr(netspec.building.run, "Worker", refuse)


def doom(monkeypatch, name: str, method: str) -> None:
    """The worker of a backend is killed when it is called with this method."""

    class Doomed(Worker):
        def call(self, asked, progress=None, **arguments):
            if (self.backend, asked) == (name, method):
                os.kill(self.pid, signal.SIGKILL)
            return super().call(asked, progress, **arguments)

    monkeypatch.setattr(netspec.building.run, "Worker", Doomed)


def test_a_build_writes_everything(finished):
    place, outcome = finished
    assert outcome.verdict.passed, outcome.verdict.summary()
    assert {backend.backend for backend in outcome.verdict.backends} == set(BACKENDS)
    assert set(outcome.ran) == {"spec", "weights", *EXPORTS, "verify", "report"}
    files = place.files()
    assert set(files) == FILES
    manifest = json.loads((place.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["artefacts"] == {name: digest for name, digest in files.items() if name != "manifest.json"}
    assert manifest["name"] == "tiny-net"
    assert re.fullmatch("[0-9a-f]{64}", manifest["network"])
    assert {"netspec", "torch", "keras", "onnx"} <= set(manifest["versions"])
    assert outcome.evaluation.split == "test"
    assert 0 < outcome.evaluation.metrics["accuracy"] <= 1
    assert list(outcome.evaluation.metrics) == ["loss", "accuracy", "worst_class_accuracy", "top_5_accuracy"]
    assert outcome.evaluation.images == 359


def test_the_resolved_spec_is_the_same_network(finished):
    place, _ = finished
    resolved, given = (compile_spec(load_spec(path)) for path in (place.path / "spec.yaml", place.folder / "spec.yaml"))
    assert resolved.digest == given.digest


def test_a_second_build_runs_nothing(trained, no_workers):
    before = trained.files()
    outcome = trained.build()
    assert outcome.ran == []
    assert outcome.verdict.passed
    assert outcome.evaluation.document() == json.loads((trained.path / "evaluation.json").read_text(encoding="utf-8"))
    assert trained.files() == before


def test_pictures_that_are_lost_are_drawn_again_without_training(trained, no_workers):
    before = trained.files()
    for name in ("history.png", "confusion.png"):
        (trained.path / name).unlink()
    assert trained.build().ran == []
    assert trained.files() == before


def logged(folder: Path) -> dict[str, int]:
    """How many records the event file of each part has."""
    found = {}
    for path in folder.glob("*/events.out.tfevents.*"):
        content, at, count = path.read_bytes(), 0, 0
        while at < len(content):
            [length] = struct.unpack_from("<Q", content, at)
            at, count = at + 8 + 4 + length + 4, count + 1
        assert at == len(content)
        assert path.parent.name not in found
        found[path.parent.name] = count
    return found


def test_a_training_that_ended_is_logged_from_its_history(trained, no_workers):
    before = trained.files()
    assert trained.build(tensorboard=True).ran == []
    assert logged(trained.path / "tensorboard") == {"train": 2, "validation": 2}  # the version, and one epoch
    shutil.rmtree(trained.path / "tensorboard")
    assert trained.files() == before


def test_a_training_is_logged_while_it_goes_on(trained):
    trained.text = trained.text.replace("epochs: 1", "epochs: 3")
    trained.build(tensorboard=True, until="train")
    assert logged(trained.path / "tensorboard") == {"train": 4, "validation": 4}
    trained.text = trained.text.replace("epochs: 3", "epochs: 2")
    trained.build(tensorboard=True, until="train")
    assert logged(trained.path / "tensorboard") == {"train": 3, "validation": 3}
    trained.text = trained.text.replace("epochs: 2", "epochs: 1")
    trained.build(until="train")
    assert not (trained.path / "tensorboard").exists()


def stopped_after_an_epoch(place: Place, monkeypatch) -> None:
    """A training that is logged, in which Ctrl-C is pressed when an epoch has ended."""

    class Stopped(Worker):
        def call(self, asked, progress=None, **arguments):
            def heard(event, **values):
                progress(event, **values)
                if event == "epoch":
                    self.interrupt()

            return super().call(asked, heard if asked == "train" else progress, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(netspec.building.run, "Worker", Stopped)
        with pytest.raises(StoppedError):
            place.build(tensorboard=True, until="train")
    assert all(1 < count < 21 for count in logged(place.path / "tensorboard").values())


def test_a_log_of_a_part_of_a_training_is_not_left_so(trained, monkeypatch):
    trained.text = trained.text.replace("epochs: 1", "epochs: 20")
    stopped_after_an_epoch(trained, monkeypatch)
    assert "weights" in trained.build(until="train").ran
    assert not (trained.path / "tensorboard").exists()
    assert trained.build(tensorboard=True, until="train").ran == []
    assert logged(trained.path / "tensorboard") == {"train": 21, "validation": 21}


def test_a_log_of_a_training_that_failed_is_not_that_of_older_weights(trained, monkeypatch):
    older = trained.text
    for tensorboard in (True, False):
        trained.text = older.replace("epochs: 1", "epochs: 20")
        stopped_after_an_epoch(trained, monkeypatch)
        trained.text = older
        assert "weights" not in trained.build(tensorboard=tensorboard, until="train").ran
        assert logged(trained.path / "tensorboard") == ({"train": 2, "validation": 2} if tensorboard else {})
    trained.text = older.replace("epochs: 1", "epochs: 20")
    trained.build(tensorboard=True, until="train")
    assert logged(trained.path / "tensorboard") == {"train": 21, "validation": 21}


def test_a_log_for_which_there_is_no_space_ends_no_training(trained, monkeypatch):
    warned = []

    def heard(event, **values):
        if event == "warning":
            warned.append(values["text"])

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    trained.text = trained.text.replace("epochs: 1", "epochs: 3")
    with monkeypatch.context() as patch:
        patch.setattr(EventFile, "_write", full)
        assert "weights" in trained.build(heard, tensorboard=True, until="train").ran
    [text] = warned
    assert "No space left on device" in text
    assert trained.build(tensorboard=True, until="train").ran == []
    assert logged(trained.path / "tensorboard") == {"train": 4, "validation": 4}


def test_a_change_of_words_exports_anew_and_trains_not(trained):
    before = trained.files()
    trained.text = trained.text.replace("a test", "another text")
    outcome = trained.build()
    assert set(outcome.ran) == {"spec", *EXPORTS, "verify", "report"}
    assert outcome.verdict.passed, outcome.verdict.summary()
    assert "another text" in (trained.path / "torch" / "tiny_net.py").read_text(encoding="utf-8")
    assert trained.files()["weights.safetensors"] == before["weights.safetensors"]


def test_a_killed_worker_is_a_failure_that_the_next_build_forgets(trained, monkeypatch):
    (trained.path / "verify.json").unlink()
    with monkeypatch.context() as patch:
        doom(patch, "onnx", "run")
        outcome = trained.build()
    verdicts = {backend.backend: backend for backend in outcome.verdict.backends}
    assert {name for name, verdict in verdicts.items() if verdict.passed} == {"torch", "keras"}
    assert "SIGKILL" in verdicts["onnx"].failures[0].message
    again = trained.build()
    assert again.verdict.passed, again.verdict.summary()
    assert "verify" in again.ran
    assert not EXPORTS & set(again.ran)


def test_a_lost_verdict_is_found_again(quick):
    (quick.path / "verify.json").unlink()
    outcome = quick.build(targets=QUICK)
    assert "verify" in outcome.ran
    assert "export onnx" not in outcome.ran
    assert outcome.verdict.passed


def test_a_verdict_that_is_repeated_says_when_it_was_made(quick):
    [first, again] = [quick.build(targets=QUICK, judge=True, train=False) for _ in range(2)]
    assert again.ran == []
    assert again.proven_at == first.proven_at
    assert again.proven_at.tzinfo is not None
    assert outcome_text(again).startswith("tiny-net: EQUAL, proven on ")
    anew = quick.build(targets=QUICK, judge=True, train=False, force=True)
    assert anew.ran == ["verify", "report"]
    assert anew.proven_at >= first.proven_at
    assert outcome_text(anew).startswith("tiny-net: EQUAL. onnx computes the spec\n")


def test_images_that_were_decoded_since_are_proven_with(quick, monkeypatch):
    monkeypatch.setenv("NETSPEC_CACHE", str(quick.folder / "cache"))
    quick.text += "data: digits\n"
    before = quick.build(targets=QUICK, train=False)
    assert "data 1" not in before.verdict.samples
    spec = load_spec(quick.folder / "spec.yaml")
    load_data(spec.data, compile_spec(spec))
    found = quick.build(targets=QUICK, train=False)
    assert "verify" in found.ran
    assert found.verdict.samples[-2:] == ("data 1", "data 2")
    assert "verify" not in quick.build(targets=QUICK, train=False).ran


def test_a_forced_build_does_all_of_it_again_and_gives_the_same(quick):
    before = quick.files()
    assert set(quick.build(targets=QUICK, force=True).ran) == {"weights", "spec", "export onnx", "verify", "report"}
    after = quick.files()
    for files in (after, before):
        files.pop("manifest.json")  # says when the verdict was made
    assert after == before


def test_what_is_judged_is_not_replaced_where_the_judgement_is_forced(quick):
    path = quick.path / "onnx" / "tiny-net.onnx"
    path.write_bytes(b"something else")
    with pytest.raises(VerificationError, match=r"tiny-net\.onnx is not the file that was exported"):
        quick.build(targets=QUICK, train=False, judge=True, force=True)
    assert path.read_bytes() == b"something else"


def test_trained_weights_are_forced_by_a_training_alone_which_may_be_stopped(trained, monkeypatch):
    before = trained.files()
    assert "weights" not in trained.build(train=False, until="train", force=True).ran
    assert "weights" in trained.build(until="train", force=True).ran
    assert trained.files()["weights.safetensors"] == before["weights.safetensors"]

    heard = []

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("netspec.building.training._evaluation", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained.build(until="train", force=True)
    assert trained.files()["weights.safetensors"] == before["weights.safetensors"]
    trained.build(lambda event, **_: heard.append(event), until="train", force=True)
    assert "resumed" in heard
    assert "epoch" not in heard


def test_a_changed_artefact_is_replaced_by_a_build(quick):
    before = quick.files()
    (quick.path / "onnx" / "tiny-net.onnx").write_bytes(b"something else")
    outcome = quick.build(targets=QUICK)
    assert {"export onnx", "verify"} <= set(outcome.ran)
    assert outcome.verdict.passed
    assert quick.files()["onnx/tiny-net.onnx"] == before["onnx/tiny-net.onnx"]


@pytest.mark.parametrize("content", [b"something else", None])
def test_a_changed_artefact_is_judged_and_not_replaced(trained, no_workers, content):
    path = trained.path / "onnx" / "tiny-net.onnx"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(VerificationError, match=r"tiny-net\.onnx is not the file that was exported"):
        trained.build(train=False, judge=True)
    assert path.is_file() == (content is not None)
    assert content is None or path.read_bytes() == content


def test_a_worker_that_is_killed_while_it_exports_leaves_no_half_files(quick, monkeypatch):
    shutil.rmtree(quick.path)
    with monkeypatch.context() as patch:
        doom(patch, "onnx", "export")
        outcome = quick.build(targets=QUICK)
    [verdict] = outcome.verdict.backends
    assert not verdict.passed
    assert {(failure.stage, failure.symptom) for failure in verdict.failures} == {("build", "crash")}
    assert not (quick.path / "onnx").exists()
    assert not list(quick.path.glob(".partial-*"))
    again = quick.build(targets=QUICK)
    assert again.verdict.passed, again.verdict.summary()


@pytest.mark.parametrize("options", [{}, {"until": "export"}, {"judge": True}, {"targets": QUICK}])
def test_trained_weights_survive_a_build_that_does_not_train(trained, no_workers, options):
    before = trained.files()
    if "targets" in options:  # other targets, another verdict
        options = {**options, "until": "export"}
    outcome = trained.build(train=False, **options)
    assert outcome.ran == []
    after = trained.files()
    assert {name: after[name] for name in FILES - {"manifest.json"}} == {
        name: before[name] for name in FILES - {"manifest.json"}
    }


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda place: place.text.replace("4, (3,3)", "5, (3,3)"), {}, "trained for another version of this network"),
        (lambda place: place.text, {"seed": 4}, "trained from seed 3"),
    ],
)
def test_trained_weights_are_not_overwritten(trained, no_workers, change, options, said):
    before = trained.files()
    trained.text = change(trained)
    with pytest.raises(SpecError, match=said):
        trained.build(train=False, **options)
    assert trained.files()["weights.safetensors"] == before["weights.safetensors"]


def test_trained_weights_that_were_changed_are_not_used(trained, no_workers):
    (trained.path / "weights.safetensors").write_bytes(b"something else")
    with pytest.raises(SpecError, match=r"weights\.safetensors is missing or was changed"):
        trained.build(train=False)


def test_two_builds_in_one_folder_are_refused(trained, no_workers):
    other = BuildFolder(trained.path)
    try:
        with pytest.raises(FolderError, match="another netspec is at work"):
            trained.build()
    finally:
        other.close()
    assert trained.build().ran == []


# Weights of a file


@pytest.fixture
def stored(tmp_path):
    """A file of weights for the network, drawn from seed 77."""
    (tmp_path / "stored.yaml").write_text(SPEC, encoding="utf-8")
    network = compile_spec(load_spec(tmp_path / "stored.yaml"))
    save(tmp_path / "stored.safetensors", draw(network, 77), network)
    return tmp_path / "stored.safetensors"


def same_numbers(path, other):
    """Whether two files hold the same weights."""
    first, second = load_file(path), load_file(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_weights_of_a_file_are_exported_and_noted(quick, stored):
    outcome = quick.build(targets=QUICK, weights=stored, train=False)
    assert {"weights", "export onnx", "verify", "report"} <= set(outcome.ran)
    assert outcome.verdict.passed, outcome.verdict.summary()
    assert same_numbers(quick.path / "weights.safetensors", stored)
    facts = json.loads((quick.path / "manifest.json").read_text(encoding="utf-8"))["stages"]["weights"]["facts"]
    assert facts["imported"] == {"file": "stored.safetensors", "sha256": sha256(stored), "all": True}
    assert "Initial weights, from stored.safetensors" in (quick.path / "report.html").read_text(encoding="utf-8")
    assert quick.build(targets=QUICK, weights=stored).ran == []


def test_another_name_of_the_file_changes_nothing_and_another_content_all(quick, stored):
    quick.build(targets=QUICK, weights=stored, until="export")
    other = stored.rename(stored.with_name("other.safetensors"))
    assert quick.build(targets=QUICK, weights=other, until="export").ran == []
    network = compile_spec(load_spec(quick.folder / "spec.yaml"))
    save(other, draw(network, 78), network)
    assert {"weights", "export onnx"} <= set(quick.build(targets=QUICK, weights=other, until="export").ran)
    assert same_numbers(quick.path / "weights.safetensors", other)


def test_imported_weights_stay_until_something_else_is_asked_for(quick, stored):
    quick.build(targets=QUICK, weights=stored, until="export")
    stored.unlink()
    assert quick.build(targets=QUICK, until="export").ran == []
    weights = quick.path / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(b"something else")
    with pytest.raises(SpecError, match=r"missing or was changed after the import"):
        quick.build(targets=QUICK, until="export")
    weights.write_bytes(content)
    quick.build(targets=QUICK, seed=4, until="export")
    network = compile_spec(load_spec(quick.folder / "spec.yaml"))
    found, drawn = load(weights, network), draw(network, 4)
    assert all(np.array_equal(found[name], drawn[name]) for name in drawn)


@pytest.mark.parametrize("content", [b"something else", None])
def test_a_file_that_does_not_fit_leaves_no_folder(available, tmp_path, no_workers, stored, content):
    stored.write_bytes(content) if content else stored.unlink()
    place = Place(tmp_path, SPEC)
    with pytest.raises(SpecError, match=r"stored\.safetensors"):
        place.build(targets=QUICK, weights=stored)
    assert not place.path.exists()


def test_a_file_that_does_not_fit_leaves_a_build_as_it_was(quick, no_workers, stored):
    before = quick.files()
    stored.write_bytes(b"something else")
    with pytest.raises(SpecError, match=r"stored\.safetensors"):
        quick.build(targets=QUICK, weights=stored)
    assert quick.files() == before


def test_a_seed_beside_a_file_is_refused(quick, no_workers, stored):
    with pytest.raises(SpecError, match=r"--seed 3 draws weights, but --weights .* gives all of them"):
        quick.build(targets=QUICK, weights=stored, seed=3)


def test_trained_weights_are_not_replaced_by_a_file(trained, no_workers, stored):
    before = trained.files()
    with pytest.raises(SpecError, match="has weights that were trained"):
        trained.build(train=False, weights=stored)
    assert trained.files() == before


def test_training_begins_with_the_weights_of_a_file(trained, stored):
    """With a learning rate of nothing, they are what it ends with, running statistics aside."""
    trained.text = trained.text.replace("optimizer: adam", "optimizer: {adam: {learning_rate: 1.0e-30}}")
    outcome = trained.build(weights=stored, until="train")
    assert "weights" in outcome.ran
    found, given = load_file(trained.path / "weights.safetensors"), load_file(stored)
    learnt = {name for name in given if not name.endswith((".mean", ".var"))}
    assert all(np.allclose(found[name], given[name], rtol=0, atol=1e-12) for name in learnt)
    assert trained.build(weights=stored, until="train").ran == []


def test_the_base_of_a_spec_gives_its_weights_in_every_command(available, tmp_path, stored):
    place = Place(
        tmp_path, "name: tiny-net\nbase: {spec: stored.yaml, output: flatten_1, weights: stored.safetensors}\n"
    )
    place.text += "layers:\n  - head: FNN | 3 | Softmax\n"
    outcome = place.build(targets=QUICK, until="export")
    assert "weights" in outcome.ran
    found, given = load_file(place.path / "weights.safetensors"), load_file(stored)
    assert {name for name in found if name not in given} == {"head.kernel", "head.bias"}
    assert all(np.array_equal(found[name], given[name]) for name in found.keys() & given.keys())
    assert place.build(targets=QUICK, until="export").ran == []
    network = compile_spec(load_spec(tmp_path / "stored.yaml"))
    save(stored, draw(network, 78), network)
    assert {"weights", "export onnx"} <= set(place.build(targets=QUICK, until="export").ran)


def test_a_folder_that_was_made_of_another_spec_of_the_same_name_is_warned_of(tmp_path, monkeypatch):
    said = []

    def progress(event, **values):
        if event == "warning":
            said.append(values["text"])

    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(SPEC.replace("a test", name), encoding="utf-8")

    def built(path):
        said.clear()
        build(load_spec(path), Options(targets=QUICK, folder=tmp_path, until="train"), progress)
        return list(said)

    assert built(tmp_path / "one.yaml") == []
    monkeypatch.chdir(tmp_path)
    assert built("one.yaml") == [], "the same file, named from elsewhere"
    [warning] = built("two.yaml")
    assert str(tmp_path / "one.yaml") in warning
    assert built("two.yaml") == []
    # A spec that has been renamed is not there any more.
    (tmp_path / "two.yaml").rename(tmp_path / "three.yaml")
    assert built("three.yaml") == []
