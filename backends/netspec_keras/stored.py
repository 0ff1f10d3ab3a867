"""Weights that others saved with Keras: .keras archives, .weights.h5, and HDF5 files as Keras 1 and 2 wrote them.

They are read with h5py alone. What an HDF5 file may refer to outside of itself is refused.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import h5py

from netspec.backend.stored import StoredLayer, StoredTensor, StoredWeights
from netspec.errors import Problem, UnreadableError
from netspec_keras.config import Entry, entries, numbered, roles
from netspec_keras.render import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from netspec.tensors import Array

CONFIG_BYTES = 2**26
"""More than the configuration of any model takes."""
DEPTH = 32
"""More than models are nested."""
FLOATS = ("float64", "float32", "float16", "bfloat16")
NOT_WEIGHTS = re.compile(r"(^|/)(optimizer|seed_generator|random_generator)(_\d+)?(/|$)")
"""What a file keeps beside the weights: what the training was at."""
STATISTICS = re.compile(r"normalization(_\d+)?")
"""Fixed statistics of the data, which a spec states in its Normalize row."""
OLD_ROLES = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
"""What Keras 1 called them; its `running_std` is a variance."""


class NotWhole(ValueError):
    """A file that is not what it should be; says why."""


def read(path: Path, limit_bytes: int) -> StoredWeights:
    """What a file holds; see `Importable.read_stored`."""
    try:
        if path.suffix == ".keras":
            return _archive(path, limit_bytes)
        with h5py.File(path, "r") as file:
            return _Hdf5(file, limit_bytes).stored(None)
    except NotWhole as error:
        raise _refused(path, str(error)) from None
    except BadZipFile as error:
        raise _refused(path, f"not a whole .keras archive ({error})") from None
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, RecursionError, MemoryError) as error:
        reason = str(error).strip("'\" ").split("\n")[0][:120] or type(error).__name__
        raise _refused(path, f"not a whole Keras file ({reason})") from None


def _archive(path: Path, limit_bytes: int) -> StoredWeights:
    """The weights of an archive, in the order and with the connections that its configuration has."""
    with ZipFile(path) as archive:
        config = json.loads(_member(archive, CONFIG, CONFIG_BYTES))
        content = _member(archive, WEIGHTS, limit_bytes)
    with h5py.File(io.BytesIO(content), "r") as file:
        return _Hdf5(file, limit_bytes).stored(config)


def _member(archive: ZipFile, name: str, limit_bytes: int) -> bytes:
    if name not in archive.namelist():
        raise NotWhole(f"not a whole .keras archive (it has no {name})")
    size = archive.getinfo(name).file_size
    if size > limit_bytes:
        raise NotWhole(f"{name} in it would unpack to {size:,} bytes, far more than the network needs")
    return archive.read(name)


class _Hdf5:
    """A file that is read: every group and array is checked before it is opened."""

    def __init__(self, file: Any, limit_bytes: int) -> None:
        self.file, self.limit_bytes = file, limit_bytes
        self.read_bytes = 0
        self.notes: list[str] = []
        self.walked: set[int] = set()

    def stored(self, config: Any) -> StoredWeights:
        """All layers; `config` is the model's configuration where that lies beside the file."""
        root = self._open(self.file, "model_weights") if "model_weights" in self.file else self.file
        if listed := _listed(root, "layer_names"):
            if "model_config" in self.file.attrs:
                config = json.loads(_text(self.file.attrs["model_config"]))
            layers = list(self._by_names(root, listed, _known(config)))
        else:
            layers = list(self._by_classes(_known(config)))
        layers = [layer for layer in layers if not self._statistics(layer)]
        if not any(layer.tensors for layer in layers):
            raise NotWhole("it holds no weights of layers as Keras saves them")
        ordered = bool(listed) or all(layer.inputs is not None for layer in layers)
        return StoredWeights(tuple(layers), "depth" if ordered else "kinds", "last", tuple(self.notes))

    def _statistics(self, layer: StoredLayer) -> bool:
        """Whether a layer holds the statistics of the data, which are no weights here."""
        found = bool(layer.tensors) and (
            layer.kind == "Normalization" or (not layer.kind and STATISTICS.fullmatch(layer.name) is not None)
        )
        if found:
            self.notes.append(f"left out {layer.name}, the statistics of the data: a Normalize row states them")
        return found

    # Keras 1 and 2: a group a layer, and attributes that list the layers, and the weights of each.

    def _by_names(self, root: Any, listed: Sequence[str], known: Sequence[Entry]) -> Iterator[StoredLayer]:
        """The layers that the attributes list; with a configuration also those without weights, and what each reads."""
        found: dict[str, list[StoredTensor]] = {}
        for name in listed:
            group = self._open(root, name)
            for written in _listed(group, "weight_names"):
                path = re.sub(r":\d+$", "", written)
                if not NOT_WEIGHTS.search(path):
                    owner, role = _owner(name, path), _role(path)
                    found.setdefault(owner, []).append(self._tensor(group, written, f"{owner}/{role}", role))
        paths = _paths(known)
        placed = {paths.get(name) or paths.get(name.rpartition("/")[2], name): own for name, own in found.items()}
        for entry in known:
            yield entry.layer(tuple(placed.pop(entry.path, ())))
        for name, own in placed.items():
            kind, number = numbered(name.rpartition("/")[2])
            yield StoredLayer(name, tuple(own), kind=kind, number=number)

    # Keras 3: a group a layer, named after its class; the layer's own name is an attribute.

    def _by_classes(self, known: Sequence[Entry]) -> Iterator[StoredLayer]:
        entries = {entry.place: entry for entry in known}
        tensors: dict[str, list[StoredTensor]] = {place: [] for place in entries}
        others = []
        for place, path, group in self._walk(self.file, "", "", 0):
            owner = next((each for each in _upwards(place) if each in entries), None)
            if owner is None:
                kind, _ = numbered(place.rpartition("/")[2])
                _, number = numbered(path.rpartition("/")[2], kind)
                own = tuple(self._variables(group, path, kind, {}))
                others.append(StoredLayer(path, own, kind=kind, number=number))
                continue
            entry, inner = entries[owner], place[len(owner) :].replace("/", ".")
            kind = "" if inner else entry.kind
            tensors[owner] += self._variables(group, f"{entry.path}{inner}", kind, entry.config)
        yield from (entry.layer(tuple(tensors[entry.place])) for entry in known)
        yield from others

    def _walk(self, group: Any, place: str, path: str, depth: int) -> Iterator[tuple[str, str, Any]]:
        """Every group of variables: its place in the file, and the names of the layers on the way to it."""
        if depth > DEPTH:
            raise NotWhole(f"its groups are nested more than {DEPTH} levels deep")
        for name in sorted(group, key=_counted):
            inner = f"{place}/{name}".lstrip("/")
            if name == "vars" or NOT_WEIGHTS.search(inner) or not isinstance(self._open(group, name), h5py.Group):
                continue
            child = self._open(group, name)
            address = h5py.h5o.get_info(child.id).addr
            if address in self.walked:
                raise NotWhole(f"the group {inner} in it is another one too")
            self.walked.add(address)
            below = path
            if "vars" in child:
                variables = self._open(child, "vars")
                below = f"{path}/{_text(variables.attrs.get('name', name))}".lstrip("/")
                if len(variables):
                    yield inner, below, variables
            yield from self._walk(child, inner, below, depth + 1)

    def _variables(self, group: Any, owner: str, kind: str, config: Mapping[str, Any]) -> Iterator[StoredTensor]:
        names = sorted(group, key=_counted)
        known = roles(kind, len(names), config) or [name if not name.isdecimal() else "" for name in names]
        for name, role in zip(names, known, strict=True):
            yield self._tensor(group, name, f"{owner}/{role or name}", role)

    # Both.

    def _open(self, parent: Any, name: str) -> Any:
        """A group inside of this one, which must lie in this file."""
        for part in name.split("/"):
            if part not in parent:
                raise NotWhole(f"not a whole Keras file (it has no group {name!r})")
            if isinstance(parent.get(part, getlink=True), (h5py.SoftLink, h5py.ExternalLink)):
                raise NotWhole(f"{name} in it is a link to elsewhere")
            parent = parent[part]
        return parent

    def _tensor(self, group: Any, name: str, full: str, role: str) -> StoredTensor:
        dataset = self._open(group, name)
        if not isinstance(dataset, h5py.Dataset):
            raise NotWhole(f"not a whole Keras file ({full} is no array)")
        if dataset.is_virtual or dataset.external:
            raise NotWhole(f"{full} lies outside of the file")
        dtype, shape = str(_text(dataset.attrs.get("dtype", dataset.dtype))), tuple(map(int, dataset.shape or ()))
        self.read_bytes += 4 * prod(shape)
        if self.read_bytes > self.limit_bytes:
            raise NotWhole(f"its arrays would take over {self.limit_bytes:,} bytes, far more than the network needs")
        array = self._numbers(dataset, dtype)
        return StoredTensor(full, array, dtype, shape, role)

    @staticmethod
    def _numbers(dataset: Any, dtype: str) -> Array:
        """In float32; of what is no number only the shape is ever told."""
        import numpy as np

        if dtype == "bfloat16":
            bits = np.asarray(dataset).view(np.uint16).astype(np.uint32) << 16
            return bits.view(np.float32)
        if dtype in FLOATS:
            return np.asarray(dataset).astype(np.float32)
        return np.zeros(dataset.shape or (), np.uint8)


def _known(config: Any) -> list[Entry]:
    """The layers of a configuration; none of one that does not say them, as that of a model in a class of its own."""
    try:
        return entries(config) if config else []
    except (KeyError, TypeError, AttributeError):
        return []


def _paths(known: Sequence[Entry]) -> dict[str, str]:
    """The path of every layer by itself, and by its last part, which is all that older files have of a deep one."""
    last = Counter(entry.path.rpartition("/")[2] for entry in known)
    short = {entry.path.rpartition("/")[2]: entry.path for entry in known}
    return {name: path for name, path in short.items() if last[name] == 1} | {entry.path: entry.path for entry in known}


def _upwards(place: str) -> Iterator[str]:
    """A place in a file, and all that it is inside of."""
    while place:
        yield place
        place = place.rpartition("/")[0]


def _listed(group: Any, attribute: str) -> list[str]:
    """A list of names in an attribute, or, where it is long, in several; empty where there is none."""
    parts = [attribute] if attribute in group.attrs else []
    for part in count():
        if parts[:1] == [attribute] or f"{attribute}{part}" not in group.attrs:
            break
        parts.append(f"{attribute}{part}")
    return [_text(name) for part in parts for name in group.attrs[part]]


def _owner(name: str, path: str) -> str:
    """The layer that a weight belongs to: `name`, or one inside of it where that is a model itself.

    >>> _owner("conv", "model/conv/kernel"), _owner("base", "base/conv/kernel"), _owner("base", "conv/kernel")
    ('conv', 'base/conv', 'base/conv')
    """
    scopes = path.split("/")[:-1]
    # Before its name there may be that of the model; older files write it with a number.
    own = [place for place, scope in enumerate(scopes) if re.fullmatch(rf"{re.escape(name)}(_\d+)?", scope)]
    return "/".join([name, *scopes[own[-1] + 1 if own else 0 :]])


def _role(path: str) -> str:
    """What a layer calls a weight, from its path: Keras 1 wrote the layer's name before it and a number behind.

    >>> _role("conv2d/kernel"), _role("block1_conv1/block1_conv1_W_1")
    ('kernel', 'kernel')
    """
    last = path.rpartition("/")[2]
    old = next((new for old, new in OLD_ROLES.items() if re.search(rf"(^|_){old}(_\d+)?$", last)), None)
    return old or last


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _counted(name: str) -> tuple[str, int]:
    """Names in the order of their numbers."""
    found = re.fullmatch(r"(.*?)_?(\d+)?", name)
    return (found[1], int(found[2] or -1)) if found else (name, -1)


def _refused(path: Path, why: str) -> UnreadableError:
    return UnreadableError([Problem(f"{path}: the weights cannot be read: {why}")])
