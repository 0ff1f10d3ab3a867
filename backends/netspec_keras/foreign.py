"""Models that others saved with Keras, loaded and run by stock Keras, which runs no code that a file holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np

from netspec.backend.artefact import existing
from netspec.backend.foreign import Described, Made, Port, Traced
from netspec.errors import UnsupportedError, VerificationError
from netspec_keras.model import prepare

if TYPE_CHECKING:
    from netspec.tensors import Array, Arrays

UNKNOWN = ("could not locate class", "unknown layer", "custom", "could not locate function", "unknown object")
"""What Keras says, in small letters, of layers that it does not have."""


def describe(path: Path) -> Described | None:
    """See `Runnable.describe_file`."""
    if existing(path).suffix != ".keras" and not _holds_model(path):
        return None
    model = _load(path)
    runtime = f"Keras {keras.__version__} on {keras.backend.backend()}"
    return Described(runtime, _ports(model.inputs), _ports(model.outputs, _output_names(model)))


def run(path: Path, inputs: Arrays, trace: bool) -> Traced:
    """See `Runnable.run_file`."""
    model = _load(path)
    given = [keras.ops.convert_to_tensor(inputs[port.name]) for port in _ports(model.inputs)]
    layers = dict(_layers(model)) if trace else {}
    with _watched(layers) as values:
        found = _listed(model(given if len(given) > 1 else given[0], training=False))
    outputs = {name: _array(value) for name, value in zip(_output_names(model), found, strict=True)}
    return Traced(outputs, values, dict(_made(layers)))


@lru_cache(maxsize=1)
def _loaded(path: Path, state: tuple[int, ...]) -> Any:  # noqa: ARG001 - the state tells one file from the next
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _load(path: Path) -> Any:
    prepare()
    found = existing(path).stat()
    try:
        model = _loaded(path, (found.st_ino, found.st_size, found.st_mtime_ns))
    except Exception as error:  # noqa: BLE001 - Keras raises whatever its parsers stumble over
        said = " ".join(str(error).split()) or type(error).__name__
        if any(word in said.casefold() for word in UNKNOWN):
            raise UnsupportedError(f"stock Keras {keras.__version__} does not know all of it: {said[:300]}") from None
        raise VerificationError(f"Keras {keras.__version__} cannot load it: {said[:300]}") from None
    if not getattr(model, "inputs", None):
        raise UnsupportedError(
            "it is a model of a class of its own, which says neither what it reads nor what it gives"
        )
    return model


def _holds_model(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            config = str(file.attrs.get("model_config", ""))
    except OSError as error:
        raise VerificationError(f"it is no whole HDF5 file: {error}") from None
    # Keras before 3.11.3 runs them in spite of safe_mode (CVE-2025-9905).
    if re.search(r'"class_name":\s*"(Lambda|__lambda__)"', config):
        raise VerificationError("it has a Lambda layer, which is code, which netspec never runs")
    return bool(config)


def _ports(tensors: Any, names: list[str] | None = None) -> tuple[Port, ...]:
    names = names or [tensor.name for tensor in tensors]
    return tuple(
        Port(name, tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
        for name, tensor in zip(names, tensors, strict=True)
    )


def _output_names(model: Any) -> list[str]:
    named = getattr(model, "output_names", None)
    return list(named) if named and len(set(named)) == len(model.outputs) else [each.name for each in model.outputs]


def _listed(found: Any) -> list[Any]:
    if isinstance(found, dict):
        return list(found.values())
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _array(value: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(value))


def _layers(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer by the names of the models that it is in, and its own: `base/conv`."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{path}{layer.name}/")
        elif not isinstance(layer, keras.layers.InputLayer):
            yield f"{path}{layer.name}", layer


@contextmanager
def _watched(layers: Mapping[str, Any]) -> Iterator[dict[str, Array]]:
    """The one result of each of these layers, as it is computed; of what is computed several times none."""
    names = {id(layer): name for name, layer in layers.items()}
    values: dict[str, Array] = {}
    stock, several = keras.Operation.__call__, set[str]()

    def call(operation: Any, *given: Any, **named: Any) -> Any:
        result = stock(operation, *given, **named)
        name = names.get(id(operation))
        if name in values:
            several.add(name)
        elif name is not None and hasattr(result, "shape"):
            values[name] = _array(result)
        return result

    keras.Operation.__call__ = call
    try:
        yield values
    finally:
        keras.Operation.__call__ = stock
        for name in several:
            del values[name]


def _made(layers: Mapping[str, Any]) -> Iterator[tuple[str, Made]]:
    """The result of every layer with weights, under the names that files of weights give them: `conv/kernel`."""
    for name, layer in layers.items():
        function = getattr(layer, "activation", None)
        activated = function is not None and function is not keras.activations.linear
        for variable in layer.weights:
            yield f"{name}/{_role(variable.name)}", Made(name, activated)


def _role(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]
