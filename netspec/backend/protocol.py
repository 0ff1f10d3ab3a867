"""What a backend can do: what every one does, and what some do besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from netspec.network import Network

if TYPE_CHECKING:
    from netspec.backend.foreign import Described, Traced
    from netspec.backend.settings import ExportSettings
    from netspec.backend.stored import StoredWeights
    from netspec.data.dataset import Dataset
    from netspec.progress import Progress
    from netspec.tensors import Array, Arrays, Placement, Precision, Weights
    from netspec.training.checkpoint import CheckpointFile
    from netspec.training.settings import TrainSettings
    from netspec.training.stepping import Batch, Gradients, State, Update


class Backend(Protocol):
    """What every backend can do. Arrays in and out are numpy, in the canonical (channels-last) layout."""

    name: str
    """Its name in commands and folders: `torch`."""
    runs: str
    """The ending of the exported file that `predict_artefact` takes."""

    @property
    def requires(self) -> tuple[str, ...]:
        """The modules that must be importable."""
        ...

    def versions(self) -> Mapping[str, str]:
        """The versions of its libraries, by distribution name."""
        ...

    def devices(self) -> Sequence[str]:
        """The devices that it could train or run on here, the best first."""
        ...

    def export(self, network: Network, weights: Weights, folder: Path, settings: ExportSettings) -> Sequence[str]:
        """Write every artefact of this backend into `folder` and return their file names."""
        ...

    def run(
        self,
        network: Network,
        weights: Weights,
        inputs: Arrays,
        precision: Precision,
        feed: Mapping[str, Array] | None = None,
    ) -> Mapping[str, Array]:
        """The result of every row, by row name, for a batch of every input.

        With `feed`, the result of each row named there is recorded and then replaced by the given value, so that
        the rows after it read that instead: each row is judged alone.
        """
        ...

    def predict(self, network: Network, weights: Weights, inputs: Arrays) -> Arrays:
        """The network's outputs in float32 for a batch of any size, computed in pieces that fit in memory."""
        ...

    def model(self, network: Network, weights: Weights, settings: ExportSettings | None = None) -> Any:
        """The framework's own model with these weights: an nn.Module, a keras.Model, a ModelProto."""
        ...

    def counts(self, folder: Path, network: Network) -> Mapping[str, tuple[int, int]]:
        """(trainable, non-trainable) numbers of every row that has weights, counted in the framework's own model."""
        ...

    def read_weights(self, folder: Path, network: Network) -> Mapping[str, Array]:
        """The canonical weights, recovered from every exported artefact's own file."""
        ...

    def check_artefacts(self, folder: Path, network: Network) -> Sequence[str]:
        """A sentence for everything in the exported files that is not as `export` writes it, beside weights' numbers.

        Outputs cannot show all of it: names, metadata, what only training reads. Raises VerificationError for a file
        that is missing or cannot be read.
        """
        ...

    def predict_artefact(self, file: Path, network: Network, inputs: Arrays) -> Arrays:
        """The network's outputs in float32 for a batch of any size, from an exported file that ends in `runs`.

        The stock library loads it, once: the next batch finds it in memory. Raises SpecError for a file that is
        missing, that cannot be loaded, or that holds another network.
        """
        ...

    def run_artefact(self, folder: Path, network: Network, inputs: Arrays) -> Mapping[str, Arrays]:
        """The network's outputs from every exported artefact, loaded afresh by the stock library; by file name."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A backend that can train."""

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
        """Train from the given weights; the canonical weights of the best epoch, and one history row an epoch.

        With a checkpoint file, from where that was left; it is written now and then, and when the process is
        interrupted, which raises StoppedError after the step under way. On a CPU what comes out is bit for bit what
        it would be without an interruption.
        """
        ...

    def update(
        self,
        network: Network,
        settings: TrainSettings,
        state: State,
        batches: Sequence[Batch],
        rate: float,
        precision: Precision,
    ) -> Update:
        """One update from a state, with the learning rate `rate` and the mean gradient over `batches`, on the CPU.

        It is what `train` does in each update, dropout too where the network has it; its inputs may be several.
        """
        ...


@runtime_checkable
class Distributed(Protocol):
    """A backend whose `train` several processes may share, each told its place by `netspec.training.ranks`."""

    def join(self, device: str, progress: Progress) -> None:
        """Take this process's part of the training that rank 0 begins, until it ends; says "joined" when all are there.

        Raises BackendError where the others do not come, or no longer answer.
        """
        ...

    def dismiss(self) -> None:
        """At rank 0: let those that `join` end, for there is nothing to train."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A backend that derives what a network computes."""

    def gradients(
        self,
        network: Network,
        weights: Weights,
        inputs: Arrays,
        cotangents: Arrays,
        training: bool,
        rows: bool,
    ) -> Gradients:
        """The derivatives of sum(outputs * cotangents) by every trained weight and every input, in float64.

        With `training`, BatchNorm takes the batch's own statistics, unless it is frozen, and the network has no
        dropout. With `rows`, by the result of every row too, which is given as well. It runs on the CPU.
        """
        ...


@runtime_checkable
class Movable(Protocol):
    """A backend that runs on one of several libraries, as it is told to."""

    def elsewhere(self) -> Sequence[str]:
        """The options of the command line that let it run on another one, which is installed."""
        ...


@runtime_checkable
class Optimising(Protocol):
    """A backend whose runtime rewrites an exported file before it runs it, more or less of it by levels."""

    def run_levels(self, folder: Path, network: Network, inputs: Arrays) -> Mapping[str, Arrays]:
        """The network's outputs from the exported file at every level but the one that `run_artefact` runs it at.

        By the file's name and the level. Raises BackendError where it does not run at a level.
        """
        ...


@runtime_checkable
class Importable(Protocol):
    """A backend that reads files of weights that others wrote with its framework."""

    name: str
    suffixes: Mapping[str, str]
    """The endings of their names, and for each the module that reading such a file needs."""

    def read_stored(self, path: Path, limit_bytes: int) -> StoredWeights:
        """What a file holds; it runs in a process of its own, and never runs what a file says.

        Raises SpecError for a file that is not whole, is none of its kind, holds code, or would take more than
        `limit_bytes` of memory.
        """
        ...

    def placements(self, network: Network) -> Mapping[str, Placement]:
        """Where each canonical weight stands in what `read_stored` gives, under the name that `export` gives it."""
        ...


@runtime_checkable
class Runnable(Protocol):
    """A backend that runs models that others exported for its framework."""

    name: str
    opens: Mapping[str, str]
    """The endings of their names, and for each the module that running such a file needs."""

    def describe_file(self, path: Path) -> Described | None:
        """What goes into a model and comes out of it; None where the file holds weights and no model.

        Raises VerificationError for a file that is not whole, holds code or lacks a part, and UnsupportedError for
        what the runtime does not know.
        """
        ...

    def run_file(self, path: Path, inputs: Arrays, trace: bool = False) -> Traced:
        """What it gives for a batch of every input, by name, in the file's own layouts and types.

        With `trace` also the values on the way, as far as the runtime shows them; every node of the file is then
        computed as it is written.
        """
        ...
