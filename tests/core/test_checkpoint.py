"""Checkpoints: whole or not at all, and only of their own training."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from netspec.errors import FolderError, SpecError
from netspec.training.checkpoint import Checkpoint, CheckpointFile


@pytest.fixture
def file(tmp_path) -> CheckpointFile:
    return CheckpointFile(tmp_path / "net" / "checkpoint.safetensors", "key")


def some(step: int = 7) -> Checkpoint:
    arrays = {"weights/a": np.arange(6, dtype=np.float64).reshape(2, 3), "random": np.array([1, 2], np.uint8)}
    return Checkpoint(3, step, arrays, {"history": [{"loss": 0.1 + 0.2}]})


def test_what_was_saved_comes_back_bit_by_bit(file):
    assert file.load() is None
    file.save(some())
    found = file.load()
    assert found is not None
    assert (found.epoch, found.step, found.facts) == (3, 7, some().facts)
    assert found.arrays.keys() == some().arrays.keys()
    for name, array in some().arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].tobytes() == array.tobytes()
    file.discard()
    assert file.load() is None


def test_a_full_disk_leaves_the_checkpoint_before(file, monkeypatch):
    file.save(some(7))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FolderError, match="No space left on device; the checkpoint before it is whole"):
        file.save(some(8))
    found = file.load()
    assert found is not None
    assert found.step == 7
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_damaged_file_is_refused(file, kept):
    file.save(some())
    file.path.write_bytes(file.path.read_bytes()[:kept])
    with pytest.raises(SpecError, match=r"cannot be read(.|\n)*hint: remove .*checkpoint\.safetensors"):
        file.load()


def test_another_trainings_checkpoint_is_refused(file):
    CheckpointFile(Path(file.path), "another").save(some())
    with pytest.raises(SpecError, match=r"of another training(.|\n)*go on from epoch 3"):
        file.load()


def test_what_another_training_differs_in_is_said_with_both_values(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    before = {"rows": {"fc": "Dense 32", "old": "ReLU"}, "train": {"epochs": 2, "seed": 0}, "trainer": "torch"}
    now = {"rows": {"fc": "Dense 64"}, "train": {"epochs": 1, "seed": 0}, "trainer": "torch", "data": (1, 2)}
    CheckpointFile(path, "before", before).save(some())
    with pytest.raises(SpecError) as refused:
        CheckpointFile(path, "now", now).load()
    [problem] = refused.value.problems
    assert problem.message.splitlines()[1:] == [
        "  rows.fc Dense 32 -> Dense 64",
        "  rows.old ReLU -> -",
        "  train.epochs 2 -> 1",
        "  data - -> [1, 2]",
    ]
