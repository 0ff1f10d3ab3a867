"""`python -m tests.false_alarms specs/*.yaml --seeds 20`: right models, of which the verifier must call none wrong.

Each seed gives other weights, samples and noise, in float64 and in float32. What is said of a spec is how near the
worst row came to what is granted to it: 1 would be an alarm.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from netspec.backend.worker import end_with_parent
from netspec.errors import NetspecError
from netspec.report.verdict import verify_text
from netspec.spec.load import load_spec
from netspec.spec.model import VerifySettings
from netspec.testing import Prover
from netspec.verify.result import BackendVerdict, Measure

BACKENDS = ("torch", "keras", "onnx")


@dataclass(frozen=True)
class Alarm:
    """What was said of one spec with one seed, and for each type of number the row that came nearest to an alarm."""

    path: Path
    seed: int
    said: str
    """The whole report, empty where all is equal."""
    nearest: dict[str, tuple[float, str]]
    """float64, float32, artefact: the share of what is granted, and where."""
    seconds: float


@dataclass
class Score:
    """Of one spec, over its seeds."""

    seeds: int = 0
    alarms: int = 0
    nearest: dict[str, tuple[float, str]] = field(default_factory=dict)

    def take(self, found: Alarm) -> None:
        """Add one seed."""
        self.seeds += 1
        self.alarms += bool(found.said)
        for name, near in found.nearest.items():
            self.nearest[name] = max(self.nearest.get(name, near), near)


def prove(prover: Prover, path: Path, seed: int, backends: Sequence[str]) -> Alarm:
    """Verify a spec with the weights, samples and noise of a seed."""
    begun = time.monotonic()
    spec = load_spec(path)
    settings = (spec.verify or VerifySettings()).model_copy(update={"seed": seed})
    verdict = prover.prove(replace(spec, verify=settings), backends, seed)
    nearest: dict[str, tuple[float, str]] = {}
    for backend in verdict.backends:
        for name, measure, place in _measures(backend):
            if measure is not None and measure.ratio is not None:
                near = (measure.ratio, f"{backend.backend} {place}")
                nearest[name] = max(nearest.get(name, near), near)
    return Alarm(path, seed, "" if verdict.passed else verify_text(verdict), nearest, time.monotonic() - begun)


def _measures(backend: BackendVerdict) -> Iterator[tuple[str, Measure | None, str]]:
    for row in backend.rows:
        yield "float64", row.float64, row.row
        yield "float32", row.float32, row.row
    for artefact in backend.artefacts:
        yield "artefact", artefact.output, artefact.file


_own: Prover
"""The backends of a process that proves for others."""


def _begin() -> None:
    global _own  # noqa: PLW0603 - a process of a pool has no other place
    end_with_parent()
    _own = Prover()


def _prove(path: Path, seed: int, backends: Sequence[str]) -> Alarm:
    return prove(_own, path, seed, backends)


def near_text(nearest: dict[str, tuple[float, str]]) -> str:
    """The nearest row by type of number: `float64 0.12 torch conv_1  ...`."""
    return "  ".join(f"{name} {ratio:.2f} {place}" for name, (ratio, place) in nearest.items())


def main() -> int:
    """Print each seed of each spec, then the scores; 1 where there was an alarm or no verdict."""
    parser = argparse.ArgumentParser(prog="python -m tests.false_alarms", description=__doc__)
    parser.add_argument("specs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="how many specs are verified at once")
    parser.add_argument("--backends", default=BACKENDS, type=lambda text: tuple(text.split(",")))
    options = parser.parse_args()
    scores: dict[Path, Score] = {path: Score() for path in options.specs}
    failed = 0
    pool = ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), _begin)
    with pool:
        tasks = [
            pool.submit(_prove, path, seed, options.backends)
            for seed in range(options.first, options.first + options.seeds)
            for path in options.specs
        ]
        for task in as_completed(tasks):
            try:
                found = task.result()
            except NetspecError as error:  # of one spec; the others go on
                print(f"FAILED {error}", flush=True)
                failed += 1
                continue
            scores[found.path].take(found)
            mark = "ALARM" if found.said else "equal"
            print(f"{mark} {found.path.stem} seed {found.seed} ({found.seconds:.0f} s): {near_text(found.nearest)}")
            print(found.said, end="\n" if found.said else "", flush=True)
    print(f"\n{'spec':28}{'seeds':>6}{'alarms':>7}   nearest: share of what is granted")
    for path, score in scores.items():
        print(f"{path.stem:28}{score.seeds:>6}{score.alarms:>7}   {near_text(score.nearest)}")
    return int(failed > 0 or any(score.alarms for score in scores.values()))


if __name__ == "__main__":
    sys.exit(main())
