"""Decoded images and tables, kept for the next time: each array under the sha256 of its bytes, mapped into memory.

The folder is NETSPEC_CACHE, or `netspec` in that for caches of the user's. `decoded/<key>.json` says which arrays a
request gave; an array whose bytes are not what its name says is decoded again. Where nothing can be written, nothing
is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.data.dataset import Split
from netspec.storage.atomic import partial_prefix, replacing, sweep
from netspec.storage.stages import key_of, sha256

VERSION = 1
"""Of what is written; another one is decoded again."""

Array = NDArray[Any]
Empty = Callable[[tuple[int, ...], Any], Array]
"""A fresh array of a shape and a type to decode into."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a source gives: the names of its classes, its splits, and what was left out."""

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    skipped: tuple[str, ...] = ()
    """The images that could not be decoded."""
    scale: tuple[tuple[float, float], ...] = ()
    """For each column that was standardised its mean and standard deviation."""


def cache_folder() -> Path:
    """Where downloads and decoded data are kept."""
    own = os.environ.get("NETSPEC_CACHE")
    if own:
        return Path(own)
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "netspec"


def cached(request: Mapping[str, Any], decode: Callable[[Empty], Decoded]) -> Decoded:
    """What was decoded for the same request before, or what is decoded now; `request` is plain data."""
    folder = cache_folder()
    index = _index(request, folder)
    known = _known(index, folder)
    if known is not None:
        return known
    try:
        (folder / "arrays").mkdir(parents=True, exist_ok=True)
        index.parent.mkdir(exist_ok=True)
        sweep(folder / "arrays")
        partial = Path(tempfile.mkdtemp(prefix=partial_prefix(), dir=folder / "arrays"))
    except OSError:
        return decode(np.empty)  # a home that cannot be written is no reason not to train
    try:
        found = decode(_Files(partial))
        return _kept(found, folder, partial, index)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def decoded_before(request: Mapping[str, Any]) -> Decoded | None:
    """What was decoded for the same request before, or None."""
    folder = cache_folder()
    return _known(_index(request, folder), folder)


def _index(request: Mapping[str, Any], folder: Path) -> Path:
    return folder / "decoded" / f"{key_of(version=VERSION, **request)}.json"


class _Files:
    """Fresh arrays that are files; in memory where the disk has no room for them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def __call__(self, shape: tuple[int, ...], kind: Any) -> Array:
        path = self.folder / f"{self.count}.npy"
        self.count += 1
        try:
            array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(kind), shape=shape)
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)  # else a full disk is a bus error later
        except OSError:
            path.unlink(missing_ok=True)
            return np.empty(shape, kind)
        return array


def _kept(found: Decoded, folder: Path, partial: Path, index: Path) -> Decoded:
    """The same, in the cache; as it is where the disk has no room."""
    try:
        written = {
            name: {part: _keep(getattr(split, part), folder, partial) for part in ("images", "labels")}
            for name, split in found.splits.items()
        }
        document = {
            "classes": list(found.classes),
            "splits": written,
            "skipped": list(found.skipped),
            "scale": [list(pair) for pair in found.scale],
        }
        with replacing(index) as temporary:
            temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError:
        return found
    return replace(found, splits={name: _opened(each, folder) for name, each in written.items()})


def _keep(array: Array, folder: Path, partial: Path) -> str:
    """The sha256 of an array's file, which is then in the cache."""
    if isinstance(array, np.memmap) and array.filename is not None and Path(array.filename).parent == partial:
        array.flush()
        path = Path(array.filename)
    else:
        path = partial / "array.npy"
        np.save(path, array)
    digest = sha256(path)
    path.replace(_array_file(folder, digest))
    return digest


def _array_file(folder: Path, digest: str) -> Path:
    return folder / "arrays" / f"{digest}.npy"


def _known(index: Path, folder: Path) -> Decoded | None:
    """What an index says, if all of it is there and is what it was."""
    try:
        document = json.loads(index.read_text(encoding="utf-8"))
        splits = document["splits"]
        for each in splits.values():
            for digest in each.values():
                if sha256(_array_file(folder, digest)) != digest:
                    return None
        return Decoded(
            classes=tuple(document["classes"]),
            splits={name: _opened(each, folder) for name, each in splits.items()},
            skipped=tuple(document["skipped"]),
            scale=tuple((mean, deviation) for mean, deviation in document["scale"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _opened(written: Mapping[str, str], folder: Path) -> Split:
    images, labels = (open_array(_array_file(folder, written[part])) for part in ("images", "labels"))
    return Split(images, labels)


def open_array(path: Path) -> Array:
    """An array in a file, mapped into memory; what is written into it stays in memory."""
    array: Array = np.load(path, mmap_mode="c")
    return array
