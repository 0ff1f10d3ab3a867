"""The first images of the data that a spec trains on, where they were decoded before: real samples for a proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.data.cache import decoded_before
from netspec.data.chosen import Chosen, image_samples
from netspec.data.preprocess import Preprocess
from netspec.data.settings import DataSettings
from netspec.data.source import Reading, check_data, quiet
from netspec.errors import SpecError
from netspec.network import Network

if TYPE_CHECKING:
    from netspec.tensors import Array

OF = ("test", "validation", "train")
"""The splits of which they are taken, the first that is there."""


def few_images(
    settings: DataSettings, network: Network, runs: Network, near: Path, preprocess: Preprocess | None, count: int
) -> dict[str, Array]:
    """As many images at most, float32 [n, ...] as the network that `runs` reads them, by the name of its input.

    Nothing is downloaded or decoded for it, so there may be none: of data that were never read here, of the hub's,
    which are opened to be recognised, and of images that are not numbers throughout.
    """
    if settings.hf is not None or len(network.inputs) > 1:
        return {}
    try:
        if check_data(settings, network):
            return {}
        found = decoded_before(Reading(settings, network, near, preprocess or Preprocess(), quiet).request())
    except (SpecError, OSError):
        return {}  # it is the training that needs them, and says what is wrong
    if found is None:
        return {}
    part = next(part for part in OF if part in found.splits)
    split = found.splits[part].take(np.arange(min(count, len(found.splits[part]))))
    classes = network.classes or found.classes or tuple(map(str, range(1 + int(split.labels.max()))))
    chosen = Chosen(settings.name, part, classes, ((part, split),))
    [batch] = image_samples(chosen, network, runs, preprocess).batches()
    [(name, images)] = batch.inputs.items()
    whole = np.isfinite(images).reshape(len(images), -1).all(1)
    return {name: images[whole]} if whole.any() else {}
