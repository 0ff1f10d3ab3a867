"""The Keras model of a network: made from the rendered module, given weights, run, saved and loaded again.

Importing this imports Keras.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from zipfile import ZipFile

import keras
import numpy as np

from netspec.backend.artefact import LoadedOnce, unusable
from netspec.codegen.source import import_file, module_name
from netspec.errors import BackendError
from netspec.memory import fits_together, in_pieces
from netspec.network import Network
from netspec.storage.atomic import replacing
from netspec.tensors import Precision
from netspec_keras.exact import Layers, Operations, exact_layers
from netspec_keras.realised import Rendering
from netspec_keras.render import ENTRY, WEIGHTS, archive_name, fed_rows, render, render_taps

if TYPE_CHECKING:
    from netspec.tensors import Array, Arrays, Weights


@cache
def prepare() -> None:
    """Make TensorFlow compute full float32 and take only the GPU memory that it needs, as a neighbour should."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


@contextmanager
def precision(chosen: Precision, policy: str | None = None) -> Iterator[None]:
    """Build and run models in this precision; what was set before is set again afterwards.

    With a `policy` layers compute as that says, `mixed_bfloat16`, with weights of this precision.
    """
    floatx, before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(chosen)
    keras.config.set_dtype_policy(policy or chosen)
    try:
        with wide_results() if chosen == "float64" else nullcontext():
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(before)


@contextmanager
def wide_results() -> Iterator[None]:
    """Operations on float64 give float64 inside.

    On torch, and on JAX whatever JAX_ENABLE_X64 says, Keras gives them the type float32, by a table of its own
    (keras 3.15); on TensorFlow it does not.
    """
    from keras.src.backend.common import dtypes

    with patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, {"float64": "float64"}):
        yield


def build(source: str, layers: Layers | None = None, operations: Operations | None = None) -> Any:
    """The `keras.Model` that a rendered module builds, with other layers and operations than Keras' own when given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.py")
        path.write_text(source, encoding="utf-8")
        module = import_file(path)
    if layers is not None and hasattr(module, "layers"):
        vars(module)["layers"] = layers
    if operations is not None and hasattr(module, "ops"):
        vars(module)["ops"] = operations
    return getattr(module, ENTRY)()


def set_weights(model: Any, network: Network, weights: Weights) -> None:
    """Give every variable of the model its canonical weight; raises BackendError when they do not match one to one."""
    variables = {variable.path: variable for variable in model.weights}
    placements = Rendering(network).placements
    _match(variables, {placement.name for placement in placements.values()})
    for name, placement in placements.items():
        variables[placement.name].assign(placement.place(weights[name]))


def canonical_weights(model: Any, network: Network) -> dict[str, Array]:
    """Every variable of the model as a canonical weight; raises BackendError when the two do not match one to one."""
    variables = {variable.path: variable for variable in model.weights}
    placements = Rendering(network).placements
    _match(variables, {placement.name for placement in placements.values()})
    shapes = {weight.name: weight.shape for weight in network.weights()}
    return {
        name: placement.recover(keras.ops.convert_to_numpy(variables[placement.name]), shapes[name])
        for name, placement in placements.items()
    }


def _match(variables: Mapping[str, Any], wanted: set[str]) -> None:
    missing, unknown = sorted(wanted - set(variables)), sorted(set(variables) - wanted)
    if missing or unknown:
        raise BackendError(f"the Keras model has no variables {missing}, and variables {unknown} that no weight fills")


@lru_cache(maxsize=2)
def tapped(source: str, chosen: Precision) -> Any:
    """The model of `render_taps`; those that were asked for last are kept, for each precision is asked twice."""
    exact = chosen == "float64"
    return build(source, exact_layers() if exact else None, Operations() if exact else None)


def run_rows(
    network: Network, weights: Weights, inputs: Arrays, chosen: Precision, feed: Mapping[str, Array]
) -> dict[str, Array]:
    """The result of every row; rows after one that is in `feed` read the given value instead."""
    prepare()
    fed = fed_rows(network, tuple(feed))
    with precision(chosen):
        model = tapped(render_taps(network, fed), chosen)
        set_weights(model, network, weights)
        given = [
            *arguments(network, inputs, chosen),
            *(keras.ops.convert_to_tensor(feed[name], chosen) for name in fed),
        ]
        results = model(given if len(given) > 1 else given[0], training=False)
    results = results if isinstance(results, Sequence) else [results]
    arrays = [keras.ops.convert_to_numpy(result) for result in results]
    if not fits_together(network):
        tapped.cache_clear()
    for array in arrays:
        if array.dtype != np.dtype(chosen):
            raise BackendError(
                f"asked for {chosen}, Keras on {keras.backend.backend()} computed {array.dtype}\n"
                "  hint: KERAS_BACKEND=tensorflow computes it, and JAX with JAX_ENABLE_X64=1 in the environment"
            )
    return {row.name: array for row, array in zip(network.rows, arrays, strict=True)}


def arguments(network: Network, inputs: Arrays, dtype: str) -> list[Any]:
    """A batch of every input, in the network's order."""
    return [keras.ops.convert_to_tensor(inputs[name], dtype) for name in network.inputs]


def outputs(network: Network, found: Any) -> dict[str, Array]:
    """What a model returned, by the names of the network's outputs."""
    several = found if isinstance(found, (list, tuple)) else [found]
    return {name: keras.ops.convert_to_numpy(value) for name, value in zip(network.outputs, several, strict=True)}


def make(network: Network, weights: Weights) -> Any:
    """The stock `keras.Model` in float32, with these weights."""
    prepare()
    with precision("float32"):
        model = build(render(network))
        set_weights(model, network, weights)
    return model


def predict(network: Network, weights: Weights, inputs: Arrays) -> Arrays:
    """The network's outputs for a batch of any size."""
    return _predict(network, make(network, weights), inputs)


def _predict(network: Network, model: Any, inputs: Arrays) -> Arrays:
    def compute(piece: Arrays) -> Arrays:
        given = [piece[name].astype(np.float32) for name in network.inputs]
        return outputs(network, model.predict_on_batch(given if len(given) > 1 else given[0]))

    return in_pieces(network, inputs, compute)


def export(network: Network, weights: Weights, folder: Path) -> list[str]:
    """Write the module and the archive of the model that it builds; their names."""
    prepare()
    source = folder / f"{module_name(network.name)}.py"
    source.write_text(render(network), encoding="utf-8")
    keras.utils.clear_session()  # Keras numbers its own operations through a process; each archive starts again
    with precision("float32"):
        model = getattr(import_file(source), ENTRY)()
        set_weights(model, network, weights)
    archive = folder / archive_name(network)
    with replacing(archive) as partial:
        model.save(partial)
    return [source.name, archive.name]


def load_archive(folder: Path, network: Network) -> Any:
    """The archive, as stock Keras loads it; a file that was not touched since is not loaded twice."""
    return _loaded(folder / archive_name(network))


@LoadedOnce
def _loaded(path: Path) -> Any:
    prepare()
    return keras.saving.load_model(path)


def predict_artefact(file: Path, network: Network, inputs: Arrays) -> Arrays:
    """The outputs of an exported archive; see `Backend.predict_artefact`."""
    try:
        model = _loaded(file)
        shapes = [tuple(given.shape[1:]) for given in model.inputs]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise unusable(file, network, error) from None
    wanted = [given.shape for given in network.inputs.values()]
    if shapes != wanted:
        raise unusable(file, network, f"it reads {shapes}, not {wanted}")
    if len(model.outputs) != len(network.outputs):
        raise unusable(file, network, f"it gives {len(model.outputs)} outputs, not {len(network.outputs)}")
    return _predict(network, model, inputs)


def run_artefact(folder: Path, network: Network, inputs: Arrays) -> dict[str, Arrays]:
    """The outputs of the archive, and of the module with the archive's weights."""
    archive = load_archive(folder, network)
    source = folder / f"{module_name(network.name)}.py"
    model = getattr(import_file(source), ENTRY)()
    with tempfile.TemporaryDirectory() as taken, ZipFile(folder / archive_name(network)) as members:
        # From inside of the archive Keras reads the same weights many times more slowly.
        model.load_weights(members.extract(WEIGHTS, taken))
    given = arguments(network, inputs, "float32")
    found: dict[str, Arrays] = {
        name: outputs(network, loaded(given if len(given) > 1 else given[0], training=False))
        for name, loaded in ((archive_name(network), archive), (source.name, model))
    }
    _loaded.forget()  # the last question of a verification; its memory is needed for the rows
    return found


def counts(folder: Path, network: Network) -> dict[str, tuple[int, int]]:
    """(trainable, non-trainable) numbers of every row that has weights, counted in the loaded archive."""
    rendering = Rendering(network)
    rows = {rendering.names[node.name]: node.row for node in network.nodes}
    found: dict[str, tuple[int, int]] = {}
    for layer in load_archive(folder, network).layers:
        trainable, fixed = (
            sum(int(np.prod(variable.shape)) for variable in kept)
            for kept in (layer.trainable_weights, layer.non_trainable_weights)
        )
        if trainable or fixed:
            row = rows.get(layer.name, layer.name)
            before = found.get(row, (0, 0))
            found[row] = (before[0] + trainable, before[1] + fixed)
    return found


def devices() -> list[str]:
    """Every device that Keras could use, the best first."""
    prepare()
    if keras.backend.backend() == "torch":  # where Keras lists none
        return ["cpu"]
    return [*(name for name in keras.distribution.list_devices() if not name.startswith("cpu")), "cpu"]
