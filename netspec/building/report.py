"""The stage of the page for people."""

from __future__ import annotations

from pathlib import Path

from netspec.building.options import PLOT, REPORT
from netspec.building.run import Run
from netspec.stages import key_of


def write_page(run: Run) -> None:
    """The page for people."""
    from netspec.report.page import report_page

    verdict = run.outcome.verdict
    assert verdict is not None

    def write(folder: Path) -> None:
        plot = run.folder.path / PLOT
        origin = run.folder.stages["weights"].facts
        drawn = plot if PLOT in run.folder.files(["weights"]) and plot.is_file() else None
        page = report_page(run.exported, verdict, run.versions, run.folder.files(), drawn, run.outcome.test, origin)
        (folder / REPORT).write_text(page, encoding="utf-8")

    files = {name: digest for name, digest in run.folder.files().items() if name != REPORT}
    run.stage("report", key_of(files=files, versions=run.versions), write)
