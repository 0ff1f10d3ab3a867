"""The numbers by which images are augmented: drawn once, in numpy, for every image of an epoch.

What is drawn for an image depends on the seed, the epoch and its place in the training images alone: not on the batch
that it is in, on the backend, or on which other augmentations there are.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.data.augment import Augment, Erase
from netspec.tensors import TensorType

Floats = NDArray[np.float32]
Boxes = NDArray[np.int64]

STREAM = 1 << 63
"""Beside the seed, which is smaller, in the key: another stream of random words than that of the epoch's order."""
DRAWS = (
    "flip_rows", "flip_columns", "rotate", "shift_rows", "shift_columns", "shear_rows", "shear_columns", "zoom",
    "crop_rows", "crop_columns", "brightness", "contrast", "erase", "erase_area", "erase_aspect", "erase_top",
    "erase_left", "mix", "mix_which", "mix_share", "mix_top", "mix_left",
)  # fmt: skip
"""What each of an image's random words is for; a new one goes to the end of the room that there is."""
WORDS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What is done to each of n images; None for what is not done to any.

    A box is top, left, bottom, right, the last two outside of it; one of zeros is none.
    """

    maps: Floats | None
    """[n, 2, 3]: the pixel at row y, column x is what lies at maps @ (y, x, 1), row and column, in the image as it
    was."""
    brightness: Floats | None
    """[n]: the factor of every pixel."""
    contrast: Floats | None
    """[n]: the factor of the differences from the mean."""
    erased: Boxes | None
    """[n, 4]: the box that is erased."""
    blend: Floats | None
    """[n]: how much of the other image is in the mean."""
    cut: Boxes | None
    """[n, 4]: the box that is the other image's."""
    share: Floats | None
    """[n]: how much of the label is the other image's."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is done, by its name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in found.items() if array is not None}

    def take(self, chosen: NDArray[np.int64] | slice) -> Drawn:
        """What is done to these images."""
        every = (getattr(self, field.name) for field in fields(self))
        return Drawn(*(None if array is None else array[chosen] for array in every))


def draw(augment: Augment, count: int, given: TensorType, seed: int, epoch: int) -> Drawn:
    """What is done in an epoch to each of `count` images of the type `given`; epochs count from 1."""
    key = np.array([seed + STREAM, epoch], dtype=np.uint64)
    words = np.random.Philox(key=key).random_raw(count * WORDS).reshape(count, WORDS)
    u = {name: (words[:, at] >> np.uint64(11)).astype(np.float64) * 2.0**-53 for at, name in enumerate(DRAWS)}
    height, width = given.spatial if given.rank == 3 else (1, 1)
    blend, cut, share = _mixed(augment, u, height, width)
    return Drawn(
        maps=affine_maps(augment, u, height, width).astype(np.float32) if augment.moves else None,
        brightness=_around_one(u["brightness"], augment.brightness) if augment.brightness else None,
        contrast=_around_one(u["contrast"], augment.contrast) if augment.contrast else None,
        erased=_erased(augment.erase, u, height, width) if augment.erase else None,
        blend=blend,
        cut=cut,
        share=share,
    )


def affine_maps(augment: Augment, u: dict[str, NDArray[np.float64]], height: int, width: int) -> NDArray[np.float64]:
    """[n, 2, 3] from where a pixel is to where its value was, rows before columns; `u` are numbers in [0, 1).

    An image is flipped, zoomed, sheared, rotated and moved, all around its middle, in this order; so the inverse of
    each stands here from the right to the left. Flips and crops alone give whole numbers, exactly.
    """
    count = len(u["zoom"])
    signed = {name: 2 * values - 1 for name, values in u.items()}
    angle = np.deg2rad(augment.rotate) * signed["rotate"]
    linear = _matrices(np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle))
    one = np.ones(count)
    shear = _matrices(one, augment.shear[0] * signed["shear_rows"], augment.shear[1] * signed["shear_columns"], one)
    scale = 1 / (1 + augment.zoom * signed["zoom"])
    mirrored = [
        np.where((u[name] < 0.5) & (augment.flip in (which, "both")), -1.0, 1.0)
        for name, which in (("flip_rows", "vertical"), ("flip_columns", "horizontal"))
    ]
    zero = np.zeros(count)
    linear = _matrices(mirrored[0] * scale, zero, zero, mirrored[1] * scale) @ shear @ linear
    moved = np.stack(
        [
            signed[f"shift_{axis}"] * augment.shift[at] * size + np.floor(u[f"crop_{axis}"] * (2 * crop + 1)) - crop
            for at, (axis, size, crop) in enumerate(
                zip(("rows", "columns"), (height, width), augment.crop, strict=True)
            )
        ],
        axis=1,
    )
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = middle - (linear @ (middle + moved)[..., np.newaxis])[..., 0]
    return np.concatenate([linear, offset[..., np.newaxis]], axis=2)


def _matrices(*entries: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(entries, axis=1).reshape(-1, 2, 2)


def _around_one(u: NDArray[np.float64], size: float) -> Floats:
    return (1 + size * (2 * u - 1)).astype(np.float32)


def _erased(erase: Erase, u: dict[str, NDArray[np.float64]], height: int, width: int) -> Boxes:
    least, most = erase.area
    area = (least + (most - least) * u["erase_area"]) * height * width
    longer = erase.aspect ** (u["erase_aspect"] - 0.5)  # the square root of a ratio between 1 / aspect and aspect
    sides = np.sqrt(area) * longer, np.sqrt(area) / longer
    boxes = _boxes(sides, (u["erase_top"], u["erase_left"]), (height, width))
    return boxes * (u["erase"] < erase.probability)[:, np.newaxis]


def _boxes(
    sides: tuple[NDArray[np.float64], NDArray[np.float64]],
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
    sizes: tuple[int, int],
) -> Boxes:
    """Boxes of about these sides that lie in the image as a whole, anywhere."""
    whole = [np.minimum(np.rint(side), size) for side, size in zip(sides, sizes, strict=True)]
    begin = [np.floor(place * (size - side + 1)) for place, side, size in zip(places, whole, sizes, strict=True)]
    return np.stack([*begin, begin[0] + whole[0], begin[1] + whole[1]], axis=1).astype(np.int64)


def _mixed(
    augment: Augment, u: dict[str, NDArray[np.float64]], height: int, width: int
) -> tuple[Floats | None, Boxes | None, Floats | None]:
    """How much of another image is blended in, which box is its own, and how much of the label is."""
    if not augment.mixes:
        return None, None, None
    both = augment.mixup is not None and augment.cutmix is not None
    blends = (u["mix_which"] < 0.5) if both else np.full(len(u["mix"]), augment.mixup is not None)
    share, blend, cut = np.zeros(len(blends)), None, None
    if augment.mixup is not None:
        mixed = blends & (u["mix"] < augment.mixup.probability)
        blend = np.where(mixed, beta(u["mix_share"], augment.mixup.alpha), 0.0)
        share = blend
    if augment.cutmix is not None:
        mixed = ~blends & (u["mix"] < augment.cutmix.probability)
        side = np.sqrt(beta(u["mix_share"], augment.cutmix.alpha))
        cut = _boxes((side * height, side * width), (u["mix_top"], u["mix_left"]), (height, width))
        cut = cut * mixed[:, np.newaxis]
        share = share + (cut[:, 2] - cut[:, 0]) * (cut[:, 3] - cut[:, 1]) / (height * width)
    return None if blend is None else blend.astype(np.float32), cut, share.astype(np.float32)


def beta(u: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Numbers in [0, 1] with the distribution Beta(alpha, alpha), of uniform ones: its inverse, by a table.

    numpy's own generator may give others in another version. Up to one half the density x^(alpha-1) (1-x)^(alpha-1)
    is integrated over s = x^alpha, in which it has no pole; the rest is its mirror image.
    """
    s = np.linspace(0, 0.5**alpha, 4097)
    density = (1 - s ** (1 / alpha)) ** (alpha - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    half = np.interp(np.minimum(u, 1 - u), below / below[-1] / 2, s) ** (1 / alpha)
    return np.where(u < 0.5, half, 1 - half)


def mixed_targets(labels: NDArray[np.int64], share: Floats, outputs: int) -> Floats:
    """One-hot rows [n, outputs] of which `share` is that of the image before, of the first that of the last one."""
    own = np.eye(outputs, dtype=np.float32)[labels]
    return own * (1 - share)[:, np.newaxis] + np.roll(own, 1, axis=0) * share[:, np.newaxis]
