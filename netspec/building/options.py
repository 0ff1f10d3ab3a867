"""What a build is asked for, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netspec.verify.result import Verdict

if TYPE_CHECKING:
    from netspec.training.evaluation import Evaluation

BACKENDS = ("torch", "keras", "onnx")
SPEC, WEIGHTS, CHECKPOINT = "spec.yaml", "weights.safetensors", "checkpoint.safetensors"
HISTORY, PLOT, EVALUATION, CONFUSION = "history.csv", "history.png", "evaluation.json", "confusion.png"
TENSORBOARD = "tensorboard"
"""A folder of event files, which belong to no stage: their names tell the time and the machine."""
VERIFY, REPORT = "verify.json", "report.html"
BESTS = ("best.safetensors", "best-2.safetensors")
"""The weights of the best epoch of a training that diverged, which belong to no stage either; the second name is for
one that began with the first."""
Until = Literal["train", "export", "report"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a build is asked for beside the spec."""

    targets: tuple[str, ...] = BACKENDS
    """The backends to compile for."""
    trainer: str = "torch"
    """The backend that trains."""
    train: bool = True
    """Whether to train when the spec has a `train` section."""
    judge: bool = False
    """Whether files that were changed since they were exported are a failed verification, not something to replace."""
    device: str = "auto"
    """Where to train: `auto` (a GPU where there is one), `cpu`, `cuda:0`, ..."""
    folder: Path = Path("build")
    """The parent of the build folder."""
    seed: int | None = None
    """The seed of the initial weights; when not given that of the weights that are there, the spec's, or 0."""
    train_steps: int | None = None
    """How many updates the backends train in lock-step; the spec's `verify.train_steps` when not given."""
    weights: Path | None = None
    """A file to take the initial weights from, all of them, instead of drawing them."""
    tensorboard: bool = False
    """Whether the epochs of the training are also logged for TensorBoard."""
    until: Until = "report"
    """The last stage to run."""


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
    ran: list[str] = field(default_factory=list)
    """The stages that ran; the others were current."""
    evaluation: Evaluation | None = None
    """What the trained network makes of the test split, or of that to validate on where there is no test."""
    best: Best | None = None
    """The epoch whose weights were kept, when there was training."""
    joined: bool = False
    """Whether this process took its part of a training of which rank 0 has everything else."""
