"""The processes that share a training: which of them this one is, as `torchrun` and its like say in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netspec.errors import Problem, SpecError

WAIT_S = 3600.0
"""How long the others wait for rank 0, which reads the data, to begin."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of `size` processes this is, and which of those on its machine; the first one, 0, writes all files."""

    rank: int
    size: int
    local: int

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class Seconds:
    """A time that the environment may set."""

    name: str
    default: float

    def read(self, environment: Mapping[str, str]) -> float:
        """The time; raises SpecError for what is none."""
        written = environment.get(self.name)
        try:
            value = self.default if written is None else float(written)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise SpecError(
                [Problem(f"{self.name} is {written!r}, no number of seconds", f"{self.name}={self.default:g}")]
            )
        return value


TIMEOUT = Seconds("NETSPEC_RANK_TIMEOUT", 600.0)
"""How long a process waits for the others inside of a training."""


def place_of(environment: Mapping[str, str]) -> Place | None:
    """The place of this process among those that share a training; None where it is by itself.

    Raises SpecError where the environment says it only in part, or wrongly.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        return None
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in needed if name not in environment]:
        message = f"WORLD_SIZE is {environment['WORLD_SIZE']}, but {', '.join(missing)} is not set"
        raise SpecError([Problem(message, "start it with torchrun, or unset WORLD_SIZE")])
    try:
        rank, size, local = (int(environment.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except ValueError:
        rank, size, local = -1, 0, 0
    if not 0 <= rank < size:
        message = f"RANK is {environment['RANK']!r} and WORLD_SIZE {environment['WORLD_SIZE']!r}"
        raise SpecError([Problem(message, "RANK counts from 0 to WORLD_SIZE - 1")])
    return Place(rank, size, local)
