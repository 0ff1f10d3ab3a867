"""What a build did, for people (the verdict first, then the training, then what lies where) and for programs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.report.progress import SHOWN
from netspec.storage.stages import CONFUSION, HISTORY, PLOT, REPORT, WEIGHTS

if TYPE_CHECKING:
    from netspec.outcome import Best, Outcome, Until


def outcome_text(outcome: Outcome, until: Until = "report", again: str = "netspec verify SPEC", width: int = 80) -> str:
    """The outcome of a command that went on `until` a stage, for a terminal of `width` columns.

    `again` is the command that shows the verdict again.
    """
    parts = []
    if outcome.verdict is not None:
        from netspec.report.verdict import verify_text

        earlier = None if "verify" in outcome.ran else made_text(outcome.proven_at)
        parts.append(verify_text(outcome.verdict, again, earlier, width))
    if outcome.best is not None and (until == "train" or "weights" in outcome.ran):
        if "weights" not in outcome.ran:
            parts.append(
                f"{outcome.folder.name} was trained before, and nothing has changed since; --force trains it again"
            )
        parts.append(best_text(outcome.best, outcome.folder))
    if outcome.evaluation is not None:
        from netspec.report.evaluated import evaluation_line, evaluation_text

        if until == "train" or "weights" in outcome.ran:
            drawn = f"as a picture in {outcome.folder / CONFUSION}"
            parts.append(f"{evaluation_text(outcome.evaluation)}\n{drawn}")
        else:
            parts.append(evaluation_line(outcome.evaluation))
    did = f"ran {', '.join(outcome.ran)}" if outcome.ran else "everything was up to date"
    page = outcome.folder / REPORT
    where = f"{outcome.folder}/" if until != "report" else str(page)
    parts.append(f"{where}: {did}")
    return "\n\n".join(parts)


def made_text(at: datetime | None) -> str:
    """When a verdict of an earlier command was made, by the clock of this place.

    >>> made_text(datetime(2026, 3, 1, 9, 5)), made_text(None)
    ('proven on 2026-03-01 at 09:05', 'proven by an earlier command')
    """
    if at is None:
        return "proven by an earlier command"
    here = at.astimezone()
    return f"proven on {here:%Y-%m-%d} at {here:%H:%M}"


def best_text(best: Best, folder: Path) -> str:
    """The epoch that was kept, and where its weights and the history of all epochs are.

    >>> from netspec.outcome import Best
    >>> print(best_text(Best({"epoch": 3, "loss": 0.25, "val_loss": 0.5}, 10, "val_loss"), Path("build/x")))
    The best of 10 epochs by val_loss is epoch 3: loss 0.2500, val_loss 0.5000
      its weights    build/x/weights.safetensors
      every epoch    build/x/history.csv, drawn in build/x/history.png
    """
    said = ", ".join(f"{name} {best.epoch[name]:.4f}" for name in SHOWN if name in best.epoch)
    number = int(best.epoch["epoch"])
    epochs = f"The best of {best.epochs} epoch{'s' * (best.epochs > 1)}"
    return (
        f"{epochs} by {best.monitor} is epoch {number}: {said}\n"
        f"  its weights    {folder / WEIGHTS}\n"
        f"  every epoch    {folder / HISTORY}, drawn in {folder / PLOT}"
    )


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain data; `verify` is what verify.json holds, or null."""
    return {
        "folder": str(outcome.folder),
        "ran": outcome.ran,
        "evaluation": outcome.evaluation.document() if outcome.evaluation is not None else None,
        "best": {"monitor": outcome.best.monitor, **outcome.best.epoch} if outcome.best is not None else None,
        "proven_at": outcome.proven_at.isoformat() if outcome.proven_at is not None else None,
        "verify": outcome.verdict.model_dump(mode="json") if outcome.verdict is not None else None,
    }
