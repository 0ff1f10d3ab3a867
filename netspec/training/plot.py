"""The curves of a training: loss and accuracy, on the images trained on and on those held out."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from netspec.errors import BackendError
from netspec.storage.atomic import replacing
from netspec.training.history import Row, best_epoch
from netspec.training.settings import Monitor

TRAIN, VALIDATION, BEST = "#c2571a", "#1f6fb2", "#6b7280"


def plot_history(history: Sequence[Row], path: Path, monitor: Monitor = "val_loss", title: str = "") -> None:
    """Write a PNG with loss and accuracy over the epochs, train beside validation, and the best epoch marked.

    The file is there whole or not at all. Raises BackendError when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendError(
            "history.png is drawn by matplotlib, which is not installed\n  hint: pip install 'netspec[train]'"
        ) from error
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    best = best_epoch(history, monitor)
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _curves(axes, history, metric, best)
    # Below both, where it touches no curve and not the line of the best epoch.
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    if title:
        figure.suptitle(f"{title}: epoch {best} of {len(history)} is best by {monitor}", fontsize=11)
    with replacing(path) as partial:
        # A PNG without the time of its making: the same history gives the same bytes.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _curves(axes: Any, history: Sequence[Row], metric: str, best: int) -> None:
    """One metric over the epochs, with its value at the best epoch written above."""
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < 40 else None
    for name, label, colour in ((metric, "train", TRAIN), (f"val_{metric}", "validation", VALIDATION)):
        values = [row.get(name, float("nan")) for row in history]
        axes.plot(epochs, values, color=colour, label=label, marker=marker, markersize=3, linewidth=1.6)
    axes.axvline(best, color=BEST, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    [chosen] = [row for row in history if row["epoch"] == best]
    value = chosen.get(f"val_{metric}", chosen[metric])
    axes.plot([best], [value], marker="o", markersize=7, markerfacecolor="white", color=VALIDATION, zorder=3)
    # Written above the curves, where it covers none of them.
    said = f"{value:.4f}" if metric == "loss" else f"{value:.2%}"
    axes.set_title(f"validation {said} at epoch {best}", fontsize=10, loc="right", color=VALIDATION)
    logarithmic = metric == "loss" and _wide(history)
    if logarithmic:  # the end of the training, where overfitting begins, is flat on a linear axis
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title(f"{metric.capitalize()}{' (log scale)' * logarithmic}", fontsize=11, loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if len(epochs) == 1:
        axes.set_xlim(0.5, 1.5)
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(
            "{x:.0%}" if max(_values(history, metric)) - min(_values(history, metric)) > 0.05 else "{x:.1%}"
        )
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _values(history: Sequence[Row], metric: str) -> list[float]:
    found = (row[name] for row in history for name in (metric, f"val_{metric}") if name in row)
    return [value for value in found if isfinite(value)]


def _wide(history: Sequence[Row]) -> bool:
    """Whether the losses span more than a factor that a linear axis can show."""
    losses = _values(history, "loss")
    return bool(losses) and 0 < 20 * min(losses) < max(losses)
