"""Two mistakes in a part of a network whose values between them are not known: one alone explains nothing then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from netspec.network import Network
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


def pair_of_reasons(judge: Judge, network: Network) -> tuple[Reason, Reason] | None:
    """What may have been done instead by two of the judge's nodes, so that the last one gave what was measured.

    Numbers are not searched for. None where no pair fits, or where there are too many to try. Raises SpentError where
    the judge's work does not suffice.
    """
    with np.errstate(all="ignore"):
        if _work(judge) > WORK:
            return None
        found = list(_pairs(judge))
    if not found:
        return None
    chosen = best([second for _, second in found])
    first = next(first for first, second in found if second is chosen)
    with np.errstate(all="ignore"):
        return judge.reason(first, network), judge.reason(chosen, network)


def _work(judge: Judge) -> float:
    """What trying all pairs costs, in products."""
    part, samples = judge.trial.part, len(judge.trial.measured)
    counts = {node.name: 0 for node in part.nodes}
    for _, node, _, alternative in alternatives(judge.trial, judge.values, part.nodes):
        counts[node.name] += not alternative.fitted
    numbers = list(counts.values())
    pairs = sum(count * sum(numbers[place + 1 :]) for place, count in enumerate(numbers))
    return pairs * products(part.nodes, samples)


def _pairs(judge: Judge) -> Iterator[tuple[Explanation, Explanation]]:
    """Every pair that gives what was measured; the second's place is that of both."""
    nodes = judge.trial.part.nodes
    for place, node, name, alternative in alternatives(judge.trial, judge.values, nodes[:-1]):
        if alternative.fitted:
            continue
        values = changed(judge.trial, judge.values, node, alternative)
        if values is None or _same(values[node.name], judge.values[node.name]):
            continue
        later = nodes[nodes.index(node) + 1 :]
        for second in explanations(judge, values, later, fitted=False):
            yield (
                Explanation(place, second.ratio, node, name, alternative, ()),
                replace(second, place=place + second.place),
            )


def _same(one: Values, other: Values) -> bool:
    return one.shape == other.shape and np.array_equal(one, other)
