"""Preparation of images; constants are named after the row."""

from __future__ import annotations

from netspec.layers import Grayscale, Normalize, Rescale, Resize
from netspec.network import Node
from netspec.tensors import TensorType
from netspec_onnx.graph import Emission, Scope, Value, rules

LUMA = (0.2989, 0.587, 0.114)


@rules(Rescale)
def rescale(layer: Rescale, node: Node) -> Emission:
    """Mul, and Add where there is an offset."""

    def build(scope: Scope, given: Value) -> Value:
        scale = scope.constant("scale", layer.scale)
        if layer.offset == 0:
            return scope.op("Mul", given, scale)
        return scope.op("Add", scope.op("Mul", given, scale, part="scaled"), scope.constant("offset", layer.offset))

    return Emission(build)


@rules(Normalize)
def normalize(layer: Normalize, node: Node) -> Emission:
    """Sub and Div by constants a channel."""

    def build(scope: Scope, given: Value) -> Value:
        import numpy as np

        mean, std = (np.reshape(each, given.channel_shape) for each in (layer.mean, layer.std))
        centred = scope.op("Sub", given, scope.constant("mean", mean), part="centred")
        return scope.op("Div", centred, scope.constant("std", std))

    return Emission(build)


@rules(Grayscale)
def grayscale(layer: Grayscale, node: Node) -> Emission:
    """MatMul with the luma; ONNX Runtime is many times faster at it than at a Conv with one filter."""

    def build(scope: Scope, given: Value) -> Value:
        import numpy as np

        if given.order == "last":
            return scope.op("MatMul", given, scope.constant("luma", np.reshape(LUMA, (3, 1))))
        height, width = given.type.spatial
        luma = scope.constant("luma", np.reshape(LUMA, (1, 3)))
        pixels = TensorType((height * width, 3))
        folded = scope.op("Reshape", given, scope.integers("pixels", (0, 3, -1)), part="folded", type=pixels)
        sums = scope.emit("MatMul", [luma, folded.ir], f"{node.name}/sums", (1, height * width))
        unfold = scope.integers("shape", (0, 1, height, width))
        return scope.op("Reshape", Value(sums, TensorType((height * width, 1)), "first"), unfold)

    return Emission(build)


@rules(Resize)
def resize(layer: Resize, node: Node) -> Emission:
    """Resize with half-pixel centres and no antialiasing; for `nearest` the rows, then the columns, that are kept.

    Runtimes compute the centres in float32, so that where one falls between two pixels they may take the wrong one
    (ONNX Runtime 1.31 does from 30 to 9); which one is nearest is known here, in whole numbers.
    """

    def nearest(scope: Scope, given: Value) -> Value:
        height, width = given.type.spatial
        rows, columns = (
            scope.integers(part, [(2 * index + 1) * old // (2 * new) for index in range(new)])
            for part, old, new in zip(("rows", "columns"), (height, width), layer.size, strict=True)
        )
        between = TensorType((layer.size[0], width, given.type.channels))
        picked = scope.op("Gather", given, rows, part="picked", type=between, axis=given.axis(1))
        return scope.op("Gather", picked, columns, axis=given.axis(2))

    def bilinear(scope: Scope, given: Value) -> Value:
        # Sizes of the spatial `axes` alone would do, but ONNX Runtime 1.31 loses them where a Transpose stands before.
        return scope.op(
            "Resize",
            scope.kept(given),
            None,
            None,
            scope.sizes(given, layer.size),
            mode="linear",
            coordinate_transformation_mode="half_pixel",
            antialias=0,
        )

    return Emission(nearest) if layer.mode == "nearest" else Emission(bilinear, "first")
