"""In which order images are trained on, and in which batches: the same on every backend and every machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from netspec.data.dataset import Split
from netspec.errors import Problem, SpecError


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch visits `count` images: a permutation int64 [count], fixed by seed and epoch.

    It sorts the raw words of Philox, whose stream numpy never changes, so that it is the same in every version. Their
    last bits make room for the image's number: no two are alike then, whatever sorts them, and the fastest may.

    >>> epoch_order(5, seed=7, epoch=1).tolist() == epoch_order(5, seed=7, epoch=1).tolist()
    True
    """
    words = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(count)
    numbers = np.uint64((1 << max(count - 1, 0).bit_length()) - 1)
    words &= ~numbers
    words |= np.arange(count, dtype=np.uint64)
    words.sort()
    return (words & numbers).astype(np.int64)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many batches `count` images make: the last may be smaller, but a single image joins the batch before it.

    >>> [steps_per_epoch(count, batch_size=4) for count in (1, 4, 5, 6)]
    [1, 1, 1, 2]
    """
    full, rest = divmod(count, batch_size)
    return full if rest == 1 and full and batch_size > 1 else full + bool(rest)


def check_batch_size(batch_size: int, count: int) -> None:
    """Raise SpecError where a batch would be larger than all the images there are."""
    if batch_size > count:
        message = f"a batch of {batch_size:,} images is larger than the {count:,} that there are to train on"
        raise SpecError([Problem(message, f"batch_size: {max(1, count // 4)}", "train.batch_size")])


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """Which part of an epoch's order each batch is: those of every backend.

    A last batch of a single image joins the one before it, for BatchNorm cannot train on one value.

    >>> batch_slices(5, batch_size=2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    steps = steps_per_epoch(count, batch_size)
    return [slice(step * batch_size, count if step == steps - 1 else (step + 1) * batch_size) for step in range(steps)]


def batches(
    split: Split, batch_size: int, order: NDArray[np.int64] | None = None
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """The images as float32 [batch, *shape], their values unchanged, and the labels int64 [batch].

    They come in `order`, or as they lie.
    """
    order = np.arange(len(split)) if order is None else order
    for places in batch_slices(len(order), batch_size):
        chosen = order[places]
        yield split.images[chosen].astype(np.float32), split.labels[chosen]
