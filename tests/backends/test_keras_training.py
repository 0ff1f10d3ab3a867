"""Training with Keras: the adapted layers and optimisers against their formulas, and `fit` against a loop in numpy."""

from __future__ import annotations

from math import isfinite

import numpy as np
import pytest

from netspec.backend.worker import Worker
from netspec.data.batches import batches, epoch_order
from netspec.data.dataset import Dataset, Split
from netspec.data.digits import read
from netspec.errors import BackendError, SpecError
from netspec.training import COLUMNS, DivergedError, TrainSettings, learning_rate, loss_targets
from netspec.training.record import Diverged, Record
from netspec.weights import draw
from tests.backends.test_keras_render import compiled

STEPS = 50


class Probe:
    """Single layers and optimisers in float64, answered in a worker of their own."""

    def batch_norm(self, inputs, momentum):
        """The running mean and variance after every batch of `inputs`."""
        from netspec_keras.adapted import BatchNormalization
        from netspec_keras.model import precision

        with precision("float64"):
            layer = BatchNormalization(momentum=momentum)
            found = []
            for batch in inputs:
                layer(batch, training=True)
                found.append((np.array(layer.moving_mean), np.array(layer.moving_variance)))
            assert np.array_equal(layer(inputs[0], training=False), layer(inputs[0], training=False))
            found.append((np.array(layer.moving_mean), np.array(layer.moving_variance)))
        return found

    def reads(self, bad, steps):
        """How often a loss was read during an epoch of `steps`, and what was raised; reports are never due.

        The losses from step `bad` on are not finite.
        """
        from netspec_keras.trainer import Callbacks, Watch

        count = 0

        class Loss:
            def __init__(self, value):
                self.value = value

            def __float__(self):
                nonlocal count
                count += 1
                return self.value

        class Nothing:
            optimizer = history = None
            done = 0

            def begin(self, epoch):
                pass

        class Never(Record):
            def due(self):
                return False

        record = Never(TrainSettings(), steps, lambda event, **values: None)
        watch = Watch(None, Nothing(), record)
        watch.rate = record.settings.optimizer.learning_rate
        callbacks = Callbacks([watch])
        callbacks.on_epoch_begin(0)
        for step in range(steps):
            callbacks.on_train_batch_begin(step)
            callbacks.on_train_batch_end(step, {"loss": Loss(float("nan") if step >= bad else 1.0)})
        during, error = count, ""
        try:
            watch.refuse_divergence()
        except Diverged as diverged:
            error = str(record.diverged(diverged, lambda: None))
        return during, error

    def trained_at_once(self, most, **arguments):
        """How many steps go at once where `most` may, and the weights and losses of such a training."""
        from netspec_keras import trainer

        before, trainer.MOST_AT_ONCE = trainer.MOST_AT_ONCE, most
        try:
            record = Record(arguments["settings"], 5, lambda event, **values: None)
            given = trainer.Batches(arguments["dataset"].train, arguments["settings"].batch_size)
            count = trainer.steps_at_once(arguments["network"], record, given)
            weights, history = trainer.train(**arguments, device="cpu", progress=lambda event, **values: None)
        finally:
            trainer.MOST_AT_ONCE = before
        return count, weights, [row["loss"] for row in history]

    def resident(self, available):
        """Whether TensorFlow gets a copy of 1,000 bytes of images where so many bytes of memory are available."""
        from unittest.mock import patch

        from netspec_keras import batches

        split = Split(np.zeros((10, 10, 10), np.uint8), np.zeros(10, np.int64))
        with patch.object(batches, "memory_available", lambda: available):
            made = batches.Batches(split, 5)
            return made.source() is not made

    def copies(self):
        """How often images are copied for three pipelines, the images of the first batch of each, and whether the copy
        is there once nothing reads it; there is less memory with every question.
        """
        import gc
        import weakref
        from unittest.mock import patch

        import tensorflow as tf
        from netspec_keras import batches

        split = Split(np.arange(1000, dtype=np.uint16).reshape(10, 10, 10), np.zeros(10, np.int64))
        available = iter([8000, 0, 0])
        with (
            patch.object(batches, "memory_available", lambda: next(available)),
            patch.object(tf, "constant", wraps=tf.constant) as copy,
        ):
            made = batches.Batches(split, 5)
            found = [next(iter(made.source()))[0].numpy() for _ in range(3)]
            count = sum(call.args[0] is split.images for call in copy.call_args_list)
        there = weakref.ref(made._resident[0])
        del made, copy
        gc.collect()
        return count, found, there() is not None

    def tensor_float_32(self, **arguments):
        """Whether TensorFloat-32 was allowed at the ends of a training's epochs."""
        import tensorflow as tf
        from netspec_keras.trainer import train

        during = []

        def progress(event, **values):
            if event == "epoch":
                during.append(tf.config.experimental.tensor_float_32_execution_enabled())

        train(**arguments, device="cpu", progress=progress)
        return during


probe = Probe()


@pytest.fixture(scope="module")
def probing():
    with Worker("tests.backends.test_keras_training:probe") as worker:
        yield worker


@pytest.fixture(scope="module")
def keras(workers):
    return workers["keras"]


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 2, 5), (2, 5)])
def test_running_variance_is_unbiased(probing, shape):
    random = np.random.default_rng(1)
    inputs = [random.normal(3, 2, size=shape) for _ in range(STEPS)]
    found = probing.call("batch_norm", inputs=inputs, momentum=0.9)
    mean, variance = np.zeros(5), np.ones(5)
    for given, (running_mean, running_variance) in zip(inputs, found, strict=False):
        axes = tuple(range(given.ndim - 1))
        mean = 0.9 * mean + (1 - 0.9) * given.mean(axes)
        variance = 0.9 * variance + (1 - 0.9) * given.var(axes, ddof=1)
        np.testing.assert_allclose(running_mean, mean, rtol=1e-13)
        np.testing.assert_allclose(running_variance, variance, rtol=1e-12)
    np.testing.assert_array_equal(found[-1], found[-2])


def linear(units: int, last: str = "") -> str:
    return f"name: linear\ninput: 6\nlayers:\n  - FNN | {units} | {last}\n"


def toy(count: int = 33, classes: int = 3) -> Dataset:
    random = np.random.default_rng(4)
    labels = random.integers(0, classes, size=count)
    images = random.normal(size=(count, 6)).astype(np.float32) + labels[:, np.newaxis].astype(np.float32)
    split = Split(images, labels.astype(np.int64))
    return Dataset("toy", tuple("abc"[:classes]), split, split.take(np.arange(10)), split)


def quiet(event, **values):
    """Nobody looks."""


def by_hand(network, dataset, settings, activate):
    """A linear model trained by gradient descent in numpy: its weights and losses, epoch for epoch."""
    weights = {name: value.astype(np.float64) for name, value in draw(network, settings.seed).items()}
    kernel, bias = weights["dense_1.kernel"], weights["dense_1.bias"]
    step, steps = 0, settings.epochs * (len(dataset.train) // settings.batch_size)
    for epoch in range(1, settings.epochs + 1):
        order = epoch_order(len(dataset.train), settings.seed, epoch)
        for images, labels in batches(dataset.train, settings.batch_size, order):
            outputs = activate(images @ kernel + bias)
            gradient = (outputs - loss_targets(labels, outputs.shape[1])) / len(labels)
            if settings.loss.name != "cross_entropy":
                gradient *= (2 if settings.loss.name == "mean_squared_error" else 1) / outputs.shape[1]
            rate = learning_rate(settings.optimizer.learning_rate, settings.schedule, step, steps, settings.epochs)
            kernel, bias = kernel - rate * images.T @ gradient, bias - rate * gradient.sum(0)
            step += 1
    assert step == steps
    return {"dense_1.kernel": kernel, "dense_1.bias": bias}


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("loss", "units", "last", "classes", "activate"),
    [
        ("cross_entropy", 3, "Softmax", 3, softmax),
        ("cross_entropy", 3, "-", 3, softmax),
        ("binary_cross_entropy", 1, "Sigmoid", 2, lambda logits: 1 / (1 + np.exp(-logits))),
        ("binary_cross_entropy", 3, "Sigmoid", 3, lambda logits: 1 / (1 + np.exp(-logits))),
        ("mean_squared_error", 3, "-", 3, lambda outputs: outputs),
    ],
)
def test_fit_is_gradient_descent_in_our_order(keras, loss, units, last, classes, activate):
    network, dataset = compiled(linear(units, last)), toy(classes=classes)
    # 33 images in batches of 8: the single image that is left joins the last batch.
    settings = TrainSettings.model_validate(
        {
            "loss": loss,
            "optimizer": {"sgd": {"learning_rate": 0.1}},
            "schedule": "cosine",
            "batch_size": 8,
            "epochs": 3,
            "seed": 5,
            "monitor": "loss",
        }
    )
    found, history = keras.call(
        "train",
        network=network,
        weights=draw(network, settings.seed),
        dataset=dataset,
        settings=settings,
        device="cpu",
        progress=quiet,
    )
    assert [row["loss"] for row in history] == sorted((row["loss"] for row in history), reverse=True)
    for name, expected in by_hand(network, dataset, settings, activate).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)
    assert history[-1]["learning_rate"] == pytest.approx(learning_rate(0.1, settings.schedule, 11, 12, 3), rel=1e-12)


DIGITS = """\
name: small
input: 8x8x1
layers:
  - Rescale   | 1/16
  - CNN       | 16, 3 | - | padding=same
  - BatchNorm | momentum=0.8 | ReLU
  - MaxPool   | 2
  - Flatten
  - Dropout   | 0.1
  - FNN       | 10 | Softmax
"""


def digits() -> Dataset:
    train, test = read(lambda event, **values: None)
    return Dataset("digits", tuple("0123456789"), train.take(np.arange(1200)), train.take(np.arange(1200, 1438)), test)


@pytest.fixture(scope="module")
def trained(keras):
    network, events = compiled(DIGITS), []
    settings = TrainSettings.model_validate({"epochs": 5, "optimizer": {"adam": {"learning_rate": 0.01}}, "seed": 3})
    arguments = {
        "network": network,
        "weights": draw(network, 0),
        "dataset": digits(),
        "settings": settings,
        "device": "auto",
    }

    def again(report=quiet):
        return keras.call("train", progress=report, **arguments)

    weights, history = again(lambda event, **values: events.append((event, values)))
    return network, weights, history, events, again


def test_digits_are_learnt(keras, trained):
    network, weights, history, events, _ = trained
    assert [set(row) for row in history] == [set(COLUMNS)] * 5
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    test = digits().test
    outputs = keras.call("predict", network=network, weights=weights, inputs={"input": test.images})["output"]
    assert (outputs.argmax(1) == test.labels).mean() > 0.95
    assert [values["epoch"] for event, values in events if event == "epoch"] == [1, 2, 3, 4, 5]
    steps = [values for event, values in events if event == "step"]
    assert all(values["total"] == 5 * 38 and 1 <= values["step"] <= 5 * 38 for values in steps)


def test_the_best_epoch_is_kept(keras, trained):
    network, weights, history, _, _ = trained
    validation = digits().validation
    outputs = keras.call("predict", network=network, weights=weights, inputs={"input": validation.images})["output"]
    loss = -np.log(outputs[np.arange(len(validation)), validation.labels]).mean()
    assert loss == pytest.approx(min(row["val_loss"] for row in history), rel=1e-4)
    best = min(history, key=lambda row: row["val_loss"])
    assert best["val_accuracy"] == pytest.approx((outputs.argmax(1) == validation.labels).mean(), abs=1e-6)


def test_training_again_is_the_same(trained):
    _, weights, history, _, again = trained
    weights_again, history_again = again()
    assert {name: value.tobytes() for name, value in weights.items()} == {
        name: value.tobytes() for name, value in weights_again.items()
    }
    for row, other in zip(history, history_again, strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}


def test_weights_that_do_not_train_stay(trained):
    network, weights, _, _, _ = trained
    start = draw(network, 0)
    moved = {name for name in weights if not np.array_equal(weights[name], start[name])}
    assert moved == set(start), "every weight moves, and the running statistics too"


def train(keras, text, dataset, **settings):
    network = compiled(text)
    return keras.call(
        "train",
        network=network,
        weights=draw(network, 0),
        dataset=dataset,
        settings=TrainSettings.model_validate(settings),
        device=settings.pop("device", "cpu"),
        progress=quiet,
    )


def test_volumes_with_unequal_dilations_train(keras):
    # TensorFlow states another shape of this gradient, from which it makes no graph (docs/framework-findings.md).
    text = "name: volume\ninput: 6\nlayers:\n  - Reshape | (1,2,1,3)\n"
    text += "  - ConvTranspose | 2, (1,2,4) | ReLU | dilation=(1,2,1)\n  - Flatten\n  - FNN | 3\n"
    trained = train(keras, text, toy(), optimizer="sgd", epochs=1, batch_size=8)
    start = draw(compiled(text), 0)
    assert all(not np.array_equal(value, start[name]) for name, value in trained[0].items())


def test_a_loss_that_is_not_finite_stops(keras):
    with pytest.raises(DivergedError, match=r"not finite at step \d+ of 5 in epoch \d+ \(learning rate 1e\+30\)"):
        train(
            keras,
            linear(3, "-"),
            toy(),
            loss="mean_squared_error",
            optimizer={"sgd": {"learning_rate": 1e30}},
            batch_size=7,
        )


def test_a_loss_is_read_only_for_a_report(probing):
    assert probing.call("reads", bad=100, steps=100) == (0, "")
    during, error = probing.call("reads", bad=7, steps=100)
    assert during == 0
    assert error.startswith("the loss was not finite at step 8 of 100 in epoch 1 (learning rate 0.001)")


def test_steps_that_go_at_once_are_the_same_steps(probing):
    """33 images in 4 batches, three at once and then one; a rate that changes lets none go at once."""
    network = compiled(linear(3, "Softmax"))
    settings = TrainSettings.model_validate({"epochs": 3, "batch_size": 8, "optimizer": "adam"})
    arguments = {"network": network, "weights": draw(network, 0), "dataset": toy(), "settings": settings}
    one, weights, losses = probing.call("trained_at_once", most=1, **arguments)
    several, found, rows = probing.call("trained_at_once", most=3, **arguments)
    assert (one, several) == (1, 3)
    assert losses == rows
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in weights.items()
    }
    changing = settings.model_copy(update={"schedule": TrainSettings.model_validate({"schedule": "cosine"}).schedule})
    assert probing.call("trained_at_once", most=3, **{**arguments, "settings": changing})[0] == 1


@pytest.mark.parametrize(("available", "copied"), [(None, True), (4000, True), (3999, False)])
def test_images_are_copied_only_where_the_memory_suffices(probing, available, copied):
    assert probing.call("resident", available=available) == copied


def test_images_are_copied_once_and_let_go_with_their_batches(probing):
    count, found, there = probing.call("copies")
    assert count == 1
    for images in found:
        assert np.array_equal(images, np.arange(500).reshape(5, 10, 10))
    assert not there


@pytest.mark.parametrize("tf32", [False, True])
def test_gpus_train_in_full_float32_unless_asked(probing, tf32):
    network = compiled(linear(3, "Softmax"))
    settings = TrainSettings(epochs=2, tf32=tf32)
    during = probing.call(
        "tensor_float_32", network=network, weights=draw(network, 0), dataset=toy(), settings=settings
    )
    assert set(during) == {tf32}


def test_batch_norm_cannot_train_on_one_image(keras):
    text = "name: n\ninput: 6\nlayers:\n  - FNN | 3\n  - BatchNorm\n  - FNN | 3 | Softmax\n"
    with pytest.raises(BackendError, match=r"row 'batch_norm_1'.*batches of one image"):
        train(keras, text, toy(), batch_size=1)


def test_a_network_without_weights_is_refused(keras):
    with pytest.raises(BackendError, match="no weights to train"):
        train(keras, "name: n\ninput: 3\nlayers:\n  - Softmax\n", toy())


def test_a_loss_that_does_not_suit_is_refused(keras):
    with pytest.raises(SpecError, match="cross_entropy needs a final softmax"):
        train(keras, linear(3, "Sigmoid"), toy(), loss="cross_entropy")


def test_an_unknown_device_is_refused(keras):
    network = compiled(linear(3, "Softmax"))
    with pytest.raises(BackendError, match=r"no device 'tpu'[\s\S]*auto.*cpu"):
        keras.call(
            "train",
            network=network,
            weights=draw(network, 0),
            dataset=toy(),
            settings=TrainSettings(),
            device="tpu",
            progress=quiet,
        )


def test_uint8_images_are_read_as_they_are(keras):
    """Bytes and the same values as floats train alike."""
    random = np.random.default_rng(1)
    images = random.integers(0, 256, size=(20, 6), dtype=np.uint8)
    labels = random.integers(0, 3, size=20)
    losses = []
    for kind in (np.uint8, np.float32):
        split = Split(images.astype(kind), labels)
        text = "name: n\ninput: 6\nlayers:\n  - Rescale\n  - FNN | 3 | Softmax\n"
        _, history = train(keras, text, Dataset("d", tuple("abc"), split, split, split), epochs=2, batch_size=4)
        losses.append([row["loss"] for row in history])
    assert losses[0] == losses[1]
    assert all(map(isfinite, losses[0]))
