"""How large an error float32 rounding causes: the float64 reference is run with noise of that size after every step.

The model, with R a random number of mean 0 and variance 1, drawn anew each time: a sum of products rounds like 2u * m
* R, where m is the mean magnitude of the sample's results, or the random-walk magnitude sqrt(sum of squared terms)
where few results may all have cancelled. Each partial sum of n products is rounded too, and those grow as the root of
their terms: 0.28u * sqrt(n) was measured, up to n = 262144, in each of the libraries, where they add one product after
the other, as all do for a single vector. So that is 2u * sqrt(n / 64) where there are more products than that. Of
many places in an image they add in blocks: 5u to 7u were measured whatever n is, so that 256 products count at most.
Everything else that a node does rounds its values by a factor 1 + 2u * R. R is uniform, which is drawn five times as
fast as a normal number, and what is predicted is a root mean square. Libraries evaluate exp(x) - 1, log(1 + exp(x))
and the sigmoid through values near 1, whose rounding stays behind when the result is small, and some clamp their
sigmoid at 1e-8: 2u * R is added, and 2u * |x| * R where x is multiplied by such a share.
A mean that is taken off rounds as the numbers do that it is the mean of, and it is one number: its error is the same in
all of theirs, so that no mean of those makes it smaller. A library may add the n numbers of a mean
one after the other; where they are alike, as on a constant image, every step rounds to the same side, and the error
grows with n: n/7 to n/60 roundings were measured, n/8 is the size predicted. The sum of a
softmax over n classes is such a mean (n/20 roundings were measured, where its axis is not the last in memory). A
bilinear resampling computes in float32 where each result lies in its input: the error is 2u of that place, times the
step between the pixels around it.
Inputs and the weights of normalisations are disturbed by the factor as well, since a library may fold or centre them
first. The network itself carries the noise on: a badly conditioned one is granted what it needs, a good one is not.
Below the smallest normal number the error is not relative any more: 2 * SMALLEST * R is added everywhere.
What float64 costs is in proportion, but where rounding decides which of two equal values is the larger (MaxUnpool on a
constant image), and where float32's noise is as large as the values ever are: normalisations one behind the other make
rounding of a constant image that large, which grows no further then. There a run with float64's own noise shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod, sqrt
from typing import Self

import numpy as np

from netspec.layers import (
    Activation,
    AdaptiveAvgPool,
    Add,
    Average,
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Dot,
    GlobalAvgPool,
    Grayscale,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxUnpool,
    Resize,
    RMSNorm,
    SeparableConv,
    Upsample,
)
from netspec.network import Network, Node
from netspec.reference import evaluate_parts, interpret
from netspec.reference.image import between, resample_bilinear
from netspec.reference.norm import in_groups
from netspec.reference.table import Array, Values
from netspec.verify.gates import (
    BUDGET_FACTOR,
    DRAWS,
    FLOAT64_GATE,
    FLOAT64_SMALLEST,
    FLOAT64_UNIT,
    FLOOR_UNITS,
    SMALLEST,
    UNIT,
)

PRODUCTS = (Conv, DepthwiseConv, SeparableConv, ConvTranspose, Dense)
MEANS = (AvgPool, AdaptiveAvgPool, GlobalAvgPool)
CENTRED = (LayerNorm, GroupNorm, InstanceNorm)
DECIDED = (MaxUnpool,)
"""Layers whose values jump where two numbers change places."""
NORMS = (BatchNorm, RMSNorm, *CENTRED)
MANY = 64
FEW_NUMBERS = 16
"""An error that is spread over fewer numbers, of all noisy runs together, is not averaged well."""
AT_ONCE = 2**15
"""How many values are disturbed at a time."""
THROUGH_ONE = ("elu", "selu", "celu", "softplus", "sigmoid", "log_sigmoid")
SUMMED_AS_ONE, BLOCK = 64, 256
"""Products whose sum may be off by no more than one rounding of 2u; and those that are added one after the other where
there are many places."""
ROUNDINGS_OF_A_SUM = 1 / 16
"""How many steps of 2u a mean of one number more may be off by."""
TIMES_SHARE = ("gelu", "silu", "hard_swish", "mish")


class Rounding:
    """Disturbs a run of the reference as rounding would, float32's or that of another unit roundoff."""

    def __init__(self, seed: int, unit: float = UNIT) -> None:
        self.random, self.unit = np.random.Generator(np.random.SFC64(seed)), unit
        self.smallest = FLOAT64_SMALLEST if unit == FLOAT64_UNIT else SMALLEST

    def _noise(self, values: Values, summed: Values | float = 0.0) -> Values:
        """Values [batch, ...] with an error added to each of 2u times its size, or that of the sum it is of.

        A few numbers at a time, which stay in the processor's cache: that is five times as fast as whole arrays.
        """
        noisy = np.empty(values.shape)
        sums = np.broadcast_to(summed, values.shape)
        step = max(1, AT_ONCE // max(1, values[0, :1].size))
        for sample, start in product(range(len(values)), range(0, values.shape[1], step)):
            few = sample, slice(start, start + step)
            size = np.square(values[few])
            size += np.square(sums[few])
            np.sqrt(size, out=size)
            size += self.smallest / self.unit
            drawn = self.random.random(size.shape, np.float32)
            drawn -= np.float32(0.5)
            size *= drawn
            size *= 2 * self.unit * sqrt(12)
            np.add(values[few], size, out=noisy[few])
        return noisy

    def input(self, values: Values) -> Values:
        """Inputs, rounded."""
        return self._noise(values)

    def weights(self, node: Node, weights: Mapping[str, Values]) -> Mapping[str, Values]:
        """The weights of a normalisation, rounded."""
        if not isinstance(node.layer, NORMS):
            return weights
        return {name: self._noise(values[None])[0] for name, values in weights.items()}

    def result(self, node: Node, values: Values, inputs: tuple[Values, ...], weights: Mapping[str, Values]) -> Values:
        """A node's values, wrong as its sums and its rounding may make them."""
        noisy = self._noise(values, intermediate(node, values, inputs, weights))
        if isinstance(node.layer, CENTRED):
            noisy += self._common(node, node.layer, inputs[0]) * weights.get("gamma", 1.0)
        return noisy

    def _common(self, node: Node, layer: LayerNorm | GroupNorm | InstanceNorm, x: Values) -> Values:
        """The error of every mean that is taken off, over the deviation, in all that it is taken off."""
        size, shape = _centring(layer, x)
        drawn = (self.random.random(size.shape, np.float32) - np.float32(0.5)) * (2 * self.unit * sqrt(12))
        return np.broadcast_to(size * drawn * growth(_terms(node)), shape).reshape(x.shape)


def intermediate(
    node: Node, values: Values, inputs: tuple[Values, ...], weights: Mapping[str, Values]
) -> Values | float:
    """How large the numbers are whose sum gives the results, where they may be larger than those."""
    if isinstance(node.layer, Activation) and node.layer.function in THROUGH_ONE:
        return 1.0
    if isinstance(node.layer, Activation) and node.layer.function in TIMES_SHARE:
        return inputs[0]
    if isinstance(node.layer, Activation) and node.layer.function in ("softmax", "log_softmax"):
        # The sum that probabilities are divided by, of as many numbers as there are classes; of a logarithm its own.
        summed = growth(inputs[0].shape[node.layer.axis or -1])
        return values * summed if node.layer.function == "softmax" else summed
    if isinstance(node.layer, RMSNorm):
        return values * growth(node.input_type.channels)
    if isinstance(node.layer, CENTRED):
        size, shape = _centring(node.layer, inputs[0])
        return np.broadcast_to(size, shape).reshape(values.shape) * weights.get("gamma", 1.0)
    if isinstance(node.layer, (Add, Average)):
        return sum(map(np.abs, inputs)) / (len(inputs) if isinstance(node.layer, Average) else 1)
    if isinstance(node.layer, Dot) and node.layer.normalize:
        # The lengths are sums of squares, which are all positive.
        return growth(_terms(node))
    if isinstance(node.layer, (*PRODUCTS, *MEANS, Grayscale, Dot)):
        mean: Values = np.abs(values).mean(tuple(range(1, values.ndim)), keepdims=True)
        # Where there are many results, their mean says how large the terms were; few may all have cancelled.
        size = mean if node.output.size >= MANY else np.maximum(mean, _walk(node, inputs, weights))
        if isinstance(node.layer, PRODUCTS):
            return size * _summed(node)
        # The products of a vector with itself are all positive, as the numbers of a mean may be.
        return size * growth(_terms(node)) if isinstance(node.layer, (*MEANS, Dot)) else size
    if isinstance(node.layer, (Resize, Upsample)) and node.layer.mode == "bilinear":
        return _coordinates(inputs[0], node.output.spatial)
    return 0.0


def _coordinates(x: Values, size: Sequence[int]) -> Values:
    """How large a bilinear result is as its place in the input is: that times the step between the pixels around it.

    Over the axes, the root of the squares.
    """
    total: Values = np.zeros(())
    for axis, target in enumerate(size, start=1):
        place, before, after = between(x.shape[axis], target)
        step = np.abs(x.take(after, axis) - x.take(before, axis)) * place.reshape(-1, *(1,) * (x.ndim - axis - 1))
        total = np.hypot(total, resample_bilinear(step, size))
    return total


def _summed(node: Node) -> float:
    """How often a single rounding the sum of products is off by that gives a result."""
    terms = node.macs / node.output.size
    return max(1.0, sqrt((min(terms, BLOCK) if prod(node.output.spatial) > 1 else terms) / SUMMED_AS_ONE))


def growth(terms: int) -> float:
    """How often a single rounding a mean of this many numbers may be off by."""
    return max(1.0, terms * ROUNDINGS_OF_A_SUM)


def _terms(node: Node) -> int:
    """How many numbers each mean is taken of, that gives a result or is taken off it; how many products are added."""
    if isinstance(node.layer, Dot):
        return node.input_type.channels
    if isinstance(node.layer, AvgPool):
        return prod(node.layer.size)
    if isinstance(node.layer, AdaptiveAvgPool):
        windows = node.layer.windows(node.input_type.spatial)
        return prod(max(end - begin for begin, end in along) for along in windows)
    if isinstance(node.layer, LayerNorm):
        return prod(node.input_type.shape[axis - 1] for axis in node.layer.axis)
    if isinstance(node.layer, GroupNorm):
        return node.input_type.size // node.layer.groups
    return prod(node.input_type.spatial)


def _centring(layer: LayerNorm | GroupNorm | InstanceNorm, x: Values) -> tuple[Values, tuple[int, ...]]:
    """How large the numbers are whose mean is taken off, over the deviation that they are then divided by.

    One a mean, and the shape of the numbers, over which that can be repeated.
    """
    grouped, axes = in_groups(layer, x)
    deviation = np.sqrt(grouped.var(axes, keepdims=True) + layer.epsilon)
    return np.abs(grouped).mean(axes, keepdims=True) / deviation, grouped.shape


def _walk(node: Node, inputs: tuple[Values, ...], weights: Mapping[str, Values]) -> Values | float:
    """sqrt(sum of squared terms) of every result: the size of a sum whose terms have random signs."""
    if isinstance(node.layer, Grayscale):
        return 0.0
    squares = evaluate_parts(node, tuple(map(np.square, inputs)), {name: np.square(w) for name, w in weights.items()})
    # A mean has no weights that could be squared: sum(x^2) / n is n times sum((x / n)^2).
    terms = _terms(node) if isinstance(node.layer, MEANS) else 1
    size: Values = np.sqrt(squares / terms)
    return size


def norms(values: Array) -> Values:
    """The L2 norm of every sample."""
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    # Scaled by the largest value, for squares of large values overflow.
    scale = np.abs(flat).max(axis=1, initial=0.0)
    safe = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    length: Values = safe * np.sqrt(np.square(flat / safe[:, None]).sum(axis=1))
    return length


def predict(
    network: Network,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    reference: Mapping[str, Values],
    seed: int = 0,
    draws: int = DRAWS,
    unit: float = UNIT,
) -> dict[str, Values]:
    """The L2 error that rounding is predicted to cause, float32's unless said, by row and sample: [batch] each.

    `reference` is the undisturbed value, for the same inputs, of every row that is asked for. Samples in which few
    numbers carry the error of a row are disturbed `DRAWS` times, however few `draws` are asked for.
    """

    def disturb(draws: range, inputs: Mapping[str, Array], reference: Mapping[str, Values]) -> dict[str, _Error]:
        found = {row: _Error.none(len(values)) for row, values in reference.items()}
        with np.errstate(all="ignore"):
            for draw in draws:
                for node, values in interpret(network, weights, inputs, Rounding(seed * 1000 + draw, unit)):
                    if node.name in ends:
                        found[node.row].add(values - reference[node.row])
        return found

    ends = {row.result for row in network.rows if row.name in reference}
    found = disturb(range(draws), inputs, reference)
    few = np.logical_or.reduce([error.numbers < FEW_NUMBERS for error in found.values()])
    if draws < DRAWS and few.any():
        own, given = ({name: each[few] for name, each in batches.items()} for batches in (inputs, reference))
        for row, more in disturb(range(draws, DRAWS), own, given).items():
            found[row].squares[few] += more.squares
    taken = np.where(few, max(draws, DRAWS), draws)
    return {row: np.sqrt(error.squares / taken) for row, error in found.items()}


@dataclass(frozen=True)
class _Error:
    """What noisy runs added up to, for one row: of every sample the squared L2 error and the fourth power of L4's."""

    squares: Values
    fourths: Values

    @classmethod
    def none(cls, samples: int) -> Self:
        """Nothing as yet, of so many samples."""
        return cls(np.zeros(samples), np.zeros(samples))

    def add(self, error: Values) -> None:
        """Add what one run is wrong by: [batch, ...]."""
        squared = np.square(error.reshape(len(error), -1))
        self.squares[:] += norms(error) ** 2
        self.fourths[:] += np.einsum("sv,sv->s", squared, squared)

    @property
    def numbers(self) -> Values:
        """Over how many alike numbers the error of each sample is spread, of all runs: (sum e^2)^2 / sum e^4.

        Where errors are distributed normally that is a third of what there are; of a softmax over a thousand classes
        that has almost decided, two or three a run.
        """
        found: Values = np.full(len(self.squares), np.inf)
        return np.divide(self.squares**2, self.fourths, out=found, where=self.fourths > 0)


def budget(reference: Values, predicted: Values) -> Values:
    """The largest L2 error of every sample that float32 is granted."""
    granted: Values = BUDGET_FACTOR * np.maximum(predicted, FLOOR_UNITS * UNIT * norms(reference))
    return granted


def rounding_decides(network: Network, reference: Mapping[str, Values], predicted: Mapping[str, Values]) -> bool:
    """Whether float64's errors are not in proportion to those that are `predicted` for float32.

    They may be large however small the unit roundoff is, or those of float32 are as large as errors can become.
    """
    if any(isinstance(node.layer, DECIDED) for node in network.nodes):
        return True
    largest = {row: norms(values).max(initial=0.0) for row, values in reference.items()}
    return any(largest[row] > 0 and errors.max() * BUDGET_FACTOR > largest[row] for row, errors in predicted.items())


def gate(reference: Values, predicted: Values, unit: float = UNIT) -> Values:
    """The largest L2 error of every sample that float64 is granted, by what was predicted with this unit roundoff.

    The gate is relative; where the network is conditioned so badly that float64 rounding itself is predicted to be
    larger (a mean of 1000 taken off values that vary by 1), the prediction counts.
    """
    rounding = BUDGET_FACTOR * predicted * (FLOAT64_UNIT / unit)
    granted: Values = np.maximum(FLOAT64_GATE * norms(reference), rounding)
    return granted
