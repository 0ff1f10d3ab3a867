"""What the trainings that are timed train, and on what: the same in PyTorch and in Keras."""

from __future__ import annotations

import numpy as np

from netspec.data.dataset import Dataset, Split
from netspec.network import Network

MLP = """\
name: small-mlp
input: 28x28x1
layers:
  - Flatten
  - FNN | 128 | ReLU
  - FNN | 10 | SoftMax
"""


def images(network: Network, count: int) -> Split:
    """Random bytes, and labels of ten classes."""
    random = np.random.default_rng(0)
    shape = (count, *network.input_type.shape)
    return Split(random.integers(0, 256, shape, np.uint8), random.integers(0, 10, count))


def dataset(split: Split) -> Dataset:
    """All of a split to train on, and so few images to validate on that they cost nothing."""
    few = Split(split.images[:32], split.labels[:32])
    return Dataset("synthetic", train=split, validation=few, test=few, classes=())
