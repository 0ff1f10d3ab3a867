"""The PyTorch model as a whole: rows of a chain against the reference, replaced values, artefacts in stock hands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.errors import BackendError
from netspec.layers import BatchNorm, Conv, Dense, Flatten, GroupNorm, LayerNorm, Normalize, Permute, Rescale, Reshape
from netspec.reference import evaluate
from netspec.verify.budget import budget, predict
from netspec.verify.compare import compare
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.backends.test_torch_render import CROOKED, ROOT, UNCOMMON, branched, compiled
from tests.cases import chain, first

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="pip install 'netspec[torch]'")


def error(found, expected) -> float:
    """The L2 norm of the difference by that of the expected value."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


EXCHANGES = [
    chain("swap", (9, 4), LayerNorm(), Permute(order=(2, 1)), Conv(filters=3, kernel=2), Permute(order=(2, 1))),
    chain(
        "roll", (5, 4, 3), Permute(order=(3, 1, 2)), LayerNorm(), Permute(order=(2, 3, 1)), Conv(filters=2, kernel=2)
    ),
    chain("volume", (5, 4, 3, 2), LayerNorm(), Permute(order=(4, 1, 2, 3)), Conv(filters=3, kernel=2), Flatten()),
]


@pytest.mark.parametrize(
    "network", [CROOKED, UNCOMMON, branched(), compiled("digits-cnn"), *EXCHANGES], ids=lambda network: network.name
)
def test_every_row_of_a_chain(workers, network):
    weights = biting_weights(network, seed=3)
    inputs = first(hard_inputs(network, ordinary=3, seed=4), 3)
    expected = evaluate(network, weights, inputs)
    rows = workers["torch"].call("run", network=network, weights=weights, inputs=inputs, precision="float64")
    assert list(rows) == [row.name for row in network.rows]
    for name, values in rows.items():
        assert values.shape == expected[name].shape
        assert error(values, expected[name]) < 1e-12, name


CHANNELS_LAST = [
    chain("reshaped", (2048,), Reshape(shape=(16, 16, 8)), GroupNorm(groups=4)),
    chain("far", (16, 12, 8), LayerNorm(), Rescale(scale=1.0, offset=1000.0), GroupNorm(groups=4)),
    chain("far-volume", (6, 5, 4, 8), LayerNorm(), Rescale(scale=1.0, offset=1000.0), GroupNorm(groups=2)),
    chain("far-sequence", (64, 8), LayerNorm(), Rescale(scale=1.0, offset=1000.0), GroupNorm(groups=2)),
]


@pytest.mark.parametrize("network", CHANNELS_LAST, ids=lambda network: network.name)
def test_a_group_norm_keeps_its_digits_where_channels_lie_last(workers, network):
    """torch's own kernel for that memory loses them at a mean of 1000."""
    weights = biting_weights(network, seed=3)
    inputs = hard_inputs(network, ordinary=2, seed=4)
    expected = evaluate(network, weights, inputs)
    predicted = predict(network, weights, inputs, expected)
    rows = workers["torch"].call("run", network=network, weights=weights, inputs=inputs, precision="float32")
    for name, values in rows.items():
        found = compare(expected[name], values, budget(expected[name], predicted[name]))
        assert found.symptom is None, f"{name}: error {found.error:.2e}, granted {found.granted:.2e}"


def test_a_fed_value_replaces_the_row(workers):
    network = CROOKED
    weights = biting_weights(network, seed=3)
    inputs = first(hard_inputs(network, ordinary=2, seed=4), 2)
    call = {"network": network, "weights": weights, "inputs": inputs, "precision": "float64"}
    plain = workers["torch"].call("run", **call)
    names = list(plain)
    place = names.index("layer_norm_2")  # its value stands channels last in torch
    given = np.random.default_rng(5).standard_normal(plain["layer_norm_2"].shape)
    fed = workers["torch"].call("run", **call, feed={"layer_norm_2": given})
    for name in names[: place + 1]:
        assert np.array_equal(fed[name], plain[name]), "what the row computes is recorded before it is replaced"
    for name in names[place + 1 :]:
        assert not np.array_equal(fed[name], plain[name]), name
    again = workers["torch"].call("run", **call, feed={"layer_norm_2": plain["layer_norm_2"]})
    assert all(np.array_equal(again[name], plain[name]) for name in names)
    with pytest.raises(BackendError, match=r"no rows \['nowhere'\]"):
        workers["torch"].call("run", **call, feed={"nowhere": given})


STOCK = """
import sys
sys.modules["netspec"] = sys.modules["netspec_torch"] = None  # cannot be imported
import importlib, numpy, torch
from safetensors.torch import load_file
sys.path.insert(0, "{folder}")
module = importlib.import_module("{module}")
model = module.{name}()
print(model.load_state_dict(load_file("{folder}/weights.safetensors")))
model.eval()
with torch.no_grad():
    out = model(torch.from_numpy(numpy.load("{folder}/input.npy")))
numpy.save("{folder}/output.npy", out.numpy())
"""


@pytest.mark.parametrize("network", [CROOKED, compiled("digits-cnn")], ids=lambda network: network.name)
def test_artefacts_run_where_netspec_is_not(workers, network, tmp_path: Path):
    weights = biting_weights(network, seed=3)
    inputs = first(hard_inputs(network, ordinary=3, seed=4), 3)
    worker = workers["torch"]
    source, state = worker.call("export", network=network, weights=weights, folder=tmp_path, settings=ExportSettings())
    assert (source, state) == (f"{network.name.replace('-', '_')}.py", "weights.safetensors")
    np.save(tmp_path / "input.npy", np.ascontiguousarray(np.moveaxis(inputs["input"], -1, 1)))
    name = "".join(part.capitalize() for part in network.name.split("-"))
    program = STOCK.format(folder=tmp_path, module=source.removesuffix(".py"), name=name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    assert "All keys matched" in done.stdout
    expected = evaluate(network, weights, inputs)[network.rows[-1].name]
    assert error(np.load(tmp_path / "output.npy"), expected) < 1e-4
    [(name, values)] = worker.call("run_artefact", folder=tmp_path, network=network, inputs=inputs).items()
    assert name == source
    assert error(values["output"], np.load(tmp_path / "output.npy")) < 1e-6


def test_new_weights_beside_the_same_source_are_read(workers, tmp_path: Path):
    """As a training of one's own leaves them, after the file was run in the same process."""
    worker, folders = workers["torch"], [tmp_path / name for name in ("one", "other")]
    network = CROOKED
    inputs = first(hard_inputs(network, ordinary=3, seed=4), 3)
    for seed, folder in enumerate(folders):
        call = {"weights": biting_weights(network, seed=seed), "folder": folder, "settings": ExportSettings()}
        source, state = worker.call("export", network=network, **call)

    def outputs(folder: Path):
        return worker.call("predict_artefact", file=folder / source, network=network, inputs=inputs)["output"]

    before = outputs(folders[0])
    shutil.copy(folders[1] / state, folders[0] / state)
    after = outputs(folders[0])
    assert not np.array_equal(after, before)
    assert np.array_equal(after, outputs(folders[1]))


def test_predict_is_the_whole_output_in_pieces(workers):
    network = chain(
        "wide", (64, 64, 8), Conv(filters=64, kernel=3), Conv(filters=2, kernel=3), Flatten(), Dense(units=3)
    )
    weights = biting_weights(network, seed=3)
    inputs = np.random.default_rng(6).integers(0, 255, (300, 64, 64, 8), dtype=np.uint8)
    worker = workers["torch"]
    found = worker.call("predict", network=network, weights=weights, inputs={"input": inputs})["output"]
    assert (found.shape, found.dtype) == ((300, 3), np.float32)
    last = {"input": inputs[297:].astype(np.float32)}
    expected = worker.call("run", network=network, weights=weights, inputs=last, precision="float64")["dense_1"]
    assert error(found[297:], expected) < 1e-5


def test_state_that_is_no_weight(workers, tmp_path: Path):
    """Constants are neither saved nor counted, and torch's own counter is saved but not counted."""
    from safetensors.numpy import load_file

    network = chain("state", (5, 4, 3), Normalize(mean=(1.0, 2.0, 3.0)), BatchNorm(center=False))
    weights = biting_weights(network, seed=3)
    call = {"network": network, "folder": tmp_path}
    workers["torch"].call("export", **call, weights=weights, settings=ExportSettings())
    state = load_file(tmp_path / "weights.safetensors")
    assert set(state) == {
        f"batch_norm_1.{name}" for name in ("weight", "running_mean", "running_var", "num_batches_tracked")
    }
    assert workers["torch"].call("counts", **call) == {"batch_norm_1": (3, 6)}


def test_weights_of_another_network_are_refused(workers, tmp_path: Path):
    network, other = chain("one", (4,), Dense(units=2)), chain("one", (4,), Dense(units=2, bias=False))
    weights = biting_weights(network, seed=3)
    workers["torch"].call("export", network=network, weights=weights, folder=tmp_path, settings=ExportSettings())
    with pytest.raises(BackendError, match=r"dense_1\.bias"):
        workers["torch"].call("read_weights", network=other, folder=tmp_path)


def test_model_is_a_module_in_evaluation_mode():
    program = (
        "import numpy, torch\n"
        "from netspec_torch import backend\n"
        "from netspec.layers import Dense, Dropout\n"
        "from tests.cases import chain, first\n"
        "network = chain('m', (3,), Dropout(rate=0.9), Dense(units=2))\n"
        "weights = {'dense_1.kernel': numpy.arange(6, dtype='f4').reshape(3, 2), 'dense_1.bias': numpy.ones(2, 'f4')}\n"
        "model = backend.model(network, weights)\n"
        "assert isinstance(model, torch.nn.Module) and not model.training\n"
        "print(model(torch.tensor([[1.0, 2.0, 3.0]])).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[[17.0, 23.0]]", done.stderr


def test_the_attributes_of_a_module_are_known():
    program = (
        "import torch\n"
        "from netspec.codegen.variants import MODULE_ATTRIBUTES\n"
        "names = {*dir(torch.nn.Module), *vars(torch.nn.Module())}\n"
        "print(sorted(name for name in names - MODULE_ATTRIBUTES if not name.startswith('_')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stderr
