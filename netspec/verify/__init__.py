"""Run every backend, then compare: the proof that they are equal, and the first row where they are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.network import Network
    from netspec.spec.model import VerifySettings
    from netspec.tensors import Array, Weights
    from netspec.training.settings import TrainSettings
    from netspec.verify.gather import Caller
    from netspec.verify.result import LockstepVerdict, Verdict


def verify(
    network: Network,
    weights: Weights,
    folder: Path,
    settings: VerifySettings,
    workers: Mapping[str, Caller],
    real: Mapping[str, Array] | None = None,
) -> Verdict:
    """Hold every backend against the reference; see `netspec.verify.check`, which needs numpy and is loaded here."""
    from netspec.verify.check import check

    return check(network, weights, folder, settings, workers, real)


def lockstep(
    network: Network, weights: Weights, training: TrainSettings, settings: VerifySettings, workers: Mapping[str, Caller]
) -> LockstepVerdict:
    """Let every backend train together with the others; see `netspec.verify.lockstep`."""
    from netspec.verify.lockstep import lockstep as run

    return run(network, weights, training, settings.train_steps, workers, settings.seed)
