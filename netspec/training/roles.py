"""Which weights a training treats apart: those that decay, those that muon sees as matrices, those in the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.layers.base import Weight
    from netspec.network import Network
    from netspec.tensors import Placement
    from netspec.training.optimizer import Optimizer, WeightChoice
    from netspec.training.settings import Regularizer, TrainSettings

KERNELS = frozenset({"kernel", "depthwise", "pointwise"})
MATRICES = frozenset({"kernel", "pointwise"})
"""The weights that muon sees as matrices [outputs, everything else]."""


def chosen_weights(network: Network, which: WeightChoice, rows: str) -> Iterator[Weight]:
    """The trained weights, or only the kernels among them, of the rows that a pattern names."""
    for node in network.nodes:
        if fnmatchcase(node.row, rows):
            for weight in node.weights:
                if weight.trainable and (which == "all" or _short(weight) in KERNELS):
                    yield weight


def decayed_weights(network: Network, optimizer: Optimizer) -> frozenset[str]:
    """The canonical names of the weights that `weight_decay` applies to; none when it is 0."""
    if not optimizer.weight_decay:
        return frozenset()
    return frozenset(weight.name for weight in chosen_weights(network, optimizer.decay_on, optimizer.decay_rows))


def penalised_weights(network: Network, regularizer: Regularizer) -> tuple[str, ...]:
    """The canonical names of the weights that add to the loss; none when nothing is added."""
    if not regularizer.l1 and not regularizer.l2:
        return ()
    return tuple(weight.name for weight in chosen_weights(network, regularizer.on, regularizer.rows))


def matrix_weights(network: Network) -> frozenset[str]:
    """The canonical names of the trained weights that muon orthogonalises: the kernels, but not of depthwise rows."""
    return frozenset(weight.name for weight in network.weights() if weight.trainable and _short(weight) in MATRICES)


@dataclass(frozen=True, slots=True)
class Roles:
    """The weights that a training treats apart, by the names that a backend has for them."""

    decayed: frozenset[str]
    """Those that `weight_decay` applies to."""
    matrices: frozenset[str]
    """Those that muon orthogonalises."""
    penalised: tuple[str, ...]
    """Those that add to the loss."""


def roles_of(network: Network, settings: TrainSettings, placements: Mapping[str, Placement]) -> Roles:
    """The weights that a training treats apart, where `placements` has the place of each in a backend."""
    decayed, matrices, penalised = (
        [placements[name].name for name in names]
        for names in (
            decayed_weights(network, settings.optimizer),
            matrix_weights(network),
            penalised_weights(network, settings.regularizer),
        )
    )
    return Roles(frozenset(decayed), frozenset(matrices), tuple(penalised))


def _short(weight: Weight) -> str:
    return weight.name.rsplit(".", 1)[-1]
