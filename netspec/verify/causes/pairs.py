"""Two mistakes in a part of a network whose values between them are not known: one alone explains nothing then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from netspec.network import Network, Node
from netspec.reference.table import Values
from netspec.verify.causes.explain import (
    Explanation,
    Judge,
    Reason,
    alternatives,
    best,
    changed,
    explanations,
)
from netspec.verify.causes.work import products

WORK = 2e10
"""What trying all pairs may cost, in products; beyond that none is tried."""
Reach = Callable[[Judge, Node], tuple[Node, ...]]
"""Which nodes the second mistake of a pair may be of."""


def pair_of_reasons(judge: Judge, network: Network) -> tuple[Reason, Reason] | None:
    """What may have been done instead by two of the judge's nodes, so that the last one gave what was measured.

    Where there are too many pairs to try, those of one row are, as of a sum and the activation behind it. Numbers are
    not searched for. None where no pair fits, or where even those are too many. Raises SpentError where the judge's
    work does not suffice.
    """
    with np.errstate(all="ignore"):
        counts = _counts(judge)
        reach = next((reach for reach in (_all_later, _same_row) if _work(judge, counts, reach) <= WORK), None)
        found = [] if reach is None else list(_pairs(judge, reach))
    if not found:
        return None
    chosen = best([second for _, second in found])
    first = next(first for first, second in found if second is chosen)
    with np.errstate(all="ignore"):
        return judge.reason(first, network), judge.reason(chosen, network)


def _all_later(judge: Judge, node: Node) -> tuple[Node, ...]:
    """The nodes behind one, of which the second of a pair may be."""
    nodes = judge.trial.part.nodes
    return nodes[nodes.index(node) + 1 :]


def _same_row(judge: Judge, node: Node) -> tuple[Node, ...]:
    """Those of them that are of its row."""
    rows = judge.trial.rows
    return tuple(later for later in _all_later(judge, node) if rows[later.name] == rows[node.name])


def _counts(judge: Judge) -> Mapping[str, int]:
    """How many mistakes may be tried at every node."""
    counts = {node.name: 0 for node in judge.trial.part.nodes}
    for _, node, _, alternative in alternatives(judge.trial, judge.values, judge.trial.part.nodes):
        counts[node.name] += not alternative.fitted
    return counts


def _work(judge: Judge, counts: Mapping[str, int], reach: Reach) -> float:
    """What trying all pairs costs, in products."""
    nodes = judge.trial.part.nodes
    pairs = sum(counts[node.name] * sum(counts[each.name] for each in reach(judge, node)) for node in nodes)
    return pairs * products(nodes, len(judge.trial.measured))


def _pairs(judge: Judge, reach: Reach) -> Iterator[tuple[Explanation, Explanation]]:
    """Every pair that gives what was measured; the second's place is that of both."""
    for place, node, name, alternative in alternatives(judge.trial, judge.values, judge.trial.part.nodes[:-1]):
        later = reach(judge, node)
        if alternative.fitted or not later:
            continue
        values = changed(judge.trial, judge.values, node, alternative)
        if values is None or _same(values[node.name], judge.values[node.name]):
            continue
        for second in explanations(judge, values, later, fitted=False):
            yield (
                Explanation(place, second.ratio, node, name, alternative, ()),
                replace(second, place=place + second.place),
            )


def _same(one: Values, other: Values) -> bool:
    return one.shape == other.shape and np.array_equal(one, other)
