"""The known data sets: what their images are, without opening them, and how each one is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.data.preprocess import Preprocess
from netspec.data.settings import DataSettings, SourceName
from netspec.errors import Problem, SpecError
from netspec.network import Network
from netspec.progress import Progress
from netspec.tensors import TensorType

if TYPE_CHECKING:
    from netspec.data.cache import Decoded, Empty
    from netspec.data.dataset import Dataset, Split

    Read = Callable[[Progress], tuple[Split, Split]]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set before it is read.

    `reader` is `module:function`, which returns the training and the test images; what the module's `version_of` says
    of it changes when they do.
    """

    shape: TensorType
    classes: tuple[str, ...]
    reader: str


DIGITS = tuple("0123456789")
SOURCES: dict[SourceName, Source] = {
    "digits": Source(TensorType((8, 8, 1)), DIGITS, "netspec.data.digits:read"),
    "mnist": Source(TensorType((28, 28, 1)), DIGITS, "netspec.data.files:read_mnist"),
    "fashion-mnist": Source(
        TensorType((28, 28, 1)),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        "netspec.data.files:read_fashion_mnist",
    ),
    "cifar10": Source(
        TensorType((32, 32, 3)),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        "netspec.data.files:read_cifar10",
    ),
}
"""Every known data set, by the name that a spec gives it."""


def check_data(settings: DataSettings, network: Network) -> list[Problem]:
    """What does not fit between the data and the network; nothing is read for it.

    The classes of a folder are those of the network, which has them from there (`class_names`).
    """
    if settings.source is None:
        problems = _class_problems(settings, network.classes, network)
        if settings.is_table and network.input_type.rank != 1:
            message = f"a row of a table is a list of numbers, but the input is {network.input_type}"
            problems.append(Problem(message, "input: 4", "data.file"))
        return problems
    source, problems = SOURCES[settings.source], []
    input_type = network.input_type
    if source.shape != input_type:
        hint = f"input: {source.shape}"
        axes = tuple(input_type.shape)
        if axes[1:] + axes[:1] == tuple(source.shape.shape):
            hint = f"channels come last: {source.shape}"
        elif source.shape.size == input_type.size:
            hint += ", and a Flatten or Reshape row first"
        problems.append(
            Problem(
                f"the images of {settings.source} are {source.shape}, but the input is {input_type}",
                hint,
                "data.source",
            )
        )
    problems += _class_problems(settings, source.classes, network)
    if len(network.classes) == len(source.classes):
        problems += name_problems(settings, source.classes, network.classes)
    return problems


def _class_problems(settings: DataSettings, classes: tuple[str, ...], network: Network) -> list[Problem]:
    """Whether the network gives one number for every class that is known; one number alone tells two apart."""
    count, output_type = len(classes), network.output_type
    if not count or output_type.shape == (count,) or (count == 2 and output_type.shape == (1,)):
        return []
    return [
        Problem(
            f"{settings.name} has {count} classes, but the output is {output_type}",
            f"the last layer gives one number a class: FNN | {count} | Softmax",
            f"data.{settings.origin}",
        )
    ]


def name_problems(settings: DataSettings, found: tuple[str, ...], named: tuple[str, ...]) -> list[Problem]:
    """The first class of the data, `found`, that the spec names otherwise."""
    for at, (name, here) in enumerate(zip_longest(found, named)):
        if name != here:
            has = f"is {name!r}" if name is not None else "is none"
            says = f"it is {here!r}" if here is not None else "it has no name"
            message = f"class {at} of {settings.name} {has}, but here {says}"
            return [Problem(message, f"in the order of the data: {', '.join(found)}", "classes")]
    return []


def class_names(settings: DataSettings, near: Path) -> tuple[str, ...] | None:
    """The names of the classes, as far as they are known without opening images: those of a known set, of folders,
    and the words in a CSV file; None where there are none, or the data are not here.

    Raises SpecError for a folder without folders, and for a table that is not whole.
    """
    if settings.source is not None:
        return SOURCES[settings.source].classes
    if settings.folder is not None:
        from netspec.data.folder import class_names as of_folder

        return of_folder(settings, near)
    if settings.is_table and settings.file is not None and settings.labels is not None:
        from netspec.data.folder import places
        from netspec.data.tables import read_words

        found = next((place for place in places(settings.file, near) if place.is_file()), None)
        return read_words(found, settings.labels) if found is not None else None
    return None


def quiet(event: str, **values: Any) -> None:
    """Progress that nobody follows."""


def load(
    settings: DataSettings,
    network: Network,
    near: Path = Path(),
    preprocess: Preprocess | None = None,
    progress: Progress = quiet,
) -> Dataset:
    """Read the data for this network and split it, always alike; raises SpecError when it does not fit or is not there.

    What was decoded before is taken from the cache. The test images are the source's own, or those that the section
    names. Of the training images `validation_split` are held out, class by class, unless those to validate on are
    given. `near` is the folder that the spec lies in. Pictures are resized and cropped as `preprocess` says; their
    pixels are bytes, red first.
    """
    problems = check_data(settings, network)
    if problems:
        raise SpecError(problems)
    from netspec.data.cache import cached
    from netspec.data.dataset import Dataset

    reading = Reading(settings, network, near, preprocess or Preprocess(), progress)
    found = cached(reading.request(), reading.decode)
    if found.classes and not network.classes and settings.origin in ("file", "hf"):
        message = f"the artefacts would not know the classes of {settings.name}: the spec does not name them"
        hint = f"classes: [{', '.join(found.classes)}]"
        raise SpecError([Problem(message, hint, f"data.{settings.origin}")])
    if found.classes and network.classes and (problems := name_problems(settings, found.classes, network.classes)):
        raise SpecError(problems)
    if problems := _class_problems(settings, found.classes, network):
        raise SpecError(problems)
    classes = found.classes or tuple(map(str, range(max(2, network.output_type.size))))
    splits = found.splits
    return Dataset(
        settings.name,
        classes,
        splits["train"],
        splits["validation"],
        splits.get("test"),
        found.skipped,
        found.scale,
    )


def fingerprint(settings: DataSettings, near: Path) -> dict[str, Any]:
    """What tells the data from others that a spec calls the same: plain data, empty where a name says it all."""
    from netspec.storage.stages import sha256

    if settings.folder is not None:
        from netspec.data.folder import fingerprint as of_folder

        return {"files": of_folder(settings, near)}
    if settings.file is not None:
        found = {name: sha256(path) for name, path in split_paths(settings, near).items()}
        if settings.file.lower().endswith(".npy"):
            from netspec.data.folder import find_file

            beside = Path(settings.file).parent / (settings.labels or "")
            found["labels"] = sha256(find_file(str(beside), near, "data.labels"))
        return {"files": found}
    return {}


def split_paths(settings: DataSettings, near: Path) -> dict[str, Path]:
    """The files of the splits that have one; raises SpecError for one that is missing, empty or named twice."""
    from netspec.data.folder import find_file
    from netspec.storage.stages import sha256

    assert settings.file is not None
    written = {"train": settings.file, "validation": settings.validation, "test": settings.test}
    keys = {"train": "data.file", "validation": "data.validation", "test": "data.test"}
    found = {name: find_file(each, near, keys[name]) for name, each in written.items() if each is not None}
    for name, path in found.items():
        same = next((other for other in found if other != name and found[other].samefile(path)), None)
        if name != "train" and same is not None:
            message = f"the splits overlap: {name} and {same} are the same file, {path}"
            raise SpecError([Problem(message, "what is validated or tested on must not be trained on", keys[name])])
    if settings.sha256 is not None and (digest := sha256(found["train"])) != settings.sha256:
        message = f"{found['train']} is not the file that the spec means: its sha256 is {digest}"
        raise SpecError([Problem(message, "it was changed or cut off; fetch it again", "data.sha256")])
    return found


@dataclass(slots=True)
class Reading:
    """The data of a spec, on their way to a network."""

    settings: DataSettings
    network: Network
    near: Path
    preprocess: Preprocess
    progress: Progress
    whole: bool = False
    """Whether nothing is held out of what is to be trained on."""
    _hub: Mapping[str, Any] | None = None

    @property
    def hub(self) -> Mapping[str, Any]:
        """The splits of the hub's data set, which is opened once."""
        if self._hub is None:
            from netspec.data.hub import hub_splits, open_hub

            self._hub = hub_splits(self.settings, open_hub(self.settings, self.near))
        return self._hub

    def request(self) -> dict[str, Any]:
        """All that decides what is decoded, as plain data."""
        settings, given = self.settings, self.network.input_type
        known: dict[str, Any] = fingerprint(settings, self.near)
        if settings.source is not None:
            module, function = SOURCES[settings.source].reader.split(":")
            known = {"version": import_module(module).version_of(function)}
        elif settings.hf is not None:
            known = {name: rows._fingerprint for name, rows in self.hub.items()}  # noqa: SLF001 - it has no other name
        pictures = self.preprocess.model_dump(mode="json", include={"resize", "crop", "interpolation"})
        return {
            "data": settings.model_dump(mode="json"),
            "known": known,
            "given": str(given),
            "classes": list(self.network.classes),
            "outputs": self.network.output_type.size,
            **({"whole": True} if self.whole else {}),
            "pictures": {**pictures, "gray": given.rank == 3 and self.preprocess.order(given) == "gray"},
        }

    def decode(self, empty: Empty) -> Decoded:
        """Everything, from its source."""
        from dataclasses import replace

        from netspec.data.cache import Decoded
        from netspec.data.split import held_out

        settings = self.settings
        if settings.folder is not None:
            from netspec.data.folder import read_folder

            given = self.network.input_type
            return read_folder(settings, self.near, given, self.preprocess, empty, self.progress, whole=self.whole)
        if settings.source is not None:
            module, function = SOURCES[settings.source].reader.split(":")
            read: Read = getattr(import_module(module), function)
            splits = dict(zip(("train", "test"), read(self.progress), strict=True))
            found = Decoded(SOURCES[settings.source].classes, splits)
        else:
            found = self._arrays(empty)
        if gone := [name for name, split in found.splits.items() if not len(split)]:
            message = f"the split {gone[0]} of {settings.name} is empty"
            raise SpecError([Problem(message, "every split has at least one image", "data")])
        if "validation" not in found.splits and not self.whole:
            train = found.splits["train"]
            kept, held = held_out(train.labels, settings.validation_split)
            found = replace(found, splits={**found.splits, "train": train.take(kept), "validation": train.take(held)})
        if settings.standardise:
            from netspec.data.tables import standardised

            splits, scale = standardised(found.splits)
            found = replace(found, splits=splits, scale=scale)
        return found

    def _arrays(self, empty: Empty) -> Decoded:
        """What is in a file, or on the hub."""
        from netspec.data.cache import Decoded
        from netspec.data.labels import Classes

        settings, given = self.settings, self.network.input_type
        path = "data.labels" if settings.labels else "data"
        classes = Classes(self.network.classes, max(2, self.network.output_type.size), path)
        if settings.hf is not None:
            from netspec.data.hub import read_hub

            return read_hub(self.hub, settings, given, self.preprocess, classes, empty, self.progress)
        paths = split_paths(settings, self.near)
        if settings.is_table:
            from netspec.data.tables import read_table

            splits = read_table(paths, settings, given.size, classes)
        else:
            from netspec.data.arrays import read_arrays

            splits = read_arrays(paths, settings, given, classes)
        return Decoded(classes.names, splits)
