"""What images cost: an epoch from the cache against decoding each epoch, resident batches against a DataLoader.

    NETSPEC_DATA=... python benchmarks/data_speed.py [--folder hymenoptera] [--pairs 5]

Each pair measures either side once, alternating, each in one thread; the ratio is the median of the pairs' ratios. The
folder is read as `data: {folder: ...}` for a 224x224 input, and its batches are those that the trainer takes; decoding
each epoch is a loop over the same files with the same resizing, no array kept.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from netspec_torch.samples import Samples, batches
from torch.utils.data import DataLoader, TensorDataset

from netspec.compile import compile_spec
from netspec.data import DataSettings, Preprocess, load
from netspec.data.folder import list_images
from netspec.data.preprocess import read_pixels
from netspec.spec.load import parse_spec
from netspec.training.settings import TrainSettings

CLASSIFIER = "input: 224x224x3\nlayers:\n  - GlobalAvgPool\n  - FNN | {classes} | Softmax\ndata: {{folder: {folder}}}\n"
BATCH = 32


def seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compared(name: str, ours: Callable[[], None], theirs: Callable[[], None], pairs: int, most: float) -> None:
    ours(), theirs()  # what is only slow the first time
    times = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    ratio = statistics.median(first / second for first, second in times)
    first, second = (statistics.median(each) for each in zip(*times, strict=True))
    verdict = "" if ratio <= most else "  TOO SLOW"
    print(f"{name}: {ratio:.3f} ({1e3 * first:,.0f} ms to {1e3 * second:,.0f} ms), at most {most:.2f}{verdict}")


def folder_epochs(folder: str, pairs: int) -> None:
    source = DataSettings(folder=folder)
    images = list_images(source, Path())["train"]
    network = compile_spec(parse_spec(CLASSIFIER.format(classes=len(images.classes), folder=folder), "bench.yaml"))
    preprocess = Preprocess(resize=256, crop=224)
    begin = time.perf_counter()
    load(source, network, Path(), preprocess)
    first = time.perf_counter() - begin
    begin = time.perf_counter()
    dataset = load(source, network, Path(), preprocess)
    again = time.perf_counter() - begin
    print(f"{len(dataset.train)} images: decoded once in {first:.2f} s, opened and checked again in {again:.3f} s")
    paths = [path for files in images.files.values() for path in files][: len(dataset.train)]

    split, settings = dataset.train, TrainSettings(batch_size=BATCH)
    labels = torch.from_numpy(split.labels)
    samples = Samples(torch.from_numpy(split.images), labels, labels)

    def cached() -> None:
        for source, chosen in batches(samples, settings, 1, ahead=True):
            source.take(chosen)

    def decoding() -> None:
        for start in range(0, len(paths), BATCH):
            chosen = paths[start : start + BATCH]
            np.stack([read_pixels(path, network.input_type, preprocess) for path in chosen]).astype(np.float32)

    compared("cached epoch of a folder against decoding each epoch", cached, decoding, pairs, 0.10)


def resident_batches(pairs: int) -> None:
    """Batches of 32 of 60,000 images 28x28, as float32, without a network."""
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (60_000, 28, 28, 1), np.uint8))
    labels = torch.from_numpy(random.integers(0, 10, 60_000))
    samples, settings = Samples(pixels, labels, labels), TrainSettings(batch_size=BATCH)
    loader = DataLoader(TensorDataset(pixels.movedim(-1, 1).float(), labels), BATCH, shuffle=True)

    def ours() -> None:
        for source, chosen in batches(samples, settings, 1, ahead=True):
            source.take(chosen)

    def theirs() -> None:
        for _ in loader:
            pass

    compared("resident batches against a DataLoader over a TensorDataset", ours, theirs, pairs, 0.10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="hymenoptera")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    resident_batches(options.pairs)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NETSPEC_CACHE"] = cache
        folder_epochs(options.folder, options.pairs)


if __name__ == "__main__":
    main()
