"""A training that is interrupted and goes on gives, bit for bit, what one gives that never was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netspec.backend import find_backend
from netspec.backend.worker import Worker
from netspec.building.build import build
from netspec.building.options import Options
from netspec.compile import compile_spec
from netspec.data.dataset import Dataset, Split
from netspec.interrupt import STOP
from netspec.network import Network
from netspec.spec.load import parse_spec
from netspec.storage.stages import read_stages
from netspec.training.checkpoint import Checkpoint, CheckpointFile
from netspec.training.history import StoppedError
from netspec.training.settings import TrainSettings
from netspec.weights import draw

NETWORK = compile_spec(
    parse_spec(
        """\
name: interrupted
input: 5x5x2
layers:
  - CNN | 4, 3 | ReLU
  - BatchNorm | momentum=0.9
  - Dropout | 0.3
  - Flatten
  - body: FNN | 8 | ReLU | frozen=true
  - Dropout | 0.4
  - FNN | 3 | Softmax
""",
        "interrupted.yaml",
    )
)
PLAIN = TrainSettings(optimizer="nadam", schedule="cosine", epochs=3, batch_size=8, seed=5)
EVERYTHING = TrainSettings.model_validate(
    {
        "optimizer": "muon",
        "schedule": {"plateau": {"patience": 1, "factor": 0.5}},
        "batch_size": 7,
        "accumulate": 3,
        "ema": 0.9,
        "regularizer": {"l2": 1e-3},
        "phases": [{"epochs": 2}, {"epochs": 2, "unfreeze": "body", "learning_rate": 1e-3}],
        "seed": 6,
    }
)
FUSED = TrainSettings.model_validate(
    {"optimizer": "adam", "epochs": 3, "batch_size": 8, "accumulate": 2, "ema": 0.9, "seed": 4}
)
"""Weights, gradients and slots go through one kernel, which has to find all of them in the same order in memory."""
MOMENTUM = TrainSettings.model_validate({"optimizer": {"sgd": {"momentum": 0.9}}, "batch_size": 8, "epochs": 3})
STEPWISE = TrainSettings(optimizer="sgd", epochs=4, batch_size=60, seed=1)
"""One step an epoch."""


@dataclass
class Interrupting(CheckpointFile):
    """A file during whose training Ctrl-C is pressed at its `after`-th step."""

    path: Path
    key: str
    after: int
    parts: dict[str, Any] = field(default_factory=dict)

    def due(self) -> bool:
        self.after -= 1
        if self.after == 0:
            STOP.set()
        return False


class Probe:
    """A training in a process of its own, interrupted at a step."""

    def train(
        self, backend: str, settings: TrainSettings, path: Path | None, after: int
    ) -> tuple[Mapping[str, NDArray[Any]], list[Mapping[str, float]]] | str:
        file = Interrupting(path, "key", after) if path is not None else None
        trainer: Any = find_backend(backend)
        try:
            return trainer.train(NETWORK, draw(NETWORK, 2), data(NETWORK), settings, "cpu", lambda *_, **__: None, file)
        except StoppedError as stopped:
            return str(stopped)
        finally:
            STOP.clear()


probe = Probe()


def data(network: Network) -> Dataset:
    random = np.random.default_rng(3)
    splits = [
        Split(random.normal(size=(count, *network.input_type.shape)).astype(np.float32), random.integers(0, 3, count))
        for count in (60, 20)
    ]
    return Dataset("random", classes=(), train=splits[0], validation=splits[1], test=splits[1])


@pytest.fixture(scope="module")
def probing():
    with Worker("tests.backends.test_checkpoint:probe", {"CUDA_VISIBLE_DEVICES": ""}) as worker:
        yield worker


@pytest.mark.parametrize(
    "settings",
    [PLAIN, EVERYTHING, FUSED, MOMENTUM, STEPWISE],
    ids=["plain", "everything", "fused", "momentum", "stepwise"],
)
@pytest.mark.parametrize("trainer", ["torch", "keras"])
def test_interrupted_trainings_are_bit_equal(probing, trainer, settings, tmp_path):
    bit_equal_after_interruptions(probing, trainer, settings, tmp_path / "checkpoint.safetensors")


def bit_equal_after_interruptions(probing: Worker, trainer: str, settings: TrainSettings, path: Path) -> None:
    whole, history = probing.call("train", backend=trainer, settings=settings, path=None, after=0)
    said = []
    for after in (2, 5, 1, 9, 3, 10_000):
        found = probing.call("train", backend=trainer, settings=settings, path=path, after=after)
        if not isinstance(found, str):
            break
        said.append(found)
    assert said
    weights, rows = found
    assert {name: array.tobytes() for name, array in weights.items()} == {
        name: array.tobytes() for name, array in whole.items()
    }
    for row, wanted in zip(rows, history, strict=True):
        assert {**row, "seconds": 0} == {**wanted, "seconds": 0}
    assert all("the same command goes on from there" in each for each in said)


@pytest.mark.parametrize("trainer", ["torch", "keras"])
def test_ctrl_c_after_the_last_epoch_costs_none(probing, trainer, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole, history = probing.call("train", backend=trainer, settings=STEPWISE, path=None, after=0)
    said = probing.call("train", backend=trainer, settings=STEPWISE, path=path, after=STEPWISE.epochs)
    assert said == f"stopped after epoch {STEPWISE.epochs}; the same command goes on from there"
    # Nor does one that comes after the training, which left its end on the disk.
    for _ in range(2):
        weights, rows = probing.call("train", backend=trainer, settings=STEPWISE, path=path, after=10_000)
        assert {name: array.tobytes() for name, array in weights.items()} == {
            name: array.tobytes() for name, array in whole.items()
        }
        assert [row["loss"] for row in rows] == [row["loss"] for row in history]
        kept = CheckpointFile(path, "key").load()
        assert kept is not None
        assert (kept.epoch, kept.step) == (STEPWISE.epochs, 0)


@pytest.mark.parametrize("trainer", ["torch", "keras"])
def test_a_build_that_ends_before_its_weights_are_stored_goes_on_from_the_last_epoch(trainer, tmp_path, monkeypatch):
    spec = parse_spec(SPEC.replace("100000, batch_size: 16", "2, batch_size: 64"), str(tmp_path / "long.yaml"))
    options = Options(targets=(trainer,), folder=tmp_path / "build", trainer=trainer, device="cpu", until="train")
    heard = []

    def progress(event: str, **values: Any) -> None:
        heard.append((event, values))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("netspec.building.training._evaluation", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(spec, options, progress)
    assert [event for event, _ in heard].count("epoch") == 2
    assert ("training", {"images": 1295, "steps": 21, "where": f"{trainer} on cpu"}) in heard
    heard.clear()
    outcome = build(spec, options, progress)
    assert outcome.evaluation is not None
    assert ("resumed", {"epoch": 2, "step": 0}) in heard
    assert "epoch" not in [event for event, _ in heard]
    assert not list(tmp_path.rglob("checkpoint.safetensors"))
    # Weights that are there take away the checkpoint of their own training, and no other.
    file = CheckpointFile(outcome.folder / "checkpoint.safetensors", read_stages(outcome.folder)["weights"].key)
    other = CheckpointFile(file.path, "another")
    for kept in (other, file):
        kept.save(Checkpoint(1, 0, {"a": np.zeros(1)}))
        build(spec, options, progress)
        assert file.path.exists() == (kept is other)


@pytest.mark.skipif(find_spec("torch") is None, reason="pip install 'netspec[torch]'")
def test_the_disk_has_the_weights_before_the_checkpoint_goes(tmp_path, monkeypatch):
    """Until then it is all that a power cut would leave of the training."""
    spec = parse_spec(SPEC.replace("100000, batch_size: 16", "1, batch_size: 64"), str(tmp_path / "long.yaml"))
    options = Options(targets=("torch",), folder=tmp_path / "build", trainer="torch", device="cpu", until="train")
    folder, fsync, synced, kept = tmp_path / "build" / "long", os.fsync, set(), []

    def sync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def discard(file: CheckpointFile) -> None:
        files = [*read_stages(folder)["weights"].files, "manifest.json", "."]
        kept.append([name for name in files if (folder / name).stat().st_ino not in synced])

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(CheckpointFile, "discard", discard)
    build(spec, options, lambda *_, **__: None)
    assert kept == [[]]


SPEC = """\
name: long
input: 8x8x1
data: digits
layers:
  - Flatten
  - FNN | 32 | ReLU
  - FNN | 10 | Softmax
train: {epochs: 100000, batch_size: 16}
"""


def test_a_signal_ends_a_build_with_a_checkpoint_and_the_next_goes_on(tmp_path):
    """Ctrl-C, then what a scheduler sends: to the whole group, so that the worker has it twice."""
    (tmp_path / "long.yaml").write_text(SPEC, encoding="utf-8")
    command = [sys.executable, "-c", "from netspec.cli import main; main()", "train", "long.yaml"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    checkpoint = tmp_path / "build" / "long" / "checkpoint.safetensors"
    for run, sent in enumerate((signal.SIGINT, signal.SIGTERM)):
        before = checkpoint.stat().st_mtime_ns if run else 0
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "epoch " in line and "val_accuracy" in line:
                os.killpg(process.pid, sent)
                break
        lines += process.stderr.readlines()
        assert process.wait(60) == (143 if run else 130), lines
        assert re.match("netspec: stopped by SIGTERM (in|after) " if run else "netspec: stopped (in|after) ", lines[-1])
        assert lines[-1].endswith("; the same command goes on from there\n"), lines
        [stops] = [line for line in lines if "the training stops after the step under way" in line]
        assert stops.endswith("and keeps a checkpoint\n" if run else "; Ctrl-C again ends it at once\n")
        assert any("training goes on from" in line for line in lines) == bool(run), lines
        assert checkpoint.stat().st_mtime_ns > before
        time.sleep(0.01)
    edited = SPEC.replace("batch_size: 16", "batch_size: 32")
    (tmp_path / "long.yaml").write_text(edited, encoding="utf-8")
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "is of another training" in refused.stderr
    assert "  train.batch_size 16 -> 32\n" in refused.stderr
