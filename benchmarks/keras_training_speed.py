"""What a step of Keras' `fit` costs: our training against plain `fit` of the model as it is written by hand.

    python benchmarks/keras_training_speed.py [--pairs 7] [--on tensorflow jax]

Each pair trains the same synthetic images with either, alternating: the fastest of some epochs, the ratio of each
pair, the median of the ratios. Plain is what everybody writes: `compile` with Keras' Adam, a loss on probabilities and
the accuracy, `fit` with arrays. Both run in float32, on TensorFlow without XLA and on JAX with it, each in a
process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}  # where plain `fit` would go else

import keras
import numpy as np
from netspec_keras.model import make
from netspec_keras.trainer import train
from synthetic import MLP, dataset, images

from netspec.compile import compile_spec
from netspec.data.dataset import Split
from netspec.network import Network
from netspec.spec.load import load_spec, parse_spec
from netspec.training.settings import TrainSettings
from netspec.weights import draw

ROOT = Path(__file__).parents[1]


def ours(network: Network, settings: TrainSettings, split: Split) -> float:
    """Seconds of the fastest epoch but the first, which also compiles."""
    _, history = train(network, draw(network, 0), dataset(split), settings, "cpu", lambda *_, **__: None)
    return min(float(row["seconds"]) for row in history[1:])


class Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.seconds.append(time.monotonic() - self.began)


def plain(network: Network, settings: TrainSettings, split: Split) -> float:
    model, clock, x = make(network, draw(network, 0)), Clock(), split.images.astype(np.float32)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",
    )
    model.fit(
        x,
        split.labels,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        verbose=0,
        validation_data=(x[:32], split.labels[:32]),
        callbacks=[clock],
    )
    return min(clock.seconds[1:])


def main() -> None:
    """Print every ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--on", nargs="+", choices=("tensorflow", "jax"), default=["tensorflow", "jax"])
    arguments = parser.parse_args()
    if arguments.on == [keras.backend.backend()]:
        measure(arguments.pairs)
        return
    for runtime in arguments.on:
        command = [sys.executable, __file__, "--pairs", str(arguments.pairs), "--on", runtime]
        subprocess.run(command, env={**os.environ, "KERAS_BACKEND": runtime}, check=True)


def measure(pairs: int) -> None:
    """The ratios of so many pairs on what Keras runs on here."""
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, CPU")
    mlp = compile_spec(parse_spec(MLP, "mlp.yaml"))
    deep = compile_spec(load_spec(ROOT / "specs" / "mnist-deep-cnn.yaml"))
    for name, network, size, steps in (
        ("small MLP, batch 32", mlp, 32, 250),
        ("mnist-deep-cnn, batch 128", deep, 128, 6),
    ):
        settings = TrainSettings(epochs=5, batch_size=size, schedule="constant")
        split = images(network, size * steps)
        times = [(ours(network, settings, split), plain(network, settings, split)) for _ in range(pairs)]
        ratio = statistics.median(left / right for left, right in times)
        left, right = (statistics.median(side) / steps * 1e3 for side in zip(*times, strict=True))
        print(f"{name}: our fit {left:.3f} ms a step, plain fit {right:.3f} ms, ratio {ratio:.3f} (at most 1.05)")


if __name__ == "__main__":
    main()
