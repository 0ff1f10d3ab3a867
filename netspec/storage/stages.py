"""The build folder: what each stage wrote, keyed by what it read, moved into place only when it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from filelock import FileLock, Timeout

from netspec.errors import FolderError
from netspec.storage.atomic import partial_prefix, replacing, sweep, sync

MANIFEST = "manifest.json"
SPEC, WEIGHTS, CHECKPOINT = "spec.yaml", "weights.safetensors", "checkpoint.safetensors"
HISTORY, PLOT, EVALUATION, CONFUSION = "history.csv", "history.png", "evaluation.json", "confusion.png"
TENSORBOARD = "tensorboard"
"""A folder of event files, which belong to no stage: their names tell the time and the machine."""
VERIFY, REPORT = "verify.json", "report.html"
UMASK = os.umask(0)
os.umask(UMASK)


def key_of(**parts: Any) -> str:
    """One key for everything that a stage reads, which must be plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage read, as one key, what it wrote, as the sha256 of each file, and what is to be known of it."""

    key: str
    files: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, written: object) -> Self:
        """A stage from the manifest; raises ValueError for anything that this program would not have written."""
        if not isinstance(written, dict) or set(written) != {"key", "files", "facts"}:
            raise ValueError("not a stage")
        key, files, facts = written["key"], written["files"], written["facts"]
        if not isinstance(key, str) or not isinstance(files, dict) or not isinstance(facts, dict):
            raise TypeError("not a stage")
        for name, digest in files.items():
            # A name may lead nowhere else: files of a stage that runs again are removed.
            if not isinstance(digest, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name} is no file of the folder")
        return cls(key, files, facts)


def read_stages(folder: Path) -> dict[str, Stage]:
    """The stages that ran in a build folder, which need not exist; nothing is locked or written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {str(name): Stage.read(stage) for name, stage in manifest["stages"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # no manifest, or none of ours: every stage runs


def other_spec(folder: Path, file: str) -> Path | None:
    """The spec file that a build folder was made of, where that is another one, and is still there.

    The manifest has its path from the folder, so that neither depends on where a command is run.
    """
    try:
        known = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["spec"]
        path = folder / known
        return path.resolve() if path.is_file() and not path.samefile(file) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None  # no manifest, none that says it, or a spec that is no file


class BuildFolder:
    """A folder of artefacts with its manifest, locked while it is open.

    Raises FolderError when it cannot be written, or when another process is at work in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}
        self._writing = threading.Lock()
        self._lock = FileLock(path / ".lock", timeout=0)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            sweep(path)
        except Timeout as error:
            raise FolderError(
                f"another netspec is at work in {path}\n  hint: wait for it, or build elsewhere with --output"
            ) from error
        except OSError as error:
            reason = error.strerror or error
            raise FolderError(
                f"the build folder {path} cannot be written: {reason}\n  hint: --output FOLDER builds elsewhere"
            ) from error
        self.stages = read_stages(path)

    def close(self) -> None:
        """Let others work in the folder."""
        self._lock.release()

    def current(self, stage: str, key: str) -> bool:
        """Whether the stage ran with this key and its files are still what it wrote."""
        known = self.stages.get(stage)
        return known is not None and known.key == key and not self.changed(stage)

    def changed(self, stage: str) -> list[str]:
        """The files of a stage that are missing, or are no longer what it wrote."""
        known = self.stages.get(stage)
        files = known.files if known else {}
        return [
            name
            for name, digest in files.items()
            if not (self.path / name).is_file() or sha256(self.path / name) != digest
        ]

    @contextmanager
    def stage(
        self,
        stage: str,
        key: str | Callable[[], str],
        facts: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        *,
        durable: bool = False,
    ) -> Iterator[Path]:
        """A folder to write the stage's files into; they move into place, and into the manifest, if all goes well.

        A key or facts that only its end tells are asked for then. With `durable` a power cut afterwards takes none of
        the files away.
        """
        try:
            partial = Path(tempfile.mkdtemp(prefix=partial_prefix(), dir=self.path))
            try:
                yield partial
                with self._writing:
                    files = self._move(partial, stage, durable=durable)
                    known = facts() if callable(facts) else facts or {}
                    self.stages[stage] = Stage(key if isinstance(key, str) else key(), files, known)
                    self._write(durable=durable)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise FolderError(f"stage {stage} could not write {self.path}: {error.strerror or error}") from error

    def _move(self, partial: Path, stage: str, *, durable: bool) -> dict[str, str]:
        files = sorted(path.relative_to(partial) for path in partial.rglob("*") if path.is_file())
        self._remove(stage, keep=[name.as_posix() for name in files])
        digests = {}
        for name in files:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            digests[name.as_posix()] = sha256(partial / name)
            (partial / name).chmod(0o666 & ~UMASK)  # temporary files are made for their owner alone
            if durable:
                sync(partial / name)
            (partial / name).replace(self.path / name)
        if durable:
            for folder in {above for name in files for above in (self.path / name).parents} - set(self.path.parents):
                sync(folder)
        return digests

    def _remove(self, stage: str, keep: Sequence[str] = ()) -> None:
        known = self.stages.get(stage)
        for name in known.files if known else ():
            if name not in keep:
                (self.path / name).unlink(missing_ok=True)

    def drop(self, stage: str) -> None:
        """Remove a stage that is no longer true, and its files."""
        with self._writing:
            self._remove(stage)
            self.stages.pop(stage, None)
            self._write()

    def files(self, stages: Sequence[str] | None = None) -> dict[str, str]:
        """The sha256 of every artefact, or of those that these stages wrote."""
        chosen = self.stages if stages is None else [name for name in stages if name in self.stages]
        return {name: digest for stage in chosen for name, digest in self.stages[stage].files.items()}

    def _write(self, *, durable: bool = False) -> None:
        """Write the manifest, whole or not at all."""
        stages = {name: asdict(stage) for name, stage in self.stages.items()}
        manifest = {**self.facts, "artefacts": dict(sorted(self.files().items())), "stages": stages}
        with replacing(self.path / MANIFEST, durable=durable) as partial:
            partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
