"""What differs between two specs or two files, for people: a line for everything, the totals first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from netspec.diff.result import Change, FileDiff, RowDiff, SpecDiff, TensorDiff
from netspec.report.columns import aligned

SIGNS = {"added": "+", "removed": "-", "changed": "~"}
SHOWN = 40
"""More tensors than these are counted, not listed."""


def specs_text(found: SpecDiff) -> str:
    """Two specs: totals, rows, sections."""
    unmet = [f"  not met  {problem}" for problem in found.unmet]
    if found.equal:
        return "\n".join([f"{found.left} and {found.right} mean the same", *unmet])
    lines = [f"{found.left} and {found.right} differ", *unmet]
    lines += _section("", found.totals)
    if found.rows:
        lines += ["", "Rows", *(line for row in found.rows for line in _row(row))]
    lines += _section("Sections", found.sections)
    return "\n".join(lines)


def _section(title: str, changes: Sequence[Change]) -> list[str]:
    if not changes:
        return []
    rows = [[change.path, f"{_said(change.left)} -> {_said(change.right)}"] for change in changes]
    return [*(["", title] if title else []), *(f"  {line}" for line in aligned(rows))]


def _row(row: RowDiff) -> Iterator[str]:
    sign = SIGNS[row.how]
    if row.how == "changed":
        said = "; ".join(f"{change.path} {_said(change.left)} -> {_said(change.right)}" for change in row.changes)
        yield f"  {sign} {row.row}  {row.kind}: {said}"
        return
    values = {change.path: change.right if row.how == "added" else change.left for change in row.changes}
    yield f"  {sign} {row.row}  {row.kind}, {values['result']}, {values['parameters']:,} parameters"


def _said(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_said, value))})"
    return str(value)


def files_text(found: FileDiff) -> str:
    """Two files: what they compute, then the tensors that differ."""
    held = "hold and compute" if not found.tensors else "compute"
    state = f"{held if found.outputs else 'hold'} the same"
    if not found.equal:
        state = "differ" if found.differs else "hold the same, but are not known to compute it"
    lines = [f"{found.left} and {found.right} {state}"]
    lines += [f"  note  {note}" for note in found.notes]
    if found.outputs:
        rows = [["output", "in the other", "error", "rounding may cost", "worst input"]]
        for each in found.outputs:
            error = "another shape" if each.error is None else f"{each.error:.1e}{'' if each.equal else '!'}"
            error = "not there" if None in (each.left, each.right) else error
            granted = "-" if each.granted is None else f"{each.granted:.1e}"
            rows.append([each.left or "-", each.right or "-", error, granted, each.sample or "-"])
        lines += ["", *(f"  {line}" for line in aligned(rows, right=(2, 3)))]
    same = f"{found.same} {'tensor is' if found.same == 1 else 'tensors are'} the same, paired {found.aligned}"
    lines += ["", same]
    lines += [f"  {line}" for line in aligned([_tensor(each) for each in found.tensors[:SHOWN]])]
    if len(found.tensors) > SHOWN:
        lines.append(f"  and {len(found.tensors) - SHOWN} more")
    return "\n".join(lines)


def _tensor(found: TensorDiff) -> list[str]:
    shapes = [_shape(shape) for shape in (found.left_shape, found.right_shape) if shape is not None]
    if found.how != "changed" or found.changed is None:
        said = " -> ".join(shapes)
    else:
        relative = "" if found.relative is None else f", {found.relative:.1e} of its size in all"
        count = "1 number differs" if found.changed == 1 else f"{found.changed:,} numbers differ"
        said = f"{count}, by {found.most:.3g} at most{relative}"
    return [f"{SIGNS[found.how]} {found.tensor}", said]


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
