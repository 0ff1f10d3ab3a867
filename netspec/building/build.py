"""The main job: weights, training, artefacts of every backend, and the proof that they are equal, stage by stage.

Each stage is keyed by what it reads; a stage whose key and files are as they were is not run again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from netspec import __version__
from netspec.backend import find_backends
from netspec.building.export import drop_outdated, export
from netspec.building.options import Options
from netspec.building.ranks import check_trainer, join
from netspec.building.report import write_page
from netspec.building.run import Run
from netspec.building.training import train
from netspec.building.verify import check_lockstep, prove
from netspec.building.weights import check_start, keep_or_draw, keeps, know_weights
from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.data.folder import split_folders
from netspec.errors import BackendError, Problem, SpecError
from netspec.importing.initial import Start
from netspec.memory import check_memory
from netspec.outcome import Outcome, Until
from netspec.progress import Progress
from netspec.spec.model import Spec, VerifySettings
from netspec.spec.write import write_yaml
from netspec.storage.stages import SPEC, BuildFolder, key_of, other_spec, read_stages
from netspec.training.ranks import place_of
from netspec.verify.golden import check_golden
from netspec.verify.pieces import piece_samples


def build(spec: Spec, options: Options, progress: Progress) -> Outcome:
    """Bring the build folder of a spec up to date.

    Raises SpecError for a spec that cannot be built, FolderError for a folder that cannot be written, BackendError
    for a backend that is missing or fails, VerificationError for an artefact that is not what was exported. A failed
    verification is no error here: it stands in the outcome. Where processes share the training, all but the first do
    nothing else.
    """
    place = place_of(os.environ)
    if place is not None:
        check_trainer(spec, options, place)
    return join(spec, options, place) if place is not None and not place.first else _build(spec, options, progress)


def _build(spec: Spec, options: Options, progress: Progress) -> Outcome:
    if spec.classes is None and spec.data is not None and spec.data.folder is not None:
        with spec.places():
            split_folders(spec.data, Path(spec.file).parent)  # raises, for there it would have had them from
    network = compile_spec(spec)
    settings = spec.verify or VerifySettings()
    if options.train_steps is not None:
        settings = settings.model_copy(update={"train_steps": options.train_steps})
    if settings.train_steps:
        check_lockstep(spec, network, options)
    check_memory(network, piece_samples(network, settings.samples) if options.until == "report" else 0)
    if options.until == "report":
        check_golden(spec, network)
    trains = options.train and spec.train is not None
    backends = find_backends(options.targets, *([options.trainer] if trains else []))
    if options.weights is not None and options.seed is not None and not trains:
        message = f"--seed {options.seed} draws weights, but --weights {options.weights} gives all of them"
        raise SpecError([Problem(message, "leave one of the two out")])
    start = Start(spec, network, options.weights)
    known = read_stages(options.folder / spec.name).get("weights")
    if trains or not keeps(known, network, options):
        check_start(start, known)
    other = other_spec(options.folder / spec.name, spec.file)
    folder = BuildFolder(options.folder / spec.name)
    if other is not None:
        hint = "give one of the two another `name:`, or build elsewhere with --output"
        progress("warning", text=f"{folder.path} was made of {other}, a spec of the same name", hint=hint)
    try:
        with Run(start, options, settings, backends, folder, progress) as run:
            for last, stages in _stages(trains, options.until):
                for stage in stages:
                    stage(run)
                if last == options.until:
                    break
            return run.outcome
    except MemoryError as error:
        raise BackendError("the memory did not suffice\n  hint: a smaller input, or fewer `verify.inputs`") from error
    finally:
        folder.close()


def _stages(trains: bool, until: Until) -> Iterator[tuple[Until, Sequence[Callable[[Run], None]]]]:
    """The stages, in groups that end where a command may stop."""
    yield "train", [train if trains else keep_or_draw, know_weights, _resolve]
    if until == "export":
        yield "export", [drop_outdated, export]
    yield "report", [drop_outdated, prove, write_page]


def _resolve(run: Run) -> None:
    """The resolved spec."""
    document = resolved_spec(run.spec)

    def write(folder: Path) -> None:
        (folder / SPEC).write_text(write_yaml(document), encoding="utf-8")

    run.stage("spec", key_of(document=document, version=__version__), write)
