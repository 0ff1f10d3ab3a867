"""Weights that were read back from artefacts: they must be the given ones, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from netspec.network import Network
from netspec.reference.table import Array
from netspec.verify.result import Failure


def weight_failures(
    network: Network, weights: Mapping[str, Array], recovered: Mapping[str, Array]
) -> Iterator[Failure]:
    """What is wrong with the weights that were read back: one failure for each way, with the first weight and row."""
    rows = {weight.name: node.row for node in network.nodes for weight in node.weights}
    alike: dict[str, list[tuple[str, str]]] = {}
    for name in rows:
        if wrong := _problem(weights[name], recovered.get(name)):
            nature, text = wrong
            alike.setdefault(nature, []).append((name, text))
    for (name, text), *others in alike.values():
        message = f"{name} {text}"
        if others:
            message += f"; so did {others[0][0]}" + (f" and {len(others) - 1:,} more" if others[1:] else "")
        yield Failure(stage="compare", symptom="value", message=message, row=rows[name])


def _problem(given: Array, found: Array | None) -> tuple[str, str] | None:
    """What is wrong with a weight that was read back: of which nature, in words; None when nothing is."""
    if found is None:
        return "missing", "did not come back: it is not in the artefacts"
    if found.shape != given.shape:
        return "shape", f"came back with the shape {found.shape}, given was {given.shape}"
    if found.dtype != given.dtype:
        return "type", f"came back as {found.dtype}, given was {given.dtype}"
    if found.tobytes() == given.tobytes():
        return None
    lost = np.count_nonzero(~np.isfinite(found))
    changed = np.count_nonzero((found != given) | (np.signbit(found) != np.signbit(given)))
    text = f"came back with {changed:,} of {given.size:,} numbers changed"
    return "numbers", text + (f", {lost:,} of them not finite" if lost else "")
