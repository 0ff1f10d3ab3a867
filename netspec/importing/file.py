"""A path and a network -> the canonical weights: read in a process of its own, matched, turned into our layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.backend import Importable, importers
from netspec.backend.stored import StoredLayer, StoredTensor, StoredWeights
from netspec.backend.worker import Worker, WorkerDied, within
from netspec.errors import Problem, SpecError, UnreadableError, did_you_mean, file_near, one_of
from netspec.importing.flatten import channels_first_places, to_channels_last
from netspec.importing.folded import Folding, with_norms, without_norms
from netspec.importing.mapping import read_mapping
from netspec.importing.match import Match, match
from netspec.importing.misfit import FoldedError
from netspec.importing.units import wanted_units
from netspec.memory import check_memory
from netspec.network import Network
from netspec.tensors import Order, Placement
from netspec.training.checkpoint import BEST, best_weights
from netspec.weights import check_fit, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]

CANONICAL = ".safetensors"
SLACK_BYTES = 2**26
"""What a file may hold beside its numbers: names, a configuration, metadata."""
MOST_SAID = 5
"""How many weights with numbers that are not finite are named."""
TIMES = 8
"""How often a file may hold each weight: in float64, or in float32 with an optimiser's two moments and averages."""


class NotFiniteError(SpecError):
    """Weights that hold what is no number."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The canonical weights of a network, and where each came from."""

    weights: Mapping[str, Float32]
    origins: Mapping[str, StoredTensor]
    """The tensor of the file that became each weight."""
    how: str
    """How they were matched: `by name`, `by order and shape`, ..."""
    notes: Sequence[str] = field(default=())
    """What a person should know of it, in sentences."""
    guessed: Order | None = None
    """How its network was taken to flatten images where that matters and neither the file nor the caller says it."""
    folding: Folding | None = None
    """The BatchNorms whose weights only compute the same as those that the file was made of."""


def load_weights(path: Path, network: Network) -> dict[str, Float32]:
    """The canonical weights of a network from any file that holds them: ours, or one that `import_weights` reads.

    Raises SpecError as `import_weights` does, and BackendError where the library that reads such files is missing.
    """
    return dict(import_weights(path, network).weights)


def import_weights(
    path: Path,
    network: Network,
    *,
    mapping: Path | None = None,
    ignore: Sequence[str] = (),
    flattened: Order | None = None,
    limit_s: float | None = None,
    folded: bool = False,
) -> Imported:
    """The canonical weights of a network from a file that others wrote, float32 and finite, in the network's order.

    `mapping` is a file that names layers or tensors for rows; `ignore` are patterns of names that are left out;
    `flattened` says how the file's network flattens images where the file does not say; reading that takes longer than
    `limit_s` seconds is ended. With `folded`, BatchNorms whose numbers an exporter has put together get weights that
    compute the same, which `Imported.folding` says; otherwise that is an error.

    Raises SpecError for a file that is missing, not whole, hostile, too large, or of another network, with the rows and
    shapes that do not fit.
    """
    found = _imported(path, network, mapping, ignore, flattened, limit_s, folded)
    _check_finite(path, network, found)
    return found


def _imported(
    path: Path,
    network: Network,
    mapping: Path | None,
    ignore: Sequence[str],
    flattened: Order | None,
    limit_s: float | None,
    folded: bool,
) -> Imported:
    check_memory(network)
    known = {suffix: (place, backend) for place, backend in importers().items() for suffix in backend.suffixes}
    check_file(path, network)
    if path.suffix == CANONICAL and mapping is None and not ignore and is_canonical(path, network):
        return _canonical(path, network)
    place, backend = known[path.suffix]
    stored = _without(_read(path, place, backend, network, limit_s), ignore, path)
    if path.suffix == CANONICAL and is_canonical(path, network):
        placements: Mapping[str, Placement] = {weight.name: Placement(weight.name) for weight in network.weights()}
        stored = replace(stored, flattens="last")
    else:
        placements = backend.placements(network)

    def read(network: Network, placements: Mapping[str, Placement], *, affine: bool = False) -> Imported:
        parts = [part for units in wanted_units(network, placements).values() for unit in units for part in unit.parts]
        given = read_mapping(mapping, parts, stored) if mapping else {}
        matched = match(str(path), network, placements, stored, given, affine=affine)
        return _turned(network, placements, stored, matched, flattened)

    try:
        return read(network, placements)
    except FoldedError as error:
        if not folded:
            raise
        folding = error.folding
        bare = without_norms(network, folding)
        found = read(bare, backend.placements(bare), affine=len(folding.into) < len(folding.norms))
        weights, origins = with_norms(network, folding, found.weights, found.origins)
        return replace(found, weights=weights, origins=origins, folding=folding)


def is_canonical(path: Path, network: Network) -> bool:
    """Whether a file of safetensors holds canonical weights: it says so, or has just their names."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return "netspec" in (file.metadata() or {}) or set(file.keys()) == {
                weight.name for weight in network.weights()
            }
    except (SafetensorError, ValueError):
        return False  # whoever reads it will say what is wrong


def _canonical(path: Path, network: Network) -> Imported:
    """Weights that we wrote: those of a training that has ended, or of the best epoch of one that has not."""
    kept = best_weights(path)
    if kept == {}:
        why = "it is the checkpoint of a training of which no epoch has ended"
        raise _refused(path, why, "the command that wrote it goes on from there")
    if kept is not None:
        check_fit(kept, network, str(path))
    found, prefix = (load(path, network), "") if kept is None else (kept, BEST)
    weights = {weight.name: found[weight.name] for weight in network.weights()}
    origins = {name: StoredTensor(prefix + name, array, "float32", array.shape) for name, array in weights.items()}
    return Imported(weights, origins, "by name")


def check_file(path: Path, network: Network) -> None:
    """Refuse what is no file of a kind that can be read, or far larger than the network's weights can be.

    Nothing of it is read. Raises SpecError.
    """
    known = sorted(suffix for backend in importers().values() for suffix in backend.suffixes)
    if path.is_dir():
        raise _refused(path, "it is a folder", "name the file in it")
    if not path.exists():
        siblings = [found.name for found in path.parent.iterdir()] if path.parent.is_dir() else []
        there = [name for name in siblings if Path(name).suffix in known]
        raise _refused(path, "there is no such file", file_near(path.name, there))
    if not path.is_file():
        raise _refused(path, "it is no regular file")
    if path.suffix not in known:
        raise _refused(path, f"files ending in {path.suffix or 'nothing'!r} are not known", one_of(known))
    size, limit = path.stat().st_size, limit_bytes(network)
    if size > limit:
        message = f"it has {size:,} bytes, but {network.name} has only {network.parameters:,} numbers"
        raise _refused(path, message, "is it of this network?")


def limit_bytes(network: Network) -> int:
    """What a file of weights of this network may have at most."""
    return SLACK_BYTES + TIMES * 4 * network.parameters


def _read(path: Path, place: str, backend: Importable, network: Network, limit_s: float | None) -> StoredWeights:
    """What the file holds, read by a process that may die of it."""
    module = backend.suffixes[path.suffix]
    if find_spec(module) is None:
        from netspec.errors import BackendError

        raise BackendError(
            f"reading {path} needs {module}, which is not installed\n  hint: pip install 'netspec[{backend.name}]'"
        )
    try:
        with Worker(place) as worker, within(worker, limit_s):
            stored: StoredWeights = worker.call("read_stored", path=path, limit_bytes=limit_bytes(network))
            return stored
    except WorkerDied as error:
        raise _refused(path, f"reading it ended the process that did ({error})") from error


def _without(stored: StoredWeights, patterns: Sequence[str], path: Path) -> StoredWeights:
    """What a file holds without the layers and tensors of these names; each pattern has to leave out something."""
    used = set()

    def kept(layer: StoredLayer) -> Iterator[StoredTensor]:
        for tensor in layer.tensors:
            hit = [each for each in patterns if fnmatchcase(tensor.name, each) or fnmatchcase(layer.name, each)]
            used.update(hit)
            if not hit:
                yield tensor

    layers = tuple(replace(layer, tensors=tuple(kept(layer))) for layer in stored.layers)
    unused = [each for each in patterns if each not in used]
    if unused:
        names = [layer.name for layer in stored.layers if layer.tensors]
        problems = [Problem(f"nothing in {path} has the name {each!r}", did_you_mean(each, names)) for each in unused]
        raise SpecError(problems)
    return replace(stored, layers=layers)


def _turned(
    network: Network,
    placements: Mapping[str, Placement],
    stored: StoredWeights,
    matched: Match,
    flattened: Order | None,
) -> Imported:
    """The matched tensors as canonical weights, in the network's order."""
    notes = list(stored.notes)
    order = stored.flattens or flattened or ("last" if matched.own else "first")
    vectors = channels_first_places(network)
    weights: dict[str, Float32] = {}
    for weight in network.weights():
        tensor = matched.pairs[weight.name]
        array = placements[weight.name].recover(tensor.array, weight.shape)
        if order == "first" and weight.name in vectors:
            array = to_channels_last(array, vectors[weight.name])
        weights[weight.name] = array
    if vectors and stored.flattens is None:
        notes.append(_on_vectors(sorted(vectors), order, given=flattened is not None))
    notes += _on_types(matched.pairs.values())
    check_fit(weights, network, "the import")
    guessed = order if vectors and stored.flattens is None and flattened is None else None
    return Imported(weights, matched.pairs, matched.how, tuple(notes), guessed)


def _check_finite(path: Path, network: Network, found: Imported) -> None:
    """Raise SpecError for weights that hold what is no number, as float32."""
    problems = []
    for row in network.rows:
        for weight in (weight for node in row.nodes for weight in node.weights):
            array = found.weights[weight.name]
            lost = array.size - np.count_nonzero(np.isfinite(array))
            if lost:
                tensor = found.origins.get(weight.name) or StoredTensor(weight.name, array, "float32", array.shape)
                where = f"{tensor.name} ({tensor.dtype})" if tensor.name != weight.name else weight.name
                message = f"{lost:,} of the {array.size:,} numbers of {where} are not finite in float32"
                problems.append(Problem(f"{path}: row {row.name!r}: {message}", "a training that diverged leaves such"))
    if problems:
        raise NotFiniteError(problems[:MOST_SAID])


def _on_vectors(names: Sequence[str], order: Order, *, given: bool) -> str:
    """What was made of weights that meet a flattened image, whose order a state dict does not say."""
    which = ", ".join(names[:3]) + (", ..." if names[3:] else "")
    if order == "first":
        said = "channels, height, width, as nn.Flatten leaves them, and turned to height, width, channels"
    else:
        said = "height, width, channels, as netspec flattens images"
    other = "last" if order == "first" else "first"
    return f"{which}: taken in the order {said}" + ("" if given else f"; --flattened {other} takes them the other way")


def _on_types(tensors: Iterable[StoredTensor]) -> Iterator[str]:
    """Which tensors had another floating type than float32."""
    types: dict[str, int] = {}
    for tensor in tensors:
        types[tensor.dtype] = types.get(tensor.dtype, 0) + (tensor.dtype != "float32")
    for dtype, number in types.items():
        if number:
            rounded = "rounded" if dtype == "float64" else "widened"
            yield f"{number} of the tensors {'was' if number == 1 else 'were'} {dtype}, {rounded} to float32"


def _refused(path: Path, why: str, hint: str | None = None) -> UnreadableError:
    return UnreadableError([Problem(f"{path}: the weights cannot be read: {why}", hint)])
