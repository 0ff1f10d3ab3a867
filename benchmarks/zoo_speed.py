"""How fast the emitted models of the zoo are, against those that people wrote by hand.

    python benchmarks/zoo_speed.py [NAME...]

PyTorch: the emitted module against the one below, written as model libraries have it. Keras: the emitted model against
that of keras.applications. ONNX Runtime: our file against torch.onnx.export's of the module below. The two have the
same weights and run in turns, in one process, on the CPU; printed are the medians over the pairs of ours / theirs: at
most 1.03.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from netspec.api import load
from netspec.backend import ExportSettings, find_backend
from netspec.backend.worker import Worker
from netspec.network import Network
from netspec.verify.inputs import biting_weights

SPECS = Path(__file__).parents[1] / "specs"
APPLICATIONS = {"mobilenet-v2": "MobileNetV2", "resnet50": "ResNet50", "inception-v3": "InceptionV3", "vgg16": "VGG16"}
BY_HAND = ("squeezenet-1.1", "resnet50", "vgg16")
BATCHES = (1, 8)
RUNS_S = 10.0
LEAST_PAIRS = 15


def race(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Run two in turns: the seconds of each run, pair by pair."""
    for each in (first, second, first, second):  # the first runs choose kernels and take memory
        each()
    times: tuple[list[float], list[float]] = ([], [])
    begin = perf_counter()
    while perf_counter() - begin < RUNS_S or len(times[0]) < LEAST_PAIRS:
        # Who runs first changes with every pair, so that neither profits from the other's warm caches.
        for index in (0, 1) if len(times[0]) % 2 else (1, 0):
            start = perf_counter()
            (first, second)[index]()
            times[index].append(perf_counter() - start)
    return times


def images(network: Network, batch: int) -> Any:
    """A batch of noise, channels last."""
    return np.random.default_rng(0).normal(size=(batch, *network.input_type.shape)).astype(np.float32)


class Torch:
    """The emitted module and the one written by hand, which takes the same weights in the same order."""

    def race(self, network: Network, weights: Any, batch: int) -> tuple[list[float], list[float]]:
        import torch

        ours = find_backend("torch").model(network, weights)
        theirs = self.by_hand(network, ours)
        given = torch.from_numpy(images(network, batch).transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            torch.testing.assert_close(ours(given).flatten(1), theirs(given).flatten(1), rtol=1e-3, atol=1e-5)
            return race(lambda: ours(given), lambda: theirs(given))

    def export(self, network: Network, weights: Any, path: Path) -> None:
        """torch.onnx.export as its documentation shows it, with a dynamic batch."""
        import torch

        module = self.by_hand(network, find_backend("torch").model(network, weights))
        *spatial, channels = network.input_type.shape
        given, batch = torch.zeros(2, channels, *spatial), {0: torch.export.Dim("batch")}
        options = {"dynamo": True, "dynamic_shapes": (batch,), "external_data": False, "verbose": False}
        torch.onnx.export(module, (given,), str(path), **options)

    def by_hand(self, network: Network, ours: Any) -> Any:
        """The module below that a spec describes, with our module's tensors, which stand in the same order."""
        module = {"squeezenet-1.1": squeezenet, "resnet50": resnet50, "vgg16": vgg16}[network.name]().eval()
        own, given = module.state_dict(), ours.state_dict()
        assert [each.shape for each in own.values()] == [each.shape for each in given.values()]
        module.load_state_dict(dict(zip(own, given.values(), strict=True)))
        return module


class Keras:
    """The emitted model and that of keras.applications, which keeps its variables in the order of its layers."""

    def race(self, network: Network, weights: Any, batch: int) -> tuple[list[float], list[float]]:
        import keras

        ours = find_backend("keras").model(network, weights)
        theirs = getattr(keras.applications, APPLICATIONS[network.name])(weights=None)
        given = keras.ops.convert_to_tensor(images(network, batch))
        return race(lambda: ours.predict_on_batch(given), lambda: theirs.predict_on_batch(given))


class Runtime:
    """ONNX Runtime with both files open."""

    def export(self, network: Network, weights: Any, folder: Path) -> None:
        find_backend("onnx").export(network, weights, folder, ExportSettings())

    def race(self, first: Path, second: Path, network: Network, batch: int) -> tuple[list[float], list[float]]:
        import onnxruntime

        given = images(network, batch).transpose(0, 3, 1, 2).copy()
        sessions = [
            onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"]) for each in (first, second)
        ]
        runs = [lambda each=each: each.run(None, {each.get_inputs()[0].name: given})[0] for each in sessions]
        one, two = (run() for run in runs)
        np.testing.assert_allclose(one.reshape(batch, -1), two.reshape(batch, -1), rtol=1e-3, atol=1e-5)
        return race(*runs)


def squeezenet() -> Any:
    """SqueezeNet 1.1."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Fire(nn.Module):
        def __init__(self, channels: int, squeeze: int, expand: int) -> None:
            super().__init__()
            self.squeeze = nn.Conv2d(channels, squeeze, 1)
            self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
            self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

        def forward(self, x):
            x = functional.relu(self.squeeze(x))
            return torch.cat([functional.relu(self.expand1x1(x)), functional.relu(self.expand3x3(x))], 1)

    def pool() -> Any:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool()),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool(), Fire(256, 48, 192), Fire(384, 48, 192)),
        *(Fire(384, 64, 256), Fire(512, 64, 256), nn.Conv2d(512, 1000, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1)),
    )


def resnet50() -> Any:
    """ResNet-50 whose strides are in the first 1x1 convolution."""
    from torch import nn
    from torch.nn import functional

    def norm(channels: int) -> Any:
        return nn.BatchNorm2d(channels, eps=1.001e-5)

    class Bottleneck(nn.Module):
        def __init__(self, channels: int, filters: int, stride: int) -> None:
            super().__init__()
            if channels != 4 * filters:
                self.shortcut = nn.Sequential(nn.Conv2d(channels, 4 * filters, 1, stride), norm(4 * filters))
            else:
                self.shortcut = nn.Identity()
            self.conv1, self.bn1 = nn.Conv2d(channels, filters, 1, stride), norm(filters)
            self.conv2, self.bn2 = nn.Conv2d(filters, filters, 3, padding=1), norm(filters)
            self.conv3, self.bn3 = nn.Conv2d(filters, 4 * filters, 1), norm(4 * filters)

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)))
            y = functional.relu(self.bn2(self.conv2(y)))
            return functional.relu(self.shortcut(x) + self.bn3(self.conv3(y)))

    layers: list[Any] = [nn.Conv2d(3, 64, 7, 2, 3), norm(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for filters, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Bottleneck(channels, filters, stride if number == 0 else 1))
            channels = 4 * filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000), nn.Softmax(1))


def vgg16() -> Any:
    """VGG-16; between its convolutions and its dense layers the image is flattened row by row, channels last."""
    from torch import nn

    class Flatten(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    layers: list[Any] = []
    channels = 3
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
            channels = filters
        layers.append(nn.MaxPool2d(2))
    head = [nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000), nn.Softmax(1)]
    return nn.Sequential(*layers, Flatten(), *head)


torch_side, keras_side, runtime_side = Torch(), Keras(), Runtime()


def main(names: Sequence[str]) -> None:
    """Measure every network and print a line for each figure."""
    for name in names:
        network = load(SPECS / f"{name}.yaml").network
        weights = biting_weights(network, seed=1)
        if name in APPLICATIONS:
            with _worker("keras_side") as keras:
                for batch in BATCHES:
                    times = keras.call("race", network=network, weights=weights, batch=batch)
                    report(name, f"Keras, batch {batch}", *times)
        if name in BY_HAND:
            _by_hand(network, weights)


def _by_hand(network: Network, weights: Any) -> None:
    with TemporaryDirectory() as folder, _worker("torch_side") as torch, _worker("runtime_side") as runtime:
        for batch in BATCHES:
            times = torch.call("race", network=network, weights=weights, batch=batch)
            report(network.name, f"PyTorch, batch {batch}", *times)
        ours, theirs = Path(folder) / f"{network.name}.onnx", Path(folder) / "theirs.onnx"
        runtime.call("export", network=network, weights=weights, folder=Path(folder))
        torch.call("export", network=network, weights=weights, path=theirs)
        for batch in BATCHES:
            times = runtime.call("race", first=ours, second=theirs, network=network, batch=batch)
            report(network.name, f"ONNX, batch {batch}", *times)


def _worker(side: str) -> Worker:
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return Worker(f"{Path(__file__).stem}:{side}", {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""})


def report(name: str, what: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """One line: the medians, and the median of the ratios of the pairs."""
    ratio = median(one / two for one, two in zip(ours, theirs, strict=True))
    print(
        f"{name:16} {what:17} {median(ours) * 1e3:9.2f} ms {median(theirs) * 1e3:9.2f} ms  ratio {ratio:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:] or ["squeezenet-1.1", "resnet50", "mobilenet-v2", "inception-v3", "vgg16"])
