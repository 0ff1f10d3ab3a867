"""What a network is asked about: what a person gives it, or the labelled images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netspec.compile.pixels import exported_network
from netspec.data.chosen import Chosen, Wanted, image_samples, other_images, own_images
from netspec.data.given import ARRAYS, Samples, read_samples
from netspec.data.preprocess import bytes_only
from netspec.errors import Problem, SpecError
from netspec.network import Network
from netspec.progress import Progress
from netspec.spec.model import Spec
from netspec.spec.origin import named_by_option, read_origin


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a network is asked about: what a person gives it, or the images of a data set."""

    paths: tuple[Path, ...] = ()
    chosen: Chosen | None = None

    def reads(self, spec: Spec, network: Network) -> Network:
        """The network that has to compute: arrays are what the spec's own reads, pictures may be read as pixels."""
        arrays = any(path.suffix.lower() in ARRAYS for path in self.paths)
        return network if arrays else exported_network(spec, network)

    def samples(self, spec: Spec, network: Network, runs: Network) -> Samples:
        """The samples as the network that `runs` reads them."""
        if self.chosen is not None:
            return image_samples(self.chosen, network, runs, spec.preprocess)
        pixels = runs.digest != network.digest
        return read_samples(self.paths, network, bytes_only(spec.preprocess) if pixels else spec.preprocess)


def asked(
    spec: Spec,
    network: Network,
    given: Sequence[Path] | None,
    data: str | None,
    split: Wanted | None,
    progress: Progress,
) -> Asked:
    """What the options of a command mean; raises SpecError for both ways at once or none, and for data that do not fit.

    A split without a source is one of the spec's own data.
    """
    if given and (data is not None or split is not None):
        option = "--data" if data is not None else "--split"
        raise SpecError([Problem(f"--input gives the samples, and so does {option}", "leave one of the two out")])
    if given:
        return Asked(tuple(given))
    if data is None and split is None:
        hint = "--input FILE, --data SOURCE, or --split test of the spec's own data"
        raise SpecError([Problem("there is nothing to predict", hint)])
    return Asked(chosen=choose_images(spec, network, data, split, progress))


def choose_images(spec: Spec, network: Network, data: str | None, split: Wanted | None, progress: Progress) -> Chosen:
    """The images to judge: a split of the spec's own data, or of the `data` that a command names.

    Raises SpecError where there are none, where they do not fit, and for a split that is not there.
    """
    near = Path(spec.file).parent
    if data is None:
        if spec.data is None:
            raise SpecError(
                [Problem("it has no `data` section", "--data names a data set, a folder or a file", spec.file)]
            )
        with spec.places():
            return own_images(spec.data, network, near, spec.preprocess, progress, split)
    settings = read_origin(data, spec.data)
    scale: tuple[tuple[float, float], ...] = ()
    if settings.is_table and spec.data is not None and spec.data.standardise:
        from netspec.data import load

        with spec.places():
            scale = load(spec.data, network, near, spec.preprocess, progress).scale
    try:
        return other_images(settings, network, Path(), spec.preprocess, progress, split, scale)
    except SpecError as error:
        raise SpecError(map(named_by_option, error.problems)) from None
