"""The rows' bars of error over budget on a terminal: as long as there is room, and the worst error of each row."""

from __future__ import annotations

import re

import pytest

from netspec.report.verdict import BAR, bar, verify_text
from netspec.verify.result import Measure, RowVerdict
from tests.core.test_report import measure, network, verdict_of


@pytest.mark.parametrize(("width", "length"), [(60, 0), (64, 0), (65, 4), (67, 6), (80, 10), (200, 10)])
def test_bars_are_as_long_as_there_is_room(width: int, length: int) -> None:
    text = verify_text(verdict_of(network("fashion-mnist-cnn")), width=width)
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("conv_1 "))
    rule, rows = lines[start - 1], lines[start : start + 9]
    assert {len(line) for line in rows} == {len(rule)}
    assert max(map(len, (rule, *rows))) <= max(width, 59)
    filled = round(0.34 * length)
    bars = {found[1] if (found := re.search(r"%  ([#.]+)$", line)) else "" for line in rows}
    assert bars == {"#" * filled + "." * (length - filled)}
    assert (BAR in text) == bool(length)


@pytest.mark.parametrize(
    ("double", "single", "drawn"),
    [
        (measure(0, 1), measure(0.04, 1), ".........."),
        (measure(0.97, 1), measure(0.5, 1), "##########"),
        (measure(1e-16, 1e-12), measure(0.52, 1), "#####....."),
        (measure(1, 1e-12), measure(0.5, 1), "##########"),
        (measure(None, 1), measure(0.5, 1), "##########"),
        (None, measure(0.2, 1), "##........"),
        (None, None, ""),
    ],
)
def test_a_bar_is_the_worst_of_a_row(double: Measure | None, single: Measure | None, drawn: str) -> None:
    row = RowVerdict(
        row="r", kind="Conv", passed=True, trainable=0, non_trainable=0, counted=None, float64=double, float32=single
    )
    better = row.model_copy(update={"float64": None, "float32": measure(0.01, 1)})
    assert bar([better, row] if drawn else [row], 10) == drawn
