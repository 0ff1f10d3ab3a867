"""The stages of the artefacts: one a backend, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from netspec.backend import ExportSettings
from netspec.backend.artefact import content_key
from netspec.building.run import Run
from netspec.errors import VerificationError
from netspec.memory import fits_together
from netspec.storage.stages import key_of


def drop_outdated(run: Run) -> None:
    """Remove what earlier builds exported, for backends not asked for now, from other weights than these."""
    for name, stage in list(run.folder.stages.items()):
        if name.startswith("export ") and stage.facts.get("weights") != run.weights_digest:
            run.folder.drop(name)


def export(run: Run) -> None:
    """The artefacts of every target, side by side."""
    with exporting(run) as exports:
        for done in exports.values():
            done.result()


@contextmanager
def exporting(run: Run) -> Iterator[Mapping[str, Future[None]]]:
    """The export of every target that is not current, under way."""
    settings = run.spec.export or ExportSettings()
    content = content_key(run.exported, run.weights_digest, settings)
    keys = {name: key_of(content=content, versions=run.libraries[name]) for name in run.options.targets}
    _check_exported(run, keys)
    weights = run.weights

    def one(name: str) -> None:
        def write(folder: Path) -> None:
            (folder / name).mkdir()
            run.worker(name).call(
                "export", network=run.exported, weights=weights, folder=folder / name, settings=settings
            )

        facts = {"weights": run.weights_digest, "content": content}
        run.stage(f"export {name}", keys[name], write, facts=facts)

    with ThreadPoolExecutor(len(run.options.targets) if fits_together(run.network) else 1) as threads:
        exports = {}
        for name, key in keys.items():
            if not run.options.forces(f"export {name}") and run.folder.current(f"export {name}", key):
                run.progress("current", stage=f"export {name}")
            else:
                exports[name] = threads.submit(one, name)
        yield exports


def _check_exported(run: Run, keys: Mapping[str, str]) -> None:
    """Raise VerificationError where `netspec verify` would have to replace what it is asked to judge."""
    if not run.options.judge:
        return
    for name, key in keys.items():
        known = run.folder.stages.get(f"export {name}")
        if known is not None and known.key == key:
            for file in run.folder.changed(f"export {name}"):
                raise VerificationError(
                    f"{run.folder.path / file} is not the file that was exported: it is missing or was changed\n"
                    f"  hint: `netspec build {run.spec.file}` writes it anew"
                )
