"""Augmentation: what may be written, what is drawn for whom, and what the reference makes of it, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.data.augment import Augment
from netspec.data.draw import beta, draw, mixed_targets
from netspec.reference.augment import augmented
from netspec.spec.load import parse_spec
from netspec.spec.write import write_yaml
from netspec.tensors import TensorType

IMAGE = TensorType((9, 7, 3))
EVERYTHING = {
    "flip": "both", "rotate": 25, "shift": 0.2, "shear": 0.15, "zoom": 0.3, "crop": 2, "brightness": 0.4,
    "contrast": 0.4, "erase": 0.5, "mixup": 0.4, "cutmix": 1.0,
}  # fmt: skip


def pictures(count: int = 40, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *IMAGE.shape), dtype=np.uint8)


def drawn(augment: Augment, count: int = 40, seed: int = 3, epoch: int = 1):
    return draw(augment, count, IMAGE, seed, epoch)


def test_a_list_is_a_mapping_and_numbers_are_short():
    written = [{"flip": "horizontal", "rotate": 40}, {"shift": 0.2}, {"erase": 0.25}, {"crop": [2, 3]}, {"mixup": 0.4}]
    augment = Augment.model_validate(written)
    assert (augment.flip, augment.rotate, augment.shift, augment.crop) == ("horizontal", 40, (0.2, 0.2), (2, 3))
    assert (augment.erase.probability, augment.mixup.alpha) == (0.25, 0.4)
    assert Augment.model_validate({"flip": True}).flip == "horizontal"
    assert Augment.model_validate({"flip": ["vertical", "horizontal"]}).flip == "both"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([{"flip": "both"}, {"flip": "none"}], "flip is here for the second time"),
        (["flip"], "each entry is a name and its value"),
        ({"rotate": -3}, "greater than or equal to 0"),
        ({"zoom": 1}, "less than 1"),
        ({"fill": "wrap"}, "'nearest', 'constant' or 'reflect'"),
        ({"mixup": {"beta": 1}}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(written, message):
    with pytest.raises(ValidationError, match=message):
        Augment.model_validate(written)


def test_the_resolved_spec_reads_back():
    text = "input: 8x8x1\nlayers:\n  - Flatten\n  - FNN | 10 | Softmax\ndata: digits\ntrain:\n  augment: [flip: true, "
    spec = parse_spec(text + "crop: 2, cutmix: 1, {erase: {area: 0.1}}]\n", "x.yaml")
    again = parse_spec(write_yaml(resolved_spec(spec)), "y.yaml")
    assert again.train.augment == spec.train.augment
    assert compile_spec(again).digest == compile_spec(spec).digest


def test_what_is_drawn_depends_on_seed_epoch_and_image_alone():
    augment = Augment.model_validate(EVERYTHING)
    first, longer = drawn(augment, 20), drawn(augment, 40)
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, longer.arrays()[name][:20], err_msg=name)
        for other in (drawn(augment, 20, seed=4), drawn(augment, 20, epoch=2)):
            assert (other.arrays()[name] != array).any(), name
    alone = drawn(Augment(rotate=25))
    mixed = drawn(Augment(rotate=25, brightness=0.2, erase=0.5, mixup=1.0))
    np.testing.assert_array_equal(alone.maps, mixed.maps)


def test_what_is_drawn_is_pinned():
    # Fixed for good: trainings are compared across versions.
    augment = Augment(flip="horizontal", crop=2, brightness=0.5)
    found = draw(augment, 3, TensorType((8, 8, 1)), seed=7, epoch=1)
    np.testing.assert_allclose(found.brightness, BRIGHTNESS, rtol=1e-5)
    assert found.maps[:, :, 2].tolist() == OFFSETS


BRIGHTNESS = [1.445731, 0.726539, 1.34072]
OFFSETS = [[-2.0, -1.0], [-1.0, 9.0], [-1.0, 1.0]]


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0])
def test_beta_is_the_inverse_of_its_distribution(alpha):
    special = pytest.importorskip("scipy.special")
    u = np.linspace(0.0005, 0.4995, 250)
    np.testing.assert_allclose(special.betainc(alpha, alpha, beta(u, alpha)), u, atol=1e-5)  # a table of 4,096 steps
    np.testing.assert_allclose(beta(1 - u, alpha), 1 - beta(u, alpha), atol=1e-12)


MODES = {"nearest": "nearest", "constant": "grid-constant", "reflect": "mirror"}


@pytest.mark.parametrize("fill", MODES)
def test_maps_are_applied_as_scipy_does(fill):
    ndimage = pytest.importorskip("scipy.ndimage")
    augment = Augment(rotate=60, shift=0.4, shear=0.3, zoom=0.5, flip="both", crop=3, fill=fill, fill_value=77.0)
    images, found = pictures(12), drawn(augment, 12)
    ours = augmented(images, found, augment)
    for image, own, map_ in zip(images, ours, found.maps.astype(np.float64), strict=True):
        for channel in range(3):
            theirs = ndimage.affine_transform(
                image[..., channel].astype(np.float64), map_[:, :2], map_[:, 2], order=1, mode=MODES[fill], cval=77.0
            )
            np.testing.assert_allclose(own[..., channel], theirs, atol=1e-4)


@pytest.mark.parametrize(("fill", "mode"), [("nearest", "edge"), ("constant", "constant"), ("reflect", "reflect")])
def test_flips_and_crops_are_slices_of_numpy_pads(fill, mode):
    augment = Augment(flip="both", crop=(2, 3), fill=fill)
    images, found = pictures(), drawn(augment)
    ours = augmented(images, found, augment)
    seen = set()
    for image, own, map_ in zip(images, ours, found.maps, strict=True):
        turned = image[:: int(map_[0, 0]), :: int(map_[1, 1])]
        padded = np.pad(turned, ((2, 2), (3, 3), (0, 0)), mode=mode)
        cuts = [
            (top, left)
            for top in range(5)
            for left in range(7)
            if np.array_equal(padded[top : top + 9, left : left + 7], own)
        ]
        assert len(cuts) == 1
        seen.add((map_[0, 0], map_[1, 1], *cuts[0]))
    assert {found[0] for found in seen} == {-1, 1} == {found[1] for found in seen}
    assert {found[2] for found in seen} == {*range(5)}
    assert {found[3] for found in seen} == {*range(7)}


@pytest.mark.parametrize(
    ("augment", "map_"),
    [
        (Augment(rotate=90), lambda u: [[np.cos(u), np.sin(u)], [-np.sin(u), np.cos(u)]]),
        (Augment(zoom=0.5), lambda u: [[u, 0], [0, u]]),
    ],
)
def test_maps_turn_and_scale_around_the_middle(augment, map_):
    maps = drawn(augment, 500).maps.astype(np.float64)
    middle = np.array([4, 3, 1])
    np.testing.assert_allclose(maps @ middle, np.broadcast_to([4, 3], (500, 2)), atol=1e-5)
    value = np.arctan2(maps[:, 0, 1], maps[:, 0, 0]) if augment.rotate else maps[:, 0, 0]
    np.testing.assert_allclose(maps[:, :, :2], np.array(map_(value)).transpose(2, 0, 1) if augment.rotate else
                               value[:, None, None] * np.eye(2), atol=1e-6)  # fmt: skip
    extremes = np.deg2rad([-90, 90]) if augment.rotate else [1 / 1.5, 2]
    assert abs(value.min() - extremes[0]) < 0.05
    assert abs(value.max() - extremes[1]) < 0.05


def test_brightness_and_contrast():
    augment = Augment(brightness=0.4, contrast=0.4)
    images, found = pictures(), drawn(augment)
    for image, own, bright, contrast in zip(
        images, augmented(images, found, augment), found.brightness, found.contrast, strict=True
    ):
        lit = np.clip(image.astype(np.float64) * bright, 0, 255)
        np.testing.assert_allclose(own, np.clip(lit.mean() + contrast * (lit - lit.mean()), 0, 255), atol=1e-3)
    assert found.brightness.min() < 0.7 < 1.3 < found.brightness.max()
    # Numbers that are no bytes have no white to be cut off at.
    assert augmented(images.astype(np.float32), found, augment).max() > 256


def test_erased_rectangles():
    augment = Augment(erase={"probability": 0.7, "area": 0.2, "aspect": 1, "value": 9})
    images, found = pictures(400), draw(augment, 400, IMAGE, 3, 1)
    ours = augmented(images, found, augment)
    top, left, bottom, right = found.erased.T
    there = bottom > 0
    assert 0.6 < there.mean() < 0.8
    assert {*(bottom - top)[there]} == {*(right - left)[there]} == {4}  # the side of a fifth of 63 pixels, 3.5, rounded
    assert {*top[there]} == {*range(6)}
    assert {*left[there]} == {*range(4)}
    for image, own, box in zip(images, ours, found.erased, strict=True):
        wanted = image.astype(np.float32)
        wanted[box[0] : box[2], box[1] : box[3]] = 9
        np.testing.assert_array_equal(own, wanted)


def test_mixed_images_and_labels():
    augment = Augment(mixup=0.6, cutmix={"alpha": 1.0, "probability": 0.5})
    images, found, labels = pictures(200), draw(augment, 200, IMAGE, 3, 1), np.arange(200) % 4
    ours, targets = augmented(images, found, augment), mixed_targets(labels, found.share, 4)
    blended, cut = found.blend > 0, (found.cut != 0).any(axis=1)
    assert not (blended & cut).any()
    assert 70 < blended.sum() < 130
    assert 30 < cut.sum() < 70
    for k in range(200):
        other, box, share = images[k - 1].astype(np.float64), found.cut[k], float(found.share[k])
        wanted = images[k] * (1 - np.float64(found.blend[k])) + other * np.float64(found.blend[k])
        wanted[box[0] : box[2], box[1] : box[3]] = other[box[0] : box[2], box[1] : box[3]]
        np.testing.assert_allclose(ours[k], wanted, atol=1e-4)
        if cut[k]:
            assert share == pytest.approx((box[2] - box[0]) * (box[3] - box[1]) / 63)
        wanted = np.eye(4)[labels[k]] * (1 - share) + np.eye(4)[labels[k - 1]] * share
        np.testing.assert_allclose(targets[k], wanted, atol=1e-6)
