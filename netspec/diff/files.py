"""Two files of weights, or two exported models: which tensors differ, and what the models compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import zip_longest
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.backend import importers, openers
from netspec.backend.foreign import Described, Port, Traced
from netspec.backend.stored import StoredTensor
from netspec.backend.worker import Worker, within
from netspec.diff.result import FileDiff, OutputDiff, TensorDiff
from netspec.errors import BackendError, NetspecError, Problem, SpecError, UnreadableError, file_near, one_of
from netspec.importing.file import SLACK_BYTES, TIMES
from netspec.network import Network
from netspec.tensors import TensorType
from netspec.verify.against.ports import FLOATS
from netspec.verify.budget import norms
from netspec.verify.gates import BUDGET_FACTOR, FLOOR_UNITS, UNIT
from netspec.verify.inputs import hard_inputs, sample_names

if TYPE_CHECKING:
    from netspec.tensors import Array

ORDINARY = 3
"""Ordinary samples that two models are given, beside the hard ones."""
UNITS = {"float16": 2.0**-11}
"""Unit roundoffs; everything else is granted what float32 costs."""
BY_NUMBERS = "by their numbers"
Move = Callable[[Any], Any]


def diff_files(left: Path, right: Path, limit_s: float) -> FileDiff:
    """What differs between two files, of one kind or of two.

    Raises SpecError for one that cannot be read, BackendError where a library is missing or a file's runtime dies.
    """
    ours, theirs = (_tensors(path, limit_s) for path in (left, right))
    pairs, aligned = _paired(ours, theirs)
    found = [_compared(name, one, other, aligned) for name, one, other in pairs]
    tensors = tuple(each for each in found if each is not None)
    notes: list[str] = []
    outputs = _outputs(left, right, limit_s, notes)
    if outputs is None:
        equal = not tensors and not notes  # models that could not be compared are not said to be equal
    else:
        # A model may keep what another has folded: where both run, what they compute counts, and what both have.
        equal = all(each.equal for each in outputs) and not any(each.how == "changed" for each in tensors)
    return FileDiff(
        left=str(left),
        right=str(right),
        equal=equal,
        aligned=aligned,
        same=len(found) - len(tensors),
        tensors=tensors,
        outputs=outputs,
        notes=tuple(notes),
    )


def _tensors(path: Path, limit_s: float) -> list[StoredTensor]:
    """Every array of a file, read in a process of its own; only what is a floating point number has values."""
    known = {suffix: (place, backend) for place, backend in importers().items() for suffix in backend.suffixes}
    if not path.is_file():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UnreadableError([Problem(f"{path}: there is no such file", file_near(path.name, siblings))])
    if path.suffix not in known:
        raise UnreadableError(
            [Problem(f"{path}: files ending in {path.suffix!r} are not known", one_of(sorted(known)))]
        )
    place, backend = known[path.suffix]
    if find_spec(module := backend.suffixes[path.suffix]) is None:
        raise BackendError(
            f"reading {path} needs {module}, which is not installed\n  hint: pip install 'netspec[{backend.name}]'"
        )
    # A file of external data lies beside its model.
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*") if each.is_file())
    with Worker(place) as worker, within(worker, limit_s):
        stored = worker.call("read_stored", path=path, limit_bytes=SLACK_BYTES + TIMES * size)
    found: list[StoredTensor] = stored.tensors
    return found


Pairs = list[tuple[str, StoredTensor | None, StoredTensor | None]]


def _paired(left: Sequence[StoredTensor], right: Sequence[StoredTensor]) -> tuple[Pairs, str]:
    """The tensors of both, by their names; where most names are unlike, by their order if all shapes are the same, or
    by their numbers in any layout.
    """
    ours, theirs = ({tensor.name: tensor for tensor in side} for side in (left, right))
    if 2 * len(ours.keys() & theirs.keys()) >= min(len(ours), len(theirs)):
        names = dict.fromkeys([*ours, *theirs])
        return [(name, ours.get(name), theirs.get(name)) for name in names], "by name"
    if [tensor.shape for tensor in left] == [tensor.shape for tensor in right]:
        both = zip(left, right, strict=True)
        return [(f"{one.name} = {other.name}", one, other) for one, other in both], "by order and shape"
    waiting: dict[bytes, list[StoredTensor]] = {}
    for tensor in right:
        waiting.setdefault(_numbers(tensor), []).append(tensor)
    pairs: Pairs = []
    for tensor in left:
        alike = waiting.get(_numbers(tensor))
        other = alike.pop(0) if alike else None
        pairs.append((f"{tensor.name} = {other.name}" if other else tensor.name, tensor, other))
    pairs += [(tensor.name, None, tensor) for rest in waiting.values() for tensor in rest]
    return pairs, BY_NUMBERS


def _numbers(tensor: StoredTensor) -> bytes:
    """What a tensor holds, in whatever layout."""
    return bytes(np.sort(np.asarray(tensor.array, np.float32), axis=None).tobytes())


def _compared(name: str, left: StoredTensor | None, right: StoredTensor | None, aligned: str) -> TensorDiff | None:
    shapes: dict[str, Any] = {
        "left_shape": left.shape if left else None,
        "right_shape": right.shape if right else None,
    }
    nothing: dict[str, Any] = dict.fromkeys(("changed", "most", "relative"))
    if left is None or right is None:
        return TensorDiff(tensor=name, how="removed" if left else "added", **shapes, **nothing)
    one, other = left.array, right.array
    if (one.shape != other.shape or aligned == BY_NUMBERS) and _numbers(left) == _numbers(right):
        return None  # the same numbers, in another layout where they are not just the same
    if one.shape != other.shape:
        return TensorDiff(tensor=name, how="changed", **shapes, **nothing)
    if one.tobytes() == other.tobytes():
        return None
    difference = np.asarray(other, np.float64) - np.asarray(one, np.float64)
    size = float(np.linalg.norm(np.asarray(one, np.float64)))
    return TensorDiff(
        tensor=name,
        how="changed",
        **shapes,
        changed=int(np.count_nonzero(one != other)),
        most=float(np.abs(difference).max(initial=0.0)),
        relative=float(np.linalg.norm(difference)) / size if size else None,
    )


# What they compute


def _outputs(left: Path, right: Path, limit_s: float, notes: list[str]) -> tuple[OutputDiff, ...] | None:
    """The outputs of both for the same hard inputs; None and a note where one of them cannot be run."""
    known = {suffix: place for place, backend in openers().items() for suffix in backend.opens}
    if left.suffix not in known or right.suffix not in known:
        return None
    with Worker(known[left.suffix]) as one, Worker(known[right.suffix]) as other:
        models = [_Model(path, worker, limit_s) for path, worker in ((left, one), (right, other))]
        try:
            described = [model.describe() for model in models]
            ours, theirs = described
            if ours is None or theirs is None:
                return None
            return tuple(_run(models[0], models[1], ours, theirs))
        except NetspecError as error:
            notes.append(f"what they compute was not compared: {error}")
            return None


class _Model:
    def __init__(self, path: Path, worker: Worker, limit_s: float) -> None:
        self.path, self.worker, self.limit_s = path, worker, limit_s

    def describe(self) -> Described | None:
        with within(self.worker, self.limit_s):
            found: Described | None = self.worker.call("describe_file", path=self.path)
            return found

    def run(self, inputs: Mapping[str, Array], *, trace: bool = False) -> Traced:
        with within(self.worker, self.limit_s):
            found: Traced = self.worker.call("run_file", path=self.path, inputs=inputs, trace=trace)
            return found


MOVES: Mapping[str, Move] = {
    "as they are": lambda batch: batch,
    "with their channels last": lambda batch: np.moveaxis(batch, 1, -1),
    "with their channels first": lambda batch: np.moveaxis(batch, -1, 1),
}
"""What may have to be done with the left model's inputs and outputs, so that they are the right one's."""


def _run(left: _Model, right: _Model, ours: Described, theirs: Described) -> Iterator[OutputDiff]:
    if len(ours.inputs) != len(theirs.inputs):
        raise SpecError([Problem(f"{left.path} reads {len(ours.inputs)} inputs, {right.path} {len(theirs.inputs)}")])
    fixed = {port.shape[0] for port in (*ours.inputs, *theirs.inputs) if port.shape and port.shape[0]}
    shapes = [_shape(port) for port in ours.inputs]
    names = sample_names(ORDINARY)
    types = {port.name: TensorType(shape) for port, shape in zip(ours.inputs, shapes, strict=True)}
    batches = hard_inputs(Network("", types, (), {}), ORDINARY, 0)
    if any(port.dtype not in FLOATS for port in ours.inputs):
        batches = {name: np.abs(np.rint(batch * 64) % 256) for name, batch in batches.items()}
    moves = [_moves(one, other) for one, other in zip(ours.inputs, theirs.inputs, strict=True)]
    size = max(fixed, default=len(names))
    noise = np.random.Generator(np.random.SFC64(0))
    unit = max(UNITS.get(port.dtype, UNIT) for port in (*ours.inputs, *ours.outputs, *theirs.inputs, *theirs.outputs))
    disturbed = {name: batch * (1 + 2 * unit * noise.standard_normal(batch.shape)) for name, batch in batches.items()}
    found, moved = (_outputs_of(left, ours, each, size) for each in (batches, disturbed))
    steps = max(
        1, len(left.run({p.name: batches[p.name][:size].astype(p.dtype) for p in ours.inputs}, trace=True).values)
    )
    best: list[OutputDiff] = []
    for way in range(max(map(len, moves))):
        chosen = [each[min(way, len(each) - 1)] for each in moves]
        given = {
            other.name: MOVES[move](batches[one.name])
            for one, other, move in zip(ours.inputs, theirs.inputs, chosen, strict=True)
        }
        answers = _outputs_of(right, theirs, given, size)
        each = [
            _output(one.name, other.name, found[one.name], moved[one.name], answers[other.name], steps, unit, names)
            for one, other in zip(ours.outputs, theirs.outputs, strict=False)
        ]
        if not best or _worst(each) < _worst(best):
            best = each
    yield from best
    for one, other in list(zip_longest(ours.outputs, theirs.outputs))[len(best) :]:
        left_name, right_name = (port.name if port else None for port in (one, other))
        yield OutputDiff(left=left_name, right=right_name, equal=False, error=None, granted=None, sample=None)


def _worst(found: Sequence[OutputDiff]) -> float:
    return max(
        (float("inf") if each.error is None else each.error / (each.granted or 1.0) for each in found), default=0
    )


def _shape(port: Port) -> tuple[int, ...]:
    sizes = port.shape[1:]
    if not port.shape or None in sizes:
        raise SpecError(
            [Problem(f"{port} leaves its sizes open", "a spec says them: netspec verify SPEC --against ...")]
        )
    return tuple(size for size in sizes if size is not None)


def _moves(left: Port, right: Port) -> list[str]:
    """How the left one's input becomes the right one's, as far as shapes tell."""
    shape, wanted = (1, *_shape(left)), right.shape[1:]
    probe = np.empty(shape, np.bool_)
    fits = [
        name
        for name, move in MOVES.items()
        if len(wanted) == probe.ndim - 1
        and all(size in (None, have) for size, have in zip(wanted, move(probe).shape[1:], strict=True))
    ]
    if not fits:
        raise SpecError([Problem(f"the input {left} is not {right}, in any order of axes")])
    return fits if prod(shape) > max(shape) else fits[:1]


def _outputs_of(model: _Model, described: Described, batches: Mapping[str, Array], size: int) -> Mapping[str, Array]:
    """The outputs, batch by batch; the last one is filled up."""
    count = len(next(iter(batches.values())))
    parts = []
    for start in range(0, count, size):
        places = [min(place, count - 1) for place in range(start, start + size)]
        given = {
            port.name: np.ascontiguousarray(batches[port.name][places].astype(port.dtype)) for port in described.inputs
        }
        parts.append(model.run(given).outputs)
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _output(
    left: str, right: str, ours: Array, moved: Array, theirs: Array, steps: int, unit: float, names: Sequence[str]
) -> OutputDiff:
    """One output: rounding may cost what it does in the inputs, at every value on the way, as chance adds that up."""
    expected = np.asarray(ours, np.float64)
    candidates = [
        each for move in MOVES.values() if (each := move(theirs) if theirs.ndim > 2 else theirs).shape == ours.shape
    ]
    if not candidates:
        return OutputDiff(left=left, right=right, equal=False, error=None, granted=None, sample=None)
    sizes = norms(expected)
    response = norms(np.asarray(moved, np.float64) - expected) * sqrt(steps)
    granted = BUDGET_FACTOR * np.maximum(response, FLOOR_UNITS * unit * sizes)
    errors = min((norms(np.asarray(each, np.float64) - expected) for each in candidates), key=lambda each: each.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.where(errors == 0, 0.0, errors / granted)
    worst = int(np.argmax(np.where(np.isfinite(ratios), ratios, np.inf)))
    scale = float(sizes[worst]) or 1.0
    return OutputDiff(
        left=left,
        right=right,
        equal=bool(np.all(ratios <= 1)),
        error=float(errors[worst]) / scale,
        granted=float(granted[worst]) / scale,
        sample=names[worst],
    )
