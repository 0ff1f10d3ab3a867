"""Many random specs at once: what fails is told, made small and saved; it ends in time and says how far it came."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from netspec.errors import UnsupportedError
from netspec.network import Network
from tests.fuzz.check import Case, check
from tests.fuzz.generate import document
from tests.fuzz.test_fuzz import ROOT
from tests.fuzz.workers import Workers

LOADED = """
import sys
import tests.fuzz.run
print([name for name in ("pytest", "hypothesis", "tensorflow", "keras", "torch", "jax", "onnx") if name in sys.modules])
"""


class Refusing:
    """A backend that cannot export BatchNorm, and nothing else."""

    def export(self, network: Network, **_: Any) -> None:
        if any(node.layer.kind == "BatchNorm" for node in network.nodes):
            raise UnsupportedError("there is no BatchNorm here")
        raise UnsupportedError("there is nothing here")


class Dying:
    """A backend whose process ends when it is asked."""

    def export(self, **_: Any) -> None:
        os._exit(3)


refusing, dying = Refusing(), Dying()


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "suite", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_fails_is_told_and_the_first_is_made_small_and_saved(tmp_path):
    backend = "tests.fuzz.test_run:refusing"
    done = fuzz("--count", 5, "--jobs", 2, "--backends", backend, "--save", tmp_path)
    assert done.returncode == 1, done.stderr
    assert "5 of 5 specs of seed suite" in done.stdout
    assert "5 failed" in done.stdout
    assert all(f"suite:{number} export {backend} UnsupportedError: there is n" in done.stdout for number in range(5))
    [saved] = tmp_path.iterdir()  # five times the same failure
    assert saved.read_text(encoding="utf-8").startswith("# seed suite:")
    assert f"--- {saved}\n" in done.stdout
    [failure] = check(Case.at(saved), Workers([backend]))
    assert failure.message.strip() == "there is nothing here"
    assert len(saved.read_text(encoding="utf-8").splitlines()) < 12


def test_no_other_spec_begins_when_the_time_is_over(tmp_path):
    done = fuzz("--count", 5, "--backends", "", "--seconds", 0, "--save", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 of 5 specs of seed suite, on the core: 0 failed" in done.stdout


def test_a_backend_that_dies_is_a_failure_of_each_spec(tmp_path):
    options = ("--shrink", 0, "--save", tmp_path)
    done = fuzz("--count", 2, "--backends", "tests.fuzz.test_run:dying", *options)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("WorkerDied: the tests.fuzz.test_run:dying worker ended with status 3") == 2
    assert "2 failed" in done.stdout
    assert len(list(tmp_path.iterdir())) == 1


def test_who_ends_it_is_told_how_far_it_came():
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "suite", "--count", "99999", "--backends", ""]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        process.stderr.readline()  # it says so after 20 specs
        process.terminate()
        said, _ = process.communicate(timeout=60)  # which ends when no process has the pipe any more
    assert process.returncode == 130
    assert "of 99999 specs of seed suite, on the core: 0 failed" in said


def test_a_spec_can_be_repeated_alone(tmp_path):
    done = fuzz("--first", 3, "--count", 1, "--backends", "", "--show", "--save", tmp_path)
    assert done.returncode == 0, done.stderr
    assert document("suite:3").shown() in done.stdout


def test_it_runs_where_only_the_backends_are_installed():
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
