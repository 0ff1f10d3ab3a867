"""The model: made by importing the rendered file, then loaded, run, counted and read back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from netspec.backend.artefact import LoadedOnce, unusable
from netspec.codegen.source import import_file
from netspec.errors import BackendError
from netspec.memory import in_pieces
from netspec.network import Network
from netspec.tensors import Order, Precision, channels_first, channels_last
from netspec_torch.exact import Functional
from netspec_torch.render import Rendering, render

if TYPE_CHECKING:
    from torch import Tensor, nn

    from netspec.tensors import Array, Arrays, Weights

WEIGHTS = "weights.safetensors"


def to_torch(values: Array, order: Order = "first") -> Array:
    """A batch of canonical values with its axes in this order, contiguous."""
    axes = channels_first(values.ndim - 1) if order == "first" and values.ndim > 2 else range(values.ndim)
    return np.ascontiguousarray(values.transpose(tuple(axes)))


def to_canonical(values: Tensor, order: Order = "first") -> Array:
    """A batch of torch's values as a numpy array with the channels last."""
    array = to_numpy(values)
    axes = channels_last(array.ndim - 1) if order == "first" and array.ndim > 2 else range(array.ndim)
    return np.ascontiguousarray(array.transpose(tuple(axes)))


def to_numpy(values: Tensor) -> Array:
    """A tensor on any device as an array of its own."""
    array: Array = values.detach().cpu().numpy()
    return array


def state_of(rendering: Rendering, weights: Weights) -> dict[str, Array]:
    """The state dict, as numpy arrays: every weight in torch's layout, and torch's own counters at zero."""
    state = {placement.name: placement.place(weights[name]) for name, placement in rendering.placements.items()}
    return state | {name: np.zeros((), np.int64) for name in rendering.counters}


def canonical_weights(network: Network, rendering: Rendering, state: Mapping[str, Array]) -> dict[str, Array]:
    """The canonical weights of a state dict; raises BackendError naming what is missing or unknown there."""
    wanted = {placement.name for placement in rendering.placements.values()}
    if wanted != set(state) - set(rendering.counters):
        missing, unknown = sorted(wanted - set(state)), sorted(set(state) - wanted - set(rendering.counters))
        raise BackendError(f"the state dict does not fit {network.name}: missing {missing}, unknown {unknown}")
    return {
        weight.name: placement.recover(state[placement.name], weight.shape)
        for weight in network.weights()
        for placement in [rendering.placements[weight.name]]
    }


@contextmanager
def full_float32(*, tf32: bool = False) -> Iterator[None]:
    """A GPU computes in float32 throughout; TensorFloat-32, which torch lets cuDNN take by default, is off inside.

    With `tf32` it is on, for matrices too.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    flags: tuple[object, ...] = (matmul, cudnn)
    name, wanted = "allow_tf32", cast("object", tf32)
    if hasattr(cudnn, "conv"):  # torch 2.9 refuses the older name to those who have used the newer
        flags, name, wanted = (matmul, cudnn.conv, cudnn.rnn), "fp32_precision", "tf32" if tf32 else "ieee"
    before = [getattr(flag, name) for flag in flags]
    for flag in flags:
        setattr(flag, name, wanted)
    try:
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            setattr(flag, name, value)


@contextmanager
def precision_of(precision: Precision) -> Iterator[None]:
    """Modules made inside have weights and constants of this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, precision))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def import_class(path: Path, class_name: str) -> type[nn.Module]:
    """The class that a Python file defines."""
    found: type[nn.Module] = getattr(import_file(path), class_name)
    return found


def make(rendering: Rendering, precision: Precision = "float32") -> nn.Module:
    """The module of a rendering, made by importing its source from a file; in float64 with functions that are exact."""
    with tempfile.TemporaryDirectory(prefix="netspec-") as folder, precision_of(precision):
        path = Path(folder) / f"{rendering.module}.py"
        path.write_text(rendering.source, encoding="utf-8")
        found = import_file(path)
        if precision == "float64" and hasattr(found, "F"):
            vars(found)["F"] = Functional()
        module: nn.Module = getattr(found, rendering.class_name)()
        return module


def load(module: nn.Module, rendering: Rendering, weights: Weights) -> nn.Module:
    """Give a module its weights; every name must be there."""
    state = {name: torch.from_numpy(array) for name, array in state_of(rendering, weights).items()}
    module.load_state_dict(state, strict=True)
    return module


def run(
    network: Network, weights: Weights, inputs: Arrays, precision: Precision, feed: Mapping[str, Array] | None
) -> dict[str, Array]:
    """The result of every row, on the CPU; see `Backend.run`."""
    rendering = render(network, taps=True)
    model = load(make(rendering, precision), rendering, weights).eval()
    results: dict[str, Array] = {}
    feed = feed or {}
    if unknown := sorted(set(feed) - {row.name for row in network.rows}):
        raise BackendError(f"{network.name} has no rows {unknown} to feed")

    def tap(row: str, value: Tensor) -> Tensor:
        order = rendering.orders[row]
        results[row] = to_canonical(value, order)
        return torch.from_numpy(to_torch(feed[row], order)).to(value.dtype) if row in feed else value

    with torch.inference_mode():
        model(*arguments(network, inputs, getattr(torch, precision)), tap)
    return results


def arguments(network: Network, inputs: Arrays, dtype: torch.dtype, device: str = "cpu") -> list[Tensor]:
    """What the module is called with: a batch of every input, in the network's order."""
    return [torch.from_numpy(to_torch(inputs[name])).to(device, dtype) for name in network.inputs]


def outputs(network: Network, found: Tensor | tuple[Tensor, ...]) -> dict[str, Array]:
    """What the module returned, by the names of the network's outputs."""
    several = found if isinstance(found, tuple) else (found,)
    return {name: to_canonical(value) for name, value in zip(network.outputs, several, strict=True)}


def loaded(network: Network, weights: Weights) -> nn.Module:
    """The module with these weights, in evaluation mode."""
    rendering = render(network)
    return load(make(rendering), rendering, weights).eval()


def predict(network: Network, weights: Weights, inputs: Arrays) -> Arrays:
    """The outputs for a batch of any size, on the best device; see `Backend.predict`."""
    device = devices()[0]
    return _predict(network, loaded(network, weights).to(device), inputs, device)


def _predict(
    network: Network,
    model: nn.Module,
    inputs: Arrays,
    device: str,
    read: Callable[[Network, Tensor | tuple[Tensor, ...]], Arrays] = outputs,
) -> Arrays:
    def compute(piece: Arrays) -> Arrays:
        return read(network, model(*arguments(network, piece, torch.float32, device)))

    with torch.inference_mode(), full_float32():
        return in_pieces(network, inputs, compute)


def export(network: Network, weights: Weights, folder: Path) -> tuple[str, str]:
    """Write the source and the state dict; the names of the two files."""
    from safetensors.numpy import save

    rendering = render(network)
    folder.mkdir(parents=True, exist_ok=True)
    source = f"{rendering.module}.py"
    (folder / source).write_text(rendering.source, encoding="utf-8")
    # One entry, for safetensors writes several in an order that changes from run to run.
    (folder / WEIGHTS).write_bytes(save(state_of(rendering, weights), metadata={"format": "pt"}))
    return source, WEIGHTS


def artefact(folder: Path, network: Network) -> tuple[nn.Module, Rendering]:
    """The exported module as a user makes it, and how its names relate to the network's."""
    rendering = render(network)
    return import_class(folder / f"{rendering.module}.py", rendering.class_name)(), rendering


def counts(folder: Path, network: Network) -> dict[str, tuple[int, int]]:
    """(trainable, non-trainable) numbers of every row that has weights, in the exported module."""
    module, rendering = artefact(folder, network)
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    found = {row.name: [0, 0] for row in network.rows if row.parameters}
    for name, tensor in module.state_dict().items():
        if name in rendering.counters:
            continue
        # A parameter stands in a layer, or is an attribute by itself.
        row = rendering.attributes.get(name) or rendering.attributes[name.rpartition(".")[0]]
        found.setdefault(row, [0, 0])[name not in trained] += tensor.numel()
    return {row: (trainable, fixed) for row, (trainable, fixed) in found.items()}


def read_weights(folder: Path, network: Network) -> dict[str, Array]:
    """The canonical weights, from the exported state dict."""
    from safetensors.numpy import load_file

    return canonical_weights(network, render(network), load_file(folder / WEIGHTS))


def _loaded_file(file: Path, class_name: str) -> nn.Module:
    from safetensors.torch import load_file

    model: nn.Module = getattr(import_file(file), class_name)()
    model.load_state_dict(load_file(file.parent / WEIGHTS))
    return model.eval()


_exported = LoadedOnce(_loaded_file, WEIGHTS)


def predict_artefact(file: Path, network: Network, inputs: Arrays) -> Arrays:
    """The outputs of an exported module with the state dict beside it; see `Backend.predict_artefact`."""
    from safetensors import SafetensorError

    device, rendering = devices()[0], render(network)
    try:
        model = _exported(file, rendering.class_name)
    except (OSError, SyntaxError, ImportError, AttributeError, RuntimeError, SafetensorError) as error:
        raise unusable(file, network, error) from None
    state = model.state_dict()
    for weight in network.weights():
        placement = rendering.placements[weight.name]
        found = tuple(state[placement.name].shape) if placement.name in state else "not there"
        if found != placement.placed_shape(weight.shape):
            said = f"{placement.name} is {found}, not {placement.placed_shape(weight.shape)}"
            raise unusable(file, network, said)

    def outputs_of(network: Network, found: Tensor | tuple[Tensor, ...]) -> dict[str, Array]:
        count = len(found) if isinstance(found, tuple) else 1
        if count != len(network.outputs):
            raise unusable(file, network, f"it gives {count} outputs, not {len(network.outputs)}")
        return outputs(network, found)

    return _predict(network, model.to(device), inputs, device, outputs_of)


def run_artefact(folder: Path, network: Network, inputs: Arrays) -> dict[str, Arrays]:
    """The outputs of the exported files, used as their docstring says."""
    from safetensors.torch import load_file

    model, rendering = artefact(folder, network)
    model.load_state_dict(load_file(folder / WEIGHTS))
    model.eval()
    with torch.inference_mode():
        found = model(*arguments(network, inputs, torch.float32))
    return {f"{rendering.module}.py": outputs(network, found)}


def devices() -> list[str]:
    """Where torch can compute here, the best first."""
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]
