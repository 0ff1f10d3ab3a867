"""What a build did: the stages that ran, the verdict, the evaluation and the best epoch of what it trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netspec.verify.result import Verdict

if TYPE_CHECKING:
    from netspec.inference.evaluation import Evaluation

Until = Literal["train", "export", "report"]
"""The last stage that a build runs."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch of a training: its row of the history, how many there were, and by what it is the best."""

    epoch: Mapping[str, float]
    epochs: int
    monitor: str


@dataclass(slots=True)
class Outcome:
    """What a build did."""

    folder: Path
    verdict: Verdict | None = None
    proven_at: datetime | None = None
    """When the verdict was made, where the build noted it; `verify` is in `ran` where that was now."""
    ran: list[str] = field(default_factory=list)
    """The stages that ran; the others were current."""
    evaluation: Evaluation | None = None
    """What the trained network makes of the test split, or of that to validate on where there is no test."""
    best: Best | None = None
    """The epoch whose weights were kept, when there was training."""
    joined: bool = False
    """Whether this process took its part of a training of which rank 0 has everything else."""
