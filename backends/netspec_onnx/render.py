"""Network and weights -> ONNX model, with the spec's names on its nodes and values."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from netspec import __version__
from netspec.errors import BackendError
from netspec.layers import Dense
from netspec.network import Network, Node
from netspec.tensors import Order, Placement, Precision
from netspec_onnx.double import PRIMITIVES
from netspec_onnx.graph import Emission, GraphBuilder, Scope, Value
from netspec_onnx.rules import rules

if TYPE_CHECKING:
    import onnx_ir as ir

    from netspec.tensors import Weights

OPSET = 21
IR_VERSION = 10
LIBRARIES = ("onnx", "onnx-ir")


@dataclass(frozen=True, slots=True)
class Rendering:
    """A model, its inputs, and where the result of every row can be read.

    With taps, every row's value is an output of the model, under its own name and in its own order of axes.
    """

    model: ir.Model
    inputs: Mapping[str, Value]
    rows: Mapping[str, Value]


def render(
    network: Network,
    weights: Weights,
    order: Order = "first",
    precision: Precision = "float32",
    *,
    taps: bool = False,
    feed: Collection[str] = (),
) -> Rendering:
    """The model of a network, whose inputs and outputs have their channels first or last.

    With `taps` its outputs are the results of all rows instead; after a row named in `feed` the graph goes on from
    an input of its own, named after the row.
    """
    graph = GraphBuilder(precision, PRIMITIVES if precision == "float64" else None)
    values = {name: graph.input(name, kind, order) for name, kind in network.inputs.items()}
    inputs, rows = dict(values), {}
    for row in network.rows:
        for node in row.nodes:
            values[node.name] = _emit(graph, node, values, weights)
        rows[row.name] = values[row.result]
        if row.name in feed:
            inputs[row.name] = graph.input(f"{row.name}/fed", row.output, values[row.result].order)
            values[row.result] = inputs[row.name]
    if taps:
        given = {value.ir.name for value in inputs.values()}
        outputs = list({value.ir.name: value.ir for value in rows.values() if value.ir.name not in given}.values())
    else:
        outputs = [_output(graph, values[value], name, order) for name, value in network.outputs.items()]
    return Rendering(_model(network, graph, outputs, order), inputs, rows)


def stored_placements(network: Network) -> dict[str, Placement]:
    """Where each canonical weight stands in what `netspec_onnx.stored` reads, which gives dense kernels as (in, out).

    Gemm and MatMul keep them each in its own way, and others choose between the two otherwise than we do.
    """
    found: dict[str, Placement] = {}
    for node in network.nodes:
        found |= rules.apply(node).placements(node)
        if isinstance(node.layer, Dense):
            found |= {weight.name: Placement(weight.name) for weight in node.weights}
    return found


def _emit(graph: GraphBuilder, node: Node, values: Mapping[str, Value], weights: Weights) -> Value:
    emission = rules.apply(node)
    read = [values[name] for name in node.inputs]
    given = [graph.reorder(value, emission.order or read[0].order) for value in read]
    return emission.build(Scope(graph, node, _place(graph, node, emission, weights)), *given)


def _place(graph: GraphBuilder, node: Node, emission: Emission, weights: Weights) -> Mapping[str, ir.Value]:
    placed = {}
    for name, placement in emission.placements(node).items():
        if name not in weights:
            raise BackendError(f"there is no weight {name!r} among the {len(weights)} that were given")
        array = placement.place(weights[name]).astype(graph.precision, copy=False)
        placed[name] = graph.initializer(placement.name, array)
    return placed


def _output(graph: GraphBuilder, value: Value, name: str, order: Order) -> ir.Value:
    """The value as an output of the model: in the model's order, under the name that the network gives it."""
    turned = graph.reorder(value, order).ir
    graph.free(name, turned)
    if turned.producer() is None or turned.name in graph.named:
        # An input of the model that is an output too (nothing but Dropout between), or an output under two names.
        return graph.add("Identity", [turned], name, tuple(turned.shape)[1:], {}, name)  # type: ignore[arg-type]  # all known
    graph.named.add(name)
    turned.name = name
    return turned


def _model(network: Network, graph: GraphBuilder, outputs: list[ir.Value], order: Order) -> ir.Model:
    import onnx_ir as ir

    described = {
        "netspec.name": network.name,
        "netspec.digest": network.digest,
        "netspec.version": __version__,
        "netspec.opset": str(OPSET),
        "netspec.layout": "nchw" if order == "first" else "nhwc",
        "netspec.frozen": json.dumps([node.name for node in network.nodes if node.frozen and node.weights]),
        "netspec.classes": json.dumps(network.classes, ensure_ascii=False),
        **{f"netspec.versions.{library}": version(library) for library in LIBRARIES},
    }
    return ir.Model(
        ir.Graph(
            graph.inputs,
            outputs,
            nodes=graph.nodes,
            initializers=graph.initializers,
            opset_imports={"": OPSET},
            name=network.name,
        ),
        ir_version=IR_VERSION,
        producer_name="netspec",
        producer_version=__version__,
        doc_string=network.about or None,
        metadata_props=described,
    )
