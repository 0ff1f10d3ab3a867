"""What a training keeps in its folder: whenever its process is killed, the same command ends as if it never had been.

The trainer is one of a few lines in this process; the build around it, and what it writes, is the real one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from netspec.building.build import build
from netspec.building.options import Options
from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.importing import load_weights
from netspec.spec.load import parse_spec
from netspec.storage.stages import CHECKPOINT, CONFUSION, PLOT, read_stages, sha256
from netspec.training.checkpoint import Checkpoint, CheckpointFile, packed, under
from netspec.training.folder import BEST, TrainingFolder, best_name
from netspec.training.history import DivergedError
from netspec.training.record import Diverged, Record
from netspec.training.settings import TrainSettings
from netspec.training.tensorboard import NOTE
from netspec.weights import draw, load

SPEC = "name: kept\ninput: 8x8x1\ndata: digits\nlayers:\n  - Flatten\n  - FNN | 10 | Softmax\n"
NETWORK = compile_spec(parse_spec(SPEC, "kept.yaml"))
WELL, LOST = 0.5, 2.0
"""Learning rates: with the second a training diverges in its third epoch."""
CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Killed(BaseException):
    """The process is no more."""


class Disk:
    """Counts what changes below a folder; from the change `last` on there is nobody who could make one."""

    root: Path | None = None
    last: float = float("inf")
    count = 0

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.root is None or event not in CHANGES or (event == "open" and not (arguments[2] or 0) & WRITES):
            return
        if isinstance(arguments[0], (str, Path)) and Path(arguments[0]).is_relative_to(self.root):
            self.count += 1
            if self.count > self.last:
                raise Killed

    @contextmanager
    def watched(self, root: Path, last: float = float("inf")) -> Iterator[None]:
        self.root, self.last, self.count = root, last, 0
        try:
            yield
        finally:
            self.root = None


DISK = Disk()
sys.addaudithook(DISK.heard)


class Trainer:
    """In the place of a worker: shrinks all weights a little in every epoch, by the learning rate."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    def call(self, method: str, **arguments: Any) -> Any:
        return getattr(self, method)(**arguments)

    def train(self, weights: Any, settings: TrainSettings, progress: Any, checkpoint: CheckpointFile, **_: Any) -> Any:
        record = Record(settings, 1, progress, checkpoint)
        found = checkpoint.load()
        if found is not None:
            record.resume(found)
            weights = under("weights/", found.arrays)
        rate = settings.optimizer.learning_rate
        while record.goes_on:
            if record.begin() == 3 and rate == LOST:
                raise record.diverged(Diverged(0), lambda: None)
            weights = {name: array * np.float32(1 - rate / 10) for name, array in weights.items()}
            value = 1 / record.epoch
            record.end(lambda: weights, loss=value, accuracy=0.5, val_loss=value, val_accuracy=0.5)  # noqa: B023 - called at once
            record.pause(0, lambda: packed({"weights": weights, "best": record.best}))  # noqa: B023
        return record.best, record.history

    def predict(self, weights: Any, inputs: Any, **_: Any) -> Any:
        [images] = inputs.values()
        return {"dense_1": np.repeat(weights["dense_1.bias"][None] + np.float32(0.1), len(images), 0)}


@pytest.fixture(autouse=True)
def simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer in this process, pictures that are drawn at once, and epochs that take no time."""

    def drawn(*arguments: Any, **_: Any) -> None:
        [path] = [each for each in arguments if isinstance(each, Path)]
        path.write_bytes(b"a picture")

    monkeypatch.setattr("netspec.building.run.Worker", Trainer)
    monkeypatch.setattr("netspec.training.plot.plot_history", drawn)
    monkeypatch.setattr("netspec.report.confusion.draw_confusion", drawn)
    monkeypatch.setattr("netspec.training.record.monotonic", lambda: 0.0)


def train(folder: Path, rate: float = WELL, weights: Path | None = None, *, logs: bool = False) -> list[str]:
    """What happened; the files lie in `kept` of the folder."""
    spec = parse_spec(f"{SPEC}train: {{epochs: 4, optimizer: {{sgd: {{learning_rate: {rate}}}}}}}\n", "kept.yaml")
    options = Options(targets=("torch",), folder=folder, device="cpu", until="train", weights=weights, tensorboard=logs)
    heard: list[str] = []
    build(spec, options, lambda event, **_: heard.append(event))
    return heard


def files(folder: Path) -> dict[str, str]:
    """The sha256 of all that lies in a folder, but for logs and locks, whose names and times are others each time."""
    return {
        path.name: sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".lock")
    }


def bests(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if BEST.fullmatch(path.name))


def killed_everywhere(before: Path, work: Any, place: Path) -> Iterator[int]:
    """Each number of changes after which `work` was killed, which began with a copy of `before` in `place`."""
    for last in range(10_000):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(before, place)
        try:
            with DISK.watched(place, last):
                work()
        except Killed:
            yield last
            continue
        except DivergedError:
            pass
        assert last > 20, "it changes nothing"
        return


def test_a_training_that_is_killed_anywhere_ends_as_one_that_is_not(tmp_path):
    """It takes the place of older weights, and of the best epoch of one that diverged."""
    before, wanted, place = (tmp_path / name for name in ("before", "wanted", "place"))
    train(before, rate=0.25, logs=True)
    with pytest.raises(DivergedError):
        train(before, LOST, logs=True)
    (before / "kept" / CHECKPOINT).unlink()
    old, [best] = read_stages(before / "kept")["weights"], bests(before / "kept")
    shutil.copytree(before, wanted)
    train(wanted, logs=True)
    assert not bests(wanted / "kept")
    folder, resumed = place / "kept", 0
    for last in killed_everywhere(before, lambda: train(place, logs=True), place):
        found = read_stages(folder)["weights"]
        whole = all((folder / name).is_file() and sha256(folder / name) == found.files[name] for name in found.files)
        # The old training, or the new one; or files of both, which the digests tell, and the end of the new one.
        assert whole or load_weights(folder / CHECKPOINT, NETWORK), last
        if found.key == old.key:
            assert (folder / best.name).is_file(), last
        else:
            assert whole, last
        resumed += "resumed" in train(place, logs=True)
        assert files(folder) == files(wanted / "kept"), last
        assert json.loads((folder / "tensorboard" / NOTE).read_text(encoding="utf-8"))["whole"]
    assert resumed > 20


def test_a_training_that_diverges_and_is_killed_anywhere_leaves_the_best_epoch(tmp_path):
    """One that began with the best epoch of another, whose checkpoint is there too."""
    before, wanted, place = (tmp_path / name for name in ("before", "wanted", "place"))
    with pytest.raises(DivergedError):
        train(before, LOST)
    [first] = bests(before / "kept")
    shutil.copytree(before, wanted)
    folder = place / "kept"
    with pytest.raises(DivergedError) as raised:
        train(wanted, LOST, wanted / "kept" / first.name)
    [second] = [path for path in bests(wanted / "kept") if path.name != first.name]
    assert f"--weights {second} begins with those of epoch 2" in str(raised.value)

    def again() -> None:
        train(place, LOST, folder / first.name)

    for last in killed_everywhere(before, again, place):
        for path in bests(folder):
            load(path, NETWORK)
        assert sha256(folder / first.name) == sha256(first), last
        with pytest.raises(DivergedError):
            again()
        assert [path.name for path in bests(folder)] == [path.name for path in bests(wanted / "kept")], last
        assert sha256(folder / second.name) == sha256(second), last


def test_a_finished_training_that_was_killed_before_its_checkpoint_went_is_in_nobodys_way(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(CheckpointFile, "discard", lambda _: None)
        train(tmp_path)
    assert (tmp_path / "kept" / CHECKPOINT).exists()
    assert train(tmp_path, rate=0.25).count("epoch") == 4


def test_the_checkpoint_of_a_third_training_is_not_thrown_away(tmp_path):
    """It may be of days; the file that is begun with is of another one, which diverged."""
    with pytest.raises(DivergedError):
        train(tmp_path, LOST)
    folder = tmp_path / "kept"
    [best] = bests(folder)
    CheckpointFile(folder / CHECKPOINT, "a third").save(Checkpoint(1, 0, {"a": np.zeros(1)}))
    kept = files(folder)
    with pytest.raises(SpecError, match="is of another training"):
        train(tmp_path, weights=best)
    assert files(folder) == kept


def test_the_best_epoch_goes_with_the_next_that_ends_well_and_not_before(tmp_path):
    folder = tmp_path / "kept"
    with pytest.raises(DivergedError):
        train(tmp_path, LOST)
    [best] = bests(folder)
    (folder / CHECKPOINT).unlink()
    own = folder / "best-model.safetensors"
    own.write_bytes(b"of somebody else")
    assert "anew" not in train(tmp_path, weights=best)
    assert bests(folder) == [best], "the same command is to find all up to date"
    assert "training" not in train(tmp_path, weights=best)
    train(tmp_path, rate=0.25)
    assert not bests(folder)
    assert own.exists()


def test_the_best_epoch_of_a_training_that_was_killed_is_in_its_checkpoint(tmp_path):
    folder, copy = tmp_path / "kept", tmp_path / "copy.safetensors"
    with pytest.raises(DivergedError):
        train(tmp_path, LOST)
    [best] = bests(folder)
    checkpoint = folder / CHECKPOINT
    found, wanted = load_weights(checkpoint, NETWORK), load(best, NETWORK)
    assert list(found) == list(wanted)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    with pytest.raises(SpecError, match=r"(?s)is the checkpoint that this training would replace.*begin with a copy"):
        train(tmp_path, weights=checkpoint)
    checkpoint.replace(copy)
    train(tmp_path, weights=copy)

    network = compile_spec(parse_spec(SPEC.replace("data: digits\n", "").replace("10 |", "9 |"), "kept.yaml"))
    with pytest.raises(SpecError, match="has the shape 64x10, but 64x9 is needed"):
        load_weights(copy, network)
    CheckpointFile(copy, "key").save(Checkpoint(1, 3, packed({"weights": draw(NETWORK, 0), "best": {}})))
    with pytest.raises(SpecError, match=re.escape("it is the checkpoint of a training of which no epoch has ended")):
        load_weights(copy, NETWORK)


def test_a_disk_that_takes_no_best_epoch_does_not_hide_that_the_training_diverged(tmp_path):
    weights = draw(NETWORK, 0)
    diverged = DivergedError("the loss was not finite", "a smaller rate", weights, {"epoch": 2, "val_loss": 0.5})
    folder = TrainingFolder(tmp_path / "no folder", "0123456789", lambda *_, **__: None)
    with pytest.raises(DivergedError) as raised, folder.best_kept(NETWORK, "val_loss"):
        raise diverged
    assert str(raised.value) == (
        "the loss was not finite\n  the weights of epoch 2, the best until then (val_loss 0.5), could not be kept: "
        f"{tmp_path / 'no folder' / best_name('0123456789')} cannot be written: No such file or directory\n"
        "  hint: a smaller rate"
    )
    assert raised.value.weights is diverged.weights


def test_pictures_that_are_lost_are_drawn_again(tmp_path):
    train(tmp_path)
    kept = files(tmp_path / "kept")
    for name in (PLOT, CONFUSION):
        (tmp_path / "kept" / name).unlink()
    assert "training" not in train(tmp_path)
    assert files(tmp_path / "kept") == kept
