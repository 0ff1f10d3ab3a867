"""Two mistakes in a part of a network whose values between them are not known: one alone explains nothing then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from netspec.network import Network, Node
from netspec.reference.table import Array, Values
from netspec.verify.causes.explain import (
    Explanation,
    Granted,
    Judge,
    alternatives,
    best,
    changed,
    explanations,
    judge_of,
    rows_of,
)
from netspec.verify.causes.work import Work, products
from netspec.verify.result import Cause

WORK = 2e10
"""What trying all pairs may cost, in products; beyond that none is tried."""


def explain_two(
    network: Network,
    nodes: tuple[Node, ...],
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    measured: Array,
    granted: Granted,
    worst: int,
    work: Work | None = None,
) -> tuple[Cause, Cause] | None:
    """What may have been done instead by two of these nodes, so that the last one gave `measured`; see `explain`.

    Numbers are not searched for. None where no pair fits, or where there are too many to try. Raises SpentError as
    `explain` does.
    """
    judge = judge_of(network, nodes, weights, inputs, measured, granted, worst, work)
    if judge is None:
        return None
    with np.errstate(all="ignore"):
        if _work(judge) > WORK:
            return None
        found = list(_pairs(judge))
    if not found:
        return None
    chosen = best([second for _, second in found])
    first = next(first for first, second in found if second is chosen)
    rows = rows_of(network)
    return first.cause(rows), chosen.cause(rows)


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
