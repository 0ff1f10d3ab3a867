"""The known data sets: what their images are, without opening them, and how each one is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.data.preprocess import Preprocess
from netspec.data.settings import DataSettings, SourceName
from netspec.errors import Problem, SpecError
from netspec.network import Network, TensorType

if TYPE_CHECKING:
    from netspec.data.dataset import Dataset, Split

    Read = Callable[[], tuple[Split, Split]]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set before it is read; `reader` is `module:function`, which returns the training and the test images."""

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
        return _class_problems(settings, network.classes, network)
    source, problems = SOURCES[settings.source], []
    input_type = network.input_type
    if source.shape != input_type:
        hint = f"input: {source.shape}"
        if source.shape.size == input_type.size:
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
            "data.source" if settings.source else "data.folder",
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


def load(
    settings: DataSettings, network: Network, near: Path = Path(), preprocess: Preprocess | None = None
) -> Dataset:
    """Read the data for this network and split it, always alike; raises SpecError when it does not fit or is not there.

    The test images are the source's own, or those in a folder for them. Of the training images `validation_split` are
    held out, class by class, unless a folder has those to validate on. `near` is the folder that the spec lies in.
    Pictures are resized and cropped as `preprocess` says; their pixels are bytes, red first.
    """
    problems = check_data(settings, network)
    if problems:
        raise SpecError(problems)
    from netspec.data.dataset import Dataset

    if settings.source is None:
        from netspec.data.folder import read_folder

        classes, splits = read_folder(settings, near, network.input_type, preprocess or Preprocess())
        problems = name_problems(settings, classes, network.classes) if network.classes else []
        if problems := problems or _class_problems(settings, classes, network):
            raise SpecError(problems)
    else:
        classes = SOURCES[settings.source].classes
        module, function = SOURCES[settings.source].reader.split(":")
        read: Read = getattr(import_module(module), function)
        splits = dict(zip(("train", "test"), read(), strict=True))
    if "validation" not in splits:
        splits |= _held_out(settings, splits["train"])
    return Dataset(settings.name, classes, splits["train"], splits["validation"], splits.get("test"))


def _held_out(settings: DataSettings, training: Split) -> dict[str, Split]:
    """The images to train and to validate on."""
    from netspec.data.split import hold_out

    kept, held = hold_out(training.labels, settings.validation_split, part=1)
    if not len(kept) or not len(held):
        raise SpecError(
            [
                Problem(
                    f"validation_split {settings.validation_split:g} of {len(training)} images leaves {len(kept)} "
                    f"to train on and {len(held)} to validate on",
                    "a fraction such as 0.1",
                    "data.validation_split",
                )
            ]
        )
    return {"train": training.take(kept), "validation": training.take(held)}
