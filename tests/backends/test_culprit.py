"""A training that diverges says which row and which step were the first, and leaves the last good checkpoint alone."""

from __future__ import annotations

import gc
import importlib
import json
import re
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from netspec.backend import find_backend
from netspec.backend.worker import Worker
from netspec.building.build import build
from netspec.building.options import Options
from netspec.compile import compile_spec
from netspec.data.batches import epoch_order
from netspec.data.dataset import Dataset, Split
from netspec.errors import SpecError
from netspec.interrupt import STOP
from netspec.network import Network
from netspec.spec.load import parse_spec
from netspec.training.checkpoint import Checkpoint, CheckpointFile
from netspec.training.culprit import Culprit, Seen, culprit_of
from netspec.training.folder import BEST
from netspec.training.history import DivergedError, best_epoch
from netspec.training.settings import TrainSettings
from netspec.weights import draw, load

NETWORK = compile_spec(
    parse_spec(
        """\
name: lost
input: 6x6x1
layers:
  - first: CNN | 3, 3 | ReLU
  - BatchNorm | momentum=0.9
  - Flatten
  - Dropout | 0.2
  - second: FNN | 5 | ReLU
  - third: FNN | 3 | Softmax
""",
        "lost.yaml",
    )
)
BOTH = pytest.mark.parametrize("trainer", ["torch", "keras"])


def data(network: Network, count: int = 40) -> Dataset:
    random = np.random.default_rng(3)
    images = random.normal(size=(count, *network.input_type.shape)).astype(np.float32)
    split = Split(images, random.integers(0, 3, count))
    return Dataset("random", classes=(), train=split, validation=split.take(np.arange(10)), test=None)


def lost(
    worker: Any,
    network: Network,
    dataset: Dataset,
    checkpoint: CheckpointFile | None = None,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
    **settings: Any,
) -> str:
    with pytest.raises(DivergedError) as raised:
        worker.call(
            "train",
            network=network,
            weights=weights or draw(network, 2),
            dataset=dataset,
            settings=TrainSettings.model_validate({"batch_size": 8, "epochs": 4, **settings}),
            device="cpu",
            progress=lambda event, **values: None,
            checkpoint=checkpoint,
        )
    return str(raised.value)


def culprit_step(said: str) -> tuple[int, int]:
    """The epoch and step that is blamed; TensorFlow's relu makes zeros of what is no number: the loss tells it late."""
    noticed = re.search(r"(?:at|after) step (\d+) of 5 in epoch (\d+)", said)
    assert noticed is not None, said
    earlier = re.search(r"in step (\d+) of epoch (\d+) already", said)
    step, epoch = (earlier or noticed).groups()
    return int(epoch), int(step)


@BOTH
def test_an_image_that_is_no_number_is_said(workers, trainer):
    dataset = data(NETWORK)
    dataset.train.images[epoch_order(40, 5, 1)[17]] = np.nan
    said = lost(workers[trainer], NETWORK, dataset, seed=5)
    assert culprit_step(said) == (1, 3)
    assert "in epoch 1 (learning rate 0.001): " in said
    assert "an image of that batch has values that are not finite" in said
    assert "look for what is not a number in the data" in said


GROWING = "name: grow\ninput: 4\nlayers:\n  - first: FNN | 4\n  - second: FNN | 4\n  - third: FNN | 3\n"


@BOTH
def test_the_row_whose_values_overflow_is_named(workers, trainer):
    """Numbers of 1e25 are multiplied by weights of about 1e25 in the second row: too large for float32."""
    network = compile_spec(parse_spec(GROWING, "grow.yaml"))
    dataset = data(network)
    weights = {name: array.copy() for name, array in draw(network, 2).items()}
    weights["first.kernel"] *= np.float32(1e25)
    weights["second.kernel"] *= np.float32(1e25)
    said = lost(workers[trainer], network, dataset, weights=weights)
    assert culprit_step(said) == (1, 1)
    assert "row 'second' is the first whose values were not finite" in said


def overflowing(worker: Any) -> str:
    """The loss is about 1e37, its gradient 1e35 in the second row, and 1e4 times that, too large, in the first."""
    network = compile_spec(parse_spec(GROWING, "grow.yaml"))
    weights = {name: array.copy() for name, array in draw(network, 2).items()}
    for name, scale in (("first", 1e-4), ("second", 1e4), ("third", 3e18)):
        weights[f"{name}.kernel"] *= np.float32(scale)
    return lost(
        worker,
        network,
        data(network),
        weights=weights,
        loss="mean_squared_error",
        optimizer={"sgd": {"learning_rate": 1e-38}},
    )


@BOTH
def test_a_gradient_that_overflows_a_step_before_is_named(workers, trainer):
    said = overflowing(workers[trainer])
    assert "at step 2 of 5 in epoch 1" in said
    assert "in step 1 of epoch 1 already, the first gradient that was not finite is that of row 'first'" in said


@BOTH
@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_is_found_from_a_checkpoint_which_is_kept(workers, trainer, accumulate, tmp_path):
    """The image comes in the last batch of the first epoch, after a checkpoint; with two batches an update the weights
    suffer in the second."""
    dataset = data(NETWORK)
    path = tmp_path / "checkpoint.safetensors"
    file = CheckpointFile(path, "key")
    file._written -= 1e9  # due at once, and then not for half a minute
    dataset.train.images[epoch_order(40, 5, 1)[38]] = np.inf
    # With a rate that changes in every step each is looked at by itself.
    said = lost(workers[trainer], NETWORK, dataset, file, seed=5, accumulate=accumulate, schedule="cosine")
    assert culprit_step(said) == (1, 5)
    assert "an image of that batch has values that are not finite" in said
    assert f"the last checkpoint before it is kept: {path}" in said
    kept = CheckpointFile(path, "key").load()
    assert kept is not None
    assert (kept.epoch, kept.step) == (1, 1)
    assert all(np.isfinite(array).all() for name, array in kept.arrays.items() if name.startswith("weights/"))


LATE: dict[str, Any] = {"phases": [{"epochs": 3}, {"epochs": 1, "learning_rate": 1e39}], "seed": 5}
"""A training that is well for three epochs, and lost in the fourth."""


@BOTH
@pytest.mark.parametrize("batch_size", [8, 40])
def test_the_best_epoch_before_is_kept(workers, trainer, batch_size):
    """Whether a loss tells it, or, where an epoch is one step, nothing but the weights at the very end."""

    def train(**settings: Any) -> Any:
        return workers[trainer].call(
            "train",
            network=NETWORK,
            weights=draw(NETWORK, 2),
            dataset=data(NETWORK),
            settings=TrainSettings.model_validate({"batch_size": batch_size, **settings}),
            device="cpu",
            progress=lambda event, **values: None,
        )

    weights, history = train(epochs=3, seed=5)
    with pytest.raises(DivergedError, match=r" in epoch 4 \(learning rate 1e\+39\)") as raised:
        train(**LATE)
    found = raised.value
    assert found.row["epoch"] == best_epoch(history, "val_loss")
    assert found.row["val_loss"] == history[int(found.row["epoch"]) - 1]["val_loss"]
    assert {name: array.tobytes() for name, array in found.weights.items()} == {
        name: array.tobytes() for name, array in weights.items()
    }


FLAT = "name: lost\ninput: 8x8x1\ndata: digits\nlayers:\n  - Rescale | 1/16\n  - Flatten\n  - FNN | 10 | Softmax\n"


@BOTH
def test_a_build_leaves_the_best_epoch_in_a_file_until_a_training_ends_well(trainer, tmp_path):
    text = f"{FLAT}train: {json.dumps(LATE)}"
    options = Options(targets=(trainer,), folder=tmp_path, trainer=trainer, device="cpu", until="train")
    spec = parse_spec(text, str(tmp_path / "lost.yaml"))
    with pytest.raises(DivergedError) as raised:
        build(spec, options, lambda event, **values: None)
    said = str(raised.value)
    kept = re.search(
        r"the weights of epoch (\d), the best until then \(val_loss [\d.]+\), are kept: (.*)\n  hint: ", said
    )
    assert kept is not None, said
    path = Path(kept[2])
    assert path.parent == tmp_path / "lost"
    assert BEST.fullmatch(path.name)
    assert said.endswith(f"; --weights {path} begins with those of epoch {kept[1]}")
    for name, array in load(path, compile_spec(spec)).items():
        assert np.array_equal(array, raised.value.weights[name])
    mended = parse_spec(text.replace("1e+39", "1e-3"), str(tmp_path / "lost.yaml"))
    (tmp_path / "lost" / "checkpoint.safetensors").unlink(missing_ok=True)
    build(mended, options, lambda event, **values: None)
    assert not path.exists()


def test_a_training_may_begin_with_the_best_epoch_of_one_that_diverged(tmp_path, monkeypatch):
    """As the hint says it: beside the checkpoint of that one, more than once, and where it diverges as well."""

    def due(*arguments: Any) -> CheckpointFile:
        file = CheckpointFile(*arguments)
        file._written -= 1e9  # at once, and then not for half a minute
        return file

    monkeypatch.setattr("netspec.training.folder.CheckpointFile", due)
    folder = tmp_path / "lost"
    checkpoint = folder / "checkpoint.safetensors"

    def bests() -> set[Path]:
        return {path for path in folder.iterdir() if BEST.fullmatch(path.name)}

    def train(last: str, weights: Path | None = None, first: str = "1e-3") -> list[tuple[str, Any]]:
        phases = [{"epochs": 2, "learning_rate": float(first)}, {"epochs": 1, "learning_rate": float(last)}]
        settings = json.dumps({"phases": phases, "seed": 5})
        options = Options(targets=("torch",), folder=tmp_path, device="cpu", until="train", weights=weights)
        heard: list[tuple[str, Any]] = []
        spec = parse_spec(f"{FLAT}train: {settings}", str(tmp_path / "lost.yaml"))
        build(spec, options, lambda event, **values: heard.append((event, values)))
        return heard

    with pytest.raises(DivergedError):
        train("1e+39")
    assert checkpoint.exists()
    [first] = bests()
    kept = first.read_bytes()
    heard = train("1e-3", first)
    assert ("anew", {"file": first}) in heard
    assert "resumed" not in dict(heard)
    assert first.read_bytes() == kept
    assert not checkpoint.exists()
    again = train("1e-3", first)
    assert ("current", {"stage": "weights"}) in again
    assert "training" not in dict(again)

    with pytest.raises(DivergedError) as raised:
        train("1e+39", first)
    [second] = bests() - {first}
    assert f"are kept: {second}\n" in str(raised.value)
    assert f"; --weights {second} begins with those of epoch " in str(raised.value)
    assert first.read_bytes() == kept
    other = second.read_bytes()
    assert other != kept
    # The checkpoint is of a training that began with the same file: it is not thrown away, and nothing else is.
    with pytest.raises(SpecError, match=r"is of another training:\s+train\.phases"):
        train("1e-4", first)
    assert (first.read_bytes(), second.read_bytes()) == (kept, other)
    with pytest.raises(DivergedError):
        train("1e+39", second)
    [third] = bests() - {second}
    assert second.read_bytes() == other
    assert third != first

    checkpoint.unlink()
    with pytest.raises(DivergedError) as raised:
        train("1e-3", first="1e+39")
    assert not raised.value.weights
    assert bests() == {second, third}, "nothing has taken their place"


class Spoilt(CheckpointFile):
    """A file that is damaged once it is written."""

    def save(self, checkpoint: Checkpoint) -> None:
        super().save(checkpoint)
        self.path.write_bytes(b"not a checkpoint")


class Interrupting(CheckpointFile):
    """A file at whose second reading, when the training is lost, Ctrl-C is pressed."""

    read = 0

    def load(self) -> Checkpoint | None:
        self.read += 1
        if self.read == 2:
            STOP.set()
        return super().load()


class Probe:
    """A training that is lost in a process of its own."""

    def lost(self, backend: str, file: CheckpointFile | None, *, memory: bool) -> str:
        """What is said of it; there may be no memory to look for the reason."""
        module = importlib.import_module(f"netspec_{backend}.culprit")
        trainer: Any = find_backend(backend)
        dataset = data(NETWORK)
        dataset.train.images[epoch_order(40, 5, 1)[17]] = np.nan
        # With a rate that changes in every step each is looked at by itself.
        settings = TrainSettings(batch_size=8, epochs=2, seed=5, schedule="cosine")
        try:
            with patch.object(module, "seen", module.seen if memory else none_left):
                trainer.train(NETWORK, draw(NETWORK, 2), dataset, settings, "cpu", lambda *_, **__: None, file)
        except DivergedError as error:
            return str(error)
        finally:
            STOP.clear()
        return "it was not lost"

    def held(self, backend: str) -> list[int]:
        """How many models there are of those that were made before, whenever a training is prepared for the search."""
        made = "prepare" if backend == "torch" else "training_of"
        found: list[int] = []
        models: list[weakref.ref[Any]] = []

        def keeping(function: Any) -> Any:
            def make(*arguments: Any) -> Any:
                found.append(sum(model() is not None for model in models))
                training = function(*arguments)
                models.append(weakref.ref(training.model))
                return training

            return make

        modules = [importlib.import_module(f"netspec_{backend}.{each}") for each in ("trainer", "culprit")]
        with ExitStack() as patches:
            for module in modules:
                if hasattr(module, made):
                    patches.enter_context(patch.object(module, made, keeping(getattr(module, made))))
            gc.disable()
            patches.callback(gc.enable)
            self.lost(backend, None, memory=True)
        return found


def none_left(*_: Any) -> Seen:
    raise MemoryError("out of memory")


probe = Probe()


@pytest.fixture(scope="module")
def probing():
    with Worker("tests.backends.test_culprit:probe", {"CUDA_VISIBLE_DEVICES": ""}) as worker:
        yield worker


@BOTH
@pytest.mark.parametrize("accident", ["none", "memory", "checkpoint", "interrupt"])
def test_what_goes_wrong_in_the_search_does_not_hide_the_finding(probing, trainer, accident, tmp_path):
    kinds = {"checkpoint": Spoilt, "interrupt": Interrupting}
    file = kinds.get(accident, CheckpointFile)(tmp_path / "checkpoint.safetensors", "key")
    if accident == "checkpoint":
        file._written -= 1e9  # due at once
    said = probing.call("lost", backend=trainer, file=file, memory=accident != "memory")
    noticed = re.match(r"the (?:loss was|weights were) not finite (?:at|after) step \d of 5 in epoch 1 ", said)
    assert noticed is not None, said
    assert ("an image of that batch" in said) == (accident == "none")
    assert ("hint: a smaller learning_rate" in said) == (accident != "none")


@BOTH
def test_the_search_has_the_memory_of_what_was_lost(probing, trainer):
    """The model that diverged is gone before another is made; so is one of the search's before the next."""
    found = probing.call("held", backend=trainer)
    assert len(found) > 1
    assert set(found) == {0}


def test_what_comes_first_is_named():
    weights = {weight.name: np.ones(weight.shape, np.float32) for weight in NETWORK.weights()}
    rows = [row.name for row in NETWORK.rows]
    fine = {row: np.ones(2) for row in rows}

    def found(**changed: Any) -> Culprit | None:
        seen = {"images": np.ones(3), "values": fine, "loss": 1.0, "gradients": fine, **changed}
        return culprit_of(NETWORK, 7, seen.pop("weights", weights), Seen(**seen))

    bad = np.array([1.0, np.nan])
    assert found() is None
    assert found(images=bad, values={**fine, "first": bad}) == Culprit(7, "images")
    assert found(values={**fine, "third": bad, "second": bad}) == Culprit(7, "values", "second")
    assert found(gradients={**fine, "first": bad, "second": bad}) == Culprit(7, "gradient", "second")
    assert found(loss=float("inf"), gradients={**fine, "first": bad}) == Culprit(7, "loss")
    broken = {**weights, "second.bias": np.full(5, np.inf, np.float32)}
    assert found(weights=broken, values={**fine, "second": bad}) == Culprit(7, "weights", "second")
