"""What a training step costs: ours against loops written by hand, on the device that is there.

    python benchmarks/training_speed.py [--device cpu|cuda] [--pairs 7]

Each pair trains one epoch with either loop on the same synthetic images, alternating; the ratio of each pair, the
median of the ratios. The hand-written loops are those below: `resident` has the data on the device and reads nothing
back before the epoch ends (on a GPU it replays a CUDA graph of the whole step, with a fused optimiser), `naive` is what
tutorials write: a DataLoader, a copy to the device and `.item()` a step. All compute in full float32. On a CPU our step
in bf16 follows, against the one in float32, and then, in a process of its own, Keras' `fit`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from netspec_torch.model import full_float32, load, make
from netspec_torch.render import render
from netspec_torch.trainer import train
from synthetic import MLP, dataset, images
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from netspec.compile import compile_spec
from netspec.data.dataset import Split
from netspec.network import Network
from netspec.spec.load import load_spec, parse_spec
from netspec.training.settings import TrainSettings
from netspec.weights import draw

ROOT = Path(__file__).parents[1]
WIDE = """\
name: wide-mlp
input: 28x28x1
layers:
  - Rescale | 1/255
  - Flatten
  - FNN | 1024 | ReLU
  - FNN | 1024 | ReLU
  - FNN | 10 | SoftMax
"""


def ours(network: Network, settings: TrainSettings, split: Split, device: str) -> float:
    """Seconds of the second epoch of two, or of the fastest of more: the first also warms up."""
    weights = draw(network, 0)
    _, history = train(network, weights, dataset(split), settings, device, lambda *_, **__: None)
    return min(float(row["seconds"]) for row in history[1:])


def model_of(network: Network, device: str) -> nn.Module:
    rendering = render(network)
    model = load(make(rendering), rendering, draw(network, 0)).to(device)
    return model.to(memory_format=torch.channels_last).train()


def resident(network: Network, settings: TrainSettings, split: Split, device: str) -> float:
    if device.startswith("cuda"):
        return replayed(network, settings, split, device)
    model = model_of(network, device)
    given = torch.from_numpy(split.images).to(device)
    labels = torch.from_numpy(split.labels).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    size, seconds = settings.batch_size, 0.0
    for _ in range(2):
        begin, total = time.monotonic(), torch.zeros((), device=device)
        right = torch.zeros((), dtype=torch.int64, device=device)
        order = torch.randperm(len(labels), device=device)
        for start in range(0, len(labels), size):
            chosen = order[start : start + size]
            x, y = given[chosen].movedim(-1, 1).float(), labels[chosen]
            optimizer.zero_grad()
            outputs = model.logits(x)
            loss = F.cross_entropy(outputs, y)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(y)
            right += (outputs.detach().argmax(1) == y).sum()
        total.item(), right.item()
        seconds = time.monotonic() - begin
    return seconds


def replayed(network: Network, settings: TrainSettings, split: Split, device: str) -> float:
    model, size, count = model_of(network, device), settings.batch_size, len(split)
    given, labels = torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True, capturable=True)
    chosen = torch.zeros(size, dtype=torch.int64, device=device)
    total = torch.zeros((), device=device)
    right = torch.zeros((), dtype=torch.int64, device=device)

    def step() -> None:
        x, y = given[chosen].movedim(-1, 1).float(), labels[chosen]
        optimizer.zero_grad()
        outputs = model.logits(x)
        loss = F.cross_entropy(outputs, y)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach() * size)
        right.add_((outputs.detach().argmax(1) == y).sum())

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    begin = time.monotonic()
    order = torch.randperm(count, device=device)
    for start in range(0, count, size):
        chosen.copy_(order[start : start + size])
        graph.replay()
    total.item(), right.item()
    return time.monotonic() - begin


def naive(network: Network, settings: TrainSettings, split: Split, device: str) -> float:
    model = model_of(network, device)
    floats = torch.from_numpy(split.images).movedim(-1, 1).float()
    dataset = torch.utils.data.TensorDataset(floats, torch.from_numpy(split.labels))
    loader = torch.utils.data.DataLoader(dataset, batch_size=settings.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seconds = 0.0
    for _ in range(2):
        begin, total, right = time.monotonic(), 0.0, 0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            outputs = model.logits(x)
            loss = F.cross_entropy(outputs, y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
            right += (outputs.argmax(1) == y).sum().item()
        seconds = time.monotonic() - begin
    return seconds


Loop = Callable[[Network, TrainSettings, Split, str], float]


def pairs(name: str, other: Loop, network: Network, batch_size: int, count: int, arguments: argparse.Namespace) -> None:
    settings = TrainSettings(epochs=2, batch_size=batch_size)
    split = images(network, count)
    with full_float32():
        times = [
            (ours(network, settings, split, arguments.device), other(network, settings, split, arguments.device))
            for _ in range(arguments.pairs)
        ]
    ratio = statistics.median(left / right for left, right in times)
    steps = count // batch_size
    left, right = (statistics.median(side) / steps * 1e3 for side in zip(*times, strict=True))
    print(f"{name}: ours {left:.3f} ms a step, {other.__name__} {right:.3f} ms, ratio {ratio:.3f}", flush=True)


def narrow(network: Network, settings: TrainSettings, split: Split, device: str) -> float:
    return ours(network, settings.model_copy(update={"precision": "bf16"}), split, device)


def narrowed(name: str, network: Network, batch_size: int, count: int, arguments: argparse.Namespace) -> None:
    """Our step in bf16 against our step in float32, the fastest epoch of either."""
    settings, split, device = TrainSettings(epochs=5, batch_size=batch_size), images(network, count), arguments.device
    times = [
        (narrow(network, settings, split, device), ours(network, settings, split, device))
        for _ in range(arguments.pairs)
    ]
    ratio = statistics.median(left / right for left, right in times)
    left, right = (statistics.median(side) / (count // batch_size) * 1e3 for side in zip(*times, strict=True))
    print(f"{name}: bf16 {left:.3f} ms a step, float32 {right:.3f} ms, ratio {ratio:.3f} (at most 0.70)", flush=True)


def main() -> None:
    """Print every ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pairs", type=int, default=7)
    arguments = parser.parse_args()
    cuda = arguments.device.startswith("cuda")
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name() if cuda else 'CPU'}")
    mlp = compile_spec(parse_spec(MLP, "mlp.yaml"))
    deep = compile_spec(load_spec(ROOT / "specs" / "mnist-deep-cnn.yaml"))
    pairs("small MLP, batch 32", resident, mlp, 32, 32 * 1000, arguments)
    pairs("small MLP, batch 32", naive, mlp, 32, 32 * 1000, arguments)
    pairs("mnist-deep-cnn, batch 128", resident, deep, 128, 128 * (200 if cuda else 8), arguments)
    pairs("mnist-deep-cnn, batch 128", naive, deep, 128, 128 * (200 if cuda else 8), arguments)
    if not cuda:
        wide = compile_spec(parse_spec(WIDE, "wide.yaml"))
        narrowed("wide MLP, batch 128", wide, 128, 128 * 20, arguments)
        narrowed("mnist-deep-cnn, batch 128", deep, 128, 128 * 4, arguments)
        keras = Path(__file__).with_name("keras_training_speed.py")
        subprocess.run([sys.executable, keras, "--pairs", str(arguments.pairs)], check=True)


if __name__ == "__main__":
    main()
