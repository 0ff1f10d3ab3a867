"""What a backend is, how one is found, and the table of rules that each one fills."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points, requires
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from netspec.errors import BackendError, UnsupportedError, did_you_mean
from netspec.layers.base import Layer
from netspec.network import Network, Node

if TYPE_CHECKING:
    from netspec.data.dataset import Dataset
    from netspec.progress import Progress
    from netspec.runnable import Described, Traced
    from netspec.stored import StoredWeights
    from netspec.tensors import Array, Arrays, Placement, Precision, Weights
    from netspec.training.checkpoint import CheckpointFile
    from netspec.training.settings import TrainSettings
    from netspec.training.stepping import Batch, Gradients, State, Update

L = TypeVar("L", bound=Layer)
T = TypeVar("T")


class Rules(Generic[T]):
    """The table of one backend: for every kind of layer, the function that realises it.

    >>> from netspec.layers import Dense
    >>> rules = Rules[str]("example")
    >>> @rules(Dense)
    ... def dense(layer: Dense, node: Node) -> str:
    ...     return f"Dense({layer.units})"
    >>> Dense in rules
    True
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._rules: dict[type[Layer], Callable[[Any, Node], T]] = {}

    def __call__(self, kind: type[L]) -> Callable[[Callable[[L, Node], T]], Callable[[L, Node], T]]:
        """Register the decorated function as the rule of a kind; a second rule for it is a TypeError."""

        def register(rule: Callable[[L, Node], T]) -> Callable[[L, Node], T]:
            if kind in self._rules:
                raise TypeError(f"{self.backend} already has a rule for {kind.kind}")
            self._rules[kind] = rule
            return rule

        return register

    def __contains__(self, kind: type[Layer]) -> bool:
        return kind in self._rules

    def apply(self, node: Node) -> T:
        """The realisation of a node; raises UnsupportedError when its kind has no rule."""
        rule = self._rules.get(type(node.layer))
        if rule is None:
            raise UnsupportedError(f"{self.backend} has no rule for {node.layer.kind} (row {node.row!r})")
        return rule(node.layer, node)


class OnnxExport(BaseModel):
    """How the ONNX file is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the input's axes: channels first as PyTorch has it, or channels last as images have it."""


class ExportSettings(BaseModel):
    """The spec's `export` section: how artefacts are written."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    onnx: OnnxExport = OnnxExport.model_construct()
    """The ONNX file."""
    preprocessing: bool = False
    """Whether artefacts read pixels from 0 to 255: what `preprocess` says is inside, but for resizing and cropping."""


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


def openers() -> dict[str, Runnable]:
    """The backends that run others' models, installed or not, by where they are."""
    found = {entry.value: entry.load() for entry in entry_points(group="netspec.backends")}
    return {place: backend for place, backend in found.items() if isinstance(backend, Runnable)}


def importers() -> dict[str, Importable]:
    """The backends that read files of weights, installed or not, by where they are (`netspec_torch:backend`)."""
    found = {entry.value: entry.load() for entry in entry_points(group="netspec.backends")}
    return {place: backend for place, backend in found.items() if isinstance(backend, Importable)}


def differentiable_backends() -> set[str]:
    """The names of the backends that derive."""
    return {entry.name for entry in entry_points(group="netspec.backends") if isinstance(entry.load(), Differentiable)}


def optimising_backends() -> set[str]:
    """The names of the backends whose runtime optimises."""
    return {entry.name for entry in entry_points(group="netspec.backends") if isinstance(entry.load(), Optimising)}


def runners() -> dict[str, str]:
    """By the ending of the exported file that it runs, the name of each backend, installed or not."""
    found = {entry.name: entry.load() for entry in entry_points(group="netspec.backends")}
    return {backend.runs: name for name, backend in found.items()}


def installed_backends() -> list[str]:
    """The names of every backend that is registered under the entry point group `netspec.backends`."""
    return sorted(entry.name for entry in entry_points(group="netspec.backends"))


OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("tensorflow", "tf", "jax"), "keras"),
    **dict.fromkeys(("pytorch",), "torch"),
    **dict.fromkeys(("onnxruntime", "ort"), "onnx"),
}
"""What users call a backend after the library that computes in it."""


def _meant(name: str) -> str | None:
    meant = OTHER_NAMES.get(name.casefold())
    return f"the backend that computes with it is {meant!r}" if meant else None


def find_backend(name: str) -> Backend:
    """The backend of this name; raises BackendError naming what to install when its libraries are missing."""
    from importlib.util import find_spec

    found = entry_points(group="netspec.backends", name=name)
    if not found:
        raise BackendError(
            f"there is no backend {name!r}; "
            + (_meant(name) or did_you_mean(name, installed_backends()) or f"known: {installed_backends()}")
        )
    backend: Backend = next(iter(found)).load()
    missing = [module for module in backend.requires if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        install = " ".join([f"'netspec[{name}]'", *_not_in_extras(missing)])
        raise BackendError(
            f"the {name} backend needs {', '.join(missing)}, which {verb} not installed\n  hint: pip install {install}"
        )
    return backend


def _not_in_extras(modules: Sequence[str]) -> list[str]:
    """Those that no extra of netspec brings: what Keras may run on instead of TensorFlow."""
    brought = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in requires("netspec") or ()}
    return [module for module in modules if module not in brought]
