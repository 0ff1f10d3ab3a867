"""ONNX files that others wrote: the initializers that are weights, by the operators that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, numpy_helper

from netspec.backend.stored import AFFINE, StoredLayer, StoredTensor, StoredWeights
from netspec.errors import Problem, UnreadableError
from netspec.tensors import Order

if TYPE_CHECKING:
    from netspec.tensors import Array

KERNEL = ("kernel", "bias")
AFFINE_ROLES = ("gamma", "beta")
ROLES: Mapping[str, tuple[str, ...]] = {
    "Conv": KERNEL,
    "ConvTranspose": KERNEL,
    "Gemm": KERNEL,
    "MatMul": KERNEL,
    "BatchNormalization": (*AFFINE_ROLES, "mean", "var"),
    "InstanceNormalization": AFFINE_ROLES,
    "LayerNormalization": AFFINE_ROLES,
    "GroupNormalization": AFFINE_ROLES,
    "RMSNormalization": ("gamma",),
    "PRelu": ("alpha",),
}
"""What each operator calls its inputs after the first."""
MERGES = frozenset(
    {"Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum", "Concat", "MatMul", "Gemm", "Where", "Pow"}
)
"""Operators whose other inputs may be values too; of all others only the first is."""
RENAMES = frozenset({"Identity", "Cast"})
"""What an initializer goes through that several names share, or that is stored in a narrower type."""
FLOATS = {"FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "BFLOAT16": "bfloat16"}


def read(path: Path, limit_bytes: int) -> StoredWeights:
    """What a file holds; see `Importable.read_stored`."""
    try:
        model = onnx.load(str(path), load_external_data=False)
        if not model.graph.node:
            raise _refused(path, "not a whole ONNX file (it has no operators)")
    except (DecodeError, OSError) as error:
        raise _refused(path, f"not a whole ONNX file ({str(error).strip()[:120]})") from None
    return _Graph(path, model.graph, limit_bytes).stored()


class _Graph:
    """A graph that is read: who makes each value, and the constants in it."""

    def __init__(self, path: Path, graph: Any, limit_bytes: int) -> None:
        self.path, self.limit_bytes = path, limit_bytes
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.constants |= {node.output[0]: node.attribute[0].t for node in graph.node if _is_constant(node)}
        self.read_bytes, self.quantized = 0, 0
        for node in graph.node:
            if node.op_type in RENAMES and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
            elif is_quantized(node, self.constants):
                self.constants[node.output[0]] = self._dequantized(node)
                self.quantized += 1
        self.nodes = [node for node in graph.node if node.output and node.output[0] not in self.constants]
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.adders = {name: node for node in self.nodes if node.op_type == "Add" for name in node.input}
        self.readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        named = {node.name for node in self.nodes}
        self.named = len(named) == len(self.nodes) and "" not in named

    def stored(self) -> StoredWeights:
        layers = tuple(self._layer(node) for node in self.nodes)
        used = {tensor.name for layer in layers for tensor in layer.tensors}
        layers = tuple(
            self._affine(node, layer, used) if node.op_type == "Mul" else layer
            for node, layer in zip(self.nodes, layers, strict=True)
        )
        # Our own files have weights that stand beside an operator (a scale that Mul reads): found by their names.
        rest = [self._tensor(name, "") for name in self._unread(used)]
        notes = (f"{self.quantized} of its tensors are quantized: taken as what they stand for",) * (self.quantized > 0)
        return StoredWeights((*layers, StoredLayer("", tuple(rest))), "depth", self._flattens(), notes)

    def _dequantized(self, node: Any) -> Any:
        """What DequantizeLinear makes of constants: (x - zero point) * scale, one of each or one along an axis."""
        import numpy as np

        whole, scale, *zero = (self.constants[name] for name in node.input if name)
        if 4 * prod(whole.dims) > self.limit_bytes:
            raise _refused(self.path, f"its tensors would take over {self.limit_bytes:,} bytes")
        array = self._values(whole).astype(np.float32)
        axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
        shape = [-1 if place == axis % max(array.ndim, 1) else 1 for place in range(array.ndim)]
        factor, *shift = (self._values(each).astype(np.float32) for each in (scale, *zero))
        factor, *shift = (each.reshape(shape) if each.size > 1 else each.reshape(()) for each in (factor, *shift))
        try:
            return numpy_helper.from_array((array - (shift[0] if shift else 0)) * factor, node.output[0])
        except ValueError as error:
            raise _refused(self.path, f"{whole.name} is not whole ({str(error).strip()[:120]})") from None

    def _unread(self, used: set[str]) -> Iterator[str]:
        """Initializers with a dot in their names, as state dicts and we name weights, that no known operator reads.

        A slash marks what an operator needs beside weights: the bounds of a Clip, the axes of a sum.
        """
        for name, tensor in self.constants.items():
            if (
                "." in name
                and "/" not in name
                and name == tensor.name
                and name not in used
                and tensor.data_type in _float_types()
            ):
                yield name

    def _layer(self, node: Any) -> StoredLayer:
        values = [name for name in node.input if name and name not in self.constants]
        inputs = values if node.op_type in MERGES else values[:1]
        makers = [self._name(self.makers[name]) if name in self.makers else name for name in inputs]
        tensors = tuple(self._tensors(node))
        return StoredLayer(self._name(node), tensors, tuple(makers), node.op_type in ("Concat", "Sub"), node.op_type)

    def _name(self, node: Any) -> str:
        """Results are named in every file, operators only in some, and not always apart."""
        return str(node.name if self.named else node.output[0])

    def _tensors(self, node: Any) -> Iterator[StoredTensor]:
        names = list(node.input[1:])
        if node.op_type == "MatMul":
            names += self._added(node)
        if node.op_type == "InstanceNormalization" and (scaled := self._scaled(node)) is not None:
            names = scaled
        if node.op_type == "Gemm" and any(each.name in ("alpha", "beta") and each.f != 1 for each in node.attribute):
            raise _refused(self.path, f"the operator {self._name(node)} scales its kernel or its bias")
        for name, role in zip(names, ROLES.get(node.op_type, ()), strict=False):
            if name in self.constants:
                transposed = node.op_type == "Gemm" and role == "kernel" and _flag(node, "transB")
                yield self._tensor(name, role, transposed=transposed)

    def _added(self, node: Any) -> list[str]:
        """The vector that the operator after a MatMul adds, which is its bias."""
        adder = self.adders.get(node.output[0])
        vectors = [name for name in adder.input if name in self.constants] if adder else []
        return [name for name in vectors if len(self.constants[name].dims) == 1]

    def _affine(self, node: Any, layer: StoredLayer, used: set[str]) -> StoredLayer:
        """A Mul by a number for every channel and an Add of one after it, as a BatchNorm is written whose numbers were
        put together; where no other operator has taken them for its own.
        """
        readers = self.readers.get(node.output[0], ())
        if len(readers) != 1 or readers[0].op_type != "Add":
            return layer
        names = [name for each in (node, readers[0]) for name in each.input if self._is_vector(name)]
        if len(names) != 2 or used & {self.constants[name].name for name in names}:
            return layer
        gamma, beta = (self._tensor(name, role) for name, role in zip(names, AFFINE_ROLES, strict=True))
        if gamma.array.size != beta.array.size:
            return layer
        gamma, beta = (replace(each, array=each.array.ravel()) for each in (gamma, beta))
        mean = replace(gamma, name=f"{gamma.name}/mean", array=gamma.array * 0, role="mean")
        variance = replace(mean, name=f"{gamma.name}/var", array=mean.array + 1, role="var")
        return replace(layer, tensors=(gamma, beta, mean, variance), kind=AFFINE)

    def _is_vector(self, name: str) -> bool:
        """Whether a constant has several numbers along one axis alone."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type not in _float_types():
            return False
        return len([size for size in tensor.dims if size != 1]) == 1

    def _scaled(self, node: Any) -> list[str] | None:
        """The gamma and beta of a GroupNorm, where exporters write one as an InstanceNormalization of its groups.

        That stands between two Reshapes and has ones and zeros, one for each group; a Mul and an Add follow.
        """
        maker = self.makers.get(node.input[0])
        if maker is None or maker.op_type != "Reshape" or not all(map(self._is_full, node.input[1:3], (1.0, 0.0))):
            return None
        found: list[str] = []
        for kind in ("Reshape", "Mul", "Add"):
            readers = [each for each in self.readers.get(node.output[0], ()) if each.op_type != "Shape"]
            if len(readers) != 1 or readers[0].op_type != kind:
                return found if node.op_type != "InstanceNormalization" else None
            [node] = readers
            if kind != "Reshape":
                held = [name for name in node.input if name in self.constants and self._is_channels(name)]
                if len(held) != 1:
                    return found
                found += held
        return found

    def _is_full(self, name: str, value: float) -> bool:
        """Whether a constant is this number alone, again and again."""
        tensor = self.constants.get(name)
        if tensor is None or not 0 < 4 * prod(tensor.dims) <= self.limit_bytes:
            return False
        return bool((self._values(tensor) == value).all())

    def _is_channels(self, name: str) -> bool:
        """Whether a constant has a number for every channel of an image: its shape is (channels, 1, 1)."""
        tensor = self.constants[name]
        return len(tensor.dims) > 1 and set(tensor.dims[1:]) == {1} and tensor.data_type in _float_types()

    def _tensor(self, name: str, role: str, *, transposed: bool = False) -> StoredTensor:
        import numpy as np

        tensor = self.constants[name]
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        shape = tuple(tensor.dims)
        self.read_bytes += 4 * prod(shape)
        if self.read_bytes > self.limit_bytes or min(shape, default=0) < 0:
            raise _refused(self.path, f"its tensors would take over {self.limit_bytes:,} bytes")
        # Of what is no floating point number only the type and the shape are ever told.
        array: Array = self._values(tensor).astype(np.float32) if kind in FLOATS else np.zeros(shape, np.uint8)
        dtype = FLOATS.get(kind, kind.lower())
        return StoredTensor(tensor.name or name, array.T if transposed else array, dtype, shape, role)

    def _values(self, tensor: Any) -> Array:
        """The numbers of a tensor; those in a file beside the model may be asked to be enormous."""
        import numpy as np

        try:
            if external_data_helper.uses_external_data(tensor):
                external_data_helper.load_external_data_for_tensor(tensor, str(self.path.parent))
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, OSError, onnx.checker.ValidationError) as error:
            raise _refused(self.path, f"{tensor.name} is not whole ({str(error).strip()[:120]})") from None

    def _flattens(self) -> Order | None:
        """How the graph turns an image into a vector: what comes before the first kernel that reads one."""
        for node in self.nodes:
            if node.op_type in ("Gemm", "MatMul") and len(node.input) > 1 and node.input[1] in self.constants:
                order = self._order_before(node)
                if order:
                    return order
        return None

    def _order_before(self, node: Any) -> Order | None:
        """Back from a kernel through what keeps its values in their order to a Flatten, and to what made the image."""
        flat = False
        for _ in self.nodes:
            if node.input[0] not in self.makers:
                return None
            node = self.makers[node.input[0]]
            if node.op_type in ("Flatten", "Reshape"):
                flat = True
            elif node.op_type == "Transpose" and flat:
                axes = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
                return "first" if axes[1:] == [len(axes) - 1, *range(1, len(axes) - 1)] else "last"
            elif node.op_type in ROLES and node.op_type not in ("BatchNormalization", "PRelu"):
                return "first" if flat and "Conv" in node.op_type else None
        return None


def is_quantized(node: Any, constants: Mapping[str, Any]) -> bool:
    """Whether an operator turns constants in whole numbers back into floating point, by one scale or one an axis."""
    blocks = any(attribute.name == "block_size" and attribute.i for attribute in node.attribute)
    return node.op_type == "DequantizeLinear" and not blocks and all(name in constants for name in node.input if name)


def _is_constant(node: Any) -> bool:
    return node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value"


def _flag(node: Any, name: str) -> bool:
    return any(attribute.name == name and attribute.i for attribute in node.attribute)


def _float_types() -> set[int]:
    return {onnx.TensorProto.DataType.Value(name) for name in FLOATS}


def _refused(path: Path, why: str) -> UnreadableError:
    return UnreadableError([Problem(f"{path}: the weights cannot be read: {why}")])
