"""The confusion matrix as a picture: what each class was predicted as."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.errors import BackendError
from netspec.report.evaluated import metric_text
from netspec.storage.atomic import replacing

if TYPE_CHECKING:
    from netspec.inference.evaluation import Evaluation

MAX_NUMBERED, MAX_NAMED = 20, 60
"""Up to so many classes every cell has its number, and every row and column its name."""
RIGHT, WRONG = ("#ffffff", "#bcd6ec", "#1f6fb2"), ("#ffffff", "#f0ad7a", "#c2571a")
INK, QUIET, GRID = "#1f2328", "#6b7280", "#d0d7de"
CELL, LEAST, MOST = 0.46, 3.2, 10.0
"""The side of a cell, and of the whole matrix at least and at most, in inches."""
LETTERS = 10
"""How many letters of a name have room beside each other in an inch."""


def draw_confusion(found: Evaluation, path: Path, title: str) -> None:
    """Write a PNG: a row for each class, a column for what it was predicted as, coloured by the share of the row.

    Blue is right, on the diagonal, orange wrong; the colours of mistakes grow with the root of the share, so that few
    are seen. The file is there whole or not at all. Raises BackendError when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendError(
            "the picture is drawn by matplotlib, which is not installed\n  hint: pip install 'netspec[train]'"
        ) from error
    count = len(found.classes)
    side = min(MOST, max(LEAST, CELL * count))
    figure = Figure(figsize=(side + 1.6, side + 1.9), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _cells(axes, found)
    _names(axes, [each.name for each in found.classes])
    split = "" if found.split == "all" else f"{found.split} "
    said = f"{found.images:,} {split}images of {found.data}, accuracy {_accuracy(found)}"
    axes.set_title(title, fontsize=12, color=INK, loc="left", pad=24)
    axes.annotate(said, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=QUIET)
    with replacing(path) as partial:
        # A PNG without the time of its making: the same evaluation gives the same bytes.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _accuracy(found: Evaluation) -> str:
    right = sum(row[at] for at, row in enumerate(found.confusion))
    return metric_text("accuracy", right / found.images)


def _cells(axes: Any, found: Evaluation) -> None:
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    matrix = np.array(found.confusion, np.float64)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right, wrong = (LinearSegmentedColormap.from_list("", colours) for colours in (RIGHT, WRONG))
    colours = np.where(np.eye(len(matrix), dtype=bool)[..., np.newaxis], right(share), wrong(np.sqrt(share)))
    axes.imshow(colours, interpolation="nearest")
    if len(matrix) > MAX_NUMBERED:
        return
    size = 9 if matrix.max() < 1e4 and len(matrix) <= 12 else 7
    for (row, column), number in np.ndenumerate(matrix):
        if number:
            dark = share[row, column] > 0.6 if row == column else share[row, column] > 0.5
            colour = "white" if dark else INK
            axes.text(column, row, f"{int(number):,}", ha="center", va="center", fontsize=size, color=colour)
    axes.set_xticks(np.arange(len(matrix) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(matrix) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.6)


def _names(axes: Any, names: list[str]) -> None:
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color(GRID)
    axes.set_xlabel("predicted as", fontsize=9, color=QUIET)
    axes.set_ylabel("true class", fontsize=9, color=QUIET)
    if len(names) > MAX_NAMED:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
    turned = max(map(len, short)) > LETTERS * max(CELL, LEAST / len(names))
    size = 9 if len(names) <= MAX_NUMBERED else 6
    style = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(range(len(names)), short, fontsize=size, color=INK, **style)
    axes.set_yticks(range(len(names)), short, fontsize=size, color=INK)
