"""What the outputs of the exported files cannot show: that they are still what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from netspec.backend.artefact import changed_text, existing
from netspec.errors import VerificationError
from netspec.network import Network
from netspec_torch.model import WEIGHTS
from netspec_torch.render import render


def differences(folder: Path, network: Network) -> Iterator[str]:
    """See `Backend.check_artefacts`: the source must be what is rendered, the weights readable."""
    rendering = render(network)
    source, weights = existing(folder / f"{rendering.module}.py"), existing(folder / WEIGHTS)
    try:
        with safe_open(weights, framework="numpy"):
            pass
    except SafetensorError as error:
        raise VerificationError(f"{weights.name} cannot be read: {error}") from error
    yield from changed_text(source, rendering.source)
