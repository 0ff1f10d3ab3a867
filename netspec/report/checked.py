"""What `netspec check` found in one file, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netspec.errors import SpecError
from netspec.network import Network
from netspec.report.problems import error_json


def checked_text(path: Path, network: Network, variant: str | None = None) -> str:
    """A spec that is valid, or a variant of it, in one line."""
    rows = f"{len(network.rows)} row{'s' * (len(network.rows) != 1)}"
    which = f" (variant {variant})" if variant is not None else ""
    trained = "" if network.trainable == network.parameters else f" ({network.trainable:,} trained)"
    return f"{path}{which}: fine, {rows}, {network.parameters:,} parameters{trained}, output {network.output_type}"


def checked_json(path: Path, network: Network, variant: str | None = None) -> dict[str, Any]:
    """A spec that is valid, as plain data; `variant` is null for the spec as it is."""
    return {
        "spec": str(path),
        "variant": variant,
        "valid": True,
        "problems": [],
        "rows": len(network.rows),
        "parameters": network.parameters,
        "trainable": network.trainable,
        "output": list(network.output_type.shape),
    }


def refused_json(path: Path, error: SpecError, variant: str | None = None) -> dict[str, Any]:
    """A spec that is wrong, as plain data."""
    return {"spec": str(path), "variant": variant, "valid": False, **error_json(error)}
