"""Files that are there whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"
"""How the names of what is not whole yet begin; what a killed process left behind is known by it."""


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path beside `path`, of the same suffix, to write a file at; it takes the place of `path` if all goes well.

    Nobody sees half of it, and what was there before stays until then. With `durable` its bytes are on the disk before
    the name is: a power cut leaves one of the two whole. Raises OSError where it cannot be moved.
    """
    partial = path.with_name(f"{PARTIAL}{os.urandom(8).hex()}{path.suffix}")
    try:
        yield partial
        if durable:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
