"""A data set for people and for programs: its splits, how many images of which class, and a batch as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.report.columns import table
from netspec.report.contact import draw_sheet

if TYPE_CHECKING:
    from netspec.data.dataset import Dataset, Split
    from netspec.network import Network
    from netspec.preview import Batch

MAX_CLASSES, MAX_NAMED = 40, 10
"""How many classes, and images that were left out, are shown to people."""


def data_text(dataset: Dataset, network: Network, picture: Path | None) -> str:
    """The splits and classes as a table."""
    counts = _counts(dataset)
    names = list(dataset.classes)
    rows = [[name, *(f"{each[at]:,}" for each in counts.values())] for at, name in enumerate(names[:MAX_CLASSES])]
    if len(names) > MAX_CLASSES:
        rows.append([f"and {len(names) - MAX_CLASSES:,} more", *("" for _ in counts)])
    rows.append(["in all", *(f"{sum(each):,}" for each in counts.values())])
    lines = table(["class", *counts], rows, right=range(1, 1 + len(counts)))
    lines.insert(-1, lines[1])
    about = f"{dataset.name}: {network.input_type}, {_values(dataset.train)}"
    parts = ["\n".join([about, "", *lines]), *_skipped(dataset), *_scale(dataset)]
    return "\n\n".join([*parts, *([f"{picture}: written"] if picture else [])])


def _skipped(dataset: Dataset) -> Iterator[str]:
    if dataset.skipped:
        lines = [
            f"{len(dataset.skipped):,} images were left out",
            *(f"  {said}" for said in dataset.skipped[:MAX_NAMED]),
        ]
        yield "\n".join(lines)


def _scale(dataset: Dataset) -> Iterator[str]:
    """What the columns were standardised by, as the row that does the same."""
    if dataset.scale:
        means, deviations = (", ".join(f"{each[at]:.9g}" for each in dataset.scale) for at in (0, 1))
        row = f"  - Normalize | mean=[{means}], std=[{deviations}]"
        yield f"each column is standardised; artefacts that read raw numbers need this as their first row\n{row}"


def data_json(dataset: Dataset, network: Network, picture: Path | None) -> dict[str, Any]:
    """The splits and classes as plain values."""
    splits = {name: {"images": sum(each), "classes": each} for name, each in _counts(dataset).items()}
    return {
        "data": dataset.name,
        "input": str(network.input_type),
        "values": str(dataset.train.images.dtype),
        "classes": list(dataset.classes),
        "splits": splits,
        "skipped": list(dataset.skipped),
        "standardised": [{"mean": mean, "std": deviation} for mean, deviation in dataset.scale],
        "picture": str(picture) if picture else None,
    }


def draw_batch(batch: Batch, dataset: Dataset, path: Path, count: int, title: str) -> bool:
    """Write the first images of a batch as a PNG; False where they are no images."""
    if batch.before.ndim != 4:
        return False
    before, names = batch.before[:count], batch.names[:count]
    after = None if batch.after is None else batch.after[:count]
    kind = "as they are" if after is None else "each as it is and, to its right, as it is trained on"
    about = f"{len(before)} of {len(dataset.train):,} images of {dataset.name}, {kind}"
    draw_sheet(before, after, names, path, title, about, _range(batch))
    return True


def _range(batch: Batch) -> tuple[float, float]:
    """The values of the darkest and the lightest pixel: of bytes 0 and 255, unless all of them are small."""
    least, most = float(batch.before.min()), float(batch.before.max())
    if batch.before.dtype.kind == "u":
        return 0.0, 255.0 if most > 127 else most
    return least, most


def _values(split: Split) -> str:
    least, most = split.images.min(), split.images.max()
    return f"{split.images.dtype} from {least:g} to {most:g}"


def _counts(dataset: Dataset) -> dict[str, list[int]]:
    """How many images of each class every split has."""
    import numpy as np

    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {
        name: np.bincount(split.labels, minlength=len(dataset.classes)).tolist()
        for name, split in splits.items()
        if split is not None
    }
