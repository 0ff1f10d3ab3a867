"""A runtime of ONNX files that dies: of signals, and of standing still.

It imports no framework but what it stands for, for a process of its own is started for every question.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, ClassVar

PLACE = f"{__name__}:failing"


class Failing:
    """ONNX Runtime, which a signal ends, or stops, at the call that the name of the file says: `run-SIGKILL`."""

    name = "failing"
    opens: ClassVar = {".onnx": "onnx"}
    suffixes: ClassVar = {".onnx": "onnx"}

    def describe_file(self, path: Path) -> Any:
        return self._stock(path, "describe").describe_file(path=path)

    def run_file(self, path: Path, inputs: Any, trace: bool) -> Any:
        return self._stock(path, "trace" if trace else "run").run_file(path=path, inputs=inputs, trace=trace)

    def read_stored(self, path: Path, limit_bytes: int) -> Any:
        return self._stock(path, "read").read_stored(path=path, limit_bytes=limit_bytes)

    def placements(self, net: Any) -> Any:
        return self._stock(Path(), "").placements(net)

    def _stock(self, path: Path, call: str) -> Any:
        from netspec_onnx import backend

        when, _, which = path.stem.partition("-")
        if which and when == call:
            os.kill(os.getpid(), signal.Signals[which])
        return backend


failing = Failing()
