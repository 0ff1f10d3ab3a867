"""A training shared by several processes, as `torchrun` starts them: each computes its part of every batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from netspec.errors import BackendError
from netspec.training.ranks import TIMEOUT, WAIT_S, Place
from netspec_torch.precision import Forward

T = TypeVar("T")
HERE = "netspec/first"
"""What rank 0 leaves in the store of torch once it is there."""


class Ranks:
    """The processes that share a training, seen from the one of number `rank`; one by itself computes all of it."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def own(self, count: int) -> slice:
        """The part of a batch of `count` images that this process computes; parts differ by one image at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def idle(self, count: int) -> bool:
        """Whether no image of a batch of `count` is this process' own."""
        return not range(count)[self.own(count)]

    def computed(self, count: int) -> slice:
        """As `own`; of a process that is idle the first image, for its gradients, which are zero, are awaited too."""
        return slice(0, 1) if self.idle(count) else self.own(count)

    def add(self, *values: Tensor) -> None:
        """Make each tensor, in its place, the sum of those of all processes."""
        for value in values if not self.alone else ():
            dist.all_reduce(value)

    def wish(self, level: int) -> int:
        """The highest of what the processes wish for."""
        if self.alone:
            return level
        highest = torch.tensor(level)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        return int(highest)

    def told(self, value: T) -> T:
        """What rank 0 gives, in every process."""
        if self.alone:
            return value
        given = [value]
        dist.broadcast_object_list(given, src=0, device=torch.device("cpu"))
        return given[0]

    def found(self, search: Callable[[], T | None]) -> T | None:
        """What rank 0 finds, in every process: the others wait, for torchrun ends all with the first that leaves."""
        value = None
        try:
            if self.rank == 0:
                value = search()
        finally:
            value = self.told(value)
        return value

    @property
    def patience_s(self) -> float:
        """How long rank 0 may work by itself: half of the time that the others wait, and as long as it likes alone."""
        return float("inf") if self.alone else TIMEOUT.read(os.environ) / 2

    def gathered(self, value: T) -> list[T]:
        """What every process gives, in their order."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def follow(self, model: nn.Module) -> None:
        """Take the running statistics of rank 0."""
        for buffer in model.buffers() if not self.alone else ():
            dist.broadcast(buffer, src=0)

    def shared(self, model: nn.Module, forward: Forward) -> Forward:
        """The forward pass of a model whose gradients become, with `backward`, the mean over the processes."""
        if self.alone:
            return forward
        wrapped: Forward = DistributedDataParallel(_Shared(model, forward))
        return wrapped


class _Shared(nn.Module):
    def __init__(self, model: nn.Module, compute: Forward) -> None:
        super().__init__()
        self.model, self.compute = model, compute

    def forward(self, *given: Tensor) -> Tensor:
        return self.compute(*given)


@contextmanager
def together(place: Place | None) -> Iterator[Ranks]:
    """The processes of this training, once all are there.

    Raises BackendError where they don't come together, and where one of them no longer answers meanwhile.
    """
    if place is None:
        yield Ranks()
        return
    _meet(place)
    try:
        yield Ranks(place.rank, place.size)
    except RuntimeError as error:
        if not _of_others(error):
            raise
        raise BackendError(
            f"rank {place.rank} of {place.size} lost the others: {_first_line(error)}\n"
            "  hint: another one ended or hangs, its own message says why; the same command goes on from the last "
            "checkpoint"
        ) from error


@cache
def _meet(place: Place) -> None:
    """Let this process belong to those of the training, as long as it lives."""
    timeout = timedelta(seconds=TIMEOUT.read(os.environ))
    try:
        # Rank 0 has data to read first, which may take its time; when it comes the others are there.
        patience = timeout if place.first else timedelta(seconds=WAIT_S)
        store, rank, size = next(dist.rendezvous("env://", timeout=patience))  # type: ignore[attr-defined]  # torch does not say that it exports it
        if place.first:
            store.set(HERE, "")
        else:
            store.wait([HERE], patience)
        nccl = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        raise BackendError(
            f"rank {place.rank} of {place.size} did not meet the others: {_first_line(error)}\n"
            "  hint: did another one end with a message of its own? All need the same MASTER_ADDR and MASTER_PORT"
        ) from error


def _of_others(error: RuntimeError) -> bool:
    """Whether an error came of another process."""
    words = ("gloo", "nccl", "connection", "timed out", "timeout", "socket")
    return isinstance(error, dist.DistError) or any(word in str(error).casefold() for word in words)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The random numbers of this process, by where they are drawn."""
    found = {"cpu": torch.get_rng_state()}
    return found | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else found


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Draw on from there; on a GPU, of which a training on the CPU knew nothing, as it began."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
