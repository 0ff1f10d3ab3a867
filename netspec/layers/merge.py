"""Merges: one value of several, which a row names with `from=[left, right]`."""

from __future__ import annotations

from typing import Self

from netspec.errors import ShapeError
from netspec.layers.base import Inputs, Layer, axis_index
from netspec.tensors import TensorType


def broadcast(kind: str, inputs: Inputs) -> TensorType:
    """The shape of values merged number by number: equal, but that an axis of size one is repeated.

    Raises ShapeError; `{0}`, `{1}`, ... in its message stand for the rows that are read.
    """
    for index, given in enumerate(inputs):
        if given.rank != inputs[0].rank or any(
            1 not in sizes and sizes[0] != sizes[1] for sizes in zip(given.shape, inputs[0].shape, strict=True)
        ):
            cropped = given.rank == inputs[0].rank and given.channels == inputs[0].channels
            raise ShapeError(
                f"{kind} needs equal shapes: {{0}} is {inputs[0]}, {{{index}}} is {given}",
                "a stride or padding=valid makes one smaller than the other" if cropped else None,
                "from",
            )
    return TensorType(tuple(max(sizes) for sizes in zip(*(given.shape for given in inputs), strict=True)))


class _NumberByNumber(Layer):
    """What every merge has that takes one number of each input for one of its result."""

    def output(self, inputs: Inputs) -> TensorType:
        return broadcast(self.kind, inputs)


class Add(_NumberByNumber, kind="Add", aliases=("Sum", "Plus"), inputs=(2, None)):
    """The sum of its inputs, number by number; an axis of size one is repeated."""


class Subtract(_NumberByNumber, kind="Subtract", aliases=("Sub", "Minus"), inputs=(2, 2)):
    """The first input minus the second, number by number; an axis of size one is repeated."""


class Multiply(_NumberByNumber, kind="Multiply", aliases=("Mul", "Product"), inputs=(2, None)):
    """The product of its inputs, number by number; an axis of size one is repeated (a 1x1xC gate times HxWxC)."""


class Average(_NumberByNumber, kind="Average", aliases=("Mean",), inputs=(2, None)):
    """The mean of its inputs, number by number; an axis of size one is repeated."""


class Maximum(_NumberByNumber, kind="Maximum", inputs=(2, None)):
    """The largest of its inputs, number by number; an axis of size one is repeated."""


class Minimum(_NumberByNumber, kind="Minimum", inputs=(2, None)):
    """The smallest of its inputs, number by number; an axis of size one is repeated."""


class Concat(Layer, kind="Concat", aliases=("Concatenate", "Cat"), size=("axis",), inputs=(2, None)):
    """Its inputs one behind the other along an axis, mostly the channels: [batch, h, w, a], [batch, h, w, b] ->
    [batch, h, w, a + b].
    """

    axis: int = -1
    """The axis that grows (0 is the batch, -1 the channels); the others are equal."""

    def resolve(self, inputs: Inputs) -> Self:
        return self.replace(axis=axis_index(self.axis, inputs[0].rank))

    def output(self, inputs: Inputs) -> TensorType:
        first, at = inputs[0], self.axis - 1
        for index, given in enumerate(inputs):
            others = [shape[:at] + shape[at + 1 :] for shape in (first.shape, given.shape)]
            if given.rank != first.rank or others[0] != others[1]:
                raise ShapeError(
                    f"Concat needs shapes that differ along axis {self.axis} alone: {{0}} is {first}, "
                    f"{{{index}}} is {given}",
                    "a stride or padding=valid makes one smaller than the other" if given.rank == first.rank else None,
                    "from",
                )
        size = sum(given.shape[at] for given in inputs)
        return TensorType((*first.shape[:at], size, *first.shape[at + 1 :]))


class Dot(Layer, kind="Dot", aliases=("DotProduct",), inputs=(2, 2)):
    """Scalar products over the last axis: [batch, n], [batch, n] -> [batch, 1]; [batch, i, n], [batch, j, n] ->
    [batch, i, j].
    """

    normalize: bool = False
    """Whether both are divided by their L2 norm first (at least 1e-7), which gives the cosine."""

    def output(self, inputs: Inputs) -> TensorType:
        left, right = inputs
        if left.rank != right.rank or left.channels != right.channels or left.rank > 2:
            raise ShapeError(
                f"Dot needs two vectors, or two sequences, with as many channels: {{0}} is {left}, {{1}} is {right}",
                None,
                "from",
            )
        return TensorType((1,) if left.rank == 1 else (left.shape[0], right.shape[0]))

    def macs(self, inputs: Inputs, output: TensorType) -> int:
        return inputs[0].channels * output.size
