"""Frozen rows in training: not a bit of them changes, and their BatchNorm computes as it does afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.backend import find_backend
from netspec.compile import compile_spec
from netspec.data.dataset import Dataset, Split
from netspec.errors import BackendError
from netspec.network import Network
from netspec.reference import evaluate
from netspec.spec.load import parse_spec
from netspec.training.settings import TrainSettings
from netspec.verify.inputs import biting_weights

ROWS = """
input: 6x6x3
defaults: {BatchNorm: {momentum: 0.5}}
blocks:
  stem:
    layers:
      - conv: CNN | 4, 3 | prelu | padding=same
      - norm: BatchNorm
layers:
  - old:   stem | - | - | frozen=true
  - deep:  SeparableConv | 6, 3 | ReLU | frozen=true
  - plain: BatchNorm | - | - | frozen=true, scale=false, center=false
  - group: GroupNorm | 2 | - | frozen=true
  - scale: LayerScale | frozen=true
  - new:   stem
  - GlobalAvgPool
  - head:  FNN | 2 | Softmax
"""
OPTIMIZERS = {
    "sgd": {"sgd": {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1, "decay_on": "all"}},
    "adamw": {"adamw": {"learning_rate": 0.05, "weight_decay": 0.1, "decay_on": "all"}},
}


@pytest.fixture(params=["torch", "keras"])
def trainer(request) -> str:
    name: str = request.param
    try:
        find_backend(name)
    except BackendError as error:
        (pytest.fail if request.config.getoption("--require-backends") else pytest.skip)(str(error))
    return name


def network_of(text: str) -> Network:
    return compile_spec(parse_spec(text, "frozen.yaml"))


def samples(network: Network, count: int = 24) -> Split:
    random = np.random.Generator(np.random.Philox(key=[5, 0]))
    images = random.normal(1.0, 2.0, (count, *network.input_type.shape)).astype(np.float32)
    return Split(images, random.integers(0, 2, count))


def train(workers, trainer, network, weights, **settings):
    split = samples(network)
    found, history = workers[trainer].call(
        "train",
        network=network,
        weights=weights,
        dataset=Dataset("made", ("a", "b"), split, split),
        settings=TrainSettings(**{"batch_size": 8, "epochs": 2, "monitor": "loss", **settings}),
        device="cpu",
        progress=lambda event, **values: None,
    )
    return found, history


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_frozen_weights_and_statistics_stay_bit_for_bit(workers, trainer, optimizer):
    network = network_of(ROWS)
    weights = biting_weights(network, seed=1)
    found, _ = train(workers, trainer, network, weights, optimizer=optimizer)
    frozen = {weight.name for node in network.nodes if node.frozen for weight in node.weights}
    assert {"old.norm.mean", "old.norm.var", "plain.var", "old.conv_prelu.alpha", "deep.pointwise"} <= frozen
    changed = {name for name in weights if found[name].tobytes() != weights[name].tobytes()}
    # Everything else has moved: what is trained, and the statistics of the norm that is not frozen.
    assert changed == set(weights) - frozen


def test_the_first_loss_is_that_of_frozen_statistics(workers, trainer):
    # In training as afterwards, so that the loss before the first step is the reference's of the weights as given.
    network = network_of(ROWS.replace("  - new:   stem\n", ""))
    weights = biting_weights(network, seed=2)
    split = samples(network)
    _, [row] = train(workers, trainer, network, weights, batch_size=24, epochs=1)
    outputs = evaluate(network, weights, {"input": split.images})["head"]
    expected = -np.log(outputs[np.arange(len(split)), split.labels]).mean()
    assert row["loss"] == pytest.approx(expected, rel=1e-4)
    thawed = network_of(ROWS.replace("  - new:   stem\n", "").replace("frozen=true", "frozen=false"))
    _, [other] = train(workers, trainer, thawed, weights, batch_size=24, epochs=1)
    assert abs(other["loss"] - expected) > 0.01 * expected  # the batch's own statistics give another


def test_dropout_of_frozen_rows_drops_as_ever(workers, trainer):
    rows = "input: 20\nlayers:\n  - FNN | 8 | ReLU\n  - Dropout | 0.5{}\n  - FNN | 2 | Softmax\n"
    plain, frozen = network_of(rows.format("")), network_of(rows.format(" | - | frozen=true"))
    weights = biting_weights(plain, seed=3)
    with_plain, _ = train(workers, trainer, plain, weights, seed=4)
    with_frozen, _ = train(workers, trainer, frozen, weights, seed=4)
    without, _ = train(workers, trainer, network_of(rows.format("").replace("0.5", "0.0")), weights, seed=4)
    assert all(np.array_equal(with_plain[name], with_frozen[name]) for name in weights)
    assert not all(np.array_equal(with_plain[name], without[name]) for name in weights)


def test_a_network_that_is_frozen_throughout_cannot_train(workers, trainer):
    network = network_of("input: 4\nlayers:\n  - FNN | 2 | Softmax | frozen=true\n")
    with pytest.raises(BackendError, match="frozen has no weights to train"):
        train(workers, trainer, network, biting_weights(network, seed=1))


def test_a_frozen_norm_takes_batches_of_one(workers, trainer):
    network = network_of("input: 4\nlayers:\n  - BatchNorm | - | - | frozen=true\n  - FNN | 2 | Softmax\n")
    weights = biting_weights(network, seed=1)
    found, _ = train(workers, trainer, network, weights, batch_size=1)
    assert np.array_equal(found["batch_norm_1.mean"], weights["batch_norm_1.mean"])
