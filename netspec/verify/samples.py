"""Which samples are compared: all of them, or of a costly network those that bring most to light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netspec.network import Network
from netspec.reference.table import Array
from netspec.spec.model import VerifySettings
from netspec.verify.gates import DRAWS
from netspec.verify.inputs import hard_inputs, sample_names

FIRST = ("normal 1", "ramp", "data 1", "offset", "wide", "zeros", "large", "normal 2", "constant", "tiny", "normal 3")
"""The order in which a costly network's samples are chosen, as far as they are there."""
REAL = 2
"""How many real samples are compared, where there are some."""
LEAST = 2
"""Samples that every network is compared with."""
WORK = 30e9
"""What all samples of a network may cost, in products; and what all noisy runs of them may."""
FEW_DRAWS = 2
"""The fewest noisy runs: each averages over the roundings of all the numbers of a row; where few of those are wrong,
`predict` adds more. Two were within 10% of sixteen at all but one in a hundred rows and samples of the zoo, and at
half of it at worst."""
WORK_OF_A_VALUE = 300
"""Disturbing a value by noise and comparing it takes as long as so many products."""


@dataclass(frozen=True)
class Samples:
    """What is compared: names for people, and a batch for every input."""

    names: tuple[str, ...]
    inputs: Mapping[str, Array]
    artefact_inputs: Mapping[str, Array]
    """The first of them, which the exported files are given."""
    draws: int = DRAWS
    """Noisy runs that predict what rounding costs."""


def choose_samples(network: Network, settings: VerifySettings, real: Mapping[str, Array] | None = None) -> Samples:
    """The samples that the settings ask for, and `real` ones if there are any; of a costly network fewer, unless the
    settings ask for a number.
    """
    names = sample_names(settings.inputs)
    inputs = hard_inputs(network, settings.inputs, settings.seed)
    count = samples_within(network, settings)
    whole = count >= len(names)
    if real:
        names += tuple(f"data {number}" for number in range(1, 1 + len(next(iter(real.values())))))
        inputs = {name: np.concatenate([batch, real[name]]) for name, batch in inputs.items()}
    draws = _draws(network, count)
    if whole:
        return Samples(names, inputs, inputs, draws)
    chosen = [names.index(name) for name in [name for name in FIRST if name in names][:count]]
    kept = {name: batch[chosen] for name, batch in inputs.items()}
    first = {name: batch[:1] for name, batch in kept.items()}
    return Samples(tuple(names[index] for index in chosen), kept, first, draws)


def samples_within(network: Network, settings: VerifySettings) -> int:
    """How many samples are compared."""
    if "inputs" in settings.model_fields_set:
        return settings.samples
    return max(LEAST, min(settings.samples, int(WORK // work_of_a_sample(network))))


def _draws(network: Network, samples: int) -> int:
    """How many noisy runs tell what rounding costs."""
    return max(FEW_DRAWS, min(DRAWS, int(WORK // (samples * work_of_a_sample(network)))))


def work_of_a_sample(network: Network) -> int:
    """What computing a sample and comparing it takes, in products; at least one."""
    return max(network.macs + WORK_OF_A_VALUE * sum(node.output.size for node in network.nodes), 1)
