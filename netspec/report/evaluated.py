"""How good a network is on labelled images: for people a table of its classes and what is mistaken for what."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from netspec.report.columns import aligned, table
from netspec.report.origin import origin_text

if TYPE_CHECKING:
    from netspec.inference.artefact import Artefact
    from netspec.inference.evaluation import ClassShare, Evaluation

MAX_CLASSES, MAX_MATRIX, MAX_MISTAKES = 40, 10, 10
"""How many classes the table has, and the matrix; and how many kinds of mistakes are named where it has more."""
SHORTENED = 20
NO_SHARE, NO_SHARE_MEANS = "-", "-: nothing to divide by, which counts as 0 in means"


def evaluated_text(found: Evaluation, artefact: Artefact) -> str:
    """The evaluation, and below it what ran."""
    parts = [evaluation_text(found), _ran(artefact)]
    if artefact.known is not None and artefact.known.facts is not None:
        parts[-1] += f"\n{origin_text(artefact.known.facts)}"
    return "\n\n".join(parts)


def evaluated_json(found: Evaluation, artefact: Artefact) -> dict[str, Any]:
    """The same as plain data; what is not finite is null."""
    return {
        "network": artefact.network.name,
        "backend": artefact.backend,
        "artefact": str(artefact.file) if artefact.file is not None else None,
        "weights": str(artefact.known.file) if artefact.known is not None else None,
        **found.document(),
    }


def evaluation_text(found: Evaluation) -> str:
    """The totals, the classes as a table, and the confusion matrix, or the commonest mistakes of many classes."""
    totals = [[f"  {name.replace('_', ' ')}", metric_text(name, value)] for name, value in found.metrics.items()]
    return "\n\n".join(
        part
        for part in ("\n".join([_head(found), *aligned(totals, right=(1,))]), _classes(found), _confusion(found))
        if part
    )


def evaluation_line(found: Evaluation) -> str:
    """The totals alone."""
    said = (f"{name.replace('_', ' ')} {metric_text(name, value)}" for name, value in found.metrics.items())
    return f"{_head(found)}: {', '.join(said)}"


def _head(found: Evaluation) -> str:
    split = "" if found.split == "all" else f"{found.split} "
    return f"On {found.images:,} {split}images of {found.data}"


def metric_text(name: str, value: float) -> str:
    """A metric as people read it: a fraction as per cent, a loss or an area as a number.

    >>> metric_text("top_5_accuracy", 0.9916), metric_text("loss", 0.25), metric_text("auc", float("nan"))
    ('99.16%', '0.2500', 'none')
    """
    if not isfinite(value):
        return "none" if value != value else str(value)
    return f"{value:.2%}" if name.endswith("accuracy") or name in ("precision", "recall", "f1") else f"{value:,.4f}"


def _ran(artefact: Artefact) -> str:
    what = f"{artefact.file}" if artefact.file is not None else f"a fresh export for {artefact.backend}"
    weights = f", weights of {artefact.known.file}" if artefact.known is not None and artefact.file is None else ""
    return f"{what}{weights}, run by {artefact.backend}"


def _classes(found: Evaluation) -> str:
    shown, note = class_shares(found), ""
    if len(shown) > MAX_CLASSES:
        shown = sorted(shown, key=lambda pair: pair[0].f1)[:MAX_CLASSES]
        note = f"\nthe {MAX_CLASSES} of {len(found.classes):,} classes with the least F1"
    rows = [[_short(each.name), *shares, f"{each.support:,}"] for each, shares in shown]
    if any(NO_SHARE in shares for _, shares in shown):
        note = f"\n{NO_SHARE_MEANS}{note}"
    count = len(found.classes)
    means = (sum(getattr(each, name) for each in found.classes) / count for name in ("precision", "recall", "f1"))
    rows.append(["mean", *(f"{mean:.2%}" for mean in means), f"{found.images:,}"])
    lines = table(["class", "precision", "recall", "F1", "images"], rows, right=range(1, 5))
    lines.insert(-1, lines[1])
    return "\n".join(lines) + note


def class_shares(found: Evaluation) -> list[tuple[ClassShare, list[str]]]:
    """Every class, and its precision, recall and F1 as text; `-` where there was nothing to divide by."""
    columns = map(sum, zip(*found.confusion, strict=True))
    return [(each, _shares(each, predicted)) for each, predicted in zip(found.classes, columns, strict=True)]


def _shares(each: ClassShare, predicted: int) -> list[str]:
    """The divisors are how many were `predicted` as the class, how many are of it, and for F1 half of both."""
    shares = (each.precision, predicted), (each.recall, each.support), (each.f1, predicted + each.support)
    return [f"{share:.2%}" if of else NO_SHARE for share, of in shares]


def _confusion(found: Evaluation) -> str:
    names = [each.name for each in found.classes]
    if len(names) <= MAX_MATRIX:
        rows = [
            [
                f"{at}  {_short(name)}" if name != str(at) else name,
                *(f"{count:,}" if count else "." for count in counts),
            ]
            for at, (name, counts) in enumerate(zip(names, found.confusion, strict=True))
        ]
        lines = table(["is, predicted as", *map(str, range(len(names)))], rows, right=range(1, 1 + len(names)))
        return "\n".join(lines)
    mistakes = sorted(
        (
            (count, at, taken)
            for at, row in enumerate(found.confusion)
            for taken, count in enumerate(row)
            if at != taken
        ),
        key=lambda each: (-each[0], each[1:]),
    )
    rows = [[f"  {count:,}", f"{names[at]} taken for {names[taken]}"] for count, at, taken in mistakes if count]
    return "\n".join(["the commonest mistakes", *aligned(rows[:MAX_MISTAKES], right=(0,))]) if rows else ""


def _short(name: str) -> str:
    return name if len(name) <= SHORTENED else f"{name[: SHORTENED - 1]}…"
