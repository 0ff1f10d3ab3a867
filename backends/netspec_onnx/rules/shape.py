"""Layers that move values; sizes and axes are constants, the batch stays dynamic."""

from __future__ import annotations

from math import prod
from typing import Any

from netspec.layers import Crop, Flatten, Permute, Reshape, Upsample, ZeroPad
from netspec.network import Node
from netspec_onnx.graph import Emission, Scope, Value, rules


@rules(Flatten)
def flatten(layer: Flatten, node: Node) -> Emission:
    """Flatten, of either order where both give the same."""
    given = node.input_type
    same = given.channels == 1 or prod(given.spatial) == 1

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("Flatten", given, axis=1)

    return Emission(build, None if same else "first" if layer.order == "chw" else "last")


@rules(Reshape)
def reshape(layer: Reshape, node: Node) -> Emission:
    """Reshape in the canonical order; the 0 keeps the batch."""

    def build(scope: Scope, given: Value) -> Value:
        return scope.op("Reshape", given, scope.integers("shape", (0, *node.output.shape)), allowzero=0)

    return Emission(build, "last")


@rules(Permute)
def permute(layer: Permute, node: Node) -> Emission:
    """One Transpose, whichever order the input has; the result has the same."""

    def build(scope: Scope, given: Value) -> Value:
        rank = given.type.rank
        canonical = (0, *range(1, rank + 1)) if given.order == "last" else (0, rank, *range(1, rank))
        sources = (0, *layer.order)
        return scope.op("Transpose", given, perm=tuple(given.axis(sources[axis]) for axis in canonical))

    return Emission(build)


@rules(ZeroPad)
def zero_pad(layer: ZeroPad, node: Node) -> Emission:
    """Pad with a constant."""

    def build(scope: Scope, given: Value) -> Value:
        rank = given.type.rank + 1
        pads = [0] * (2 * rank)
        for axis, (begin, end) in enumerate(layer.padding, start=1):
            pads[given.axis(axis)], pads[given.axis(axis) + rank] = begin, end
        return scope.op("Pad", given, scope.integers("pads", pads), scope.constant("zero", 0.0), mode="constant")

    return Emission(build)


@rules(Crop)
def crop(layer: Crop, node: Node) -> Emission:
    """Slice along the spatial axes."""

    def build(scope: Scope, given: Value) -> Value:
        starts = [begin for begin, _ in layer.crop]
        ends = [size - end for size, (_, end) in zip(given.type.spatial, layer.crop, strict=True)]
        axes = [given.axis(axis) for axis in range(1, given.type.rank)]
        return scope.op(
            "Slice", given, scope.integers("starts", starts), scope.integers("ends", ends), scope.integers("axes", axes)
        )

    return Emission(build)


@rules(Upsample)
def upsample(layer: Upsample, node: Node) -> Emission:
    """Resize by whole factors."""

    def build(scope: Scope, given: Value) -> Value:
        import numpy as np

        factors = np.array([1, 1, *layer.size], np.float32)
        scales = scope.graph.initializer(f"{node.name}/scales", factors)
        how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if layer.mode == "nearest":
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return scope.op("Resize", given, None, scales, **how)

    return Emission(build, "first")
