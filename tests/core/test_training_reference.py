"""The reference of training: gradients of losses against finite differences, optimisers against worked examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netspec.reference.loss import LOSSES, loss_and_gradient
from netspec.reference.optimizer import STEPS, averaged, clipped, orthogonalised, penalty_and_gradient, update
from netspec.training import Loss, Optimizer
from netspec.training.loss import LOSSES as NAMES
from netspec.training.optimizer import OPTIMIZERS

LABELS = np.array([0, 2, 1, 2, 0])
WRITTEN: list[Any] = [
    *NAMES,
    {"cross_entropy": {"label_smoothing": 0.2, "class_weights": [1, 0, 3]}},
    {"kl_divergence": {"label_smoothing": 0.2, "class_weights": [1, 0, 3], "mean_over": "weights"}},
    {"binary_cross_entropy": {"label_smoothing": 0.3}},
    {"huber": {"delta": 0.4}},
    {"focal": {"gamma": 1.5, "alpha": 0.7}},
    {"binary_focal": {"gamma": 1, "alpha": 0.7}},
]


def outputs_of(count: int, classes: int) -> np.ndarray:
    return 2 * np.random.default_rng(3).standard_normal((count, classes))


@pytest.mark.parametrize("written", WRITTEN, ids=str)
@pytest.mark.parametrize("classes", [3, 1])
def test_gradients_of_losses_are_finite_differences(written: Any, classes: int) -> None:
    loss = Loss.model_validate(written)
    if classes == 1 and (loss.class_weights or loss.name in ("cross_entropy", "kl_divergence", "focal")):
        loss = loss.model_copy(update={"name": "binary_cross_entropy", "class_weights": (), "mean_over": "count"})
    labels = LABELS if classes == 3 else LABELS % 2
    outputs = outputs_of(5, classes)
    _, gradient = loss_and_gradient(loss, outputs, labels)
    for place in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[place] = 1e-6
        ahead, behind = (loss_and_gradient(loss, outputs + sign * step, labels)[0] for sign in (1, -1))
        assert gradient[place] == pytest.approx((ahead - behind) / 2e-6, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_one_hot_labels_mean_the_same(name: str) -> None:
    loss, outputs = Loss.model_validate(name), outputs_of(5, 3)
    value, gradient = loss_and_gradient(loss, outputs, LABELS)
    other, other_gradient = loss_and_gradient(loss, outputs, np.eye(3)[LABELS])
    assert value == other
    np.testing.assert_array_equal(gradient, other_gradient)


def value(written: Any, outputs: list[list[float]], labels: list[int]) -> float:
    return loss_and_gradient(Loss.model_validate(written), np.array(outputs), np.array(labels))[0]


def test_losses_by_hand() -> None:
    assert set(LOSSES) == set(NAMES)
    third = [[0.0, 0.0, 0.0]]
    assert value("cross_entropy", third, [1]) == pytest.approx(np.log(3))
    assert value({"cross_entropy": {"label_smoothing": 0.3}}, [[0.0, np.log(2), 0.0]], [1]) == pytest.approx(
        -(0.8 * np.log(0.5) + 0.2 * np.log(0.25))
    )
    assert value("kl_divergence", third, [1]) == pytest.approx(np.log(3))
    assert value({"kl_divergence": {"label_smoothing": 0.999}}, third, [1]) == pytest.approx(0, abs=1e-5)
    assert value("binary_cross_entropy", [[0.0], [0.0]], [0, 1]) == pytest.approx(np.log(2))
    assert value("mean_squared_error", [[0.5, 0.0]], [0]) == pytest.approx(0.125)
    assert value("mean_absolute_error", [[0.5, 0.0]], [0]) == pytest.approx(0.25)
    assert value({"huber": {"delta": 0.2}}, [[0.5, 0.1]], [0]) == pytest.approx((0.2 * (0.5 - 0.1) + 0.005) / 2)
    assert value("hinge", [[0.5, -3.0]], [0]) == pytest.approx(0.25)
    assert value({"focal": {"gamma": 2, "alpha": 0.25}}, third, [1]) == pytest.approx(0.25 * (2 / 3) ** 2 * np.log(3))
    assert value("binary_focal", [[0.0], [0.0]], [0, 1]) == pytest.approx((0.75 + 0.25) / 2 * 0.25 * np.log(2))


def test_class_weights_are_divided_by_the_count_or_by_their_sum() -> None:
    outputs, labels = [[1.0, 0.0], [0.0, 0.0]], [0, 1]
    first, second = (value("cross_entropy", [row], [label]) for row, label in zip(outputs, labels, strict=True))
    weighted = {"class_weights": [3, 1]}
    assert value({"cross_entropy": weighted}, outputs, labels) == pytest.approx((3 * first + second) / 2)
    weighted["mean_over"] = "weights"
    assert value({"cross_entropy": weighted}, outputs, labels) == pytest.approx((3 * first + second) / 4)


# Optimisers

W, G = np.array([[1.0, -2.0], [0.5, 4.0]]), np.array([[0.1, -0.3], [0.0, 2.0]])


def moved(written: Any, steps: int = 1, rate: float = 0.1, **options: bool) -> np.ndarray:
    settings, weight, slots = Optimizer.model_validate(written), W, {}
    for t in range(steps):
        weight, slots = update(settings, weight, G, slots, t, rate, **options)
    return weight


def test_first_steps_by_hand() -> None:
    assert set(STEPS) == set(OPTIMIZERS)
    sign = np.sign(G)
    np.testing.assert_allclose(moved("sgd"), W - 0.1 * G)
    np.testing.assert_allclose(moved({"sgd": {"momentum": 0.9}}, 2), W - 0.1 * G - 0.1 * 1.9 * G)
    np.testing.assert_allclose(moved({"sgd": {"momentum": 0.9, "nesterov": True}}), W - 0.1 * 1.9 * G)
    for name in ("adam", "adamw", "adamax"):
        np.testing.assert_allclose(moved(name), W - 0.1 * sign, rtol=1e-6)
    np.testing.assert_allclose(moved({"rmsprop": {"rho": 0.75}}), W - 0.1 * 2 * sign, rtol=1e-4)
    np.testing.assert_allclose(moved("adagrad"), W - 0.1 * sign, rtol=1e-6)
    np.testing.assert_allclose(moved({"adagrad": {"accumulator": 3.0}}), W - 0.1 * G / np.sqrt(3 + G**2), rtol=1e-6)
    np.testing.assert_allclose(moved("adadelta"), W - 0.1 * G * np.sqrt(1e-6 / (0.1 * G**2 + 1e-6)), rtol=1e-12)
    np.testing.assert_allclose(moved("lion"), W - 0.1 * sign)
    # mu_1 and mu_2 of Dozat's schedule, without which the step would be Adam's.
    now, then = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * t)) for t in (1, 2))
    change = (1 - now) / (1 - now) + then * 0.1 / (1 - now * then)
    np.testing.assert_allclose(moved("nadam"), W - 0.1 * change * sign, rtol=1e-5)


def test_decay_is_coupled_or_decoupled() -> None:
    decay = {"weight_decay": 0.5}
    np.testing.assert_allclose(moved({"sgd": decay}, decays=True), W - 0.1 * (G + 0.5 * W))
    np.testing.assert_allclose(
        moved({"sgd": {"momentum": 0.9, "decay": "decoupled", **decay}}, 2, decays=True),
        (W * 0.95 - 0.1 * G) * 0.95 - 0.1 * 1.9 * G,
    )
    np.testing.assert_allclose(moved({"adamw": decay}, decays=True), W * 0.95 - 0.1 * np.sign(G), rtol=1e-6)
    np.testing.assert_allclose(moved({"sgd": decay}), moved("sgd"))


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3)])
def test_newton_schulz_makes_singular_values_about_one(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(1).standard_normal(shape)
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix, 5)
    values = np.diag(left.T @ found @ right.T)
    assert ((values > 0.6) & (values < 1.25)).all()
    np.testing.assert_allclose(found, left * values @ right, atol=1e-12)  # the directions stay


def test_muon_sees_a_kernel_as_outputs_by_everything_else() -> None:
    settings = Optimizer.model_validate({"muon": {"momentum": 0.0, "nesterov": False}})
    gradient = np.random.default_rng(1).standard_normal((2, 1, 3, 8))
    weight, _ = update(settings, np.zeros_like(gradient), gradient, {}, 0, 0.1, matrix=True)
    expected = orthogonalised(gradient.reshape(6, 8).T, 5).T * np.sqrt(8 / 6)
    np.testing.assert_allclose(weight, -0.1 * expected.reshape(gradient.shape))
    other, _ = update(settings, np.zeros(3), np.ones(3), {}, 0, 0.02)
    np.testing.assert_allclose(other, -3e-4, rtol=1e-9)


def test_clipping_is_exact() -> None:
    gradients = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    found = clipped(gradients, 2.0, None)
    np.testing.assert_allclose(found["a"], [1.2, 0.0])
    assert np.sqrt(sum((each**2).sum() for each in found.values())) == pytest.approx(2.0, rel=1e-15)
    assert clipped(gradients, 6.0, None)["b"] == 4.0
    assert clipped(gradients, None, 3.5)["b"] == 3.5
    assert clipped({"a": np.array([-9.0])}, None, 3.5)["a"] == -3.5


def test_running_means_begin_with_the_first_weight() -> None:
    first = averaged(None, W, 0.75)
    np.testing.assert_array_equal(first, W)
    np.testing.assert_allclose(averaged(first, W + 4, 0.75), W + 1)


def test_penalty_is_not_halved() -> None:
    size, gradient = penalty_and_gradient(np.array([2.0, -1.0, 0.0]), 0.1, 0.01)
    assert size == pytest.approx(0.3 + 0.05)
    np.testing.assert_allclose(gradient, [0.1 + 0.04, -0.1 - 0.02, 0.0])
