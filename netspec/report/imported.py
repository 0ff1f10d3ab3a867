"""What `netspec import-weights` found where, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.network import Network
from netspec.report.columns import table

if TYPE_CHECKING:
    from netspec.importing import Imported


def imported_text(imported: Imported, network: Network, output: Path) -> str:
    """A line for every weight with its tensor in the file, notes, and the count."""
    rows = [
        [weight.name, tensor.name, _shape(tensor.shape), _shape(weight.shape) if weight.shape != tensor.shape else ""]
        for weight in network.weights()
        for tensor in [imported.origins[weight.name]]
    ]
    lines = table(["weight", "from", "shape there", "shape here"], rows)
    count = f"{len(rows)} tensors, {network.parameters:,} numbers, matched {imported.how}"
    return "\n".join([*lines, "", *(f"note: {note}" for note in imported.notes), f"{output}: {count}"])


def imported_json(imported: Imported, network: Network, output: Path) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "output": str(output),
        "network": network.name,
        "matched": imported.how,
        "parameters": network.parameters,
        "weights": [
            {
                "weight": weight.name,
                "shape": list(weight.shape),
                "from": imported.origins[weight.name].name,
                "shape_there": list(imported.origins[weight.name].shape),
                "type_there": imported.origins[weight.name].dtype,
            }
            for weight in network.weights()
        ],
        "notes": list(imported.notes),
    }


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
