"""What a build did, as people and programs are told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from netspec.building import build as building
from netspec.outcome import Best, Outcome
from netspec.report.outcome import outcome_json, outcome_text
from tests.core.test_cli import SPECS, Run, run
from tests.core.test_report import network, verdict_of

__all__ = ["run"]  # the fixture

AT = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)


def test_a_verdict_of_an_earlier_command_says_so_first() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn"))
    first, second, *_ = outcome_text(Outcome(Path("build/x"), verdict, AT, ["report"])).splitlines()
    here = f"{AT.astimezone():%Y-%m-%d at %H:%M}"
    assert first == f"fashion-mnist-cnn: EQUAL, proven on {here}. torch, keras and onnx compute the spec"
    assert second == "  nothing that it rests on has changed since; --force proves it anew"
    old = outcome_text(Outcome(Path("build/x"), verdict))
    assert old.startswith("fashion-mnist-cnn: EQUAL, proven by an earlier command. torch")


def test_a_verdict_of_now_says_nothing_of_it() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn"))
    text = outcome_text(Outcome(Path("build/x"), verdict, AT, ["verify"]))
    assert text.startswith("fashion-mnist-cnn: EQUAL. torch, keras and onnx compute the spec\n")
    assert "--force" not in text


def test_a_training_that_is_repeated_says_so_first() -> None:
    best = Best({"epoch": 3, "loss": 0.25, "val_loss": 0.5}, 10, "val_loss")
    first, second, *_ = outcome_text(Outcome(Path("build/x"), ran=["spec"], best=best), "train").splitlines()
    assert first == "x was trained before, and nothing has changed since; --force trains it again"
    assert second == ""
    now = outcome_text(Outcome(Path("build/x"), ran=["weights"], best=best), "train")
    assert now.startswith("The best of 10 epochs by val_loss is epoch 3")
    only = outcome_text(Outcome(Path("build/x"), ran=["weights"], best=Best({"epoch": 1}, 1, "loss")), "train")
    assert only.startswith("The best of 1 epoch by loss is epoch 1")


def test_programs_are_told_when_it_was_proven() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn"))
    assert outcome_json(Outcome(Path("x"), verdict, AT))["proven_at"] == "2026-03-01T09:05:00+00:00"
    assert outcome_json(Outcome(Path("x"), verdict))["proven_at"] is None


def test_the_command_that_shows_a_difference_again_is_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changed the spec, where the build lies, and who computes belong to it."""
    verdict = verdict_of(network("fashion-mnist-cnn"), {"keras": "conv_2"})
    monkeypatch.setattr(building, "build", lambda *_: Outcome(Path("build/x"), verdict, AT, ["verify"]))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # set back at the end, for the option sets it
    spec = SPECS / "fashion-mnist-cnn.yaml"
    changes = ["--set", "verify.inputs=1", "--keras-backend", "jax", "-o", "my builds", "--seed", "3"]
    status, out, _ = run("verify", spec, "--targets", "torch,keras,onnx", *changes)
    assert status == 1
    words = f"netspec verify {spec} --set verify.inputs=1 --keras-backend jax -o 'my builds' --seed 3 --targets keras"
    assert [line.strip() for line in out.splitlines() if "again: " in line] == [f"again: {words}"]
    _, out, _ = run("verify", spec)
    assert f"  again: netspec verify {spec} --targets keras\n" in out
