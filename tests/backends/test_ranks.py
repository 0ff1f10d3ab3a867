"""Processes that share a training: the weights of one process, one set of files, and none that waits for ever."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.backend import find_backend
from netspec.backend.worker import Worker
from netspec.compile import compile_spec
from netspec.data.batches import epoch_order
from netspec.data.dataset import Dataset, Split
from netspec.errors import BackendError, SpecError
from netspec.interrupt import STOP
from netspec.network import Network
from netspec.spec.load import parse_spec
from netspec.training.checkpoint import CheckpointFile
from netspec.training.history import DivergedError, StoppedError
from netspec.training.ranks import Place, place_of
from netspec.training.settings import TrainSettings
from netspec.weights import draw, load

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="pip install 'netspec[torch]'")

PLAIN = """\
name: plain
input: 6x5x2
layers:
  - CNN | 4, 3 | ReLU
  - Flatten
  - FNN | 8 | Tanh
  - FNN | 3 | Softmax
"""
DROPPING = PLAIN.replace("  - Flatten", "  - BatchNorm | momentum=0.9\n  - Flatten\n  - Dropout | 0.4")


class Probe:
    """Trainings in processes of their own."""

    fetched = 0

    def fetch(self) -> None:
        """From now on no device has room for images, so that a thread gathers them."""
        from netspec_torch import samples

        gather = samples.fetched

        def fetched(*given: Any) -> Iterator[Any]:
            for batch in gather(*given):
                self.fetched += len(batch)
                yield batch

        samples.free_bytes, samples.fetched = lambda _: 0, fetched

    def count(self) -> int:
        """How many images were gathered so."""
        return self.fetched

    def train(self, text: str, settings: TrainSettings, path: Path | None = None, after: int = 0) -> Any:
        network = compile_spec(parse_spec(text, "ranks.yaml"))
        file = Interrupting(path, after) if path is not None else None
        trainer: Any = find_backend("torch")
        given = (network, draw(network, 2), data(network), settings, "cpu", lambda *_, **__: None, file)
        try:
            return trainer.train(*given)
        except StoppedError as stopped:
            return str(stopped)
        finally:
            STOP.clear()

    def lose(self, settings: TrainSettings, patience_s: float | None = None) -> None:
        """A training on images of which one is no number, by which the weights of every rank are lost."""
        from unittest.mock import patch

        from netspec_torch.ranks import Ranks

        network = compile_spec(parse_spec(DROPPING, "ranks.yaml"))
        given: Any = data(network)
        given.train.images[epoch_order(45, settings.seed, 1)[20]] = np.nan
        trainer: Any = find_backend("torch")
        with patch.object(Ranks, "patience_s", patience_s) if patience_s is not None else nullcontext():
            trainer.train(network, draw(network, 2), given, settings, "cpu", lambda *_, **__: None)

    def join(self) -> str:
        trainer: Any = find_backend("torch")
        try:
            trainer.join("cpu", lambda *_, **__: None)
        except StoppedError:
            return "stopped"
        finally:
            STOP.clear()
        return "done"

    def dismiss(self) -> None:
        trainer: Any = find_backend("torch")
        trainer.dismiss()


class Interrupting(CheckpointFile):
    """A file during whose training Ctrl-C is pressed at its `after`-th step."""

    def __init__(self, path: Path, after: int) -> None:
        super().__init__(path, "key")
        self.after = after

    def due(self) -> bool:
        self.after -= 1
        if self.after == 0:
            STOP.set()
        return False


probe = Probe()


def data(network: Network) -> Dataset:
    random = np.random.default_rng(3)
    splits = [
        Split(random.normal(size=(count, *network.input_type.shape)).astype(np.float32), random.integers(0, 3, count))
        for count in (45, 21)
    ]
    return Dataset("random", classes=(), train=splits[0], validation=splits[1], test=splits[1])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def ranks(size: int, **more: str) -> Iterator[list[Worker]]:
    """Workers that are told to share their trainings."""
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **more}
    alone = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    workers = [
        Worker("tests.backends.test_ranks:probe", {**alone, **shared, "RANK": str(rank)}) for rank in range(size)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def together(workers: list[Worker], **arguments: Any) -> tuple[Any, list[str]]:
    """What rank 0 trains while the others join, and what those say."""
    with ThreadPoolExecutor(len(workers)) as threads:
        others = [threads.submit(worker.call, "join") for worker in workers[1:]]
        return workers[0].call("train", **arguments), [other.result() for other in others]


@pytest.fixture(scope="module")
def alone() -> Iterator[Worker]:
    with Worker("tests.backends.test_ranks:probe", {"CUDA_VISIBLE_DEVICES": ""}) as worker:
        yield worker


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 3, "batch_size": 8, "optimizer": {"sgd": {"momentum": 0.9}}},
    "adam": {"epochs": 3, "batch_size": 7, "schedule": {"plateau": {"patience": 1, "factor": 0.5}}},
    "weighted": {
        "epochs": 2,
        "batch_size": 11,
        "loss": {"cross_entropy": {"class_weights": [1, 5, 0.1], "mean_over": "weights", "label_smoothing": 0.1}},
        "regularizer": {"l1": 1e-3, "l2": 1e-2},
        "clip_norm": 0.5,
        "accumulate": 3,
        "ema": 0.9,
    },
    "phases": {
        "batch_size": 9,
        "loss": "mean_squared_error",
        "phases": [{"epochs": 2}, {"epochs": 2, "learning_rate": 1e-3}],
        "early_stopping": {"patience": 1},
    },
    "one by one": {
        "epochs": 1,
        "batch_size": 1,
        "optimizer": {"sgd": {"learning_rate": 1e-3}},
        "regularizer": {"l2": 0.1},
    },
    "mixed": {"epochs": 2, "batch_size": 6, "augment": {"mixup": 0.4, "flip": "horizontal"}},
}


def test_two_ranks_train_as_one_process(alone):
    """Batches whose parts differ in size, a part without images, weights that differ: the mean is of the batch."""
    with ranks(2) as workers:
        for name, written in SETTINGS.items():
            settings = TrainSettings.model_validate({**written, "seed": 5})
            weights, history = alone.call("train", text=PLAIN, settings=settings)
            (found, rows), said = together(workers, text=PLAIN, settings=settings)
            assert said == ["done"], name
            assert len(rows) == len(history), name
            for weight, array in weights.items():
                np.testing.assert_allclose(found[weight], array, rtol=0, atol=1e-6, err_msg=f"{name}: {weight}")
            for row, wanted in zip(rows, history, strict=True):
                for column in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
                    assert row[column] == pytest.approx(wanted[column], rel=1e-5), (name, column)


def test_ranks_fetch_their_parts_of_images_that_do_not_fit():
    """Those of a batch that others are mixed with too, and none where there are fewer images than ranks."""
    with ranks(2) as workers:
        asked = [
            {"text": DROPPING, "settings": TrainSettings.model_validate({**SETTINGS[name], "seed": 5})}
            for name in ("plain", "mixed")
        ]
        asked.append({"text": PLAIN, "settings": TrainSettings.model_validate({**SETTINGS["one by one"], "seed": 5})})
        wanted = [together(workers, **each)[0] for each in asked]
        for worker in workers:
            worker.call("fetch")
        for each, (weights, history) in zip(asked, wanted, strict=True):
            (found, rows), _ = together(workers, **each)
            for name, array in weights.items():
                assert np.array_equal(found[name], array), name
            assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in history]
        # Of the plain ones each its part, of the mixed ones all; one by one the image, and one that counts nothing.
        assert sum(worker.call("count") for worker in workers) == 3 * 45 + 2 * 2 * 45 + 2 * 45


def test_three_ranks_stop_together_and_go_on_bit_equal(tmp_path):
    """With dropout, of which each rank has its own, and running statistics, which are those of rank 0."""
    settings = TrainSettings.model_validate({"epochs": 3, "batch_size": 8, "seed": 5})
    with ranks(3) as workers:
        (whole, _), _ = together(workers, text=DROPPING, settings=settings)
        path = tmp_path / "checkpoint.safetensors"
        stopped, said = together(workers, text=DROPPING, settings=settings, path=path, after=8)
        assert "in epoch 2, at step 3 of 6; the same command goes on" in stopped
        assert said == ["stopped"] * 2
        (found, _), said = together(workers, text=DROPPING, settings=settings, path=path, after=10**6)
        assert said == ["done"] * 2
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in whole.items()
    }


@pytest.mark.parametrize("patience_s", [None, 0.0])
def test_ranks_that_diverge_say_what_was_first(patience_s):
    """Rank 0 looks for it while the others wait, which say the same; it looks no longer than they would wait."""
    settings = TrainSettings(epochs=2, batch_size=8, seed=5)
    with ranks(2) as workers, ThreadPoolExecutor(1) as threads:
        other = threads.submit(workers[1].call, "join")
        with pytest.raises(DivergedError, match="not finite at step 3 of 6 in epoch 1") as raised:
            workers[0].call("lose", settings=settings, patience_s=patience_s)
        with pytest.raises(DivergedError) as theirs:
            other.result(60)
    assert str(theirs.value) == str(raised.value)
    assert ("an image of that batch has values that are not finite" in str(raised.value)) == (patience_s is None)


def test_there_may_be_nothing_to_train():
    with ranks(2) as workers, ThreadPoolExecutor(1) as threads:
        other = threads.submit(workers[1].call, "join")
        workers[0].call("dismiss")
        assert other.result(60) == "done"


def test_a_rank_that_dies_ends_the_others():
    settings = TrainSettings(epochs=10**5, batch_size=8)
    with ranks(2) as workers:
        threading.Timer(8, workers[1].kill).start()
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(workers[1].call, "join")
            with pytest.raises(BackendError, match=r"rank 0 of 2 lost the others: (.|\n)*hint: .* last checkpoint"):
                workers[0].call("train", text=PLAIN, settings=settings)
            with pytest.raises(BackendError, match="was killed"):
                other.result(60)


def test_a_rank_that_hangs_or_never_comes_is_given_up():
    never = pytest.raises(BackendError, match=r"rank 0 of 2 did not meet the others")
    with ranks(2, NETSPEC_RANK_TIMEOUT="4") as workers, never:
        workers[0].call("train", text=PLAIN, settings=TrainSettings())


def test_flat_norms_need_two_images_in_every_part():
    text = "name: flat\ninput: 6\nlayers:\n  - FNN | 4\n  - BatchNorm\n  - FNN | 3\n"
    with ranks(2) as workers, ThreadPoolExecutor(1) as threads:
        other = threads.submit(workers[1].call, "join")
        with pytest.raises(BackendError, match=r"2 ranks share batches, of which the smallest has 3"):
            workers[0].call("train", text=text, settings=TrainSettings(batch_size=6))
        with pytest.raises(BackendError, match=r"rank 0 did not begin: row 'batch_norm_1'"):
            other.result(60)


def test_the_environment_says_where():
    given = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert place_of(given) == Place(1, 4, 0)
    assert place_of({}) is place_of({"WORLD_SIZE": "1", "RANK": "0"}) is None
    with pytest.raises(SpecError, match=r"WORLD_SIZE is 4, but RANK, MASTER_PORT is not set"):
        place_of({"WORLD_SIZE": "4", "MASTER_ADDR": "a"})
    with pytest.raises(SpecError, match="RANK is '4'"):
        place_of({**given, "RANK": "4"})


SPEC = """\
name: shared
input: 8x8x1
data: digits
layers:
  - Rescale | 1/16
  - Flatten
  - FNN | 32 | ReLU
  - FNN | 10 | Softmax
train: {epochs: 2, batch_size: 50, seed: 3}
"""


def test_torchrun_trains_one_build(tmp_path):
    (tmp_path / "shared.yaml").write_text(SPEC, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "CUDA_VISIBLE_DEVICES": "",
    }
    shared = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]

    def train(command: list[str], folder: str, backend: str = "torch") -> subprocess.CompletedProcess[str]:
        whole = [*command, "-m", "netspec", "train", "shared.yaml", "--backend", backend, "--output", folder]
        return subprocess.run(
            whole, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    for command, folder in ((shared, "two"), ([sys.executable], "one")):
        done = train(command, folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("ran weights, spec") == 1, done.stdout
    network = compile_spec(parse_spec(SPEC, "shared.yaml"))
    found, wanted = (load(tmp_path / folder / "shared" / "weights.safetensors", network) for folder in ("two", "one"))
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-6)
    again = train(shared, "two")
    assert again.returncode == 0, again.stderr
    refused = train(shared, "two", "keras")
    assert refused.returncode == 1
    assert "the keras backend trains in one process, and there are 2" in refused.stderr
