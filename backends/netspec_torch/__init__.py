"""The PyTorch backend: networks as `nn.Module` source, run and trained by torch, which is imported on first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.backend import Backend, ExportSettings
from netspec.network import Network
from netspec.progress import Progress
from netspec.tensors import Placement, Precision

if TYPE_CHECKING:
    from torch import nn

    from netspec.backend.foreign import Described, Traced
    from netspec.backend.stored import StoredWeights
    from netspec.data.dataset import Dataset
    from netspec.tensors import Array, Arrays, Weights
    from netspec.training.checkpoint import CheckpointFile
    from netspec.training.settings import TrainSettings
    from netspec.training.stepping import Batch, Gradients, State, Update


class TorchBackend:
    """See `netspec.backend.Backend`, `Trainable` and `Distributed`; every method imports what it needs."""

    name = "torch"
    requires: tuple[str, ...] = ("torch", "safetensors")
    runs: str = ".py"
    suffixes: Mapping[str, str] = {
        ".safetensors": "safetensors",
        **dict.fromkeys((".pt", ".pth", ".bin", ".pt2"), "torch"),
    }
    opens: Mapping[str, str] = {".pt2": "torch"}

    def describe_file(self, path: Path) -> Described:
        from netspec_torch import foreign

        return foreign.describe(Path(path))

    def run_file(self, path: Path, inputs: Arrays, trace: bool = False) -> Traced:
        from netspec_torch import foreign

        return foreign.run(Path(path), inputs, trace)

    def read_stored(self, path: Path, limit_bytes: int) -> StoredWeights:
        from netspec_torch import stored

        return stored.read(Path(path), limit_bytes)

    def placements(self, network: Network) -> Mapping[str, Placement]:
        from netspec_torch.render import render

        return render(network).placements

    def versions(self) -> Mapping[str, str]:
        from importlib.metadata import version

        return {"torch": version("torch"), "safetensors": version("safetensors")}

    def devices(self) -> Sequence[str]:
        from netspec_torch import model

        return model.devices()

    def export(self, network: Network, weights: Weights, folder: Path, settings: ExportSettings) -> Sequence[str]:
        from netspec_torch import model

        return model.export(network, weights, Path(folder))

    def run(
        self,
        network: Network,
        weights: Weights,
        inputs: Arrays,
        precision: Precision,
        feed: Mapping[str, Array] | None = None,
    ) -> Mapping[str, Array]:
        from netspec_torch import model

        return model.run(network, weights, inputs, precision, feed)

    def predict(self, network: Network, weights: Weights, inputs: Arrays) -> Arrays:
        from netspec_torch import model

        return model.predict(network, weights, inputs)

    def counts(self, folder: Path, network: Network) -> Mapping[str, tuple[int, int]]:
        from netspec_torch import model

        return model.counts(Path(folder), network)

    def read_weights(self, folder: Path, network: Network) -> Mapping[str, Array]:
        from netspec_torch import model

        return model.read_weights(Path(folder), network)

    def check_artefacts(self, folder: Path, network: Network) -> Sequence[str]:
        from netspec_torch import artefact

        return list(artefact.differences(Path(folder), network))

    def predict_artefact(self, file: Path, network: Network, inputs: Arrays) -> Arrays:
        from netspec_torch import model

        return model.predict_artefact(file, network, inputs)

    def run_artefact(self, folder: Path, network: Network, inputs: Arrays) -> Mapping[str, Arrays]:
        from netspec_torch import model

        return model.run_artefact(Path(folder), network, inputs)

    def model(self, network: Network, weights: Weights, settings: ExportSettings | None = None) -> nn.Module:
        from netspec_torch import model

        return model.loaded(network, weights)

    def train(
        self,
        network: Network,
        weights: Weights,
        dataset: Dataset,
        settings: TrainSettings,
        device: str,
        progress: Progress,
        checkpoint: CheckpointFile | None = None,
    ) -> tuple[Mapping[str, Array], Sequence[Mapping[str, float]]]:
        from netspec_torch import trainer

        return trainer.train(network, weights, dataset, settings, device, progress, checkpoint)

    def join(self, device: str, progress: Progress) -> None:
        from netspec_torch import trainer

        trainer.join(device, progress)

    def dismiss(self) -> None:
        from netspec_torch import trainer

        trainer.dismiss()

    def update(
        self,
        network: Network,
        settings: TrainSettings,
        state: State,
        batches: Sequence[Batch],
        rate: float,
        precision: Precision,
    ) -> Update:
        from netspec_torch import stepping

        return stepping.update(network, settings, state, batches, rate, precision)

    def gradients(
        self,
        network: Network,
        weights: Weights,
        inputs: Arrays,
        cotangents: Arrays,
        training: bool,
        rows: bool,
    ) -> Gradients:
        from netspec_torch.gradients import gradients

        return gradients(network, weights, inputs, cotangents, training=training, rows=rows)


backend: Backend = TorchBackend()
