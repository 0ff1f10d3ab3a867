"""What a build did, as people and programs are told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from netspec.outcome import Outcome
from netspec.report.outcome import outcome_json, outcome_text
from tests.core.test_report import network, verdict_of

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


def test_programs_are_told_when_it_was_proven() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn"))
    assert outcome_json(Outcome(Path("x"), verdict, AT))["proven_at"] == "2026-03-01T09:05:00+00:00"
    assert outcome_json(Outcome(Path("x"), verdict))["proven_at"] is None
