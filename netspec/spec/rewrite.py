"""A new text in the place of a spec file's old one."""

from __future__ import annotations

from pathlib import Path

from netspec.errors import Problem, SpecError
from netspec.storage.atomic import replacing


def rewrite(path: Path, text: str) -> None:
    """Replace the text of a file that exists, whole or not at all; a link stays one, and the file keeps its mode.

    Line ends are written as they stand in the text. Raises SpecError naming the file when it cannot be written.
    """
    try:
        _replace(path.resolve(strict=True), text.encode("utf-8"))
    except OSError as error:
        raise SpecError([Problem(f"cannot be written: {error.strerror or error}", path=str(path))]) from error


def _replace(path: Path, content: bytes) -> None:
    with path.open("r+b"):
        pass  # a file that may not be written is not replaced either, though its folder would allow it
    with replacing(path) as partial:
        partial.write_bytes(content)
        partial.chmod(path.stat().st_mode & 0o7777)
