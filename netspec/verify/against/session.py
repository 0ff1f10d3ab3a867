"""A file in the process that runs it: what it reads and gives, and what it computes for samples in every layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from netspec.backend.foreign import Described, Traced
from netspec.backend.worker import Worker, WorkerDied, within
from netspec.errors import NetspecError, UnsupportedError, VerificationError
from netspec.reference.table import Array
from netspec.verify.against.ports import Layout, Pairing, Plug, laid_out
from netspec.verify.against.request import Stopped
from netspec.verify.against.trials import Answer, Trial
from netspec.verify.result import Stage


@dataclass(frozen=True)
class Run:
    """A file that was run in one way."""

    trial: Trial
    inputs: Pairing
    layouts: tuple[Layout, ...]
    given: Mapping[str, Array]
    """What it was given, by its own names."""
    answers: tuple[Answer, ...]
    """Each output, held against the reference."""

    @property
    def ratio(self) -> float:
        """How far the worst output is off."""
        return max(each.compared.ratio for each in self.answers)

    @property
    def agrees(self) -> bool:
        """Whether all outputs are right."""
        return all(each.compared.symptom is None for each in self.answers)

    @property
    def worst(self) -> int:
        """The sample that is furthest off."""
        return max(self.answers, key=lambda each: each.compared.ratio).compared.sample


@dataclass(frozen=True)
class Session:
    """The file at `path`, asked through a worker that has `limit_s` seconds for every answer."""

    worker: Worker
    path: Path
    limit_s: float

    def ask(self, stage: Stage, method: str, **arguments: Any) -> Any:
        """What the worker answers; raises Stopped for anything else."""
        try:
            with within(self.worker, self.limit_s):
                return self.worker.call(method, **arguments)
        except WorkerDied as error:
            raise Stopped(stage, "crash", str(error)) from None
        except UnsupportedError as error:
            raise Stopped(stage, "unsupported", str(error)) from None
        except VerificationError as error:
            raise Stopped(stage, "file", str(error)) from None
        except NetspecError as error:
            raise Stopped(stage, "crash", str(error)) from None

    def describe(self) -> Described | None:
        """What goes into the file's model and comes out of it; None where it has none."""
        found: Described | None = self.ask("build", "describe_file", path=self.path)
        return found

    def best(self, tried: Iterable[Trial], inputs: Sequence[Pairing], outputs: Sequence[Pairing]) -> Run:
        """The trial, in the pairing and the layout, in which the file comes nearest to the reference.

        Once one agrees, no other is tried.
        """
        runs: list[Run] = []
        for trial in tried:  # each is made when it is asked for, which takes a run of the reference
            for pairing in inputs:
                runs.append(self._nearest(trial, pairing, outputs))
                if runs[-1].agrees:
                    return runs[-1]
        return min(runs, key=lambda each: each.ratio)

    def _nearest(self, trial: Trial, inputs: Pairing, outputs: Sequence[Pairing]) -> Run:
        """The file run in every layout that its shapes allow; the best counts. Raises Stopped where none can be run."""
        runs: list[Run] = []
        stopped: Stopped | None = None
        for chosen in product(*(plug.layouts for plug in inputs)):
            given = {
                plug.port.name: laid_out(trial.inputs[plug.name], layout).astype(plug.port.dtype, copy=False)
                for plug, layout in zip(inputs, chosen, strict=True)
            }
            try:
                traced = self.run(inputs, given)
            except Stopped as error:
                stopped = stopped or error  # where no shape is stated, most layouts cannot be run
                continue
            for pairing in outputs:
                found = tuple(trial.closest(plug, traced.outputs[plug.port.name]) for plug in pairing)
                runs.append(Run(trial, inputs, chosen, given, found))
        if not runs:
            assert stopped is not None
            raise stopped
        return min(runs, key=lambda each: each.ratio)

    def run(self, inputs: Sequence[Plug], given: Mapping[str, Array], *, trace: bool = False) -> Traced:
        """The file's outputs, batch by batch where it has a fixed one; the values on the way where they are traced."""
        fixed = next((plug.port.shape[0] for plug in inputs if plug.port.shape and plug.port.shape[0]), None)
        count = len(next(iter(given.values())))
        if fixed is None or fixed == count:
            return self._traced(given, trace)
        parts = []
        for start in range(0, count, fixed):
            places = [min(place, count - 1) for place in range(start, start + fixed)]  # the last one fills up
            parts.append(self._traced({name: each[places] for name, each in given.items()}, trace))
        outputs = {
            name: _joined([part.outputs[name] for part in parts], count) if _batched(value, fixed) else value
            for name, value in parts[0].outputs.items()
        }
        values = {
            name: _joined([part.values[name] for part in parts], count)
            for name, value in parts[0].values.items()
            if _batched(value, fixed)
        }
        return Traced(outputs, values, parts[0].made)

    def _traced(self, given: Mapping[str, Array], trace: bool) -> Traced:
        found: Traced = self.ask("run", "run_file", path=self.path, inputs=given, trace=trace)
        return found


def _batched(value: Array, size: int) -> bool:
    """Whether a value has something for every sample of a batch."""
    return value.ndim > 0 and len(value) == size


def _joined(parts: Sequence[Array], count: int) -> Array:
    """The value of the first `count` samples, where the last batch was filled up."""
    return np.concatenate(parts)[:count]
