"""The weights that the reference computes with for a file: those that it holds, or those that it should hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.backend.stored import StoredTensor
from netspec.backend.worker import WorkerDied
from netspec.errors import NetspecError, SpecError, UnreadableError, UnsupportedError
from netspec.importing import Imported, NotFiniteError, import_weights
from netspec.network import Network
from netspec.verify.against.held import NARROW, has, unlike
from netspec.verify.against.request import OTHER, Request, Stopped
from netspec.verify.result import Failure

if TYPE_CHECKING:
    from netspec.tensors import Order, Weights

FLATTENED: Mapping[Order, str] = {"first": "channels, height, width", "last": "height, width, channels"}
BEFORE = "--weights FILE gives what they were before: a state dict, a .keras archive, our own .safetensors"
TURNING = "--flattened"
"""What every note on the order of flattened images has in it."""


@dataclass(frozen=True)
class Known:
    """The weights that the reference computes with, and what was found out on the way to them."""

    weights: Weights
    said: str | None = None
    """Whose they are, in words; None where the network has none."""
    origins: Mapping[str, StoredTensor] = field(default_factory=dict)
    """The tensor of the file that each of them is, where it was read there."""
    notes: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    """The weights in the file that are not those that are given; or what its weights do not tell."""
    other: Callable[[], Weights | None] = lambda: None
    """The same with images flattened in the other order; None where the file says it, or where that is all the same."""
    guessed: Order | None = None
    """How the file itself was taken to flatten images, where nothing says it."""

    def turned_notes(self, whose: str) -> tuple[str, ...]:
        """The notes where the other order is right; what was said of this one is true no more."""
        which = FLATTENED[OTHER[self.guessed]] if self.guessed else "the other than that of the names"
        return (*(note for note in self.notes if TURNING not in note), f"{_unsaid(whose)}, and {which} agrees")


def _unsaid(whose: str) -> str:
    return f"nothing says in which order images were flattened before {whose}: both were tried"


def known_weights(path: Path, network: Network, request: Request) -> Known:
    """Read the weights in a file; where others are given, its own only tell its values apart, and may differ.

    Raises Stopped where they cannot be read, or are not those of the rows and no others are given.
    """
    given = request.weights
    if not any(True for _ in network.weights()):
        return Known(given or {})
    try:
        found = _read(path, network, request, request.flattened)
    except UnreadableError as error:
        died = isinstance(error.__cause__, WorkerDied)
        raise Stopped("build", "crash" if died else "file", _reason(error, path)) from None
    except NotFiniteError as error:
        raise Stopped("build", "not finite", _reason(error, path)) from None
    except SpecError as error:
        if given is not None:
            note = f"its own weights do not fit row by row: {_reason(error, path).splitlines()[0]}"
            return Known(given, request.given, notes=(note,), other=request.turned)
        message = f"its weights do not fit: {_reason(error, path)}"
        raise Stopped("build", "weights", f"{message}\nhint: where it was folded or optimised, {BEFORE}") from None
    except NetspecError as error:
        raise Stopped("build", "unsupported" if isinstance(error, UnsupportedError) else "crash", str(error)) from None
    if given is not None:
        return _held(path, network, request, given, found)

    def other() -> Weights | None:
        order = found.guessed or request.flattened
        turned = _read(path, network, request, OTHER[order]).weights if order else found.weights
        same = all(np.array_equal(array, turned[name]) for name, array in found.weights.items())
        return None if same else turned

    failures = (_untold(found.folding.said(network)),) if found.folding else ()
    said = f"its own, matched {found.how}"
    return Known(found.weights, said, _shown(network, found), tuple(found.notes), failures, other, found.guessed)


def _untold(said: str) -> Failure:
    """What stays unproven where all else agrees."""
    message = f"{said}: whether they are the spec's, epsilons too, cannot be told from it"
    return Failure(stage="build", symptom="weights", message=f"{message}\nhint: {BEFORE}")


def _shown(network: Network, found: Imported) -> Mapping[str, StoredTensor]:
    """The tensors that go into the value of their weights' node: those of a layer go into that of its BatchNorm, where
    this is in it.
    """
    hosts = found.folding.hosts if found.folding else ()
    hidden = {weight.name for node in network.nodes if node.name in hosts for weight in node.weights}
    return {name: tensor for name, tensor in found.origins.items() if name not in hidden}


def _read(path: Path, network: Network, request: Request, flattened: Order | None) -> Imported:
    return import_weights(
        path,
        network,
        mapping=request.mapping,
        ignore=request.ignore,
        flattened=flattened,
        limit_s=request.limit_s,
        folded=True,
    )


def _held(path: Path, network: Network, request: Request, given: Weights, found: Imported) -> Known:
    """The given weights, with what the file holds, in the order of flattened images in which both are the same."""
    weights, other, notes = given, request.turned, list(found.notes)
    if request.flattened is None and not has(network, given, found):
        again = _read(path, network, request, OTHER[found.guessed]) if found.guessed else None
        if again is not None and has(network, given, again):
            found, notes = again, list(again.notes)
        elif (turned := request.turned()) is not None and has(network, turned, found):
            weights, other = turned, lambda: None
            notes.append(f"{_unsaid(request.given)}, and the other than that of the names makes them those of the file")
    if found.folding:
        said = found.folding.said(network)
        notes.insert(0, f"{said}: they are held against the given ones, put together likewise in float64")
    failures, said = tuple(unlike(network, weights, found)), request.given
    narrow = sorted({tensor.dtype for tensor in found.origins.values()} & set(NARROW))
    if narrow and not failures:
        # What rounding the weights costs is no difference: it is known, and so the reference computes with them.
        weights, said = found.weights, f"{said}, rounded to {' and '.join(narrow)} as in the file"
    return Known(weights, said, _shown(network, found), tuple(notes), failures, other, found.guessed)


def _reason(error: SpecError, path: Path) -> str:
    """An error of reading a file, without the path that the verdict has anyway."""
    texts = []
    for problem in error.problems:
        text = problem.message.removeprefix(f"{path}: ").removeprefix("the weights cannot be read: ")
        texts.append(text.removeprefix(f"{path} "))
        if problem.hint:
            texts.append(f"hint: {problem.hint}")
    return "\n".join(texts)
