"""Folders of images, one a class: where they lie, what their classes are called, and how they are decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.data.preprocess import Preprocess, read_pixels
from netspec.data.settings import DataSettings
from netspec.errors import Problem, SpecError, file_near
from netspec.memory import memory_available, written_bytes
from netspec.progress import Progress
from netspec.storage.stages import sha256
from netspec.tensors import TensorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netspec.data.cache import Decoded, Empty
    from netspec.data.dataset import Split

    Labels = NDArray[np.int64]

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
    return next((place for place in places(written, near) if place.is_dir()), None)


def find_file(written: str, near: Path, path: str) -> Path:
    """The file of this name, found as folders are; raises SpecError, at the `path` in the spec, where there is none."""
    found = next((place for place in places(written, near) if place.is_file()), None)
    if found is not None:
        return found
    around = (near / written).parent
    beside = [each.name for each in around.iterdir()] if around.is_dir() else []
    root = os.environ.get("NETSPEC_DATA")
    second = f"{Path(root) / written}" if root else "NETSPEC_DATA, which is not set"
    hint = file_near(Path(written).name, beside) or "a path relative to the spec, or to the folder NETSPEC_DATA"
    message = f"there is no file {written!r}: looked for as {near / written} and in {second}"
    raise SpecError([Problem(message, hint, path)])


def places(written: str, near: Path) -> list[Path]:
    """Where something of this name may be."""
    root = os.environ.get("NETSPEC_DATA")
    return [near / written, *([Path(root) / written] if root else [])]


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
    settings: DataSettings,
    near: Path,
    given: TensorType,
    preprocess: Preprocess,
    empty: Empty,
    progress: Progress,
    *,
    whole: bool = False,
) -> Decoded:
    """The classes, and the images of every split as uint8 [n, h, w, c] of the type `given`, resized and cropped.

    Each is decoded once, into what `empty` gives; of `whole` folders nothing is held out. Raises SpecError as
    `list_images` does, for images that are in two splits, for those that cannot be decoded (each named, all counted)
    unless they are to be skipped, and when they do not fit into the memory that is available.
    """
    from netspec.data.cache import Decoded

    listed = list_images(settings, near)
    if problems := list(_overlaps(listed)):
        raise SpecError(problems)
    files = _split_files(settings, listed, whole)
    decoding = _Decoding(given, preprocess, empty, progress, sum(len(paths) for paths, _ in files.values()))
    decoding.check_memory()
    splits = {name: decoding.split(*each) for name, each in files.items()}
    classes = listed["train"].classes
    skipped: tuple[str, ...] = ()
    if decoding.broken and settings.skip_broken:
        skipped = tuple(problem.message for problem in decoding.broken)
        for name, split in splits.items():
            lost = set(range(len(classes))) - set(split.labels.tolist())
            if lost and (name == "train" or not len(split)):
                message = f"of {classes[min(lost)]!r} no image of {name} could be decoded"
                raise SpecError([Problem(message, decoding.broken[0].message, "data.folder")])
    elif decoding.broken:
        problems = [problem.at(None, "data.folder") for problem in decoding.broken[:NAMED]]
        message = f"{len(decoding.broken):,} of {decoding.count:,} images cannot be used"
        named = f"; the first {NAMED} are named above" if len(decoding.broken) > NAMED else ""
        hint = f"mend or remove them, or leave them out with skip_broken: true{named}"
        raise SpecError([*problems, Problem(message, hint, "data.folder")])
    return Decoded(classes, splits, skipped)


def _split_files(
    settings: DataSettings, listed: Mapping[str, Images], whole: bool
) -> dict[str, tuple[list[Path], Labels]]:
    """The files and labels of every split; where there is none to validate on, it is held out class by class."""
    import numpy as np

    from netspec.data.split import held_out

    found: dict[str, tuple[list[Path], Labels]] = {}
    for name, images in listed.items():
        numbers = [label for label, files in enumerate(images.files.values()) for _ in files]
        found[name] = [path for files in images.files.values() for path in files], np.array(numbers, np.int64)
    if "validation" not in found and not whole:
        paths, labels = found["train"]
        for name, places in zip(("train", "validation"), held_out(labels, settings.validation_split), strict=True):
            found[name] = [paths[place] for place in places], labels[places]
    return found


@dataclass(slots=True)
class _Decoding:
    """Images on their way from files into arrays, and what is wrong with them."""

    given: TensorType
    preprocess: Preprocess
    empty: Empty
    progress: Progress
    count: int
    done: int = 0
    broken: list[Problem] = field(default_factory=list)

    def check_memory(self) -> None:
        """Raise SpecError where all of them do not fit into the memory that is available."""
        needed, available = self.count * self.given.size, memory_available()
        if available is not None and needed > available:
            message = f"{self.count:,} images of {self.given} need {written_bytes(needed)} of memory, "
            message += f"{written_bytes(available)} are available"
            raise SpecError([Problem(message, "a smaller input, or fewer images", "data.folder")])

    def split(self, paths: list[Path], labels: Labels) -> Split:
        """The images, decoded side by side: Pillow lets other threads run meanwhile."""
        import numpy as np

        from netspec.data.dataset import Split

        pixels = self.empty((len(paths), *self.given.shape), np.uint8)
        whole = np.ones(len(paths), bool)

        def read(index: int) -> tuple[Problem, ...]:
            try:
                pixels[index] = read_pixels(paths[index], self.given, self.preprocess)
            except SpecError as error:
                whole[index] = False
                return error.problems
            return ()

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for problems in threads.map(read, range(len(paths))):
                self.broken.extend(problems)
                self.done += 1
                self.progress("part", what="decoding images", done=self.done, total=self.count)
        return Split(pixels, labels) if whole.all() else Split(pixels[whole], labels[whole])


def _overlaps(listed: Mapping[str, Images]) -> Iterator[Problem]:
    """Images that are in two splits, as the same file or as one with the same bytes."""
    by_size: dict[int, list[tuple[str, Path]]] = {}
    for split, images in listed.items():
        for files in images.files.values():
            for path in files:
                by_size.setdefault(path.stat().st_size, []).append((split, path))
    known: dict[str, tuple[str, Path]] = {}
    twice: list[tuple[tuple[str, Path], tuple[str, Path]]] = []
    for alike in by_size.values():
        if len({split for split, _ in alike}) > 1:
            for split, path in alike:
                first = known.setdefault(sha256(path), (split, path))
                if first[0] != split:
                    twice.append((first, (split, path)))
    for (split, path), (other, same) in twice[:NAMED]:
        yield Problem(f"{path} of {split} and {same} of {other} are the same image", None, "data.folder")
    if twice:
        are = "image is" if len(twice) == 1 else "images are"
        message = f"the splits overlap: {len(twice):,} {are} in two of them"
        yield Problem(message, "what is validated or tested on must not be trained on", "data.folder")


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
    around = [(near / written).parent, *([(Path(root) / written).parent] if root else [])]
    beside = [each.name for folder in around if folder.is_dir() for each in folder.iterdir() if each.is_dir()]
    hint = file_near(Path(written).name, beside) or "a path relative to the spec, or to the folder NETSPEC_DATA"
    message = f"there is no folder {written!r}: looked for as {places[0]} and in {places[1]}"
    raise SpecError([Problem(message, hint, path)])
