"""What a network needs of memory: the refusal of one that needs too much, and batches in pieces that fit."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.errors import Problem, SpecError
from netspec.network import Network

if TYPE_CHECKING:
    from netspec.tensors import Arrays

TOGETHER_BYTES = 2**30
"""What one backend may need for weights where all of them work side by side."""


def weights_bytes(network: Network) -> int:
    """What drawing the weights needs at most: all of them in float32, and the largest in float64 twice."""
    sizes = [weight.size for weight in network.weights()]
    return 4 * sum(sizes) + 16 * max(sizes, default=0)


def values_bytes(network: Network, samples: int) -> int:
    """What the float64 reference needs at most for this many samples: every row's value three times (itself, its
    prediction, a backend's answer), and once the windows that its largest convolution multiplies with its kernel.
    """
    values = sum(given.size for given in [*network.inputs.values(), *(node.output for node in network.nodes)])
    windows = [
        prod(node.output.spatial) * weight.size // node.output.channels
        for node in network.nodes
        for weight in node.weights
        if weight.name.endswith(".kernel") and node.output.rank > 1
    ]
    return 8 * samples * (3 * values + max(windows, default=0))


def fits_together(network: Network) -> bool:
    """Whether all backends may work side by side; otherwise one waits for the other, and each has the memory alone.

    A backend holds the weights four times as it starts (given, placed, in its framework, in its file). What the values
    take is let go between two calls.
    """
    return 4 * weights_bytes(network) <= TOGETHER_BYTES


def give_back() -> None:
    """Return to the system what was freed, which glibc keeps for later: gigabytes after a large network's run."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # other C libraries have none
        trim(0)


def memory_available() -> int | None:
    """The bytes of memory that this process may still take, or None where the system does not say."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):  # not Linux, or no control group
        pass
    return min(found, default=None)


def check_memory(network: Network, samples: int = 0, available: int | None = None) -> None:
    """Raise SpecError, before anything is allocated, when the network does not fit into the memory that is available.

    Counted are its weights, and the values of `samples` samples where it is to be verified. The error names the row
    that takes most. `available` is in bytes; what the system says when not given.
    """
    limit = memory_available() if available is None else available
    if limit is None:
        return
    weights, values = weights_bytes(network), values_bytes(network, samples)
    if weights > limit:
        row = max(network.rows, key=lambda row: row.parameters)
        message = f"the weights need {written_bytes(weights)} of memory ({network.parameters:,} numbers)"
        hint = f"row {row.name!r} ({row.kind}, result {row.output}) alone has {row.parameters:,} of them"
    elif weights + values > limit:
        row = max(network.rows, key=lambda row: row.output.size)
        message = f"verifying {samples} samples needs about {written_bytes(weights + values)} of memory"
        hint = f"row {row.name!r} ({row.kind}) gives {row.output}, {row.output.size:,} numbers a sample"
    else:
        return
    message += f", {written_bytes(limit)} are available"
    raise SpecError([Problem(message, hint, path=f"layers.{row.name}", position=row.nodes[0].position)])


PIECE_BYTES = 2**28
"""What the two largest neighbouring values of a piece of a batch may take."""


def piece_size(network: Network) -> int:
    """How many samples take 256 MiB of memory as they pass; at least one."""
    sizes = [sum(kind.size for kind in network.inputs.values()), *(node.output.size for node in network.nodes), 0]
    largest = max(first + second for first, second in pairwise(sizes))
    return max(1, PIECE_BYTES // (4 * largest))


def in_pieces(network: Network, inputs: Arrays, compute: Callable[[Arrays], Arrays]) -> Arrays:
    """The outputs for a batch of any size, computed in pieces of `piece_size`."""
    import numpy as np

    count, size = len(next(iter(inputs.values()))), piece_size(network)
    pieces = [
        compute({name: given[start : start + size] for name, given in inputs.items()})
        for start in range(0, max(count, 1), size)
    ]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in network.outputs}


def written_bytes(number: int) -> str:
    """A size that people read.

    >>> written_bytes(3 * 2**40)
    '3.0 TB'
    """
    size, unit = float(number), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if unit != "bytes" else f"{number} bytes"
