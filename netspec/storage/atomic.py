"""Files that are there whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"
"""How the names of what is not whole yet begin, before the number of the process that writes it."""


def partial_prefix() -> str:
    """How the names of what this process has not written whole yet begin."""
    return f"{PARTIAL}{os.getpid()}-"


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path beside `path`, of the same suffix, to write a file at; it takes the place of `path` if all goes well.

    Nobody sees half of it, and what was there before stays until then. With `durable` its bytes are on the disk before
    the name is, and the name once this ends: a power cut leaves one of the two whole, and afterwards the new one.
    Raises OSError where it cannot be moved; one that names the file beside names `path` instead, as people know it.
    """
    partial = path.with_name(f"{partial_prefix()}{os.urandom(8).hex()}{path.suffix}")
    try:
        yield partial
        if durable:
            sync(partial)
        partial.replace(path)
        if durable:
            sync(path.parent)
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)) == partial:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def unwritable(path: Path) -> str | None:
    """Why a file cannot be written at a path, as far as that can be told before there is anything to write."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return None if os.access(path.parent, os.W_OK | os.X_OK) else f"the folder {path.parent} is read-only for you"


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk, where a power cut leaves them."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove from a folder what processes that are gone left half written there; what others are writing stays.

    This process must not be writing there: what has its number is of another one that had it, as in a container.
    """
    for left_over in folder.glob(f"{PARTIAL}*"):
        writer = re.match(rf"{re.escape(PARTIAL)}(\d+)-", left_over.name)
        if writer is not None and _lives(int(writer[1])):
            continue
        if left_over.is_dir():
            shutil.rmtree(left_over, ignore_errors=True)  # another process may be sweeping as well
        else:
            left_over.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether there is another process of this number on this machine."""
    if process in (0, os.getpid()):
        return False
    if os.name == "nt":  # where asking would interrupt it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
