"""Training on a GPU: what it computes in, the recorded step, checkpoints, and one process of those that share.

All of it runs in this process with torch alone; nothing is asked of another backend.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netspec.compile import compile_spec
from netspec.data.dataset import Dataset
from netspec.data.digits import read
from netspec.network import Network
from netspec.spec.load import parse_spec
from netspec.training.checkpoint import CheckpointFile
from netspec.training.ranks import Place
from netspec.training.settings import TrainSettings
from netspec.weights import draw

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no GPU here")

NETWORK = compile_spec(
    parse_spec(
        """\
name: on-a-gpu
input: 8x8x1
layers:
  - Rescale | 1/16
  - CNN | 16, 3 | padding=same, bias=false
  - BatchNorm | momentum=0.8 | ReLU
  - CNN | 24, 3 | ReLU
  - MaxPool | 2
  - Flatten
  - Dropout | 0.1
  - FNN | 10 | Softmax
""",
        "on-a-gpu.yaml",
    )
)
SMOOTH = compile_spec(
    parse_spec(
        """\
name: smooth
input: 8x8x1
layers:
  - Rescale | 1/16
  - CNN | 16, 3 | padding=same, bias=false
  - BatchNorm | momentum=0.8 | Tanh
  - CNN | 24, 3 | Tanh
  - AvgPool | 2
  - Flatten
  - FNN | 10 | Softmax
""",
        "smooth.yaml",
    )
)
"""Without kinks: where rounding turns a rectifier over, or another pixel of a window is the largest, weights move by as
much as a step does, however small the rounding was."""
BATCH, IMAGES = 32, 1200
EPOCHS = 3
"""Long enough for a step to be recorded: 38 steps each, of which the last has 16 images."""
STEPS = EPOCHS * -(-IMAGES // BATCH)
LAST_BIT = 2.0**-23
"""Of a number in float32, relative to it, at most."""
Trained = tuple[Mapping[str, NDArray[Any]], list[dict[str, float]]]


@pytest.fixture(autouse=True)
def sums_in_one_order(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two trainings that take the same steps then differ by what is under test, and not by the order of their sums."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS reads when it is first used
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@cache
def digits() -> Dataset:
    train, test = read(lambda event, **values: None)
    kept, held = np.split(np.arange(len(train)), [IMAGES])
    return Dataset("digits", tuple("0123456789"), train.take(kept), train.take(held), test)


def trained(
    settings: Mapping[str, Any],
    device: str = "cuda",
    file: CheckpointFile | None = None,
    heard: Any = None,
    *,
    network: Network = NETWORK,
    start: Mapping[str, NDArray[Any]] | None = None,
) -> Trained:
    """The weights and the history; every event goes to `heard`."""
    from netspec_torch.trainer import train

    chosen = TrainSettings.model_validate({"epochs": EPOCHS, "batch_size": BATCH, "seed": 3, **settings})
    progress = heard or (lambda event, **values: None)
    weights, history = train(network, start or draw(network, 0), digits(), chosen, device, progress, file)
    return weights, history


def same(found: Trained, wanted: Trained) -> None:
    """Two trainings of the same kernels, on the same numbers, in the same order: no bit differs."""
    apart = {name: float(np.abs(found[0][name] - array).max()) for name, array in wanted[0].items()}
    assert apart == dict.fromkeys(wanted[0], 0.0)
    assert [{**row, "seconds": 0} for row in found[1]] == [{**row, "seconds": 0} for row in wanted[1]]


def difference(found: Trained, wanted: Trained) -> tuple[float, float]:
    """How far weights are apart, relative to the largest of their array; and losses, relative to themselves."""
    weights = max(
        float(np.abs(found[0][name] - array).max() / max(1e-3, np.abs(array).max()))
        for name, array in wanted[0].items()
    )
    losses = max(
        abs(row[column] / expected[column] - 1)
        for row, expected in zip(found[1], wanted[1], strict=True)
        for column in ("loss", "val_loss")
    )
    return weights, losses


def alike(found: Trained, wanted: Trained, settings: Mapping[str, Any], bits: int = 1) -> None:
    """Two trainings of the smooth network that differ by rounding alone.

    How far that takes them apart is measured: by the same training from weights of which each was moved by its last
    bit, twice. Granted is so much for every step, as if each rounded all weights otherwise and nothing cancelled out;
    or `bits` times that, where the values of a step come out of other algorithms.
    """
    assert [row["learning_rate"] for row in found[1]] == pytest.approx([row["learning_rate"] for row in wanted[1]])
    moved = [difference(trained(settings, network=SMOOTH, start=nudged(seed)), wanted) for seed in (1, 2)]
    granted = [bits * STEPS * max(LAST_BIT, *each) for each in zip(*moved, strict=True)]
    assert max(granted) < 0.01, f"rounding alone takes this training apart, by {moved}: nothing could be told"
    for apart, most in zip(difference(found, wanted), granted, strict=True):
        assert apart <= most, (difference(found, wanted), granted)
    for row, expected in zip(found[1], wanted[1], strict=True):
        for column in ("accuracy", "val_accuracy"):  # of images between two classes
            assert row[column] == pytest.approx(expected[column], abs=0.01), (row["epoch"], column)


def nudged(seed: int) -> dict[str, NDArray[Any]]:
    """The smooth network's first weights, each moved by its last bit, up or down."""
    random = np.random.default_rng(seed)
    return {
        name: (array * (1 + LAST_BIT * random.choice([-1, 1], array.shape))).astype(np.float32)
        for name, array in draw(SMOOTH, 0).items()
    }


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """How many steps were recorded, and how often those were replayed."""
    from netspec_torch.graph import Recorded

    counts = {"graphs": 0, "replays": 0}
    record, replay = Recorded._record, torch.cuda.CUDAGraph.replay

    def recording(step: Any, samples: Any) -> None:
        record(step, samples)
        assert step.graph is not None
        counts["graphs"] += 1

    def replaying(graph: Any) -> None:
        replay(graph)
        counts["replays"] += 1

    monkeypatch.setattr(Recorded, "_record", recording)
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", replaying)
    return counts


@pytest.mark.parametrize(
    ("settings", "graphs"),
    [
        ({"precision": "float32"}, 1),
        ({"precision": "bf16"}, 1),
        ({"precision": "fp16"}, 0),
        ({"precision": "fp16", "accumulate": 2}, 0),
    ],
    ids=["float32", "bf16", "fp16", "fp16 accumulated"],
)
def test_digits_are_learnt(recorded, settings, graphs):
    """And the exported weights, which are float32, predict on the GPU what the history says."""
    from netspec_torch.model import predict

    optimizer = {"adam": {"learning_rate": 0.01}}
    weights, history = trained({**settings, "optimizer": optimizer, "epochs": 8, "monitor": "val_accuracy"})
    assert recorded["graphs"] == graphs
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    best = max(row["val_accuracy"] for row in history)
    for part, least in ((digits().test, 0.95), (digits().validation, best - 0.01)):
        [outputs] = predict(NETWORK, weights, {"input": part.images}).values()
        assert (outputs.argmax(1) == part.labels).mean() >= least


def rounding() -> dict[str, float]:
    """The largest error of a product and of a convolution in float32, relative to the largest result."""
    random = torch.Generator("cuda").manual_seed(1)
    one, other = (torch.randn(256, 256, device="cuda", generator=random) for _ in range(2))
    images = torch.randn(8, 64, 16, 16, device="cuda", generator=random)
    kernels = torch.randn(64, 64, 3, 3, device="cuda", generator=random)
    convolved = torch.nn.functional.conv2d
    pairs = {
        "product": (one @ other, one.double() @ other.double()),
        "convolution": (convolved(images, kernels), convolved(images.double(), kernels.double())),
    }
    return {name: float((found - exact).abs().max() / exact.abs().max()) for name, (found, exact) in pairs.items()}


@pytest.mark.parametrize("tf32", [False, True])
def test_factors_are_rounded_only_where_that_was_asked_for(tf32):
    if tf32 and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no TensorFloat-32")
    found: list[dict[str, float]] = []

    def heard(event: str, **_: Any) -> None:
        if event == "epoch":
            found.append(rounding())

    _, history = trained({"epochs": 2, **({"tf32": True} if tf32 else {})}, heard=heard)
    assert len(found) == len(history) == 2
    for errors in found:  # sums of 256 and 576 products: about 1e-6 in float32, and 1e-4 with factors of 10 bits
        assert (errors["product"] > 1e-5) == tf32, errors
        assert tf32 or errors["convolution"] < 1e-5, errors


RECORDABLE: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"sgd": {"learning_rate": 0.02, "momentum": 0.9}}},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw"},
    "rmsprop": {"optimizer": {"rmsprop": {"momentum": 0.9, "learning_rate": 1e-4}}},
    "adadelta": {"optimizer": {"adadelta": {"learning_rate": 1.0}}},
    "adamax": {"optimizer": "adamax"},
    "nadam": {"optimizer": {"nadam": {"learning_rate": 5e-4}}},
    "everything": {
        "optimizer": {"sgd": {"learning_rate": 0.02, "weight_decay": 1e-3, "decay": "decoupled"}},
        "loss": {"cross_entropy": {"label_smoothing": 0.1, "class_weights": [1, 2, 1, 1, 1, 1, 1, 1, 1, 0.5]}},
        "regularizer": {"l1": 1e-5, "l2": 1e-4},
        "clip_norm": 1.0,
        "ema": 0.9,
        "augment": {"crop": 1, "rotate": 10, "brightness": 0.1, "erase": 0.3, "mixup": 0.2, "fill": "constant"},
    },
}


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("settings", RECORDABLE.values(), ids=RECORDABLE)
def test_a_recorded_step_is_the_same_step(recorded, settings, precision, monkeypatch):
    """With a rate that is another one in every step, dropout, and batches of another size at the end of an epoch; in
    bf16 weights have to be cast anew in each.
    """
    from netspec_torch.graph import Recorded

    settings = {"schedule": {"cosine": {"warmup": 1}}, **settings, "precision": precision}
    found = trained(settings)
    assert recorded == {"graphs": 1, "replays": EPOCHS * (IMAGES // BATCH) - 3}
    monkeypatch.setattr(Recorded, "__call__", lambda own, samples, chosen: own.step(samples, chosen))
    wanted = trained(settings)
    assert recorded["graphs"] == 1
    same(found, wanted)
    assert wanted[1][-1]["loss"] < wanted[1][0]["loss"]


@pytest.mark.parametrize("settings", RECORDABLE.values(), ids=RECORDABLE)
def test_what_stays_on_the_device_for_a_recorded_step_is_what_python_has_without(recorded, settings, monkeypatch):
    """Rates, counts and corrections, in float32 there and float64 here."""
    settings = {"schedule": {"cosine": {"warmup": 1}}, **settings}
    found = trained(settings, network=SMOOTH)
    assert recorded["graphs"] == 1
    monkeypatch.setattr("netspec_torch.trainer.recordable", lambda *_: False)
    wanted = trained(settings, network=SMOOTH)
    assert recorded["graphs"] == 1
    alike(found, wanted, settings)


def test_what_is_free_of_a_gpu_is_counted():
    from netspec_torch.samples import free_bytes

    device, size = torch.device("cuda", torch.cuda.current_device()), 2**28
    torch.cuda.empty_cache()
    before = free_bytes(device)
    held = torch.empty(size, dtype=torch.uint8, device=device)
    after = free_bytes(device)
    assert before is not None
    assert after is not None
    assert size <= before - after + 2**25  # beside what others do meanwhile
    assert 0 < after < before <= torch.cuda.get_device_properties(device).total_memory
    del held


@pytest.mark.parametrize("augment", [None, {"crop": 1, "mixup": 0.2}], ids=["plain", "augmented"])
def test_images_that_do_not_fit_are_fetched(recorded, augment, monkeypatch):
    settings = {"augment": augment, "optimizer": "adam"}
    wanted = trained(settings)
    monkeypatch.setattr("netspec_torch.samples.free_bytes", lambda device: 0)
    found = trained(settings)
    assert recorded["graphs"] == 1, "only the images that stay in their places are read by a recorded step"
    same(found, wanted)


class Killed(Exception):
    """The end of a process."""


class Dying(CheckpointFile):
    """A file that is written after the `after`-th step; the process does not live for more than five others."""

    def __init__(self, path: Path, after: int) -> None:
        super().__init__(path, "key")
        self.after = after

    def due(self) -> bool:
        self.after -= 1
        if self.after < -5:
            raise Killed
        return self.after == 0


RESUMED: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": {"adamw": {"weight_decay": 0.05}}, "ema": 0.9},
    "sgd": {"optimizer": {"sgd": {"learning_rate": 0.02, "momentum": 0.9}}},
    "muon": {"optimizer": "muon"},
    "rmsprop": {"optimizer": "rmsprop"},
    "adam in fp16": {"optimizer": "adam", "precision": "fp16", "accumulate": 3},
    "short": {"optimizer": "adam", "epochs": 2},
}
"""With a recorded step, with kernels that take all weights at once, with a scaled loss and gradients under way."""


@pytest.mark.parametrize("settings", RESUMED.values(), ids=RESUMED)
def test_a_killed_training_goes_on_in_the_middle_of_an_epoch(settings, tmp_path):
    wanted = trained(settings)
    path, heard = tmp_path / "checkpoint.safetensors", []
    with pytest.raises(Killed):
        trained(settings, file=Dying(path, 50))
    found = trained(settings, file=CheckpointFile(path, "key"), heard=lambda event, **values: heard.append(event))
    assert "resumed" in heard
    assert heard.count("epoch") == len(wanted[1]) - 1, "the first epoch is in the checkpoint"
    same(found, wanted)


@pytest.mark.parametrize(("began", "goes_on"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_training_may_go_on_where_it_did_not_begin(began, goes_on, tmp_path):
    """Without dropout, whose numbers are others there, all is the same but for rounding, by other algorithms too."""
    path, settings = tmp_path / "checkpoint.safetensors", {"optimizer": "adam"}
    with pytest.raises(Killed):
        trained(settings, began, Dying(path, 50), network=SMOOTH)
    events: list[str] = []
    file = CheckpointFile(path, "key")
    found = trained(settings, goes_on, file, lambda event, **_: events.append(event), network=SMOOTH)
    assert "resumed" in events, "from the beginning the losses would be alike too"
    alike(found, trained(settings, network=SMOOTH), settings, bits=8)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU")
def test_a_step_is_recorded_on_the_gpu_that_is_named(recorded):
    found = trained({}, "cuda:1")
    assert recorded == {"graphs": 1, "replays": EPOCHS * (IMAGES // BATCH) - 3}
    same(found, trained({}, "cuda:0"))


PART = """\
import os
import pickle
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from netspec_torch import ranks, samples, trainer
from tests.backends.test_cuda import ONE, SHARED, SMOOTH, trained

assert "TORCHELASTIC_RUN_ID" in os.environ
torch.backends.cudnn.deterministic = True  # others add up a kernel's gradient in any order
with patch.object(trainer, "place_of", lambda _: ONE), patch.object(ranks.Ranks, "alone", False):
    found = trained(SHARED, network=SMOOTH)
    with patch.object(samples, "free_bytes", lambda _: 0):
        fetched = trained(SHARED, network=SMOOTH)
world = torch.distributed.group.WORLD
names = {kind: world._get_backend(torch.device(kind)).name() for kind in ("cpu", "cuda")}
Path(sys.argv[1]).write_bytes(pickle.dumps((found, fetched, names)))
"""
ONE = Place(0, 1, 0)
SHARED: dict[str, Any] = {
    "optimizer": "adamw",
    "regularizer": {"l2": 1e-4},
    "clip_norm": 1.0,
    "accumulate": 2,
    "schedule": "cosine",
}


def test_one_process_of_torchrun_over_nccl_trains_as_a_plain_one(tmp_path):
    """A world of one process, which torchrun starts, with all that is said between several of them."""
    script, answer = tmp_path / "part.py", tmp_path / "answer"
    script.write_text(PART, encoding="utf-8")
    path = os.pathsep.join([str(Path(__file__).parents[2]), *(path for path in sys.path if path)])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "--standalone", script, answer]
    environment = {**os.environ, "PYTHONPATH": path, "NETSPEC_RANK_TIMEOUT": "60"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found, fetched, names = pickle.loads(answer.read_bytes())
    assert names == {"cpu": "gloo", "cuda": "nccl"}
    same(fetched, found)
    alike(found, trained(SHARED, network=SMOOTH), SHARED)
