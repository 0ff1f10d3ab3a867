"""Folders of images, one a class: where they lie, what their classes are called, and how they are decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.data.preprocess import Preprocess, read_pixels
from netspec.data.settings import DataSettings
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.memory import memory_available, written_bytes
from netspec.network import TensorType

if TYPE_CHECKING:
    from netspec.data.dataset import Split

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
"""The endings of files that are taken for images; others (notes, thumbnails of file browsers) are passed over."""
VALIDATION = ("val", "valid", "validation")
NAMED = 10
"""How many broken images an error names."""


@dataclass(frozen=True, slots=True)
class Images:
    """A folder with one folder a class, and the files in each of those, by the class's name."""

    folder: Path
    files: Mapping[str, tuple[Path, ...]]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.files)

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))


def find_folder(written: str, near: Path) -> Path | None:
    """The folder of this name: beside the spec (in `near`), or in the folder that NETSPEC_DATA names."""
    root = os.environ.get("NETSPEC_DATA")
    places = [near / written, *([Path(root) / written] if root else [])]
    return next((place for place in places if place.is_dir()), None)


def class_names(settings: DataSettings, near: Path) -> tuple[str, ...] | None:
    """The names of the classes, which are those of the folders with the images to train on, sorted; None where the
    folder is not here.

    Raises SpecError when it has no folders.
    """
    if settings.folder is None or find_folder(settings.folder, near) is None:
        return None
    return tuple(path.name for path in _class_folders(split_folders(settings, near)["train"]))


def split_folders(settings: DataSettings, near: Path) -> dict[str, Path]:
    """The folders of `train`, and of `validation` and `test` where there are any: those that the section names, or
    those of these names in the one that it names. Raises SpecError for one that is not here.
    """
    assert settings.folder is not None
    whole = _required(settings.folder, near, "data.folder")
    found = {"train": whole}
    # A folder called train may also be a class, which has images and no folders.
    if _holds_folders(whole / "train"):
        inside = {"train": whole / "train", "test": whole / "test"}
        inside["validation"] = next((whole / name for name in VALIDATION if (whole / name).is_dir()), whole / "val")
        found = {name: path for name, path in inside.items() if path.is_dir()}
    for name, written in (("validation", settings.validation), ("test", settings.test)):
        if written is not None:
            found[name] = _required(written, near, f"data.{name}")
    return found


def list_images(settings: DataSettings, near: Path) -> dict[str, Images]:
    """The images of every split, in a fixed order.

    Raises SpecError for folders that are missing, empty, or have other classes than those trained on.
    """
    found = {name: _listed(folder) for name, folder in split_folders(settings, near).items()}
    problems = [problem for images in found.values() for problem in _gaps(images)]
    train = found["train"]
    for name, images in found.items():
        for lacking, having, classes in (
            (images, train, set(train.classes) - set(images.classes)),
            (train, images, set(images.classes) - set(train.classes)),
        ):
            if classes:
                message = f"{lacking.folder} has no folder {min(classes)!r}, which {having.folder} has"
                message += f", and {len(classes) - 1} more" if len(classes) > 1 else ""
                path = f"data.{name}" if getattr(settings, name, None) else "data.folder"
                problems.append(Problem(message, "every split has the same classes", path))
    if problems:
        raise SpecError(problems)
    return found


def fingerprint(settings: DataSettings, near: Path) -> str:
    """What changes when files come, go or are written: sha256 over their names, sizes and times."""
    import hashlib

    known = hashlib.sha256()
    for split, images in list_images(settings, near).items():
        for name, files in images.files.items():
            for path in files:
                facts = path.stat()
                line = (split, name, path.relative_to(images.folder).as_posix(), facts.st_size, facts.st_mtime_ns)
                known.update(repr(line).encode())
    return known.hexdigest()


def read_folder(
    settings: DataSettings, near: Path, given: TensorType, preprocess: Preprocess
) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The classes, and the images of every split as uint8 [n, h, w, c] of the type `given`, resized and cropped.

    Each is decoded once. Raises SpecError as `list_images` does, for images that cannot be decoded (each named, all
    counted), and when they do not fit into the memory that is available.
    """
    listed = list_images(settings, near)
    count = sum(map(len, listed.values()))
    needed, available = 2 * count * given.size, memory_available()  # the trainer is given a copy
    if available is not None and needed > available:
        message = f"{count:,} images of {given} need {written_bytes(needed)} of memory, "
        message += f"{written_bytes(available)} are available"
        raise SpecError([Problem(message, "a smaller input, or fewer images", "data.folder")])
    broken: list[Problem] = []
    splits = {name: _decoded(images, given, preprocess, broken) for name, images in listed.items()}
    if broken:
        problems = [problem.at(None, "data.folder") for problem in broken[:NAMED]]
        message = f"{len(broken):,} of {count:,} images cannot be used"
        hint = "mend or remove them" + (f"; the first {NAMED} are named above" if len(broken) > NAMED else "")
        raise SpecError([*problems, Problem(message, hint, "data.folder")])
    return listed["train"].classes, splits


def _decoded(images: Images, given: TensorType, preprocess: Preprocess, broken: list[Problem]) -> Split:
    """The images, decoded side by side: Pillow lets other threads run meanwhile."""
    import numpy as np

    from netspec.data.dataset import Split

    paths = [path for files in images.files.values() for path in files]
    labels = [label for label, files in enumerate(images.files.values()) for _ in files]
    pixels = np.empty((len(paths), *given.shape), np.uint8)

    def read(index: int) -> tuple[Problem, ...]:
        try:
            pixels[index] = read_pixels(paths[index], given, preprocess)
        except SpecError as error:
            return error.problems
        return ()

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for problems in threads.map(read, range(len(paths))):
            broken.extend(problems)
    return Split(pixels, np.array(labels, np.int64))


def _listed(folder: Path) -> Images:
    return Images(folder, {path.name: tuple(image_files(path)) for path in _class_folders(folder)})


def _class_folders(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_dir() and _is_meant(path.name))
    if not found:
        images = sum(1 for _ in image_files(folder))
        holds = f"holds {images:,} image{'s' * (images > 1)} and no folders" if images else "holds no folders"
        raise SpecError([Problem(f"{folder} {holds}", "one folder a class, with its images", "data.folder")])
    return found


def image_files(folder: Path) -> Iterator[Path]:
    """The images in a folder and the folders in it, in the order of their names."""
    for path in sorted(folder.rglob("*")):
        meant = all(map(_is_meant, path.relative_to(folder).parts))
        if path.suffix.casefold() in SUFFIXES and meant and path.is_file():
            yield path


def _is_meant(name: str) -> bool:
    """Whether a person put it there: not what file browsers, archives and notebooks leave behind."""
    return not name.startswith(".") and name != "__MACOSX"


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_dir() and _is_meant(path.name) for path in folder.iterdir())


def _gaps(images: Images) -> Iterator[Problem]:
    """Classes without images."""
    for name, files in images.files.items():
        if not files:
            message = f"{images.folder / name} holds no images, so the class {name!r} has none"
            hint = f"images end in {', '.join(sorted(SUFFIXES))}; remove the folder if it is no class"
            yield Problem(message, hint, "data.folder")


def _required(written: str, near: Path, path: str) -> Path:
    """The folder of this name; raises SpecError naming where it was looked for."""
    found = find_folder(written, near)
    if found is not None:
        return found
    root = os.environ.get("NETSPEC_DATA")
    places = [f"{near / written}", f"{Path(root) / written}" if root else "NETSPEC_DATA, which is not set"]
    around = (near / written).parent
    beside = [each.name for each in around.iterdir() if each.is_dir()] if around.is_dir() else []
    hint = did_you_mean(Path(written).name, beside) or "a path relative to the spec, or to the folder NETSPEC_DATA"
    message = f"there is no folder {written!r}: looked for as {places[0]} and in {places[1]}"
    raise SpecError([Problem(message, hint, path)])
