"""The parts of a training: what each has of the settings, and which rows it no longer keeps frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from netspec.errors import Problem, SpecError, did_you_mean
from netspec.network import Network, Node
from netspec.training.settings import Phase, TrainSettings


def phases_of(network: Network, settings: TrainSettings) -> Iterator[tuple[Network, Phase]]:
    """Every phase with the network that it trains; what one unfreezes stays so in those after it.

    Raises SpecError for a pattern that names no frozen row.
    """
    for phase in settings.spans:
        network = unfrozen(network, phase.unfreeze) if phase.unfreeze else network
        yield network, phase


def unfrozen(network: Network, pattern: str) -> Network:
    """The network with the frozen rows that a pattern names, by themselves or by their block, trained again."""
    chosen = {node.row for node in network.nodes if node.frozen and _named(network, node.row, pattern)}
    if not chosen:
        frozen = list(dict.fromkeys(node.row for node in network.nodes if node.frozen))
        message = f"unfreeze: {pattern!r} names no frozen row"
        hint = did_you_mean(pattern, frozen) or (
            f"frozen are {', '.join(frozen[:5])}" if frozen else "nothing is frozen"
        )
        raise SpecError([Problem(message, hint, "train.phases")])
    nodes = tuple(_thawed(node) if node.row in chosen else node for node in network.nodes)
    return replace(network, nodes=nodes)


def _named(network: Network, row: str, pattern: str) -> bool:
    return fnmatchcase(row, pattern) or any(fnmatchcase(use.name, pattern) for use in network.holding(row))


def _thawed(node: Node) -> Node:
    """The node, and of its weights those trained that its layer means to be."""
    trained = {weight.name: weight.trainable for weight in node.layer.weights(node.input_types)}
    weights = tuple(
        replace(weight, trainable=trained[weight.name.removeprefix(f"{node.name}.")]) for weight in node.weights
    )
    return replace(node, frozen=False, weights=weights)
