"""The frameworks' own dropout in training, which lock-step replaces by masks: the share that falls, and the scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netspec.layers import Conv, Dense, Dropout, Flatten, SpatialDropout, StochasticDepth
from netspec.training import TrainSettings
from netspec.training.stepping import Batch, State
from tests.cases import chain

COUNT = 200


def outputs_of(learner: Any, network: Any, weights: dict[str, Any]) -> Any:
    """What the loss reads in an update of inputs that are one everywhere."""
    found = learner.call(
        "update",
        network=network,
        settings=TrainSettings.model_validate({"loss": "mean_squared_error"}),
        state=State(weights),
        batches=[Batch({"input": np.ones((COUNT, *network.input_type.shape))}, np.zeros(COUNT, np.int64))],
        rate=1e-3,
        precision="float64",
    )
    return found.outputs


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_drops_values(learner: Any, rate: float) -> None:
    network = chain("drop", (1,), Dense(units=50, bias=False), Dropout(rate=rate))
    outputs = outputs_of(learner, network, {"dense_1.kernel": np.ones((1, 50))})
    np.testing.assert_allclose(np.unique(outputs), [0, 1 / (1 - rate)], rtol=1e-6)
    assert (outputs == 0).mean() == pytest.approx(rate, abs=0.03)
    assert 0 < (outputs == 0).mean(0).min() < (outputs == 0).mean(0).max() < 1


@pytest.mark.parametrize(("layer", "rate"), [(SpatialDropout(rate=0.3), 0.3), (StochasticDepth(rate=0.3), 0.3)])
def test_whole_channels_or_samples_fall_together(learner: Any, layer: Any, rate: float) -> None:
    network = chain("drop", (2, 3, 1), Conv(filters=8, kernel=(1, 1), bias=False), layer, Flatten())
    outputs = outputs_of(learner, network, {"conv_1.kernel": np.ones((1, 1, 1, 8))}).reshape(COUNT, 6, 8)
    np.testing.assert_allclose(np.unique(outputs), [0, 1 / (1 - rate)], rtol=1e-6)
    assert (outputs == outputs[:, :1]).all(), "all places of a channel"
    together = (outputs == outputs[:, :, :1]).all()
    assert together == isinstance(layer, StochasticDepth)
    assert (outputs == 0).mean() == pytest.approx(rate, abs=0.1)
