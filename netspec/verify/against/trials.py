"""What a file is given, and what the reference makes of it: samples that fit the file's types, and what they grant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from netspec.backend.foreign import Described
from netspec.network import Network
from netspec.reference import interpret
from netspec.reference.table import Array, Values
from netspec.spec.model import VerifySettings
from netspec.verify.against.located import by_node
from netspec.verify.against.ports import FLOATS, INTEGERS, Layout, Plug, canonical
from netspec.verify.against.request import Request
from netspec.verify.budget import norms, predict
from netspec.verify.compare import Comparison, compare
from netspec.verify.gates import BUDGET_FACTOR, FLOOR_UNITS, UNIT
from netspec.verify.samples import choose_samples

HALF = 2.0**-11
"""Unit roundoff of float16."""
MODERATE = 100.0
"""Samples with larger values are not asked of a float16 file, where their sums overflow."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An output of a file, held against the reference in the layout that fits; None where its size does not."""

    plug: Plug
    layout: Layout | None
    compared: Comparison

    def canonical(self, array: Array) -> Array:
        """The same output for other samples, with its channels last."""
        return array if self.layout is None else canonical(array, self.layout, self.plug.type)


@dataclass
class Trial:
    """A network with its weights and samples, and what the reference makes of them."""

    network: Network
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    unit: float
    draws: int
    names: tuple[str, ...]
    pixels: bool = False

    def __post_init__(self) -> None:
        ends = set(self.network.outputs.values())
        nodes = by_node(self.network)
        values = {name: np.asarray(given, np.float64) for name, given in self.inputs.items() if name in ends}
        values |= {node.name: value for node, value in interpret(nodes, self.weights, self.inputs) if node.name in ends}
        own = {name: value for name, value in values.items() if name not in self.network.inputs}
        predicted = predict(nodes, self.weights, self.inputs, own, draws=self.draws, unit=self.unit)
        zero = np.zeros(len(next(iter(self.inputs.values()))))
        self.reference = {name: values[value] for name, value in self.network.outputs.items()}
        self.allowed = {
            name: self.granted(values[value], predicted.get(value, zero))
            for name, value in self.network.outputs.items()
        }

    def granted(self, values: Values, predicted: Values) -> Values:
        """The largest error of every sample, from the right values and what rounding is predicted to cost."""
        granted: Values = BUDGET_FACTOR * np.maximum(predicted, FLOOR_UNITS * self.unit * norms(values))
        return granted

    def compare(self, name: str, array: Array) -> Comparison:
        """An output, held against the reference."""
        return compare(self.reference[name], array, self.allowed[name])

    def closest(self, plug: Plug, array: Array) -> Answer:
        """An output of the file in the layout in which it is nearest to the reference."""
        if not array.shape[1:] or array.size != self.reference[plug.name].size:
            return Answer(plug, None, self.compare(plug.name, array))
        tried = [(layout, canonical(array, layout, plug.type)) for layout in plug.layouts]
        found = [Answer(plug, layout, self.compare(plug.name, each)) for layout, each in tried]
        return min(found, key=lambda each: each.compared.ratio)


def trials(network: Network, weights: Mapping[str, Array], request: Request, described: Described) -> Iterator[Trial]:
    """The network with samples that fit the file's types; where a spec says how, with pixels too."""
    samples = choose_samples(network, request.settings)
    read, given = ({port.dtype for port in ports} for ports in (described.inputs, described.outputs))
    unit = HALF if "float16" in read | given else UNIT
    if read <= set(FLOATS):
        batch, names = samples.inputs, samples.names
        if unit == HALF:
            most = [max(float(np.abs(each[place]).max()) for each in batch.values()) for place in range(len(names))]
            kept = [place for place, size in enumerate(most) if size <= MODERATE]
            batch = {name: each[kept] for name, each in batch.items()}
            names = tuple(names[place] for place in kept)
        yield Trial(network, weights, batch, unit, samples.draws, names)
    if request.pixels is not None or read & set(INTEGERS):
        reading = request.pixels or network
        batch, names = _pixels(reading, request.settings)
        yield Trial(reading, weights, batch, unit, samples.draws, names, pixels=True)


def _pixels(network: Network, settings: VerifySettings) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Samples of whole numbers from 0 to 255, as images have them, as float32."""
    random = np.random.Generator(np.random.Philox(key=[settings.seed, 2]))
    made: dict[str, Callable[[tuple[int, ...]], Array]] = {
        **{
            f"pixels {number}": lambda shape: random.integers(0, 256, shape) for number in range(1, settings.inputs + 1)
        },
        "ramp": lambda shape: np.linspace(0, 255, int(np.prod(shape))).round().reshape(shape),
        "zeros": np.zeros,
        "constant": lambda shape: np.full(shape, 128),
        "white": lambda shape: np.full(shape, 255),
    }
    batches = {
        name: np.stack([draw(given.shape) for draw in made.values()]).astype(np.float32)
        for name, given in network.inputs.items()
    }
    return batches, tuple(made)
