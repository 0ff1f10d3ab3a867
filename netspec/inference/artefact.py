"""Exported artefacts at work: those of the build folder or fresh ones, in a process of their backend's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from netspec.backend import ExportSettings, find_backend, runners
from netspec.backend.artefact import content_key, unusable
from netspec.backend.worker import Worker
from netspec.errors import BackendError, Problem, SpecError, file_near
from netspec.importing.initial import Start
from netspec.network import Network
from netspec.progress import Progress
from netspec.spec.model import Spec
from netspec.storage.stages import WEIGHTS, read_stages, sha256
from netspec.weights import load

if TYPE_CHECKING:
    from netspec.tensors import Arrays, Weights

    Run = Callable[[Arrays], Arrays]

OPTION = "--artefact"


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Weights that somebody meant, and where they are from: a file, and what the build noted of it."""

    weights: Weights
    file: Path
    facts: Mapping[str, Any] | None = None
    digest: str | None = None
    """The sha256 of a build's file, which has it still."""


@dataclass(frozen=True, slots=True, eq=False)
class Artefact:
    """What runs: a file that a backend exported, or what it will export of the weights that are known."""

    backend: str
    network: Network
    """What the file computes; its input may be pixels."""
    settings: ExportSettings
    file: Path | None = None
    known: Known | None = None
    """The weights; None where they are only in the file."""

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """What a build noted of the weights; None where none did."""
        if self.known is not None:
            return self.known.facts
        return noted(self.file, self.backend) if self.file is not None else None


def noted(file: Path, backend: str) -> Mapping[str, Any] | None:
    """What a build noted of the weights in a file that it exported; None for one that was changed, or is elsewhere."""
    stages = read_stages(file.parent.parent)
    exported, weights = stages.get(f"export {backend}"), stages.get("weights")
    if exported is None or weights is None or exported.facts.get("weights") != weights.files.get(WEIGHTS):
        return None
    digest = exported.files.get(f"{file.parent.name}/{file.name}")
    return weights.facts if digest is not None and sha256(file) == digest else None


def known_weights(spec: Spec, network: Network, folder: Path, given: Path | None, part: Network | None = None) -> Known:
    """The weights of the file `given`; else those that `build` left in its folder; else those of the base's file.

    That file has to give all weights of the `part` of the network that is computed, for nothing is drawn here. Raises
    SpecError where there are none, and for those that do not fit.
    """
    if given is not None:
        start = Start(spec, network, given)
        return Known(start.weights(0), start.file or given)
    found = _built(spec, network, folder / spec.name)
    if found is not None:
        return found
    start = Start(spec, network)
    needed = {node.row for node in (part or network).nodes if node.weights}
    if needed <= start.rows and start.file is not None:
        return Known(start.weights(0), start.file)
    hint = f"`netspec build {spec.file}` makes some, or --weights FILE names a file"
    raise SpecError([Problem(f"there are no weights in {folder / spec.name}", hint)])


def _built(spec: Spec, network: Network, folder: Path) -> Known | None:
    """The weights in a build folder, where there are any."""
    stage = read_stages(folder).get("weights")
    if stage is None:
        return None
    file = folder / WEIGHTS
    if stage.facts.get("network") != network.digest:
        hint = f"`netspec build {spec.file}` makes them anew; --weights {file} takes these"
        raise SpecError([Problem(f"{folder} has weights of another version of this network", hint)])
    digest = stage.files.get(WEIGHTS)
    if not file.is_file() or sha256(file) != digest:
        hint = f"`netspec build {spec.file}` makes them anew"
        raise SpecError([Problem(f"{file} is missing or was changed since the build", hint)])
    return Known(load(file, network), file, stage.facts, digest)


def given_artefact(file: Path, spec: Spec, network: Network, backend: str | None = None) -> Artefact:
    """A file that somebody names; raises SpecError where it is missing or is none that a backend, or this one, runs."""
    endings = runners()
    if file.suffix not in endings:
        message = f"{file} is no artefact that runs"
        raise SpecError([Problem(message, f"a file ending in {', '.join(sorted(endings))}", OPTION)])
    runner = endings[file.suffix]
    if backend not in (None, runner):
        ending = next(ending for ending, name in endings.items() if name == backend)
        hint = f"leave --backend out, or name a file ending in {ending}"
        raise SpecError([Problem(f"{file} is run by {runner}, not by {backend}", hint, OPTION)])
    if not file.is_file():
        siblings = [found.name for found in file.parent.iterdir()] if file.parent.is_dir() else []
        raise SpecError([Problem(f"there is no file {file}", file_near(file.name, siblings), OPTION)])
    find_backend(runner)
    return Artefact(runner, network, spec.export or ExportSettings(), file.resolve())


def find_artefact(
    spec: Spec, network: Network, exported: Network, built: Path, weights: Path | None, backend: str
) -> Artefact:
    """The artefact of a backend: the one in the build folder where it has these weights and this network, whichever
    versions wrote it, else one to be exported.

    `exported` is what it has to compute, the `network` or what reads pixels.

    Raises SpecError where there are no weights, for weights that do not fit, and for a file that was changed since it
    was exported; BackendError for a backend that is missing.
    """
    found, settings = find_backend(backend), spec.export or ExportSettings()
    known = known_weights(spec, network, built, weights)
    fresh = Artefact(backend, exported, settings, known=known)
    if known.digest is None:
        return fresh
    stage = read_stages(built / spec.name).get(f"export {backend}")
    if stage is None or stage.facts.get("content") != content_key(exported, known.digest, settings):
        return fresh
    folder = built / spec.name
    for name, digest in stage.files.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            message = f"{folder / name} is not the file that was exported: it is missing or was changed"
            raise SpecError([Problem(message, f"`netspec export {spec.file}` writes it anew")])
    name = next(name for name in stage.files if name.endswith(found.runs))
    return Artefact(backend, exported, settings, (folder / name).resolve(), known)


@contextmanager
def running(artefact: Artefact, progress: Progress) -> Iterator[Run]:
    """The artefact as a function: outputs float32 [n, *shape] by their names, for inputs by theirs.

    Exports it first where there is no file. The function raises SpecError for a file that cannot be loaded or holds
    another network, BackendError where the backend fails.
    """
    with TemporaryDirectory(prefix="netspec-") as folder, Worker(artefact.backend) as worker:
        file = artefact.file
        if file is None:
            assert artefact.known is not None
            stage = f"export {artefact.backend}"
            progress("stage", stage=stage)
            names = worker.call(
                "export",
                network=artefact.network,
                weights=artefact.known.weights,
                folder=Path(folder),
                settings=artefact.settings,
            )
            progress("done", stage=stage)
            file = Path(folder) / _runs(artefact.backend, names)

        network = artefact.network
        wanted = {name: network.types[value].shape for name, value in network.outputs.items()}

        def run(inputs: Arrays) -> Arrays:
            found: Arrays = worker.call("predict_artefact", file=file, network=network, inputs=inputs)
            shapes = {name: array.shape[1:] for name, array in found.items()}
            if shapes != wanted:
                raise unusable(file, network, f"it gives {shapes}, not {wanted}")
            return found

        yield run


def _runs(backend: str, names: list[str]) -> str:
    ending = find_backend(backend).runs
    found = next((name for name in names if name.endswith(ending)), None)
    if found is None:
        raise BackendError(f"the {backend} backend exported {', '.join(names)}, none of which ends in {ending}")
    return found
