"""The ONNX backend: graphs built with onnx_ir straight from the Network, run by ONNX Runtime.

The file's input is named as the network's (`input`) and its output as the last row's result; both have a dynamic
`batch`, and their channels stand where the spec's `export.onnx.layout` says. Libraries are imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.backend import Backend, ExportSettings
from netspec.network import Network
from netspec.tensors import Placement, Precision

if TYPE_CHECKING:
    import onnx

    from netspec.backend.foreign import Described, Traced
    from netspec.backend.stored import StoredWeights
    from netspec.tensors import Array, Arrays, Weights


class OnnxBackend:
    """See `netspec.backend.Backend`; every method imports what it needs."""

    name = "onnx"
    requires: tuple[str, ...] = ("onnx", "onnx_ir", "onnxruntime")
    runs: str = ".onnx"
    suffixes: Mapping[str, str] = {".onnx": "onnx"}
    opens: Mapping[str, str] = {".onnx": "onnxruntime"}

    def describe_file(self, path: Path) -> Described:
        from netspec_onnx import foreign

        return foreign.describe(Path(path))

    def run_file(self, path: Path, inputs: Arrays, trace: bool = False) -> Traced:
        from netspec_onnx import foreign

        return foreign.run(Path(path), inputs, trace)

    def read_stored(self, path: Path, limit_bytes: int) -> StoredWeights:
        from netspec_onnx import stored

        return stored.read(Path(path), limit_bytes)

    def placements(self, network: Network) -> Mapping[str, Placement]:
        from netspec_onnx.render import stored_placements

        return stored_placements(network)

    def versions(self) -> Mapping[str, str]:
        from netspec_onnx import model

        return model.versions()

    def devices(self) -> Sequence[str]:
        from netspec_onnx import model

        return model.devices()

    def export(self, network: Network, weights: Weights, folder: Path, settings: ExportSettings) -> Sequence[str]:
        from netspec_onnx import model

        return model.export(network, weights, Path(folder), settings.onnx)

    def run(
        self,
        network: Network,
        weights: Weights,
        inputs: Arrays,
        precision: Precision,
        feed: Mapping[str, Array] | None = None,
    ) -> Mapping[str, Array]:
        from netspec_onnx import model

        return model.run(network, weights, inputs, precision, feed or {})

    def predict(self, network: Network, weights: Weights, inputs: Arrays) -> Arrays:
        from netspec_onnx import model

        return model.predict(network, weights, inputs)

    def model(self, network: Network, weights: Weights, settings: ExportSettings | None = None) -> onnx.ModelProto:
        from netspec_onnx import model

        return model.proto(network, weights, (settings or ExportSettings()).onnx)

    def counts(self, folder: Path, network: Network) -> Mapping[str, tuple[int, int]]:
        from netspec_onnx import model

        return model.counts(Path(folder), network)

    def read_weights(self, folder: Path, network: Network) -> Mapping[str, Array]:
        from netspec_onnx import model

        return model.read_weights(Path(folder), network)

    def check_artefacts(self, folder: Path, network: Network) -> Sequence[str]:
        from netspec_onnx import artefact

        return list(artefact.differences(Path(folder), network))

    def predict_artefact(self, file: Path, network: Network, inputs: Arrays) -> Arrays:
        from netspec_onnx import model

        return model.predict_artefact(file, network, inputs)

    def run_artefact(self, folder: Path, network: Network, inputs: Arrays) -> Mapping[str, Arrays]:
        from netspec_onnx import model

        return model.run_artefact(Path(folder), network, inputs)

    def run_levels(self, folder: Path, network: Network, inputs: Arrays) -> Mapping[str, Arrays]:
        from netspec_onnx import model

        return model.run_levels(Path(folder), network, inputs)


backend: Backend = OnnxBackend()
