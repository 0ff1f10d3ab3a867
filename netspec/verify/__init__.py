"""Run every backend, then compare: the proof that they are equal, and the first row where they are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.backend import Weights
    from netspec.network import Network
    from netspec.verify.gather import Caller
    from netspec.verify.result import Verdict
    from netspec.verify.settings import VerifySettings


def verify(
    network: Network, weights: Weights, folder: Path, settings: VerifySettings, workers: Mapping[str, Caller]
) -> Verdict:
    """Hold every backend against the reference; see `netspec.verify.check`, which needs numpy and is loaded here."""
    from netspec.verify.check import check

    return check(network, weights, folder, settings, workers)
