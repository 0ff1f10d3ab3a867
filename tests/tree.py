"""What a command and all that it starts take of memory, as Linux counts it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

INTERVAL_S = 0.1


@dataclass(frozen=True)
class Watched:
    """A command that has ended."""

    status: int
    output: str
    elapsed_s: float
    peak_bytes: int
    """The most that its processes held together at one time, shared pages counted once."""


def watch(command: Sequence[str], output: IO[str], environment: dict[str, str] | None = None) -> Watched:
    """Run a command, whose output goes to a file, and look at the memory of its processes ten times a second."""
    begin, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    while process.poll() is None:
        peak = max(peak, sum(map(_bytes, _tree(process.pid))))
        time.sleep(INTERVAL_S)
    elapsed_s = time.perf_counter() - begin
    output.seek(0)
    return Watched(process.returncode, output.read(), elapsed_s, peak)


def _tree(process: int) -> list[int]:
    found = [process]
    try:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in children.read_text().split():
                found += _tree(int(child))
    except OSError:  # it has just ended
        pass
    return found


def _bytes(process: int) -> int:
    """The proportional set size: pages that several processes share count for each in part."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
