"""The official files of MNIST, Fashion-MNIST and CIFAR-10: from the folder NETSPEC_DATA, or downloaded once."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.data.cache import cache_folder
from netspec.data.dataset import Split
from netspec.data.download import DownloadError, download
from netspec.errors import Problem, SpecError
from netspec.progress import Progress
from netspec.storage.atomic import replacing
from netspec.storage.stages import sha256

IDX_UBYTE = 0x08
CIFAR_RECORD = 1 + 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class Official:
    """A data set's folder, its files with their sha256, and where they are; an `archive` there holds all of them."""

    folder: str
    address: str
    files: Mapping[str, str]
    archive: tuple[str, str] | None = None
    """Its name and sha256."""


MNIST = Official(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
FASHION_MNIST = Official(
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
CIFAR10 = Official(
    "cifar-10-batches-bin",
    "https://www.cs.toronto.edu/~kriz/",
    {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    archive=("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
)


READERS = {"read_mnist": MNIST, "read_fashion_mnist": FASHION_MNIST, "read_cifar10": CIFAR10}


def version_of(reader: str) -> dict[str, str]:
    """The checksums of the files that a reader reads."""
    return dict(READERS[reader].files)


def read_mnist(progress: Progress) -> tuple[Split, Split]:
    """60,000 images to train on and 10,000 to test on, uint8 [n, 28, 28, 1]."""
    return _read_idx_pair(READERS["read_mnist"], progress)


def read_fashion_mnist(progress: Progress) -> tuple[Split, Split]:
    """60,000 images to train on and 10,000 to test on, uint8 [n, 28, 28, 1]."""
    return _read_idx_pair(READERS["read_fashion_mnist"], progress)


def read_cifar10(progress: Progress) -> tuple[Split, Split]:
    """50,000 images to train on and 10,000 to test on, uint8 [n, 32, 32, 3]."""
    *training, test = _find(READERS["read_cifar10"], progress)
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


def _read_idx_pair(official: Official, progress: Progress) -> tuple[Split, Split]:
    images, labels, test_images, test_labels = (_read_gz(path) for path in _find(official, progress))
    return _pair(images, labels, official.folder), _pair(test_images, test_labels, official.folder)


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


def _find(official: Official, progress: Progress) -> list[Path]:
    """The files of a data set, each as its checksum says; those that are nowhere are downloaded.

    Raises SpecError for a file that was changed or cut off, and for one that cannot be had.
    """
    root = os.environ.get("NETSPEC_DATA")
    own = cache_folder() / "downloads" / official.folder
    folders = [*([Path(root) / official.folder] if root else []), own]
    found = {
        name: next((folder / name for folder in folders if (folder / name).is_file()), None) for name in official.files
    }
    if None in found.values():
        _fetch(official, [name for name, path in found.items() if path is None], own, progress)
    paths = [path or own / name for name, path in found.items()]
    problems = [
        Problem(
            f"{path} is not the official file: its sha256 is {digest}, not {official.files[path.name]}",
            f"it was changed or cut off ({path.stat().st_size:,} bytes); remove it, and it is downloaded",
            "data.source",
        )
        for path in paths
        if (digest := sha256(path)) != official.files[path.name]
    ]
    if problems:
        raise SpecError(problems)
    return paths


def _fetch(official: Official, names: list[str], folder: Path, progress: Progress) -> None:
    """Download these files into a folder; raises SpecError."""
    try:
        if official.archive is None:
            for name in names:
                download(official.address + name, folder / name, official.files[name], progress)
            return
        archive, digest = official.archive
        download(official.address + archive, folder / archive, digest, progress)
        _unpack(folder / archive, folder, names)
    except DownloadError as error:
        root = os.environ.get("NETSPEC_DATA")
        looked = f"{Path(root) / official.folder}" if root else "NETSPEC_DATA, which is not set,"
        message = f"{official.folder} lacks {', '.join(names)}: not in {looked} or {folder}, and {error}"
        hint = f"put the official files into {official.folder}/ in a folder, and set NETSPEC_DATA to that folder"
        raise SpecError([Problem(message, hint, "data.source")]) from None


def _unpack(archive: Path, folder: Path, names: list[str]) -> None:
    """The files of these names from an archive, which is then removed."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            content = tar.extractfile(member) if name in names and member.isfile() else None
            if content is not None:
                with replacing(folder / name) as partial:
                    partial.write_bytes(content.read())
    archive.unlink()


def _unreadable(name: str, why: str) -> SpecError:
    return SpecError([Problem(f"{name} cannot be read: {why}", "fetch the file again", "data.source")])
