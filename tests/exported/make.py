"""Writes the files of this folder: `small.yaml` by hand in PyTorch and in Keras, through exporters that tests lack.

usage: python tests/exported/make.py torch   (needs torch, onnx and onnxscript)
       python tests/exported/make.py keras   (needs keras on tensorflow, and tf2onnx)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

HERE = Path(__file__).parent
FAULTS: dict[str, dict[str, Any]] = {
    "good": {},
    "epsilon": {"epsilon": 1e-5},
    "padding": {"shifted": True},
    "order": {"turned": True},
    "relu": {"relu": False},
    "two": {"epsilon": 1e-5, "relu": False},
}
"""What is done otherwise than the spec means in each file."""


def with_torch() -> None:
    """A state dict, and ONNX by torch.onnx.export of today, optimised as it does by default and as it is."""
    import torch
    import torch.nn.functional as f
    from torch import nn

    class Net(nn.Module):
        def __init__(self, epsilon: float = 1e-3, shifted: bool = False, turned: bool = False, relu: bool = True):
            super().__init__()
            self.shifted, self.turned, self.relu = shifted, turned, relu
            self.stem = nn.Conv2d(2, 4, 3, padding=1)
            self.stem_norm = nn.BatchNorm2d(4, eps=epsilon)
            self.narrow = nn.Conv2d(4, 3, 1)
            self.one, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=0 if shifted else 1)
            self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8, eps=1e-3))
            self.shortcut = nn.Conv2d(8, 8, 1, 2, bias=False)
            self.head = nn.Linear(32, 5)

        def forward(self, image: Any) -> Any:
            x = f.max_pool2d(f.relu(self.stem_norm(self.stem(image))), 2)
            x = self.narrow(x)
            x = f.relu(x) if self.relu else x
            wide = self.three(f.pad(x, (2, 0, 2, 0)) if self.shifted else x)
            x = torch.cat([f.relu(self.one(x)), f.relu(wide)], 1)
            x = f.relu(self.body(x) + self.shortcut(x))
            x = x.permute(0, 2, 3, 1) if self.turned else x
            return self.head(x.flatten(1)).softmax(1)

    def made(**changed: Any) -> Net:
        torch.manual_seed(1)
        net = Net(**changed)
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.05, 0.5)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.3)
        return net.eval()

    given, batch = torch.randn(2, 2, 8, 8), ({0: torch.export.Dim("n")},)
    torch.save(made().state_dict(), HERE / "torch.pth")
    for name, changed in FAULTS.items():
        for suffix, optimize in (("", True), ("-plain", False)):
            program = torch.onnx.export(
                made(**changed), (given,), dynamo=True, dynamic_shapes=batch, optimize=optimize, verbose=False
            )
            model = program.model_proto
            for each in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
                del each.metadata_props[:]  # where in this script an operator comes from
            (HERE / f"torch-{name}{suffix}.onnx").write_bytes(model.SerializeToString())


def with_keras() -> None:
    """An archive, and ONNX by Keras' own export, which is tf2onnx."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    from keras import layers

    def made(epsilon: float = 1e-3, shifted: bool = False, turned: bool = False, relu: bool = True) -> Any:
        keras.utils.set_random_seed(2)
        given = keras.Input((8, 8, 2), name="picture")
        x = layers.Conv2D(4, 3, padding="same", name="stem")(given)
        x = layers.Activation("relu")(layers.BatchNormalization(epsilon=epsilon)(x))
        x = layers.MaxPooling2D()(x)
        x = layers.Conv2D(3, 1, activation="relu" if relu else None)(x)
        left = layers.Conv2D(4, 1, activation="relu")(x)
        padded = layers.ZeroPadding2D(((2, 0), (2, 0)))(x) if shifted else x
        right = layers.Conv2D(4, 3, padding="valid" if shifted else "same", activation="relu")(padded)
        x = layers.Concatenate()([left, right])
        y = layers.Conv2D(8, 3, strides=2, use_bias=False)(layers.ZeroPadding2D(1)(x))
        y = layers.BatchNormalization()(y)
        x = layers.ReLU()(layers.Add()([y, layers.Conv2D(8, 1, strides=2, use_bias=False)(x)]))
        x = layers.Permute((3, 1, 2))(x) if turned else x
        model = keras.Model(given, layers.Dense(5, activation="softmax", name="chances")(layers.Flatten()(x)))
        random = np.random.default_rng(3)
        for variable in (each for layer in model.layers for each in layer.weights):
            if variable.path.endswith("variance"):
                variable.assign(random.uniform(0.05, 0.5, variable.shape))
            elif variable.path.endswith(("mean", "bias", "beta")):
                variable.assign(random.normal(0, 0.3, variable.shape))
        return model

    made().save(HERE / "keras.keras")
    with ZipFile(HERE / "keras.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(HERE / "keras.keras", "w", ZIP_DEFLATED) as archive:  # as Keras does not
        for name, content in members.items():
            archive.writestr(name, content)
    for name, changed in FAULTS.items():
        model = made(**changed)
        model(np.zeros((1, 8, 8, 2), np.float32))
        model.export(HERE / f"keras-{name}.onnx", format="onnx", verbose=False)


if __name__ == "__main__":
    {"torch": with_torch, "keras": with_keras}[sys.argv[1]]()
