"""The known data sets: what their images are, without opening them, and how each one is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

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
    """What does not fit between the data and the network; nothing is read for it."""
    source, problems = SOURCES[settings.source], []
    input_type, output_type = network.input_type, network.output_type
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
    classes = len(source.classes)
    if output_type.shape != (classes,) and not (classes == 2 and output_type.shape == (1,)):
        problems.append(
            Problem(
                f"{settings.source} has {classes} classes, but the output is {output_type}",
                f"the last layer gives one number a class: FNN | {classes} | Softmax",
                "data.source",
            )
        )
    if len(network.classes) == classes and network.classes != source.classes:
        at = next(index for index, name in enumerate(source.classes) if name != network.classes[index])
        problems.append(
            Problem(
                f"class {at} of {settings.source} is {source.classes[at]!r}, but here it is {network.classes[at]!r}",
                f"in the order of the data: {', '.join(source.classes)}",
                "classes",
            )
        )
    return problems


def load(settings: DataSettings, network: Network) -> Dataset:
    """Read the data for this network and split it, always alike; raises SpecError when it does not fit or is not there.

    The test images are the source's own. Of its training images `validation_split` are held out, class by class.
    """
    problems = check_data(settings, network)
    if problems:
        raise SpecError(problems)
    from netspec.data.dataset import Dataset
    from netspec.data.split import hold_out

    source = SOURCES[settings.source]
    module, function = source.reader.split(":")
    read: Read = getattr(import_module(module), function)
    training, test = read()
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
    return Dataset(settings.source, source.classes, training.take(kept), training.take(held), test)
