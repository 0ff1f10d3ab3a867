"""What a build of every backend costs against the slowest backend alone (at most 1.30).

    python benchmarks/build_cost.py [SPEC] [PAIRS]

Wall time of `netspec build --no-train` into a fresh folder: all three backends, and each backend alone (its own export
and verification, which is that backend's own work). Rounds alternate; the ratio is taken within each round.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BACKENDS = ("torch", "keras", "onnx")


def build_s(spec: Path, targets: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from netspec.cli import main; main()", "build", str(spec), "--no-train"]
        begin = time.perf_counter()
        subprocess.run([*command, "--targets", targets, "-o", folder], check=True, capture_output=True)
        return time.perf_counter() - begin


def main() -> None:
    spec = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "specs" / "digits-cnn.yaml"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    build_s(spec, ",".join(BACKENDS))  # warm the file cache
    times: dict[str, list[float]] = {name: [] for name in (*BACKENDS, "all")}
    for _ in range(rounds):
        for name in BACKENDS:
            times[name].append(build_s(spec, name))
        times["all"].append(build_s(spec, ",".join(BACKENDS)))
    for name, found in times.items():
        print(f"{name:6} {statistics.median(found):.2f} s (median of {rounds})")
    slowest = max(BACKENDS, key=lambda name: statistics.median(times[name]))
    ratio = statistics.median(both / alone for both, alone in zip(times["all"], times[slowest], strict=True))
    print(f"all three against {slowest} alone: {ratio:.2f} (at most 1.30)")


if __name__ == "__main__":
    main()
