"""How long ONNX emission and its file take, against torch.onnx.export of the same network and its file.

    python benchmarks/onnx_emission.py [SPEC...]

Each side emits in a process of its own, in turns; both files then run in turns in one ONNX Runtime process. Printed are
the medians over the pairs of ours / torch's: emission should be at most 0.1, running at most 1.03.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from netspec.api import load
from netspec.backend import ExportSettings, find_backend
from netspec.backend.worker import Worker
from netspec.network import Network
from netspec.verify.inputs import biting_weights

SPECS = ("specs/cifar10-cnn.yaml", "specs/mnist-deep-cnn.yaml", "specs/mnist-nin.yaml", "specs/cifar10-fnn.yaml")
PAIRS = 7
RUNS_S = 4.0
"""How long the two files are run in turns for each batch size."""
BATCHES = (1, 32)


class OnnxEmitter:
    """Our emission, with its check of the file."""

    def emit(self, network: Network, weights: Mapping[str, Any], path: Path) -> float:
        """Write the file; seconds taken."""
        backend = find_backend("onnx")
        start = perf_counter()
        backend.export(network, weights, path, ExportSettings())
        return perf_counter() - start


class TorchExporter:
    """torch.onnx.export as its documentation shows it, with a dynamic batch."""

    def emit(self, network: Network, weights: Mapping[str, Any], path: Path) -> float:
        """Write the file; seconds taken, without those in which the module was made."""
        import torch

        module = find_backend("torch").model(network, weights)
        *spatial, channels = network.input_type.shape
        given = torch.zeros(2, channels, *spatial)
        batch = {0: torch.export.Dim("batch")}
        start = perf_counter()
        torch.onnx.export(
            module, (given,), str(path), dynamo=True, dynamic_shapes=(batch,), external_data=False, verbose=False
        )
        return perf_counter() - start


class Runtime:
    """ONNX Runtime with both files open."""

    def race(self, first: Path, second: Path, network: Network, batch: int) -> tuple[list[float], list[float]]:
        """Run the files in turns: the seconds of each run, pair by pair; their outputs must agree."""
        import numpy as np
        import onnxruntime

        *spatial, channels = network.input_type.shape
        given = np.random.default_rng(0).normal(size=(batch, channels, *spatial)).astype(np.float32)
        sessions = [
            onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"]) for each in (first, second)
        ]
        feeds = [{session.get_inputs()[0].name: given} for session in sessions]
        ours, theirs = (session.run(None, feed)[0] for session, feed in zip(sessions, feeds, strict=True))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        times: tuple[list[float], list[float]] = ([], [])
        begin = perf_counter()
        while perf_counter() - begin < RUNS_S or len(times[0]) < PAIRS:
            # Who runs first changes with every pair, so that neither profits from the other's warm caches.
            for index in (0, 1) if len(times[0]) % 2 else (1, 0):
                start = perf_counter()
                sessions[index].run(None, feeds[index])
                times[index].append(perf_counter() - start)
        return times


ours, torch_export, runtime = OnnxEmitter(), TorchExporter(), Runtime()


def main(specs: list[str]) -> None:
    """Measure every spec and print a line for each figure."""
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    names = (f"{Path(__file__).stem}:{role}" for role in ("ours", "torch_export", "runtime"))
    emitter, exporter, racer = (Worker(name, here) for name in names)
    with emitter, exporter, racer, TemporaryDirectory() as folder:
        for spec in specs:
            network = load(spec).network
            weights = biting_weights(network, seed=1)  # no zeros: torch leaves a zero bias out
            paths = Path(folder) / "ours", Path(folder) / f"torch-{network.name}.onnx"
            pairs = [
                [
                    worker.call("emit", network=network, weights=weights, path=path)
                    for worker, path in zip((emitter, exporter), paths, strict=True)
                ]
                for _ in range(PAIRS + 1)
            ][1:]  # the first of each loads libraries
            report(network.name, "emission", *zip(*pairs, strict=True))
            files = paths[0] / f"{network.name}.onnx", paths[1]
            for batch in BATCHES:
                times = racer.call("race", first=files[0], second=files[1], network=network, batch=batch)
                report(network.name, f"run, batch {batch}", *times)


def report(name: str, what: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """One line: the medians, and the median of the ratios of the pairs."""
    ratio = median(one / two for one, two in zip(ours, theirs, strict=True))
    print(
        f"{name:26} {what:14} {median(ours) * 1e3:9.3f} ms {median(theirs) * 1e3:9.3f} ms  ratio {ratio:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:] or list(SPECS))
