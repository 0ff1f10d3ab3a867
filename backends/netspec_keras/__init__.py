"""The Keras backend: renders a functional model of stock layers, runs it, trains it, saves it as a .keras archive."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.backend import ExportSettings
from netspec.network import Network
from netspec.progress import Progress
from netspec.tensors import Placement, Precision

if TYPE_CHECKING:
    from netspec.backend.foreign import Described, Traced
    from netspec.backend.stored import StoredWeights
    from netspec.data.dataset import Dataset
    from netspec.tensors import Array, Arrays, Weights
    from netspec.training.checkpoint import CheckpointFile
    from netspec.training.settings import TrainSettings
    from netspec.training.stepping import Batch, Gradients, State, Update


RUNTIMES = ("tensorflow", "jax", "torch")
"""What Keras runs on."""


class KerasBackend:
    """Keras, on TensorFlow unless KERAS_BACKEND in the environment says otherwise."""

    name = "keras"
    runs: str = ".keras"
    suffixes: Mapping[str, str] = {".keras": "h5py", ".h5": "h5py", ".hdf5": "h5py"}
    opens: Mapping[str, str] = dict.fromkeys(suffixes, "keras")

    def describe_file(self, path: Path) -> Described | None:
        """What goes into a saved model; None for a file of weights."""
        from netspec_keras import foreign

        return foreign.describe(Path(path))

    def run_file(self, path: Path, inputs: Arrays, trace: bool = False) -> Traced:
        """What a saved model gives, and with `trace` every layer of it."""
        from netspec_keras import foreign

        return foreign.run(Path(path), inputs, trace)

    @property
    def requires(self) -> tuple[str, ...]:
        """Keras, and what it runs on."""
        return ("keras", os.environ.get("KERAS_BACKEND") or "tensorflow")

    def elsewhere(self) -> Sequence[str]:
        """`--keras-backend` with each of the others that Keras could run on here."""
        from importlib.util import find_spec

        if find_spec("keras") is None:
            return ()
        others = [name for name in RUNTIMES if name not in self.requires and find_spec(name) is not None]
        return [f"--keras-backend {name}" for name in others]

    def read_stored(self, path: Path, limit_bytes: int) -> StoredWeights:
        """What a file of weights holds, read without Keras."""
        from netspec_keras.stored import read

        return read(Path(path), limit_bytes)

    def placements(self, network: Network) -> Mapping[str, Placement]:
        """The path of the variable that each canonical weight is in the emitted model."""
        from netspec_keras.realised import Rendering

        return Rendering(network).placements

    def versions(self) -> Mapping[str, str]:
        """The versions of Keras and of what it runs on, read without importing them."""
        from importlib.metadata import version

        return {name: version(name) for name in self.requires}

    def devices(self) -> Sequence[str]:
        """Every GPU that Keras sees, then the CPU."""
        from netspec_keras.model import devices

        return devices()

    def export(
        self,
        network: Network,
        weights: Weights,
        folder: Path,
        settings: ExportSettings,
    ) -> Sequence[str]:
        """Write `<module>.py` and `<name>.keras`."""
        from netspec_keras.model import export

        return export(network, weights, folder)

    def run(
        self,
        network: Network,
        weights: Weights,
        inputs: Arrays,
        precision: Precision,
        feed: Mapping[str, Array] | None = None,
    ) -> Mapping[str, Array]:
        """The result of every row, from a rendering that gives them all."""
        from netspec_keras.model import run_rows

        return run_rows(network, weights, inputs, precision, feed or {})

    def predict(self, network: Network, weights: Weights, inputs: Arrays) -> Arrays:
        """The network's outputs in float32 for a batch of any size."""
        from netspec_keras.model import predict

        return predict(network, weights, inputs)

    def model(self, network: Network, weights: Weights, settings: ExportSettings | None = None) -> Any:
        """A `keras.Model` of stock layers with these weights."""
        from netspec_keras.model import make

        return make(network, weights)

    def counts(self, folder: Path, network: Network) -> Mapping[str, tuple[int, int]]:
        """(trainable, non-trainable) numbers of every row that has weights, counted in the loaded archive."""
        from netspec_keras.model import counts

        return counts(folder, network)

    def read_weights(self, folder: Path, network: Network) -> Mapping[str, Array]:
        """The canonical weights of the loaded archive."""
        from netspec_keras.model import canonical_weights, load_archive

        return canonical_weights(load_archive(folder, network), network)

    def check_artefacts(self, folder: Path, network: Network) -> Sequence[str]:
        """What the module or the archive's configuration says otherwise than the rendering."""
        from netspec_keras.artefact import differences

        return list(differences(folder, network))

    def predict_artefact(self, file: Path, network: Network, inputs: Arrays) -> Arrays:
        from netspec_keras import model

        return model.predict_artefact(file, network, inputs)

    def run_artefact(self, folder: Path, network: Network, inputs: Arrays) -> Mapping[str, Arrays]:
        """The outputs of the archive, and of the module with the archive's weights."""
        from netspec_keras.model import run_artefact

        return run_artefact(folder, network, inputs)

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
        """Train with `fit`; the weights of the best epoch, and one history row an epoch."""
        from netspec_keras.trainer import train

        return train(network, weights, dataset, settings, device, progress, checkpoint)

    def update(
        self,
        network: Network,
        settings: TrainSettings,
        state: State,
        batches: Sequence[Batch],
        rate: float,
        precision: Precision,
    ) -> Update:
        """One update of what `train` runs, from a given state."""
        from netspec_keras import stepping

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
        """The derivatives of the model that gives every row, on any backend of Keras'."""
        from netspec_keras.gradients import gradients

        return gradients(network, weights, inputs, cotangents, training=training, rows=rows)


backend = KerasBackend()
