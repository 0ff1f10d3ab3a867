"""The weights that the reference computes with for a file: those that it holds, or those that it should hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.backend.stored import StoredTensor
from netspec.errors import NetspecError, SpecError, UnreadableError, UnsupportedError
from netspec.importing import Imported, NotFiniteError, import_weights
from netspec.network import Network
from netspec.reference.table import Array
from netspec.verify.against.request import OTHER, Request, Stopped
from netspec.verify.result import Failure

if TYPE_CHECKING:
    from netspec.tensors import Order, Weights

FLATTENED: Mapping[Order, str] = {"first": "channels, height, width", "last": "height, width, channels"}
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
    """The rows whose weights in the file are not those that are given."""
    other: Callable[[], Weights | None] = lambda: None
    """The same with images flattened in the other order; None where the file says it, or where that is all the same."""
    guessed: Order | None = None
    """How the file itself was taken to flatten images, where nothing says it."""

    def turned_notes(self, whose: str) -> tuple[str, ...]:
        """The notes where the other order is right; what was said of this one is true no more."""
        which = FLATTENED[OTHER[self.guessed]] if self.guessed else "the other than that of the names"
        said = f"nothing says in which order images were flattened before {whose}: both were tried, and {which} agrees"
        return (*(note for note in self.notes if TURNING not in note), said)


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
        raise Stopped("build", "file", _reason(error, path)) from None
    except NotFiniteError as error:
        raise Stopped("build", "not finite", _reason(error, path)) from None
    except SpecError as error:
        if given is not None:
            note = f"its own weights do not fit row by row: {_reason(error, path).splitlines()[0]}"
            return Known(given, request.given, notes=(note,), other=request.turned)
        message = f"its weights do not fit: {_reason(error, path)}"
        hint = "where it was folded or optimised, --weights FILE.pth gives what they were before"
        raise Stopped("build", "weights", f"{message}\nhint: {hint}") from None
    except NetspecError as error:
        raise Stopped("build", "unsupported" if isinstance(error, UnsupportedError) else "crash", str(error)) from None
    if given is not None and found.untold:
        note = f"{found.untold}: they are not compared one by one"
        return Known(given, request.given, found.origins, (note, *found.notes), other=request.turned)
    if given is not None:
        return _held(path, network, request, given, found)

    def other() -> Weights | None:
        order = found.guessed or request.flattened
        turned = _read(path, network, request, OTHER[order]).weights if order else found.weights
        return None if _same(found.weights, turned) else turned

    return Known(
        found.weights,
        f"its own, matched {found.how}",
        found.origins,
        tuple(found.notes),
        (_untold(found.untold),) if found.untold else (),
        other,
        found.guessed,
    )


def _untold(said: str) -> Failure:
    """What stays unproven where all else agrees."""
    message = f"{said}: whether they are the spec's, epsilons too, cannot be told from it"
    hint = "--weights FILE gives what they were before"
    return Failure(stage="build", symptom="weights", message=f"{message}\nhint: {hint}")


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
    weights, other = given, request.turned
    if not _same(given, found.weights) and request.flattened is None:
        again = _read(path, network, request, OTHER[found.guessed]) if found.guessed else None
        if again is not None and _same(given, again.weights):
            found = again
        elif (turned := request.turned()) is not None and _same(turned, found.weights):
            weights, other = turned, lambda: None
    return Known(
        weights,
        request.given,
        found.origins,
        tuple(found.notes),
        tuple(_unlike(network, weights, found)),
        other,
        found.guessed,
    )


def _same(given: Mapping[str, Array], found: Mapping[str, Array]) -> bool:
    return all(np.array_equal(array, found[name]) for name, array in given.items())


def _unlike(network: Network, given: Weights, found: Imported) -> Iterator[Failure]:
    """A failure for every row whose weights are not those that are given."""
    for node in network.nodes:
        for weight in node.weights:
            ours, theirs = given[weight.name], found.weights[weight.name]
            if not np.array_equal(ours, theirs):
                changed = int(np.count_nonzero(ours != theirs))
                most = float(np.abs(ours - theirs).max())
                name = found.origins[weight.name].name
                message = (
                    f"its {name} is not the given {weight.name}: {changed:,} of {ours.size:,} numbers differ, "
                    f"by {most:.3g} at most"
                )
                yield Failure(stage="compare", symptom="value", message=message, row=node.row)


def _reason(error: SpecError, path: Path) -> str:
    """An error of reading a file, without the path that the verdict has anyway."""
    texts = []
    for problem in error.problems:
        text = problem.message.removeprefix(f"{path}: ").removeprefix("the weights cannot be read: ")
        texts.append(text.removeprefix(f"{path} "))
        if problem.hint:
            texts.append(f"hint: {problem.hint}")
    return "\n".join(texts)
