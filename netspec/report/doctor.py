"""Which backends, devices and versions are here, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netspec.report.columns import aligned


def doctor_text(found: Mapping[str, Any]) -> str:
    """What `netspec.backend.doctor.examine` found: this program, then every backend with its versions and devices."""
    lines = aligned(
        [["netspec", found["netspec"]], ["Python", found["python"]], ["platform", found["platform"]]],
    )
    for name, backend in found["backends"].items():
        lines += ["", f"{name}: {'ready' if backend['installed'] else 'missing'}"]
        if backend["problem"]:
            lines += [f"  {line.strip()}" for line in backend["problem"].splitlines()]
        facts = [[f"  {library}", version] for library, version in backend["versions"].items()]
        if backend["devices"]:
            facts.append(["  devices", ", ".join(backend["devices"])])
        lines += aligned(facts) if facts else []
    return "\n".join(lines)
