"""Images or features and their labels in files of arrays, `.npz` and `.npy`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.data.dataset import Split
from netspec.data.labels import Classes
from netspec.data.settings import DataSettings
from netspec.errors import Problem, SpecError
from netspec.tensors import TensorType

Array = NDArray[Any]

INPUTS: Mapping[str, tuple[str, ...]] = {
    "train": ("images", "x", "X", "x_train", "train_images"),
    "validation": ("x_val", "val_images", "x_validation", "validation_images"),
    "test": ("x_test", "test_images"),
}
LABELS: Mapping[str, tuple[str, ...]] = {
    "train": ("labels", "y", "Y", "y_train", "train_labels"),
    "validation": ("y_val", "val_labels", "y_validation", "validation_labels"),
    "test": ("y_test", "test_labels"),
}
"""What the arrays of each split are usually called; Keras' own files and those of MedMNIST are among them."""


def read_arrays(
    paths: Mapping[str, Path], settings: DataSettings, given: TensorType, classes: Classes
) -> dict[str, Split]:
    """The splits in these files; the one to train on may hold the others too.

    Raises SpecError for a file that cannot be read, and for arrays that do not fit the network or each other.
    """
    splits = {}
    for name, path in paths.items():
        pairs = _pairs(path, settings)
        if name != "train":  # a file of its own, whose arrays are called as those to train on are
            pairs = {name: pairs["train"]}
        for split, (images, labels, called) in pairs.items():
            if split not in splits and (split == name or split not in paths):
                splits[split] = _split(images, labels, given, classes, f"{path}: {called}")
    return splits


def _pairs(path: Path, settings: DataSettings) -> dict[str, tuple[Array, Array, str]]:
    """By split the inputs, the labels, and what they are called."""
    if path.suffix.lower() == ".npy":
        assert settings.labels is not None
        beside = path.parent / settings.labels
        if not beside.is_file():
            raise _refused(
                f"there is no file {beside}", "labels: the .npy with the classes, beside the other", "data.labels"
            )
        return {"train": (_load(path), _load(beside), beside.name)}
    arrays = _load_all(path)
    found = {}
    for split in INPUTS:
        images = _named(arrays, INPUTS[split], settings.inputs[0] if settings.inputs and split == "train" else None)
        labels = _named(arrays, LABELS[split], settings.labels if split == "train" else None)
        if images is not None and labels is not None:
            found[split] = arrays[images], arrays[labels], labels
    if "train" not in found:
        message = f"{path} has the arrays {', '.join(sorted(arrays))}: which are the images, which the labels?"
        raise _refused(message, "data: {file: x.npz, inputs: NAME, labels: NAME}", "data.file")
    return found


def _named(arrays: Mapping[str, Array], usual: tuple[str, ...], said: str | None) -> str | None:
    return next((name for name in ((said,) if said is not None else usual) if name in arrays), None)


def _split(images: Array, labels: Array, given: TensorType, classes: Classes, where: str) -> Split:
    if images.shape[1:] == given.shape[:-1] and given.shape[-1] == 1:
        images = images[..., np.newaxis]  # gray images are often kept without their only channel
    name = where.rpartition(": ")[0]
    if images.shape[1:] != given.shape or not len(images):
        has = "x".join(map(str, images.shape)) or "a single number"
        channels_first = images.ndim == 4 and (*images.shape[2:], images.shape[1]) == given.shape
        hint = (
            "numpy.moveaxis(x, 1, -1) brings the channels last" if channels_first else "n x height x width x channels"
        )
        raise _refused(f"{name}: the images are {has}, but n x {given} is needed", hint, "data.file")
    if labels.shape[:1] != images.shape[:1]:
        message = f"{name}: there are {len(images):,} images, but {labels.shape[0] if labels.ndim else 1:,} labels"
        raise _refused(message, None, "data.file")
    return Split(as_values(images, name), classes.numbers(labels, where))


def as_values(images: Array, name: str) -> Array:
    """Bytes as they are, whole numbers that are bytes as such, others as float32; raises SpecError for NaN."""
    if images.dtype.kind not in "biuf":
        raise _refused(f"{name}: the images hold {images.dtype}, no numbers", None, "data.file")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "biu" and images.min() >= 0 and images.max() <= 255:
        return images.astype(np.uint8)
    lost = np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(axis=1))
    if len(lost):
        message = f"{name}: {len(lost):,} of {len(images):,} images hold values that are not finite, first {lost[0]}"
        raise _refused(message, "numpy.isfinite finds them", "data.file")
    return images.astype(np.float32)


def _load(path: Path) -> Array:
    """One array; objects, which are code, are refused."""
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _broken(path, error) from None
    return array


def _load_all(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> SpecError:
    return _refused(f"{path} cannot be read: {error}", "is the file whole? numpy.savez writes such files", "data.file")


def _refused(message: str, hint: str | None, path: str) -> SpecError:
    return SpecError([Problem(message, hint, path)])
