"""Data sets of the Hugging Face hub, or folders of such, through the package `datasets`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netspec.data.cache import Decoded, Empty
from netspec.data.dataset import Split
from netspec.data.folder import NAMED, VALIDATION
from netspec.data.labels import Classes
from netspec.data.preprocess import Preprocess, read_pixels
from netspec.data.settings import DataSettings
from netspec.data.tables import features_and_labels
from netspec.errors import BackendError, Problem, SpecError, did_you_mean
from netspec.progress import Progress
from netspec.tensors import TensorType

IMAGES = ("image", "img", "pixel_values")
LABELS = ("label", "labels", "fine_label", "target", "class")


def open_hub(settings: DataSettings, near: Path) -> Any:
    """The data set, whose files `datasets` fetches and keeps; raises BackendError without that package, SpecError for
    a name that it does not know or cannot reach.
    """
    try:
        import datasets
    except ImportError as error:
        raise BackendError(
            "data sets of the Hugging Face hub are read by datasets, which is not installed\n"
            "  hint: pip install datasets"
        ) from error
    assert settings.hf is not None
    local = near / settings.hf
    try:
        return datasets.load_dataset(str(local) if local.is_dir() else settings.hf)
    except Exception as error:  # noqa: BLE001 - it raises whatever the hub, the network and the files give
        message = f"{settings.hf} cannot be loaded: {type(error).__name__}: {str(error).splitlines()[0]}"
        hint = "the name as its page on the hub has it, such as ylecun/mnist, or a folder beside the spec"
        raise SpecError([Problem(message, hint, "data.hf")]) from None


def hub_splits(settings: DataSettings, found: Mapping[str, Any]) -> dict[str, Any]:
    """The data of each split that there is; raises SpecError for one that is named and is not."""
    chosen: dict[str, Any] = {}
    for split, said, usual in (
        ("train", None, ("train",)),
        ("validation", settings.validation, VALIDATION),
        ("test", settings.test, ("test",)),
    ):
        name = next((each for each in ((said,) if said else usual) if each in found), None)
        if name is None and (said or split == "train"):
            wanted = said or "train"
            hint = did_you_mean(wanted, found) or f"it has {', '.join(found)}"
            message = f"{settings.name} has no split {wanted!r}"
            raise SpecError([Problem(message, hint, f"data.{split}" if said else "data.hf")])
        if name is not None:
            chosen[split] = found[name]
    return chosen


def read_hub(
    splits: Mapping[str, Any],
    settings: DataSettings,
    given: TensorType,
    preprocess: Preprocess,
    classes: Classes,
    empty: Empty,
    progress: Progress,
) -> Decoded:
    """The images of every split as uint8 [n, h, w, c], resized and cropped, or columns of numbers as float32."""
    features = splits["train"].features
    label = _column(settings.labels, LABELS, features, "labels", settings)
    names = tuple(getattr(features[label], "names", None) or ())
    if names:
        classes.names, classes.count = names, len(names)
    broken: list[Problem] = []
    found: dict[str, Split] = {}
    for name, rows in splits.items():
        if given.rank == 1:
            columns = {column: rows[column] for column in rows.column_names}
            numeric = settings.model_copy(update={"labels": label})
            values, labels = features_and_labels(columns, numeric, given.size, f"{settings.name}, {name}")
        else:
            column = _column(settings.inputs[0] if settings.inputs else None, IMAGES, features, "inputs", settings)
            values, kept = _images(rows, column, given, preprocess, empty, broken, progress)
            labels = np.array(rows[label])[kept]
        found[name] = Split(values, classes.numbers(np.asarray(labels), f"{settings.name}: {label}"))
    if broken and not settings.skip_broken:
        message = f"{len(broken):,} image{'s' * (len(broken) > 1)} cannot be used"
        hint = "skip_broken: true leaves them out"
        raise SpecError([*(each.at(None, "data.hf") for each in broken[:NAMED]), Problem(message, hint, "data.hf")])
    return Decoded(classes.names, found, tuple(each.message for each in broken))


def _images(
    rows: Any,
    column: str,
    given: TensorType,
    preprocess: Preprocess,
    empty: Empty,
    broken: list[Problem],
    progress: Progress,
) -> tuple[Any, Any]:
    """The images, and the places of those that could be decoded."""
    import datasets

    rows = rows.cast_column(column, datasets.Image(decode=False))
    pixels, whole = empty((len(rows), *given.shape), np.uint8), np.ones(len(rows), bool)
    for at, row in enumerate(rows):
        cell = row[column]
        name = Path(cell["path"] or f"{column}-{at}")
        content = io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else None
        try:
            pixels[at] = read_pixels(name, given, preprocess, content)
        except SpecError as error:
            whole[at] = False
            broken.extend(error.problems)
        progress("part", what="decoding images", done=at + 1, total=len(rows))
    return (pixels, np.flatnonzero(whole)) if whole.all() else (pixels[whole], np.flatnonzero(whole))


def _column(
    said: str | None, usual: tuple[str, ...], features: Mapping[str, Any], what: str, settings: DataSettings
) -> str:
    """The column that the section names, or one that is called as usual."""
    name = next((each for each in ((said,) if said else usual) if each in features), None)
    if name is None:
        hint = (did_you_mean(said, features) if said else None) or f"{what}: one of {', '.join(features)}"
        message = (
            f"{settings.name} has no column {said!r}" if said else f"which column of {settings.name} is the {what}?"
        )
        raise SpecError([Problem(message, hint, f"data.{what}" if said else "data.hf")])
    return name
