"""The graph under construction: named values with their order of axes, and one call for every ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from netspec.backend import Rules
from netspec.network import Node
from netspec.tensors import Order, Placement, Precision, TensorType, channels_first, channels_last, first_axis

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import ArrayLike, NDArray

    Inputs = Sequence[ir.Value | None]
    Primitive = Callable[["Scope", str, Inputs, Mapping[str, Any]], ir.Value]
    """An operator written out in others: of the node's scope, its full name, what it reads, and its attributes."""

BATCH = "batch"
"""The symbol of the first, dynamic axis of every value."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A value of the graph: its canonical type, and where its channels stand."""

    ir: ir.Value
    type: TensorType
    order: Order

    def axis(self, axis: int) -> int:
        """Where an axis of the canonical layout (0 is the batch) stands in this value."""
        return first_axis(axis, self.type.rank) if self.order == "first" else axis

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes as they stand here, without the batch."""
        return ordered(self.type, self.order)

    @property
    def channel_shape(self) -> tuple[int, ...]:
        """The shape of a constant with one number a channel that broadcasts against this value."""
        return (self.type.channels, *(1 for _ in self.type.spatial)) if self.order == "first" else (self.type.channels,)


def ordered(kind: TensorType, order: Order) -> tuple[int, ...]:
    """A canonical shape as it stands in this order, without the batch."""
    return (kind.channels, *kind.spatial) if order == "first" else kind.shape


@dataclass(frozen=True, slots=True)
class Emission:
    """How a layer becomes operators: `build` is given the values that the node reads, all with their axes in the same
    order, adds the operators to the graph and returns the layer's result.

    `order` is the order of axes that `build` needs of its inputs, None when either will do. `weights` places the
    weights that are not kept in their canonical layout, by full name.
    """

    build: Callable[..., Value]
    order: Order | None = None
    weights: Mapping[str, Placement] = field(default_factory=dict)

    def placements(self, node: Node) -> Mapping[str, Placement]:
        """Where each weight of the node lives in the file, by full name."""
        return {weight.name: self.weights.get(weight.name, Placement(weight.name)) for weight in node.weights}


rules = Rules[Emission]("onnx")


def place(
    node: Node, weight: str, axes: tuple[int, ...] | None = None, shape: tuple[int, ...] | None = None
) -> dict[str, Placement]:
    """The placement of one weight of a node: its order of axes, then its shape."""
    name = f"{node.name}.{weight}"
    return {name: Placement(name, axes, shape)}


class GraphBuilder:
    """Collects the inputs, nodes and initializers of a graph whose numbers have one precision.

    `primitives` has the operators that are written out in others, by what they are called.
    """

    def __init__(self, precision: Precision, primitives: Mapping[str, Primitive] | None = None) -> None:
        import onnx_ir as ir

        self.precision, self.primitives = precision, primitives or {}
        self.dtype = ir.DataType.FLOAT if precision == "float32" else ir.DataType.DOUBLE
        self.inputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []
        self.named: set[str] = set()
        """The names of the outputs that there are so far."""
        self._reordered: dict[str, Value] = {}

    def input(self, name: str, kind: TensorType, order: Order) -> Value:
        """A new input of the graph."""
        value = Value(self._typed(name, ordered(kind, order)), kind, order)
        self.inputs.append(value.ir)
        return value

    def initializer(self, name: str, array: NDArray[Any]) -> ir.Value:
        """A new constant of the graph."""
        import onnx_ir as ir

        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.initializers.append(value)
        return value

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        shape: tuple[int, ...] | None,
        attributes: Mapping[str, Any],
        layer: str,
        text: str = "",
    ) -> ir.Value:
        """A new operator with one result, both of this name; `layer` is the node of the network that it belongs to."""
        import onnx_ir as ir

        result = ir.Value(name=name) if shape is None else self._typed(name, shape)
        node = ir.node(
            op_type,
            inputs,
            attributes,
            outputs=[result],
            name=name,
            doc_string=text or None,
            metadata_props={"netspec.layer": layer},
        )
        self.nodes.append(node)
        return result

    def reorder(self, value: Value, order: Order) -> Value:
        """The value with its axes in this order; transposed once for all of its readers, and never there and back."""
        if value.order == order:
            return value
        if value.type.rank == 1:
            return replace(value, order=order)
        source = str(value.ir.name)
        if source not in self._reordered:
            axes = channels_first(value.type.rank) if order == "first" else channels_last(value.type.rank)
            name = f"{source}/channels_{order}"
            turned = self.add("Transpose", [value.ir], name, ordered(value.type, order), {"perm": axes}, source)
            self._reordered[source] = Value(turned, value.type, order)
            self._reordered[name] = value
        return self._reordered[source]

    def free(self, name: str, wanted: ir.Value) -> None:
        """Give up a name that an output is to have: a row may be called as the output that its activation gives."""
        for node in self.nodes:
            for value in node.outputs:
                if value.name == name and value is not wanted:
                    value.name = f"{name}/row"

    def state(self, value: ir.Value, shape: tuple[int, ...], dtype: str | None = None) -> ir.Value:
        """Give a value its type: the graph's precision or what ONNX calls `dtype`, and this shape without the batch."""
        import onnx_ir as ir

        value.shape, value.type = ir.Shape([BATCH, *shape]), ir.TensorType(ir.DataType[dtype] if dtype else self.dtype)
        return value

    def _typed(self, name: str, shape: tuple[int, ...]) -> ir.Value:
        import onnx_ir as ir

        return self.state(ir.Value(name=name), shape)


@dataclass(frozen=True, slots=True)
class Scope:
    """The graph as the rule of one node sees it: names begin with the node's."""

    graph: GraphBuilder
    node: Node
    placed: Mapping[str, ir.Value]

    def weight(self, name: str) -> ir.Value | None:
        """A weight of this node, or None when the layer has none of this name."""
        return self.placed.get(f"{self.node.name}.{name}")

    @property
    def weights(self) -> tuple[ir.Value, ...]:
        """The weights of this node, in the layer's order."""
        return tuple(self.placed.values())

    def constant(self, part: str, numbers: ArrayLike) -> ir.Value:
        """A constant in the graph's precision, named `node/part`."""
        import numpy as np

        return self.graph.initializer(f"{self.node.name}/{part}", np.asarray(numbers, self.graph.precision))

    def integers(self, part: str, numbers: Sequence[int]) -> ir.Value:
        """A constant of whole numbers (a shape, axes, pads), named `node/part`."""
        import numpy as np

        return self.graph.initializer(f"{self.node.name}/{part}", np.asarray(numbers, np.int64))

    def sizes(self, given: Value, spatial: Sequence[int]) -> ir.Value:
        """The sizes of a whole batch like `given`, channels first, but for these of its spatial axes."""
        import onnx_ir as ir

        name, layer, kept = f"{self.node.name}/sizes", self.node.name, {"start": 0, "end": 2}
        begin = self.graph.add("Shape", [given.ir], f"{self.node.name}/batch_and_channels", None, kept, layer)
        sizes = self.graph.add("Concat", [begin, self.integers("spatial", spatial)], name, None, {"axis": 0}, layer)
        for value, count in ((begin, 2), (sizes, 2 + len(spatial))):
            value.shape, value.type = ir.Shape([count]), ir.TensorType(ir.DataType.INT64)
        return sizes

    def kept(self, given: Value) -> Value:
        """The value, for an operator behind which ONNX Runtime may move no Transpose (docs/framework-findings.md)."""
        if not any(node.op_type == "Transpose" for node in self.graph.nodes):
            return given
        return self.op("Reshape", given, self.integers("same_shape", [0] * (given.type.rank + 1)), part="kept")

    def op(
        self,
        op_type: str,
        given: Value,
        *others: ir.Value | None,
        part: str | None = None,
        type: TensorType | None = None,  # noqa: A002 - the word of Value and Node
        **attributes: Any,
    ) -> Value:
        """Apply an operator to a value and constants; its result has the order of axes of `given`.

        Without `part` it is the node's result and has its name and type; with it, a step on the way, named
        `node/part`, whose type is `given`'s unless stated.
        """
        name = self.node.name if part is None else f"{self.node.name}/{part}"
        kind = type or (self.node.output if part is None else given.type)
        primitive = self.graph.primitives.get(op_type)
        shape = ordered(kind, given.order)
        if primitive:
            result = primitive(self, name, [given.ir, *others], attributes)
            self.graph.state(result, shape)
        else:
            result = self.emit(op_type, [given.ir, *others], name, shape, **attributes)
        return Value(result, kind, given.order)

    def emit(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        shape: tuple[int, ...] | None = None,
        **attributes: Any,
    ) -> ir.Value:
        """Add an operator as it is, under its full name."""
        text = self.node.text if name == self.node.name else ""
        return self.graph.add(op_type, inputs, name, shape, attributes, self.node.name, text)
