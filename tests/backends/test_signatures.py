"""The names of arguments that emitted parameters have are those of the frameworks."""

from __future__ import annotations

import json
import subprocess
import sys

import netspec_keras.signatures
import netspec_torch.signatures
import pytest

METHODS = {"chunk", "reshape", "unflatten"}
"""Those of a tensor, which do not tell their signatures."""
TORCH = """
import inspect, json, re, sys
from torch import nn
from torch.nn import functional as F
told = {}
for name in json.load(sys.stdin):
    rooms = [(F, f"_{name}2d"), (F, f"{name}2d"), (F, name)] if name[0].islower() else [(nn, f"{name}2d"), (nn, name)]
    found = next(getattr(room, each) for room, each in rooms if hasattr(room, each))
    if inspect.isbuiltin(found):  # tells its signature in words alone
        told[name] = re.findall(r"[(,]\\s*(\\w+)", found.__doc__.partition("->")[0])
    else:
        told[name] = list(inspect.signature(found).parameters)
print(json.dumps(told))
"""
KERAS = """
import inspect, json, sys
from keras import layers, ops
told = {}
for name in json.load(sys.stdin):
    ranked = name.replace("Transpose", "2DTranspose") if "Transpose" in name else f"{name}2D"
    rooms = [(ops, name)] if name[0].islower() else [(layers, ranked), (layers, name)]
    found = next(getattr(room, each) for room, each in rooms if hasattr(room, each))
    told[name] = list(inspect.signature(found).parameters)
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    ("code", "signatures"),
    [(TORCH, netspec_torch.signatures.SIGNATURES), (KERAS, netspec_keras.signatures.SIGNATURES)],
    ids=["torch", "keras"],
)
def test_arguments_are_called_as_the_framework_calls_them(code, signatures):
    asked = [name for name in signatures if name not in METHODS]
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, input=json.dumps(asked), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert {name: tuple(told[name][: len(signatures[name])]) for name in asked} == {
        name: signatures[name] for name in asked
    }
