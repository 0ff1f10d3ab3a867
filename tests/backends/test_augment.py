"""Augmentation on every backend: the pixels of the numpy reference, and trainings that see the same images."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from netspec.backend.worker import Worker
from netspec.data.augment import Augment
from netspec.data.dataset import Dataset, Split
from netspec.data.draw import draw
from netspec.layers import Conv, Dense, Flatten
from netspec.reference.augment import augmented
from netspec.tensors import TensorType
from netspec.training.settings import TrainSettings
from netspec.verify.inputs import biting_weights
from tests.cases import chain

IMAGE = TensorType((11, 8, 3))
TOLERANCE = 1e-4
"""Of the range of the pixels, where they are interpolated or averaged."""


class Probe:
    """What runs in the workers: a backend's own augmentation of a batch."""

    def torch(self, images, drawn, augment):
        import torch
        from netspec_torch.augment import augmented

        arrays = {name: torch.from_numpy(array) for name, array in drawn.arrays().items()}
        return augmented(torch.from_numpy(images), arrays, augment).numpy()

    def keras(self, images, drawn, augment):
        from keras import ops
        from netspec_keras.augment import augmented

        return ops.convert_to_numpy(augmented(images, drawn, augment))

    def places(self, augment):
        """Where the numbers of two epochs lie in memory, and which of them are others."""
        import torch
        from netspec_torch.augment import Augmenter

        augmenter = Augmenter(augment, 1, 24, IMAGE, 3, torch.device("cpu"))
        found = []
        for epoch in (1, 2):
            augmenter.begin(epoch)
            found.append({name: (each.data_ptr(), each.numpy().copy()) for name, each in augmenter.drawn.items()})
        return found


probe = Probe()


@pytest.fixture(scope="module", params=["torch", "keras"])
def augmenting(request):
    """A backend's augmentation in a process of its own."""
    if find_spec(request.param) is None:
        pytest.skip(f"pip install 'netspec[{request.param}]'")
    with Worker("tests.backends.test_augment:probe") as worker:
        yield lambda **arguments: worker.call(request.param, **arguments)


def pictures(kind: str, count: int = 24) -> np.ndarray:
    random = np.random.default_rng(5)
    if kind == "bytes":
        return random.integers(0, 256, (count, *IMAGE.shape), dtype=np.uint8)
    return random.standard_normal((count, *IMAGE.shape)).astype(np.float32)


AFFINE = {"rotate": 50, "shift": (0.4, 0.3), "shear": (0.2, 0.1), "zoom": 0.4, "flip": "both", "crop": 3}


@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect"])
def test_affine_maps_give_the_pixels_of_the_reference(augmenting, fill, kind):
    augment = Augment(**AFFINE, fill=fill, fill_value=0.25)
    images, drawn = pictures(kind), draw(augment, 24, IMAGE, 7, 2)
    wanted, found = augmented(images, drawn, augment), augmenting(images=images, drawn=drawn, augment=augment)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * (255 if kind == "bytes" else 1))
    still = images.astype(np.float32)
    assert np.abs(wanted - still).max() > 1  # they were moved at all


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect"])
def test_flips_crops_and_erased_boxes_are_equal_to_the_bit(augmenting, fill):
    augment = Augment(flip="both", crop=(12, 3), fill=fill, fill_value=0.1, erase={"probability": 0.6, "value": 0.3})
    for kind in ("bytes", "floats"):
        images, drawn = pictures(kind), draw(augment, 24, IMAGE, 8, 1)
        wanted, found = augmented(images, drawn, augment), augmenting(images=images, drawn=drawn, augment=augment)
        np.testing.assert_array_equal(found, wanted)
        assert (wanted != images).any()


def test_a_recorded_step_finds_the_numbers_of_every_epoch_at_their_places():
    pytest.importorskip("torch")
    augment = Augment(**AFFINE, brightness=0.2, contrast=0.2, erase=1.0, mixup=1.0, cutmix=1.0)
    with Worker("tests.backends.test_augment:probe") as worker:
        first, second = worker.call("places", augment=augment)
    assert set(first) == {"maps", "brightness", "contrast", "erased", "blend", "cut", "share"}
    for name, (place, values) in first.items():
        assert second[name][0] == place
        assert (second[name][1] != values).any()


def test_cutmix_is_equal_to_the_bit(augmenting):
    augment = Augment(flip="horizontal", cutmix=1.0)
    images, drawn = pictures("bytes"), draw(augment, 24, IMAGE, 8, 1)
    found = augmenting(images=images, drawn=drawn, augment=augment)
    np.testing.assert_array_equal(found, augmented(images, drawn, augment))


COLOURS = {"brightness": 0.5, "contrast": 0.5}


@pytest.mark.parametrize("settings", [{"brightness": 0.5}, {"contrast": 0.5}, {"mixup": 0.5}, COLOURS], ids=str)
@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_colours_and_mixtures(augmenting, settings, kind):
    augment = Augment(**settings)
    images, drawn = pictures(kind), draw(augment, 24, IMAGE, 9, 1)
    found = augmenting(images=images, drawn=drawn, augment=augment)
    atol = TOLERANCE * (255 if kind == "bytes" else 1)
    np.testing.assert_allclose(found, augmented(images, drawn, augment), rtol=0, atol=atol)


def test_mixup_of_numbers_that_are_no_image(augmenting):
    augment = Augment(mixup=0.5)
    rows, drawn = pictures("floats")[:, 0, 0], draw(augment, 24, TensorType((3,)), 9, 1)
    found = augmenting(images=rows, drawn=drawn, augment=augment)
    np.testing.assert_allclose(found, augmented(rows, drawn, augment), rtol=0, atol=1e-6)


def test_an_image_of_one_row(augmenting):
    flat = TensorType((1, 6, 1))
    augment = Augment(shift=0.5, fill="reflect")
    images, drawn = np.arange(48, dtype=np.uint8).reshape(8, 1, 6, 1), draw(augment, 8, flat, 9, 1)
    found = augmenting(images=images, drawn=drawn, augment=augment)
    np.testing.assert_allclose(found, augmented(images, drawn, augment), rtol=0, atol=1e-3)


def history(workers, backend, augment, loss="cross_entropy"):
    """The losses of a training, with images of bytes and three classes."""
    if find_spec(backend) is None:
        pytest.skip(f"pip install 'netspec[{backend}]'")
    network = chain("small", IMAGE.shape, Conv(filters=4, kernel=3), Flatten(), Dense(units=3))
    split = Split(pictures("bytes", 30), np.arange(30) % 3)
    settings = TrainSettings(
        loss=loss, optimizer={"sgd": {"learning_rate": 1e-8}}, batch_size=8, epochs=2, seed=5, augment=augment
    )
    _, rows = workers[backend].call(
        "train",
        progress=lambda event, **values: None,
        network=network,
        weights=biting_weights(network, seed=3),
        dataset=Dataset("made", ("a", "b", "c"), split, split),
        settings=settings,
        device="cpu",
    )
    return {name: np.array([row[name] for row in rows]) for name in ("loss", "accuracy", "val_loss")}


@pytest.mark.parametrize(
    "augment", [{"flip": "both", "crop": 2}, AFFINE, {"mixup": 1.0, "cutmix": 1.0, "rotate": 10}], ids=str
)
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_both_frameworks_train_on_the_same_images(workers, augment, loss):
    torch, keras = (history(workers, backend, augment, loss) for backend in ("torch", "keras"))
    plain = history(workers, "torch", None, loss)
    for name, values in torch.items():
        np.testing.assert_allclose(values, keras[name], rtol=2e-4, err_msg=name)
    assert (np.abs(torch["loss"] / plain["loss"] - 1) > 1e-3).all()  # what is trained on is changed,
    np.testing.assert_allclose(torch["val_loss"], plain["val_loss"], rtol=0.05)  # what is validated is not
