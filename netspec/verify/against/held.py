"""The weights that a file should have, held against those that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from netspec.importing import Folding, Imported, put_together
from netspec.network import Network, Node
from netspec.reference.table import Array
from netspec.verify.causes.norm import EPSILONS
from netspec.verify.causes.written import number
from netspec.verify.gates import FOLDING_UNITS, UNIT
from netspec.verify.result import Failure

NARROW: Mapping[str, tuple[float, float]] = {
    "float16": (2.0**-11, 2.0**-25),
    "bfloat16": (2.0**-8, 2.0**-134),
}
"""What rounding to a narrower type may change: relative to a number, and at least, where numbers lose their digits."""
MOST_NAMED = 5
"""Of more weights than these only the number is said."""


@dataclass(frozen=True)
class _Pair:
    """A weight as it should be and as the file has it, and how far each number may be off."""

    ours: Array
    theirs: Array
    granted: Array | float
    tensor: str
    """What the file calls it."""

    @property
    def apart(self) -> Array:
        apart: Array = np.abs(self.ours - self.theirs)
        return apart

    @property
    def differs(self) -> bool:
        return not bool((self.apart <= self.granted).all())  # nor is what is no number

    def failure(self, node: Node, made: str) -> Failure:
        """That it is not what was `made`, in words."""
        apart = self.apart
        changed = int(np.count_nonzero(~(apart <= self.granted)))
        message = (
            f"its {self.tensor} is not {made}: {changed:,} of {apart.size:,} numbers differ, "
            f"by {float(apart.max()):.3g} at most"
        )
        return Failure(stage="compare", symptom="value", message=message, row=node.row)


def has(network: Network, given: Mapping[str, Array], found: Imported) -> bool:
    """Whether a file has the given weights: as they are, rounded to its type, or put together."""
    return next(_unlike(network, given, found), None) is None


def unlike(network: Network, given: Mapping[str, Array], found: Imported) -> Iterator[Failure]:
    """A failure for every weight of a file that is not the given one; the last one counts those beyond a few."""
    failures = _unlike(network, given, found)
    named = list(islice(failures, MOST_NAMED))
    more = sum(1 for _ in failures)
    for failure in named:
        said = f"{failure.message}\nand {more:,} more of its weights are not the given ones"
        yield failure.model_copy(update={"message": said}) if more and failure is named[-1] else failure


def _unlike(network: Network, given: Mapping[str, Array], found: Imported) -> Iterator[Failure]:
    """A failure for every weight, in the network's order."""
    folding = found.folding or Folding((), {})
    nodes = {node.name: node for node in network.nodes}
    hosted = {host: nodes[norm] for norm, host in folding.into.items()}
    for node in network.nodes:
        norm = hosted.get(node.name) or (node if node.name in folding.norms else None)
        if norm is None:
            yield from _alone(node, [weight.name for weight in node.weights], given, found)
        elif norm is not node:
            # All but the last kernel and the bias, as the first of a SeparableConv's kernels, is as it was.
            own = [name for name, _, _ in put_together(norm, node, given)]
            kept = [weight.name for weight in node.weights if weight.name not in (*own, f"{node.name}.bias")]
            yield from _alone(node, kept, given, found)
            yield from _together(norm, node, given, found)
        elif node.name not in folding.into:
            yield from _together(node, None, given, found)


def _alone(node: Node, names: list[str], given: Mapping[str, Array], found: Imported) -> Iterator[Failure]:
    """Weights that the file has as they are."""
    for name in names:
        tensor = found.origins[name]
        relative, least = NARROW.get(tensor.dtype, (0.0, 0.0))
        granted = np.abs(given[name]) * relative + least if relative else 0.0
        pair = _Pair(given[name], found.weights[name], granted, tensor.name)
        if pair.differs:
            yield pair.failure(node, f"the given {name}")


def _together(norm: Node, host: Node | None, given: Mapping[str, Array], found: Imported) -> Iterator[Failure]:
    """Weights of a BatchNorm and of the layer that it was put into, if any; an epsilon that libraries have is named."""
    pairs = _pairs(norm, host, given, found)
    if not any(pair.differs for pair in pairs):
        return
    own = norm.layer.fields()["epsilon"]
    both = f"{host.row!r} and {norm.row!r}" if host else repr(norm.row)
    for epsilon in EPSILONS:
        other = replace(norm, layer=norm.layer.replace(epsilon=epsilon))
        if not any(pair.differs for pair in _pairs(other, host, given, found)):
            tensors = " and ".join(dict.fromkeys(pair.tensor for pair in pairs))
            message = f"its {tensors} are what the weights of {both} make with epsilon={number(epsilon)}"
            yield Failure(stage="compare", symptom="value", message=f"{message}, not {number(own)}", row=norm.row)
            return
    for place, pair in enumerate(pairs):
        if pair.differs:
            yield pair.failure(norm if host is None or place else host, f"what the given weights of {both} make")


def _pairs(norm: Node, host: Node | None, given: Mapping[str, Array], found: Imported) -> list[_Pair]:
    """What the file tells of a BatchNorm: first the kernel or the factor, then the bias or the shift."""

    def pair(name: str, ours: Array, size: Array) -> _Pair:
        tensor = found.origins[name]
        relative, least = NARROW.get(tensor.dtype, (0.0, 0.0))
        granted = size * (FOLDING_UNITS * UNIT + relative) + least
        return _Pair(ours, found.weights[name], granted, tensor.name)

    return [pair(*each) for each in put_together(norm, host, given)]
