"""Two specs: rows by their names, field by field as they are resolved, then totals and sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.diff.result import Change, RowDiff, SpecDiff
from netspec.errors import ExpectationError
from netspec.network import Network, Row
from netspec.spec.model import Spec

NETWORK = ("name", "layers", "input", "inputs", "outputs", "uses")
"""What of a resolved spec is compared as a network."""


def diff_specs(left: Spec, right: Spec) -> SpecDiff:
    """What differs between two specs; raises SpecError where one of them is wrong, but for what it expects.

    An edited spec no longer meets what it was published with: that is said beside what was edited.
    """
    (ours, missed), (theirs, missed_too) = (_network(spec) for spec in (left, right))
    networks = ours, theirs
    totals = tuple(_changes(*(_totals(network) for network in networks)))
    rows = tuple(_rows(*networks))
    documents = (
        {key: value for key, value in resolved_spec(spec).items() if key not in NETWORK} for spec in (left, right)
    )
    sections = tuple(_changes(*(dict(_leaves(document)) for document in documents)))
    return SpecDiff(
        left=left.file,
        right=right.file,
        equal=not (totals or rows or sections),
        totals=totals,
        rows=rows,
        sections=sections,
        unmet=(*missed, *missed_too),
    )


def _network(spec: Spec) -> tuple[Network, tuple[str, ...]]:
    """The network, and what the spec expects of it that it does not meet."""
    try:
        return compile_spec(spec), ()
    except ExpectationError as error:
        return compile_spec(replace(spec, expect=None)), tuple(str(problem) for problem in error.problems)


def _totals(network: Network) -> dict[str, Any]:
    rows = {row.result: row.name for row in network.rows}
    return {
        **{f"input {name}": str(given) for name, given in network.inputs.items()},
        **{f"output {name}": rows.get(value, value) for name, value in network.outputs.items()},
        "rows": len(network.rows),
        "parameters": network.parameters,
        "trainable": network.trainable,
        "non_trainable": network.non_trainable,
        "macs": network.macs,
    }


def _rows(left: Network, right: Network) -> Iterator[RowDiff]:
    """Every row that differs, in the order of the left network; rows that are new stand after what they follow."""
    ours, theirs = ({row.name: row for row in network.rows} for network in (left, right))
    for name in _merged(list(ours), list(theirs)):
        before, after = (
            _meaning(rows[name], net) if name in rows else {} for rows, net in ((ours, left), (theirs, right))
        )
        changes = tuple(_changes(before, after))
        if not before or not after:
            how, row = ("removed", ours[name]) if before else ("added", theirs[name])
            yield RowDiff(row=name, how=how, kind=row.kind, changes=changes)
        elif changes:
            yield RowDiff(row=name, how="changed", kind=ours[name].kind, changes=changes)


def _merged(ours: list[str], theirs: list[str]) -> list[str]:
    """The names of both, each in its place: those of the right follow what they follow there."""
    merged, known = list(ours), set(ours)
    for place, name in enumerate(theirs):
        if name not in known:
            at = merged.index(theirs[place - 1]) + 1 if place else 0
            merged.insert(at, name)
            known.add(name)
    return merged


def _meaning(row: Row, network: Network) -> dict[str, Any]:
    """All that a row means, as plain values: what it reads by the names of rows, and every resolved field."""
    first, *others = row.nodes
    rows = {each.result: each.name for each in network.rows}
    found: dict[str, Any] = {"type": first.layer.kind, "from": [rows.get(name, name) for name in first.inputs]}
    found |= {name: value for name, value in first.layer.plain().items() if value is not None}
    for node in others:
        fields = {name: value for name, value in node.layer.plain().items() if value is not None}
        found |= {f"activation.{name}": value for name, value in fields.items()}
    found |= {"frozen": first.frozen, "result": str(row.output), "parameters": row.parameters}
    return found


def _changes(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*left, *right]):
        one, other = left.get(name), right.get(name)
        if one != other:
            yield Change(path=name, left=one, right=other)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a tree of plain data with its dotted path."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, value
