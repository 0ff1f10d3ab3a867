"""What `netspec check` found in one file, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netspec.errors import SpecError
from netspec.network import Network
from netspec.report.problems import error_json


def checked_text(path: Path, network: Network) -> str:
    """A spec that is valid, in one line."""
    rows = f"{len(network.rows)} row{'s' * (len(network.rows) != 1)}"
    return f"{path}: fine, {rows}, {network.parameters:,} parameters, output {network.output_type}"


def checked_json(path: Path, network: Network) -> dict[str, Any]:
    """A spec that is valid, as plain data."""
    return {
        "spec": str(path),
        "valid": True,
        "problems": [],
        "rows": len(network.rows),
        "parameters": network.parameters,
        "output": list(network.output_type.shape),
    }


def refused_json(path: Path, error: SpecError) -> dict[str, Any]:
    """A spec that is wrong, as plain data."""
    return {"spec": str(path), "valid": False, **error_json(error)}
