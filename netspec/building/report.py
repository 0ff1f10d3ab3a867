"""The stage of the page for people."""

from __future__ import annotations

from pathlib import Path

from netspec.building.run import Run
from netspec.storage.stages import CONFUSION, PLOT, REPORT, key_of


def write_page(run: Run) -> None:
    """The page for people."""
    from netspec.report.page import Trained, report_page

    verdict = run.outcome.verdict
    assert verdict is not None
    files = {name: digest for name, digest in run.folder.files().items() if name != REPORT}

    def write(folder: Path) -> None:
        known = run.folder.stages["weights"]
        plot, confusion = (
            path if name in known.files and path.is_file() else None
            for name, path in ((name, run.folder.path / name) for name in (PLOT, CONFUSION))
        )
        trained = Trained(known.facts, run.outcome.evaluation, plot, confusion)
        page = report_page(run.exported, verdict, run.versions, files, trained)
        (folder / REPORT).write_text(page, encoding="utf-8")

    run.stage("report", key_of(files=files, versions=run.versions), write)
