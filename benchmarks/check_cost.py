"""What `netspec check` costs: its start against the bare imports of its libraries, and its growth with the rows.

    python benchmarks/check_cost.py

Start: CPU time (user + system) of `netspec check` on a published spec, against a process that only imports what
netspec uses of pydantic, PyYAML and typer; alternating runs, the ratio of each pair, the median of the ratios. Python
may keep its bytecode, as it does wherever nothing forbids it: pip compiles what it installs, and so are the libraries.
Rows: CPU time inside one process for generated networks of 1,250 to 10,000 rows, per row: chains, and blocks inside of
blocks inside of blocks, which are also rendered for both frameworks.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.network import Network

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "specs" / "cifar10-cnn.yaml"
BARE = "from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator\nimport yaml, typer"
CHECK = [sys.executable, "-c", "from netspec.cli import main; main()", "check", str(SPEC)]
SHOW = [sys.executable, "-c", "from netspec.cli import main; main()", "show", str(SPEC)]
PAIRS = 21
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cpu_s(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start(name: str, command: list[str]) -> None:
    bare = [sys.executable, "-c", BARE]
    cpu_s(command), cpu_s(bare)
    pairs = [(cpu_s(command), cpu_s(bare)) for _ in range(PAIRS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name}: {ours * 1e3:.0f} ms CPU, bare imports {theirs * 1e3:.0f} ms, ratio {ratio:.2f} (at most 1.40)")


CHAIN = """\
name: deep
input: 16x16x8
layers:
"""
NESTED = """\
name: nested
input: 16x16x8
blocks:
  unit:
    parameters: {filters: int, kernel: 3}
    layers:
      - conv: CNN | filters, kernel | - | padding=same, bias=false
      - bn: BatchNorm | - | ReLU
  residual:
    parameters: {filters: int, project: false}
    layers:
      - first: unit | filters
      - second: unit | filters, kernel=1
      - shortcut: CNN | filters, 1 | from=input, when=project
      - add: Add | - | ReLU | from=[second, shortcut]
  stage:
    parameters: {filters: int, depth: int}
    layers:
      - start: residual | filters, true
      - rest: residual | filters | repeat=depth
layers:
"""


def rows() -> None:
    for count in (1_250, 2_500, 5_000, 10_000):
        table = ["  - CNN | 8, 3 | ReLU | padding=same", "  - BatchNorm"] * (count // 2)
        compiled("chain", CHAIN + "\n".join(table), count)
    for count in (1_250, 2_500, 5_000, 10_000):
        # A stage of this depth has 1 + 5 * 25 rows.
        table = [f"  - stage_{number}: stage | {8 + number % 5}, 24" for number in range(count // 125)]
        network = compiled("nested", NESTED + "\n".join(table), count // 125 * 126)
        for name, render in renderers().items():
            begin = time.process_time()
            render(network)
            elapsed = time.process_time() - begin
            print(f"        rendered for {name}: {elapsed:.2f} s CPU, {elapsed / count * 1e3:.3f} ms a row")


def compiled(name: str, text: str, count: int) -> Network:
    from netspec.compile import compile_spec
    from netspec.spec.load import parse_spec

    begin = time.process_time()
    network = compile_spec(parse_spec(text, "deep.yaml"))
    elapsed = time.process_time() - begin
    assert len(network.rows) == count, (len(network.rows), count)
    print(f"{name}: {count:6,} rows: {elapsed:.2f} s CPU, {elapsed / count * 1e3:.3f} ms a row (at most 2)")
    return network


def renderers() -> dict[str, Callable[[Network], object]]:
    from netspec_keras.render import render as keras
    from netspec_torch.render import render as torch

    return {"torch": torch, "keras": keras}


if __name__ == "__main__":
    start("check", CHECK)
    start("show", SHOW)
    rows()
