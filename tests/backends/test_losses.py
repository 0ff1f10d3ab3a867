"""Every loss in every backend that trains, value and gradient, against the reference in float64.

A Dense row without a bias that reads the unit matrix gives its kernel as outputs, so that the gradient of the kernel is
that by the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netspec.layers import Dense
from netspec.reference.loss import loss_and_gradient
from netspec.training import TrainSettings
from netspec.training.loss import LOSSES
from netspec.training.stepping import Batch, State
from tests.cases import chain

COUNT = 6
CASES: list[tuple[Any, int]] = [
    *((name, 3) for name in LOSSES),
    *((name, 1) for name in ("binary_cross_entropy", "mean_squared_error", "huber", "hinge", "binary_focal")),
    ({"cross_entropy": {"label_smoothing": 0.2, "class_weights": [1, 0.5, 3]}}, 3),
    ({"cross_entropy": {"label_smoothing": 0.2, "class_weights": [1, 0.5, 3], "mean_over": "weights"}}, 3),
    ({"binary_cross_entropy": {"label_smoothing": 0.3, "class_weights": [1, 4]}}, 1),
    ({"mean_absolute_error": {"class_weights": [1, 0, 3]}}, 3),
    ({"kl_divergence": {"label_smoothing": 0.1, "class_weights": [1, 0.5, 3]}}, 3),
    ({"huber": {"delta": 0.3, "class_weights": [1, 0.5, 3], "mean_over": "weights"}}, 3),
    ({"hinge": {"class_weights": [1, 4]}}, 1),
    ({"focal": {"gamma": 1.5, "alpha": 0.7, "class_weights": [1, 0.5, 3]}}, 3),
    ({"binary_focal": {"gamma": 3, "alpha": 0.6, "class_weights": [1, 0.5, 3]}}, 3),
]


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize(("written", "outputs"), CASES, ids=str)
def test_a_loss_and_its_gradient(learner: Any, written: Any, outputs: int, one_hot: bool) -> None:
    settings = TrainSettings.model_validate({"loss": written})
    random = np.random.default_rng(outputs)
    kernel, labels = 3 * random.standard_normal((COUNT, outputs)), random.integers(0, max(outputs, 2), COUNT)
    given = labels
    if one_hot:
        given = labels[:, np.newaxis] if outputs == 1 else np.eye(outputs)[labels]
    found = learner.call(
        "update",
        network=chain("loss", (COUNT,), Dense(units=outputs, bias=False)),
        settings=settings,
        state=State({"dense_1.kernel": kernel}),
        batches=[Batch({"input": np.eye(COUNT)}, given)],
        rate=1e-3,
        precision="float64",
    )
    loss, gradient = loss_and_gradient(settings.loss, kernel, labels)
    np.testing.assert_allclose(found.outputs, kernel, rtol=1e-14)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(found.gradients["dense_1.kernel"], gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_far_out_have_a_finite_loss(learner: Any, name: str) -> None:
    """As float32 has them in a training: where a softmax or a sigmoid is 0 or 1."""
    kernel = np.array([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]])
    found = learner.call(
        "update",
        network=chain("far", (2,), Dense(units=3, bias=False)),
        settings=TrainSettings.model_validate({"loss": name}),
        state=State({"dense_1.kernel": kernel.astype(np.float32)}),
        batches=[Batch({"input": np.eye(2, dtype=np.float32)}, np.array([0, 0]))],
        rate=1e-3,
        precision="float32",
    )
    loss, gradient = loss_and_gradient(TrainSettings.model_validate({"loss": name}).loss, kernel, np.array([0, 0]))
    assert found.loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(found.gradients["dense_1.kernel"], gradient, rtol=1e-5, atol=1e-12)
