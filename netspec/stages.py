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
from pathlib import Path
from typing import Any

from netspec.errors import NetspecError

MANIFEST = "manifest.json"
UMASK = os.umask(0)
os.umask(UMASK)


class FolderError(NetspecError):
    """The build folder cannot be written."""


def key_of(**parts: Any) -> str:
    """One key for everything that a stage reads; values must be plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BuildFolder:
    """A folder of artefacts with its manifest: for every stage its key and the sha256 of every file it wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.mkdir(parents=True, exist_ok=True)
            for left_over in path.glob(".partial-*"):
                shutil.rmtree(left_over)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise FolderError(f"the build folder {path} cannot be written: {error.strerror or error}") from error
        self.facts: dict[str, Any] = {}
        self.stages: dict[str, dict[str, Any]] = {}
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            self.stages = {name: dict(stage) for name, stage in manifest["stages"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self.stages = {}  # no manifest, or none of ours: every stage runs

    def current(self, stage: str, key: str) -> bool:
        """Whether the stage ran with this key and its files are still what it wrote."""
        known = self.stages.get(stage)
        return known is not None and known.get("key") == key and self.intact(stage)

    def intact(self, stage: str) -> bool:
        """Whether every file of the stage is still what it wrote."""
        files: Mapping[str, str] = self.stages.get(stage, {}).get("files", {})
        return bool(files) and all(
            (self.path / name).is_file() and sha256(self.path / name) == digest for name, digest in files.items()
        )

    @contextmanager
    def stage(self, stage: str, key: str | Callable[[], str]) -> Iterator[Path]:
        """A folder to write the stage's files into; they move into place, and into the manifest, if all goes well."""
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.path))
        try:
            yield partial
            with self._lock:
                files = self._move(partial, stage)
                self.stages[stage] = {"key": key if isinstance(key, str) else key(), "files": files}
                self.write()
        except OSError as error:
            raise FolderError(f"stage {stage} could not write {self.path}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _move(self, partial: Path, stage: str) -> dict[str, str]:
        files = sorted(path.relative_to(partial) for path in partial.rglob("*") if path.is_file())
        for name in self.stages.get(stage, {}).get("files", {}):
            if Path(name) not in files:
                (self.path / name).unlink(missing_ok=True)
        digests = {}
        for name in files:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            digests[name.as_posix()] = sha256(partial / name)
            (partial / name).chmod(0o666 & ~UMASK)  # safetensors writes files that only their owner may read
            (partial / name).replace(self.path / name)
        return digests

    def files(self, stages: Sequence[str] | None = None) -> dict[str, str]:
        """Every artefact with its sha256."""
        chosen = self.stages if stages is None else {name: self.stages[name] for name in stages if name in self.stages}
        return {name: digest for stage in chosen.values() for name, digest in stage["files"].items()}

    def write(self) -> None:
        """Write the manifest, whole or not at all."""
        manifest = {**self.facts, "artefacts": dict(sorted(self.files().items())), "stages": self.stages}
        partial = self.path / f".{MANIFEST}.{os.getpid()}"
        partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.path / MANIFEST)
