"""What a build is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netspec.outcome import Until

BACKENDS = ("torch", "keras", "onnx")


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
    force: bool = False
    """Whether what is up to date is done again; see `forces`."""
    tensorboard: bool = False
    """Whether the epochs of the training are also logged for TensorBoard."""
    until: Until = "report"
    """The last stage to run."""

    def forces(self, stage: str) -> bool:
        """Whether a stage runs though it is up to date: each, or of a judgement that alone and not what is judged.

        >>> Options(force=True).forces("export torch"), Options(force=True, judge=True).forces("export torch")
        (True, False)
        """
        return self.force and (not self.judge or stage in ("verify", "report"))
