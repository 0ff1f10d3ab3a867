"""A training step on a GPU as one CUDA graph: its kernels are recorded once, then replayed with no Python between them.

Small networks spend most of a step on launching kernels, which a graph does at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from netspec.training.settings import TrainSettings
from netspec_torch.samples import Source

WARM_UP = 3
"""Steps before the recording, in which libraries choose their kernels and optimisers make their slots."""
FEWEST = 100
"""Recording takes as long as some dozen steps: shorter trainings go without."""
FUSED = ("sgd", "adam", "adamw")
"""The optimisers of which torch has one kernel for all weights."""
RECORDED = (*FUSED, "rmsprop", "adadelta", "adamax", "nadam")
"""The optimisers whose every number can stay on the device."""

Step = Callable[[Source, Tensor], None]
"""Trains on what it takes of the samples at these places, int64 [batch]."""


def recordable(settings: TrainSettings, device: torch.device, steps: int) -> bool:
    """Whether a training of so many steps is worth a graph, and all that a step reads is on the device."""
    long, whole = steps >= FEWEST, settings.accumulate == 1
    # What scales the losses of fp16 reads from the device whether an update can be made.
    plain = settings.precision != "fp16" and settings.optimizer.name in RECORDED
    return device.type == "cuda" and long and whole and plain


def keep_on_device(optimizer: torch.optim.Optimizer, settings: TrainSettings, device: torch.device) -> None:
    """Let an optimiser have its learning rate and its counts on the device, so that a graph reads them anew."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:
            group["capturable"] = True
        if settings.optimizer.name in FUSED:
            group["fused"], group["foreach"] = True, False


def set_rate(optimizer: torch.optim.Optimizer, rate: float, *, on_device: bool) -> None:
    """Give every weight this learning rate from the next step on; `on_device` where it was kept there."""
    for group in optimizer.param_groups:
        if on_device:
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


class Recorded:
    """A step that is recorded once it is warm; batches of another size are trained on as before.

    Whatever the step reads and writes must stay where it is in memory. The device is the one in use.
    """

    def __init__(self, step: Step, size: int, device: torch.device) -> None:
        self.step, self.size, self.warming = step, size, WARM_UP
        self.chosen = torch.zeros(size, dtype=torch.int64, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, samples: Source, chosen: Tensor) -> None:
        """Train on a batch of the samples, which are the same each time."""
        if len(chosen) != self.size:
            self.step(samples, chosen)
        elif self.warming:
            self.warming -= 1
            self._aside(samples, chosen)
        else:
            if self.graph is None:
                self._record(samples)
            assert self.graph is not None
            self.chosen.copy_(chosen)
            self.graph.replay()

    def _aside(self, samples: Source, chosen: Tensor) -> None:
        """A step on a stream of its own, as a recording will be."""
        current, stream = torch.cuda.current_stream(), a_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self.step(samples, chosen)
        current.wait_stream(stream)

    def _record(self, samples: Source) -> None:
        graph = torch.cuda.CUDAGraph()
        # torch would record on a stream that it made once, of the device that was in use then.
        with torch.cuda.graph(graph, stream=a_stream()):
            self.step(samples, self.chosen)
        self.graph = graph


def a_stream() -> torch.cuda.Stream:
    """Another stream of the device in use."""
    return torch.cuda.Stream()
