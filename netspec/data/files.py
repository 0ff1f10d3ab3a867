"""The official files of MNIST, Fashion-MNIST and CIFAR-10, read from the folder that NETSPEC_DATA names."""

from __future__ import annotations

import gzip
import os
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.data.dataset import Split
from netspec.errors import Problem, SpecError

IDX_UBYTE = 0x08
CIFAR_RECORD = 1 + 3 * 32 * 32


def read_mnist() -> tuple[Split, Split]:
    """60,000 images to train on and 10,000 to test on, uint8 [n, 28, 28, 1], from `mnist/*-ubyte.gz`."""
    return _read_idx_pair("mnist")


def read_fashion_mnist() -> tuple[Split, Split]:
    """60,000 images to train on and 10,000 to test on, uint8 [n, 28, 28, 1], from `fashion-mnist/*-ubyte.gz`."""
    return _read_idx_pair("fashion-mnist")


def read_cifar10() -> tuple[Split, Split]:
    """50,000 images to train on and 10,000 to test on, uint8 [n, 32, 32, 3], from `cifar-10-batches-bin/*.bin`."""
    names = [f"data_batch_{number}.bin" for number in range(1, 6)]
    *training, test = _find("cifar-10-batches-bin", [*names, "test_batch.bin"])
    return _read_cifar(training), _read_cifar([test])


def read_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """The array in an IDX file: two zero bytes, the type, the rank, the sizes big-endian, the values.

    `name` is for the SpecError that anything else raises.
    """
    rank = content[3] if len(content) >= 4 else 0
    sizes = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
    values = np.frombuffer(content, dtype=np.uint8)[4 + 4 * rank :]
    if content[:3] != bytes([0, 0, IDX_UBYTE]) or rank not in (1, 3):
        raise _unreadable(name, "it is no IDX file of bytes with one or three axes")
    if len(values) != prod(sizes):
        raise _unreadable(name, f"its header says {'x'.join(map(str, sizes))} bytes, but {len(values)} follow")
    return values.reshape(sizes)


def _read_idx_pair(folder: str) -> tuple[Split, Split]:
    names = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    images, labels, test_images, test_labels = (_read_gz(path) for path in _find(folder, names))
    return _pair(images, labels, folder), _pair(test_images, test_labels, folder)


def _read_gz(path: Path) -> NDArray[np.uint8]:
    try:
        return read_idx(gzip.decompress(path.read_bytes()), str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(str(path), str(error)) from error


def _pair(images: NDArray[np.uint8], labels: NDArray[np.uint8], folder: str) -> Split:
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise _unreadable(folder, f"images {list(images.shape)} and labels {list(labels.shape)} do not belong together")
    return Split(images[..., np.newaxis], labels.astype(np.int64))


def _read_cifar(paths: list[Path]) -> Split:
    records: list[NDArray[Any]] = []
    for path in paths:
        content = np.fromfile(path, dtype=np.uint8)
        if not len(content) or len(content) % CIFAR_RECORD:
            raise _unreadable(
                str(path), f"{len(content)} bytes are no multiple of {CIFAR_RECORD}, the bytes of an image"
            )
        records.append(content.reshape(-1, CIFAR_RECORD))
    every = np.concatenate(records)
    planes = every[:, 1:].reshape(-1, 3, 32, 32)
    return Split(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), every[:, 0].astype(np.int64))


def _find(folder: str, names: list[str]) -> list[Path]:
    """The files of a data set; raises SpecError saying which are expected where."""
    root = os.environ.get("NETSPEC_DATA")
    if not root:
        raise SpecError(
            [
                Problem(
                    f"the data is read from {folder}/ in the folder that NETSPEC_DATA names, which is not set",
                    f"put {', '.join(names)} there and set NETSPEC_DATA; data: digits needs no files",
                    "data.source",
                )
            ]
        )
    paths = [Path(root) / folder / name for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SpecError(
            [
                Problem(
                    f"{Path(root) / folder} lacks {', '.join(missing)}",
                    "NETSPEC_DATA names the folder above it; the files are the official ones, as they are downloaded",
                    "data.source",
                )
            ]
        )
    return paths


def _unreadable(name: str, why: str) -> SpecError:
    return SpecError([Problem(f"{name} cannot be read: {why}", "fetch the file again", "data.source")])
