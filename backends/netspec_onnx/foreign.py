"""ONNX files that others made, run by ONNX Runtime as they are: what goes in, what comes out, what lies between."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from netspec.backend.artefact import existing
from netspec.backend.foreign import Described, Made, Port, Traced
from netspec.errors import BackendError, UnsupportedError, VerificationError
from netspec_onnx.stored import RENAMES, is_quantized

if TYPE_CHECKING:
    from netspec.tensors import Array, Arrays

FIRST = frozenset({"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization"})
"""Operators whose values have their channels first, whatever the model reads."""
CPU = "CPUExecutionProvider"
PLACE = re.compile(r"(Load model from .*? failed:)?/onnxruntime_src/\S+:\d+ .*?\((?:[^()]|\([^()]*\))*\) ")
"""Where in its source ONNX Runtime found something: a file, a line, and the signature of a function."""
UNKNOWN = (
    "not a registered function/op",
    "no op registered",
    "unsupported model ir version",
    "opset",
    "notimplemented",
)
"""What ONNX Runtime says, in small letters, where it does not know what it is asked for."""


def describe(path: Path) -> Described:
    """See `Runnable.describe_file`."""
    _check_parts(path)
    session = _session(path)
    return Described(f"ONNX Runtime {ort.__version__}", _ports(session.get_inputs()), _ports(session.get_outputs()))


def run(path: Path, inputs: Arrays, trace: bool) -> Traced:
    """See `Runnable.run_file`: the outputs with all optimisations; the values on the way without any."""
    _check_parts(path)
    session = _session(path)
    names = [output.name for output in session.get_outputs()]
    outputs = _computed(session, names, inputs)
    if not trace:
        return Traced(outputs)
    model = onnx.load(str(path))
    values = _values(model, inputs)
    return Traced(outputs, values, dict(_made(model.graph)))


def _session(model: Path | bytes, level: Any = ort.GraphOptimizationLevel.ORT_ENABLE_ALL) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4  # what it raises says it all
    try:
        return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=[CPU])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's own have no base class that is exported
        said = _said(error)
        if type(error).__name__ == "NotImplemented" or any(word in str(error).casefold() for word in UNKNOWN):
            raise UnsupportedError(f"ONNX Runtime {ort.__version__} cannot run it: {said}") from None
        raise VerificationError(f"ONNX Runtime {ort.__version__} cannot load it: {said}") from None


def _computed(session: ort.InferenceSession, names: list[str], inputs: Arrays) -> dict[str, Any]:
    """The values of these names; raises BackendError where it cannot compute them."""
    try:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    except Exception as error:  # noqa: BLE001 - see above
        raise BackendError(f"ONNX Runtime {ort.__version__} cannot compute it: {_said(error)}") from None


def _said(error: Exception) -> str:
    """What ONNX Runtime says, without codes, and without where in its own source it says so."""
    said = " ".join(str(error).split())
    text = said.rpartition(" : ")[2] if said.startswith("[ONNXRuntimeError]") else said
    return PLACE.sub("", text)


def _check_parts(path: Path) -> None:
    """Raise VerificationError where the file is no model, or lacks a file that holds some of its weights."""
    try:
        model = onnx.load(str(existing(path)), load_external_data=False)
    except DecodeError as error:
        raise VerificationError(f"it is no whole ONNX file: {error}") from None
    if not model.graph.node:
        raise VerificationError("it is no whole ONNX file: it has no operators")
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            location = ExternalDataInfo(tensor).location
            part = (path.parent / location).resolve()
            if not part.is_relative_to(path.parent.resolve()):
                raise VerificationError(f"its weight {tensor.name} lies outside of its folder, in {location}")
            if not part.is_file():
                raise VerificationError(f"its weight {tensor.name} lies in {location}, which is missing beside it")


def _ports(values: Any) -> tuple[Port, ...]:
    return tuple(
        Port(each.name, tuple(size if isinstance(size, int) else None for size in each.shape), _dtype(each.type))
        for each in values
    )


def _dtype(written: str) -> str:
    """`tensor(float)` -> `float32`."""
    inner = written.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _values(model: onnx.ModelProto, inputs: Arrays) -> dict[str, Array]:
    """The floating point result of every operator of the main graph, computed as it is written."""
    known = [output.name for output in model.graph.output]
    names = [name for node in model.graph.node for name in node.output if name]
    for name in names:
        if name not in known:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = _session(model.SerializeToString(), ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    found = _computed(session, names, inputs)
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)
    }


def _made(graph: onnx.GraphProto) -> Iterator[tuple[str, Made]]:
    """The result of the operator that reads each weight, past those that only name it, or give it another type."""
    constants = {tensor.name: tensor.name for tensor in graph.initializer}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            constants[node.output[0]] = name = node.attribute[0].t.name or node.output[0]
            shapes[name] = tuple(node.attribute[0].t.dims)
        elif node.op_type in RENAMES and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        elif is_quantized(node, constants):
            constants[node.output[0]] = node.output[0]
        else:
            for name in node.input:
                if name in constants:
                    first = True if node.op_type in FIRST else _along(shapes.get(constants[name], ()))
                    yield constants[name], Made(node.output[0], first=first)


def _along(shape: tuple[int, ...]) -> bool | None:
    """Whether a vector's shape lays it along channels that come first, as (8, 1, 1), or last, as (8)."""
    long = [place - len(shape) for place, size in enumerate(shape) if size != 1]
    return None if len(long) != 1 or len(shape) < 2 else long[0] < -1
