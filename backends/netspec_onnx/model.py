"""Models at work: written, run in float32 by ONNX Runtime and in float64 by ONNX's reference evaluator, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,  # noqa: A004 - as ONNX Runtime calls it
)

from netspec.backend import OnnxExport
from netspec.backend.artefact import LoadedOnce, unusable
from netspec.errors import BackendError
from netspec.memory import in_pieces
from netspec.network import Network
from netspec.tensors import Order, Precision, channels_first, channels_last
from netspec_onnx.operators import OPERATORS
from netspec_onnx.render import render
from netspec_onnx.rules import rules

if TYPE_CHECKING:
    from netspec.tensors import Array, Arrays, Weights

EXTERNAL_BYTES = 1_800_000_000
"""Weights beyond this go to a file beside the model: protobuf ends at 2 GB."""
STATISTICS = {("BatchNormalization", 3), ("BatchNormalization", 4)}
"""Inputs of operators that are running statistics, which are not trained."""
NOT_LOADABLE = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile, NotImplemented)
"""What ONNX Runtime raises of a file that is not whole, or that it does not understand; they have no base of their own.
"""
NO_MEMORY = ("bad_alloc", "Failed to allocate memory")
"""What it says, in a `Fail` too, where the file is not to blame."""
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def versions() -> dict[str, str]:
    """The versions of the libraries; ONNX Runtime is one of two distributions."""
    found = {}
    for library in ("onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu"):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def devices() -> list[str]:
    """`cuda:0` where ONNX Runtime really gets a GPU (that it was built for one says nothing), and `cpu`."""
    if CUDA not in ort.get_available_providers():
        return ["cpu"]
    given = ir.val("given", ir.DataType.FLOAT, [1])
    same = ir.node("Identity", [given], num_outputs=1)
    graph = ir.Graph([given], same.outputs, nodes=[same], opset_imports={"": 21}, name="probe")
    same.outputs[0].name, same.outputs[0].type, same.outputs[0].shape = "same", given.type, given.shape
    options = ort.SessionOptions()
    options.log_severity_level = 4
    ort.set_default_logger_severity(4)  # a provider that cannot be loaded is the answer, not an accident
    try:
        probe = ort.InferenceSession(_bytes(ir.Model(graph, ir_version=10)), options, providers=[CUDA, CPU])
    finally:
        ort.set_default_logger_severity(2)
    return ["cuda:0", "cpu"] if CUDA in probe.get_providers() else ["cpu"]


def proto(network: Network, weights: Weights, settings: OnnxExport) -> onnx.ModelProto:
    """The model in memory; protobuf refuses one beyond 2 GB when it is serialised."""
    return ir.to_proto(render(network, weights, _order(settings.layout)).model)


def export(network: Network, weights: Weights, folder: Path, settings: OnnxExport) -> list[str]:
    """Write `<name>.onnx`, checked, and weights beyond 1.8 GB to `<name>.onnx.data`; the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    model = render(network, weights, _order(settings.layout)).model
    path = _file(folder, network)
    files = [path.name]
    if _weight_bytes(model) > EXTERNAL_BYTES:
        files.append(f"{path.name}.data")
    ir.save(model, path, external_data=files[1] if files[1:] else None)
    # By path, for large models; the full check infers every shape strictly and holds it against the one stated.
    onnx.checker.check_model(str(path), full_check=True)
    return files


def run(
    network: Network, weights: Weights, inputs: Arrays, precision: Precision, feed: Mapping[str, Array]
) -> dict[str, Array]:
    """The result of every row, by row name; see `Backend.run`. ONNX Runtime optimises nothing here."""
    rendering = render(network, weights, precision=precision, taps=True, feed=feed)
    given = {name: inputs[name] if name in network.inputs else feed[name] for name in rendering.inputs}
    arrays = {
        str(value.ir.name): _from_canonical(given[name], value.order).astype(precision, copy=False)
        for name, value in rendering.inputs.items()
    }
    evaluate = _run_reference if precision == "float64" else _run_plain
    # A row without an operator of its own may be an input, which needs no computation.
    found = {**arrays, **evaluate(rendering.model, arrays)}
    return {row: _to_canonical(found[str(value.ir.name)], value.order) for row, value in rendering.rows.items()}


def predict(network: Network, weights: Weights, inputs: Arrays) -> Arrays:
    """The outputs for a batch of any size, in pieces that fit in memory; see `Backend.predict`."""
    with _loadable(render(network, weights, "last").model) as model:
        session = _session(model, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
        return in_pieces(network, inputs, lambda piece: _outputs(session, network, piece))


def counts(folder: Path, network: Network) -> dict[str, tuple[int, int]]:
    """(trainable, non-trainable) numbers of every row that has weights, counted in the file."""
    rows = {node.name: node.row for node in network.nodes}
    model = _load(folder, network)
    frozen, graph = frozenset(json.loads(model.metadata_props["netspec.frozen"])), model.graph
    found: dict[str, list[int]] = {}
    counted = set()
    for node in graph:
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is None or value.name in counted:
                continue
            counted.add(value.name)
            layer, dot, _ = str(value.name).rpartition(".")
            if dot and layer in rows:  # the others are constants, `row/part`
                count = found.setdefault(rows[layer], [0, 0])
                fixed = layer in frozen or (node.op_type, index) in STATISTICS
                count[fixed] += prod(value.const_value.shape.numpy())
    return {row: (trainable, fixed) for row, (trainable, fixed) in found.items()}


def read_weights(folder: Path, network: Network) -> dict[str, Array]:
    """The canonical weights, recovered from the file's initializers bit for bit."""
    initializers = _load(folder, network).graph.initializers
    found = {}
    for node in network.nodes:
        placements = rules.apply(node).placements(node)
        for weight in node.weights:
            placement = placements[weight.name]
            value = initializers.get(placement.name)
            if value is None or value.const_value is None:
                raise BackendError(f"{_file(folder, network)} has no weight {placement.name!r}")
            found[weight.name] = placement.recover(value.const_value.numpy(), weight.shape)
    return found


def _optimised_file(path: Path) -> ort.InferenceSession:
    return _session(path, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


_optimised = LoadedOnce(_optimised_file, "{}.data")


def predict_artefact(file: Path, network: Network, inputs: Arrays) -> Arrays:
    """The outputs of an exported file; see `Backend.predict_artefact`."""
    try:
        session = _optimised(file)
    except (OSError, *NOT_LOADABLE) as error:
        if any(said in str(error) for said in NO_MEMORY):
            raise
        raise unusable(file, network, error) from None
    layout = session.get_modelmeta().custom_metadata_map.get("netspec.layout")
    if layout is None:
        raise unusable(file, network, "its metadata have no netspec.layout, which says where the channels stand")
    order, shapes = _order(layout), {given.name: tuple(given.shape[1:]) for given in session.get_inputs()}
    wanted = {name: (np.empty((0, *given.shape)), order) for name, given in network.inputs.items()}
    expected = {name: _from_canonical(*each).shape[1:] for name, each in wanted.items()}
    if shapes != expected:
        raise unusable(file, network, f"it reads {shapes}, not {expected}")
    given = [output.name for output in session.get_outputs()]
    if set(given) != set(network.outputs):
        raise unusable(file, network, f"it gives {', '.join(given)}, not {', '.join(network.outputs)}")
    return in_pieces(network, inputs, lambda piece: _canonical(session, network, piece, order))


def run_artefact(folder: Path, network: Network, inputs: Arrays) -> dict[str, Arrays]:
    """The outputs of the file, run by plain ONNX Runtime with all of its optimisations."""
    path = _file(folder, network)
    return {path.name: _run_file(path, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, network, inputs)}


def run_levels(folder: Path, network: Network, inputs: Arrays) -> dict[str, Arrays]:
    """The outputs of the file with fewer optimisations, down to none; see `Optimising.run_levels`."""
    path = _file(folder, network)
    found: dict[str, Arrays] = {}
    for name, level in ort.GraphOptimizationLevel.__members__.items():
        if level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL:
            continue
        called = f"{path.name} (level {name.removeprefix('ORT_').removeprefix('ENABLE_').removesuffix('_ALL').lower()})"
        try:
            found[called] = _run_file(path, level, network, inputs)
        except NOT_LOADABLE as error:
            raise BackendError(f"ONNX Runtime does not run {called}: {error}") from error
    return found


def _run_file(path: Path, level: ort.GraphOptimizationLevel, network: Network, inputs: Arrays) -> dict[str, Array]:
    session = _session(path, level)
    return _canonical(session, network, inputs, _order(session.get_modelmeta().custom_metadata_map["netspec.layout"]))


def _canonical(session: ort.InferenceSession, network: Network, inputs: Arrays, order: Order) -> dict[str, Array]:
    found = _outputs(session, network, {name: _from_canonical(given, order) for name, given in inputs.items()})
    return {name: _to_canonical(value, order) for name, value in found.items()}


def _order(layout: str) -> Order:
    return "first" if layout == "nchw" else "last"


def _file(folder: Path, network: Network) -> Path:
    return folder / f"{network.name}.onnx"


def _load(folder: Path, network: Network) -> ir.Model:
    return ir.load(_file(folder, network))


def _from_canonical(array: Array, order: Order) -> Array:
    return np.ascontiguousarray(array.transpose(channels_first(array.ndim - 1)) if order == "first" else array)


def _to_canonical(array: Array, order: Order) -> Array:
    return np.ascontiguousarray(array.transpose(channels_last(array.ndim - 1)) if order == "first" else array)


def _weight_bytes(model: ir.Model) -> int:
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def _bytes(model: ir.Model) -> bytes:
    serialised: bytes = ir.to_proto(model).SerializeToString()
    return serialised


def _session(model: Path | bytes, level: ort.GraphOptimizationLevel) -> ort.InferenceSession:
    """A session on the CPU; the provider is named, for ONNX Runtime warns of every other one that it cannot load."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    # Threads that wait for work do not spin: other backends compute beside this one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=[CPU])


def _outputs(session: ort.InferenceSession, network: Network, inputs: Arrays) -> dict[str, Array]:
    """The network's outputs by name, its inputs given by name."""
    wanted = list(network.outputs)
    given = {name: inputs[name].astype(np.float32, copy=False) for name in network.inputs}
    return dict(zip(wanted, session.run(wanted, given), strict=True))


@contextmanager
def _loadable(model: ir.Model) -> Iterator[bytes | Path]:
    """The model as ONNX Runtime takes it: bytes, or a file with external data where protobuf would end."""
    if _weight_bytes(model) <= EXTERNAL_BYTES:
        yield _bytes(model)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        ir.save(model, path, external_data="model.onnx.data")
        yield path


def _run_plain(model: ir.Model, arrays: Mapping[str, Array]) -> dict[str, Array]:
    names = _output_names(model)
    if not names:  # ONNX Runtime fails on a graph without operators
        return {}
    with _loadable(model) as loadable:
        session = _session(loadable, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))


def _run_reference(model: ir.Model, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Every output of the model, node by node; values and weights that no later node reads are let go."""
    initializers = model.graph.initializers
    weights = {name: value.const_value.numpy() for name, value in initializers.items() if value.const_value is not None}
    initializers.clear()  # else a message and the evaluator would each have a copy of the weights
    evaluator = ReferenceEvaluator(ir.to_proto(model), new_ops=OPERATORS)
    wanted = set(_output_names(model))
    last = {name: node for node in evaluator.rt_nodes_ for name in node.input}
    alive: dict[str, Any] = {"": None, **weights, **arrays}
    del weights
    found: dict[str, Array] = {}
    with np.errstate(all="ignore"):  # its sigmoid overflows on the side that it then does not take
        for node in evaluator.rt_nodes_:
            results = node.run(*(alive[name] for name in node.input))
            alive |= dict(zip(node.output, results, strict=True))
            found |= {name: alive[name] for name in node.output if name in wanted}
            for name in {*node.input, *node.output}:
                if name and last.get(name, node) is node:
                    del alive[name]
    return found


def _output_names(model: ir.Model) -> Sequence[str]:
    return [str(output.name) for output in model.graph.outputs]
