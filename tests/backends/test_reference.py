"""The reference against what nobody here wrote: stock layers of Keras, functions of PyTorch, operators of ONNX.

Each library answers in a process of its own, in float64, for every case that one of its stock layers expresses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from netspec.reference import evaluate
from netspec.verify.budget import gate, norms, predict
from netspec.verify.compare import compare
from netspec.verify.gates import UNIT
from netspec.verify.inputs import biting_weights, hard_inputs, sample_names
from tests.cases import LAYER_CASES, Case

# Where a stock function computes float64 values with float32 constants, or with another formula on purpose.
INEXACT = {
    ("keras", "activation-gelu"): 1e-8,  # tf.nn.gelu
    ("keras", "activation-leaky_relu"): 1e-8,  # a float32 attribute
    ("keras", "activation-celu"): 1e-7,
    ("keras", "activation-elu"): 1e-7,
    ("keras", "upsample-bilinear"): 1e-6,  # TensorFlow interpolates in float32
    ("keras", "resize-bilinear"): 1e-6,
    ("keras", "rescale"): 1e-7,  # constants cast to float32
    ("keras", "normalize"): 1e-6,
    ("torch", "activation-softplus"): 1e-8,  # linear above 20
    ("torch", "activation-mish"): 1e-8,
    ("onnx", "batch_norm"): 1e-7,  # epsilon is a float32 attribute
    ("onnx", "instance_norm"): 1e-7,
}
# How many cases each library answers, so that a silent gap shows.
ANSWERED = {"keras": 294, "torch": 253, "onnx": 144}


@pytest.mark.parametrize("library", ANSWERED)
def test_stock_layers_agree(library, tmp_path, request):
    if find_spec(library) is None:
        (pytest.fail if request.config.getoption("--require-backends") else pytest.skip)(f"{library} is not installed")
    answers = ask(library, tmp_path / "answers.npz")
    assert len(answers) >= ANSWERED[library]
    wrong = [
        text for case in LAYER_CASES if case.id in answers for text in differences(library, case, answers[case.id])
    ]
    assert not wrong, "\n".join(wrong)


def ask(library: str, path: Path) -> dict[str, np.ndarray]:
    """The library's answers by the names of the cases, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.stock_{library}", str(path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(path))


def granted(reference: np.ndarray, predicted: np.ndarray, leak: float) -> np.ndarray:
    """The gate of float64, or the relative precision that a library loses, carried on as roundings of 2u are."""
    carried = np.maximum(norms(reference), predicted / (2 * UNIT))
    return np.maximum(gate(reference, predicted), leak * carried)


def differences(library: str, case: Case, answer: np.ndarray) -> Iterator[str]:
    """What the library says otherwise."""
    network = case.network()
    weights, inputs = biting_weights(network, seed=3), hard_inputs(network, 2, seed=5)
    reference = evaluate(network, weights, inputs)
    predicted = predict(network, weights, inputs, reference)
    [row] = network.rows
    leak = max(
        (loss for (name, stem), loss in INEXACT.items() if name == library and case.id.startswith(stem)), default=0.0
    )
    found = compare(reference[row.name], answer, granted(reference[row.name], predicted[row.name], leak))
    if found.symptom is not None:
        sample = sample_names(2)[found.sample]
        yield f"{case.id}, {sample}: error {found.error:.2e}, granted {found.granted:.2e}; {found.message}"
