"""Training in PyTorch: optimisers by their formulas, the loop's order and rates, what is kept, what is refused."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from netspec.backend.worker import Worker
from netspec.compile import compile_spec
from netspec.data.batches import epoch_order
from netspec.data.dataset import Dataset, Split
from netspec.errors import BackendError
from netspec.layers import Activation, BatchNorm, Conv, Dense, Dropout, Flatten, GroupNorm
from netspec.spec.load import parse_spec
from netspec.training.history import COLUMNS, DivergedError, best_epoch
from netspec.training.settings import TrainSettings
from netspec.verify.inputs import biting_weights
from tests.cases import chain

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="pip install 'netspec[torch]'")


def dataset(train, labels, classes: int = 2, validation=None) -> Dataset:
    given = Split(train, labels)
    held = validation or given
    return Dataset("made", tuple(map(str, range(classes))), given, held, held)


def trained(workers, network, weights, data, settings):
    """The weights, the history, and every event that was reported."""
    events = []
    found, history = workers["torch"].call(
        "train",
        progress=lambda event, **values: events.append((event, values)),
        network=network,
        weights=weights,
        dataset=data,
        settings=TrainSettings(**settings),
        device="cpu",
    )
    return found, history, events


@pytest.mark.parametrize(
    ("loss", "rows"),
    [
        ("cross_entropy", (Dense(units=2), Activation(function="softmax"))),
        ("cross_entropy", (Dense(units=2),)),
        ("binary_cross_entropy", (Dense(units=1), Activation(function="sigmoid"))),
        ("mean_squared_error", (Dense(units=2), Activation(function="softmax"))),
        ("mean_squared_error", (Dense(units=1), Activation(function="sigmoid"))),
    ],
)
def test_loss_and_accuracy(workers, loss, rows):
    """What the history says of the validation images is what the exported network says."""
    network = chain("loss", (3,), rows)
    weights = biting_weights(network, seed=3)
    random = np.random.default_rng(8)
    images = random.standard_normal((31, 3)).astype(np.float32)
    labels = (images[:, 0] > 0.2).astype(np.int64)
    settings = {"loss": loss, "optimizer": {"adam": {"learning_rate": 0.05}}, "epochs": 30, "batch_size": 8}
    found, history, _ = trained(workers, network, weights, dataset(images, labels), settings)
    assert history[-1]["loss"] < history[0]["loss"]
    outputs = (
        workers["torch"]
        .call("predict", network=network, weights=found, inputs={"input": images})["output"]
        .astype(np.float64)
    )
    if len(rows) == 1:
        outputs = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    both = np.concatenate([1 - outputs, outputs], 1) if outputs.shape[1] == 1 else outputs
    best = history[best_epoch(history, "val_loss") - 1]
    assert best["val_accuracy"] == pytest.approx((both.argmax(1) == labels).mean())
    if loss == "mean_squared_error":
        targets = labels[:, None] if outputs.shape[1] == 1 else np.eye(2)[labels]
        expected = ((outputs - targets) ** 2).mean()
    else:
        expected = -np.log(both[np.arange(31), labels]).mean()
    assert best["val_loss"] == pytest.approx(expected, rel=1e-4)


DIGITS = """
name: small
input: 8x8x1
layers:
  - Rescale   | 1/16
  - CNN       | 8, (3,3) | - | padding=same
  - BatchNorm | -        | ReLU
  - Flatten
  - Dropout   | 0.2
  - FNN       | 10       | Softmax
"""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    images, labels = images.astype(np.uint8).reshape(-1, 8, 8, 1), labels.astype(np.int64)
    held = Split(images[1500:], labels[1500:])
    return Dataset("digits", tuple("0123456789"), Split(images[:1500], labels[:1500]), held, held)


def test_digits_are_learnt(workers, digits):
    network = compile_spec(parse_spec(DIGITS, "small.yaml"))
    weights = biting_weights(network, seed=3)
    settings = {
        "epochs": 4,
        "batch_size": 50,
        "optimizer": {"adam": {"learning_rate": 5e-3}},
        "monitor": "val_accuracy",
    }
    found, history, events = trained(workers, network, weights, digits, settings)
    assert history[-1]["loss"] < history[0]["loss"] / 3
    assert max(row["val_accuracy"] for row in history) > 0.85
    assert [tuple(row) for row in history] == [COLUMNS] * 4
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    outputs = workers["torch"].call(
        "predict", network=network, weights=found, inputs={"input": digits.validation.images}
    )["output"]
    accuracy = (outputs.argmax(1) == digits.validation.labels).mean()
    assert accuracy == pytest.approx(history[best_epoch(history, "val_accuracy") - 1]["val_accuracy"])
    epochs = [values for event, values in events if event == "epoch"]
    assert epochs == [{"epochs": 4, **row} for row in history]
    # Ten reports a second at most, however slow the steps are.
    assert sum(event == "step" for event, _ in events) <= sum(row["seconds"] for row in history) / 0.1 + 4
    assert all(0 < values["step"] <= values["total"] == 120 for event, values in events if event == "step")
    assert all(not np.array_equal(found[name], weights[name]) for name in weights), "running statistics move too"


def test_a_seed_fixes_the_training(workers, digits):
    network = compile_spec(parse_spec(DIGITS, "small.yaml"))
    weights = biting_weights(network, seed=3)

    def run(seed: int):
        settings = {"epochs": 1, "batch_size": 100, "seed": seed}
        return trained(workers, network, weights, digits, settings)[0]["dense_1.kernel"]

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_running_variance_is_unbiased(workers):
    """One step over the whole set: var = momentum * var + (1 - momentum) * n / (n - 1) * variance."""
    network = chain("statistics", (4, 3, 2), BatchNorm(momentum=0.9), Flatten(), Dense(units=2))
    weights = biting_weights(network, seed=3)
    images = np.random.default_rng(8).standard_normal((6, 4, 3, 2)).astype(np.float32) * 3 + 1
    settings = {"epochs": 1, "batch_size": 6}
    found, _, _ = trained(workers, network, weights, dataset(images, np.arange(6) % 2), settings)
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(found["batch_norm_1.mean"], 0.9 * weights["batch_norm_1.mean"] + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(found["batch_norm_1.var"], 0.9 * weights["batch_norm_1.var"] + 0.1 * variance, rtol=1e-5)


FLAT_NORM = chain("flat", (3,), Dense(units=4), BatchNorm(), Dropout(rate=0.1), Dense(units=2))


def test_a_last_image_joins_the_batch_before_it(workers):
    """Nine images in batches of four: BatchNorm could not train on the ninth alone."""
    images = np.random.default_rng(8).standard_normal((9, 3)).astype(np.float32)
    weights = biting_weights(FLAT_NORM, seed=3)
    settings = {"epochs": 2, "batch_size": 4}
    _, history, _ = trained(workers, FLAT_NORM, weights, dataset(images, np.arange(9) % 2), settings)
    assert len(history) == 2


def test_batches_of_one_are_refused_where_a_norm_is_flat(workers):
    images = np.random.default_rng(8).standard_normal((9, 3)).astype(np.float32)
    weights = biting_weights(FLAT_NORM, seed=3)
    with pytest.raises(BackendError, match=r"batch_norm_1.*batches of one image(.|\n)*batch_size of at least 2"):
        trained(workers, FLAT_NORM, weights, dataset(images, np.arange(9) % 2), {"batch_size": 1})


def test_a_loss_that_is_not_finite_says_where(workers):
    images = np.ones((12, 3), np.float32)
    images[epoch_order(12, 0, 1)[7]] = np.nan  # in the second of three batches
    network = chain("nan", (3,), Dense(units=2))
    with pytest.raises(DivergedError, match="not finite at step 2 of 3 in epoch 1"):
        trained(
            workers, network, biting_weights(network, seed=3), dataset(images, np.arange(12) % 2), {"batch_size": 4}
        )


class Probe:
    """A training in a worker of its own, and how precisely torch multiplied meanwhile."""

    def tensor_float_32(self, newer, **arguments):
        """How float32 is multiplied: before, at every report, and after; in matrices and convolutions."""
        import torch
        from netspec_torch.trainer import train

        def allowed():
            return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision

        if newer:
            torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision = "tf32"
        else:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        during = []
        before = allowed()

        def progress(event, **values):
            if event == "epoch":
                during.append(allowed())

        train(**arguments, device="cpu", progress=progress)
        return before, during, allowed()

    def taken(self, images, labels, size, *, done=0, ahead=False, resident=True):
        """The images, labels and targets of the batches of an epoch, and whether each was taken before its turn."""
        import torch
        from netspec_torch.samples import Samples, batches

        given = torch.from_numpy(labels)
        samples = Samples(torch.from_numpy(images), given, given.float(), resident=resident)
        found = list(batches(samples, TrainSettings(batch_size=size, seed=3), 2, done, ahead=ahead))
        return [(own is not samples, [part.numpy() for part in own.take(chosen)]) for own, chosen in found]

    def with_free(self, free, **arguments):
        """What is trained on a device that has so many bytes free, and how many batches a thread gathered."""
        from unittest.mock import patch

        from netspec_torch import samples
        from netspec_torch.trainer import train

        gathered = []

        def fetched(images, places, device):
            for batch in samples_fetched(images, places, device):
                gathered.append(len(batch))
                yield batch

        samples_fetched = samples.fetched
        with patch.object(samples, "free_bytes", lambda device: free), patch.object(samples, "fetched", fetched):
            weights, history = train(**arguments, device="cpu", progress=lambda *_, **__: None)
        return weights, history, gathered


probe = Probe()


@pytest.fixture(scope="module")
def probing():
    with Worker("tests.backends.test_torch_trainer:probe") as worker:
        yield worker


@pytest.mark.parametrize("done", [0, 13])
@pytest.mark.parametrize("resident", [True, False], ids=["on the device", "in main memory"])
@pytest.mark.parametrize("shape", [(7,), (64, 32, 2)], ids=["values", "images"])
def test_batches_that_are_taken_ahead_are_the_same(probing, shape, resident, done):
    count, size = 901, 20  # the last image joins the batch before it
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    given = {"images": images, "labels": np.arange(count), "size": size}
    in_turn = probing.call("taken", **given)
    ahead = probing.call("taken", **given, done=done, ahead=True, resident=resident)
    assert [len(labels) for _, (_, labels, _) in in_turn] == [20] * 44 + [21]
    assert not any(early for early, _ in in_turn)
    assert sum(early for early, _ in ahead) >= 30  # the last one may be alone
    for (_, expected), (_, found) in zip(in_turn[done:], ahead, strict=True):
        for left, right in zip(expected, found, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("augment", [None, {"crop": 1, "mixup": 0.2}], ids=["plain", "augmented"])
def test_images_that_leave_a_gpu_no_room_are_fetched_and_change_no_bit(probing, digits, augment):
    """They may take half of what is free; here a CPU takes the place of the GPU."""
    network = compile_spec(parse_spec(DIGITS, "small.yaml"))
    settings = TrainSettings.model_validate({"epochs": 2, "batch_size": 100, "seed": 3, "augment": augment})
    asked = {"network": network, "weights": biting_weights(network, seed=3), "dataset": digits, "settings": settings}
    size = digits.train.images.nbytes + digits.validation.images.nbytes
    on_cpu, fitting, fetched = (
        probing.call("with_free", free=free, **asked) for free in (None, 2 * size, 2 * size - 1)
    )
    assert on_cpu[2] == fitting[2] == []
    assert sum(fetched[2]) == 2 * len(digits.train)
    for weights, history, _ in (fitting, fetched):
        assert {name: array.tobytes() for name, array in weights.items()} == {
            name: array.tobytes() for name, array in on_cpu[0].items()
        }
        assert [{**row, "seconds": 0} for row in history] == [{**row, "seconds": 0} for row in on_cpu[1]]


@pytest.mark.parametrize(("newer", "tf32"), [(False, False), (True, False), (True, True)])
def test_gpus_train_in_full_float32_unless_asked(probing, newer, tf32):
    network = chain("precise", (3,), Dense(units=2))
    before, during, after = probing.call(
        "tensor_float_32",
        newer=newer,
        network=network,
        weights=biting_weights(network, seed=3),
        dataset=dataset(np.ones((4, 3), np.float32), np.arange(4) % 2),
        settings=TrainSettings(epochs=2, tf32=tf32),
    )
    assert before == after == ("tf32", "tf32")
    assert set(during) == {("tf32", "tf32") if tf32 else ("ieee", "ieee")}


def test_a_training_that_began_on_the_cpu_may_go_on_on_a_gpu():
    """Its checkpoint knows no random numbers of a GPU: those that dropout draws there begin as they would."""
    torch = pytest.importorskip("torch")
    from netspec_torch.ranks import random_states, set_random_states

    known = random_states(torch.device("cpu"))
    torch.rand(3)
    set_random_states(known, torch.device("cuda"))
    assert torch.equal(torch.get_rng_state(), known["cpu"])


def test_an_unknown_device_is_named(workers):
    network = chain("device", (3,), Dense(units=2))
    data = dataset(np.ones((4, 3), np.float32), np.arange(4) % 2)
    with pytest.raises(BackendError, match=r"no device 'tpu' here\n  hint: one of auto, .*cpu"):
        workers["torch"].call(
            "train",
            progress=lambda event, **values: None,
            network=network,
            weights=biting_weights(network, seed=3),
            dataset=data,
            settings=TrainSettings(),
            device="tpu",
        )


def test_a_network_without_weights_cannot_train(workers):
    network = chain("bare", (2, 1, 1), Flatten())
    data = dataset(np.ones((4, 2, 1, 1), np.float32), np.arange(4) % 2)
    with pytest.raises(BackendError, match="bare has no weights to train"):
        trained(workers, network, {}, data, {})


def test_a_norm_of_the_images_themselves_trains(workers):
    """Images need no gradient, and lie with their channels last: there torch's own GroupNorm crashes."""
    layers = (GroupNorm(groups=2), Conv(filters=3, kernel=3), GroupNorm(groups=3), Flatten(), Dense(units=2))
    network = chain("norm_first", (8, 8, 4), *layers)
    images = np.random.default_rng(8).standard_normal((12, 8, 8, 4)).astype(np.float32)
    weights = biting_weights(network, seed=3)
    found, history, _ = trained(workers, network, weights, dataset(images, np.arange(12) % 2), {"epochs": 2})
    assert len(history) == 2
    assert all(not np.array_equal(found[name], weights[name]) for name in weights)


def test_sequences_train(workers):
    network = chain(
        "sequence", (9, 3), (Conv(filters=4, kernel=3), Activation(function="relu")), Flatten(), Dense(units=2)
    )
    random = np.random.default_rng(8)
    images = random.standard_normal((40, 9, 3)).astype(np.float32)
    labels = (images.mean((1, 2)) > 0).astype(np.int64)
    settings = {"epochs": 20, "batch_size": 10, "optimizer": {"adam": {"learning_rate": 0.02}}}
    _, history, _ = trained(workers, network, biting_weights(network, seed=3), dataset(images, labels), settings)
    assert history[-1]["loss"] < history[0]["loss"] / 2
