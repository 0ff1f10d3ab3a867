"""What the outputs of the exported file cannot show: that it is still what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from netspec.backend.artefact import changed_values, existing
from netspec.errors import VerificationError
from netspec.network import Network
from netspec_onnx.render import render

LAYOUT, VERSION = "netspec.layout", "netspec.version"
LAYOUTS = {"nchw": "first", "nhwc": "last"}


def differences(folder: Path, network: Network) -> Iterator[str]:
    """See `Backend.check_artefacts`: all but the weights' numbers must be as the network is rendered."""
    path = existing(folder / f"{network.name}.onnx")
    try:
        found = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise VerificationError(f"{path.name} cannot be read: {error}") from error
    for tensor in found.graph.initializer:
        if uses_external_data(tensor):
            existing(folder / ExternalDataInfo(tensor).location)
    layout = next((each.value for each in found.metadata_props if each.key == LAYOUT), None)
    if layout not in LAYOUTS:
        raise VerificationError(f"{path.name}: the metadata {LAYOUT!r} is {layout!r}, which is none of {[*LAYOUTS]}")
    weights = {weight.name: np.zeros(weight.shape, np.float32) for weight in network.weights()}
    order: Any = LAYOUTS[layout]
    written = ir.to_proto(render(network, weights, order).model)
    names = {tensor.name for tensor in written.graph.initializer} & _placed(network)
    for change in changed_values(_described(found, names), _described(written, names)):
        yield f"{path.name}: {change}"


def _placed(network: Network) -> set[str]:
    """The initializers that hold the network's weights."""
    from netspec_onnx.rules import rules

    return {placement.name for node in network.nodes for placement in rules.apply(node).placements(node).values()}


def _described(model: onnx.ModelProto, weights: set[str]) -> Mapping[str, Any]:
    """A model as plain data: everything but the weights' numbers, and the versions that wrote it."""
    return {
        "ir_version": model.ir_version,
        "opset": {each.domain or "ai.onnx": each.version for each in model.opset_import},
        "about": model.doc_string,
        "metadata": {each.key: each.value for each in model.metadata_props if not each.key.startswith(VERSION)},
        "inputs": [_value(each) for each in model.graph.input],
        "outputs": [_value(each) for each in model.graph.output],
        "nodes": [_node(each) for each in model.graph.node],
        "constants": {
            each.name: onnx.numpy_helper.to_array(each).tolist()
            for each in model.graph.initializer
            if each.name not in weights
        },
        "weights": {each.name: _kind(each) for each in model.graph.initializer if each.name in weights},
    }


def _value(value: onnx.ValueInfoProto) -> Mapping[str, Any]:
    tensor = value.type.tensor_type
    shape = [each.dim_param or (each.dim_value if each.HasField("dim_value") else None) for each in tensor.shape.dim]
    return {"name": value.name, "type": onnx.TensorProto.DataType.Name(tensor.elem_type), "shape": shape}


def _node(node: onnx.NodeProto) -> Mapping[str, Any]:
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {
        "name": node.name,
        "operator": f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
        "inputs": list(node.input),
        "outputs": list(node.output),
        "attributes": attributes,
    }


def _kind(tensor: onnx.TensorProto) -> str:
    return f"{onnx.TensorProto.DataType.Name(tensor.data_type)} {list(tensor.dims)}"
