"""The optimisers: one update of one weight, in float64; what clips gradients before it and averages weights after it.

Where torch.optim has an optimiser, its formula is the meaning. `update` is a pure function: from a weight, its
gradient and its slots (running means and the like, by name) to the next of both. With g the gradient, w the weight, lr
the learning rate and t the update, counted from 1 here. The order of things: the loss with its regulariser, the
gradient, clipping, decay, the step, the running mean of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from netspec.reference.table import Values

if TYPE_CHECKING:
    from netspec.training.optimizer import Optimizer, OptimizerName

    Slots = Mapping[str, Values]
    Step = Callable[[Optimizer, Values, Slots, int, float], tuple[Values, Slots]]
    """(settings, g, slots, t, lr) -> (what is taken off the weight, the new slots)."""

# Keller Jordan's quintic, which lifts every singular value to about 1 (0.7 to 1.2) in five iterations.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_EPSILON = 1e-7


def update(
    settings: Optimizer,
    weight: Values,
    gradient: Values,
    slots: Slots,
    t: int,
    rate: float,
    *,
    decays: bool = False,
    matrix: bool = False,
) -> tuple[Values, Slots]:
    """The weight and its slots after update `t`, counted from 0, with the learning rate `rate`.

    Slots are empty before the first update. `decays` says whether weight_decay applies to this weight, and `matrix`
    whether muon sees it as one, in its canonical layout, whose last axis are the outputs.
    """
    if decays and settings.decoupled:
        weight = weight - rate * settings.weight_decay * weight
    elif decays:
        gradient = gradient + settings.weight_decay * weight
    step = muon if matrix and settings.name == "muon" else STEPS[settings.name]
    slots = slots or {name: np.full(shape or weight.shape, start) for name, shape, start in first(settings, matrix)}
    change, slots = step(settings, gradient, slots, t + 1, rate)
    return weight - change, slots


def first(settings: Optimizer, matrix: bool) -> list[tuple[str, tuple[int, ...] | None, float]]:
    """The slots of a weight before its first update: name, shape where it is not the weight's, value."""
    match settings.name:
        case "sgd":
            return [("momentum", None, 0.0)] if settings.momentum else []
        case "rmsprop":
            return [("square", None, 0.0), *([("momentum", None, 0.0)] if settings.momentum else [])]
        case "adagrad":
            return [("total", None, settings.accumulator)]
        case "adadelta":
            return [("square", None, 0.0), ("change", None, 0.0)]
        case "adamax":
            return [("mean", None, 0.0), ("largest", None, 0.0)]
        case "nadam":
            return [("mean", None, 0.0), ("square", None, 0.0), ("product", (1,), 1.0)]
        case "lion":
            return [("mean", None, 0.0)]
        case "muon" if matrix:
            return [("momentum", None, 0.0)]
        case _:
            return [("mean", None, 0.0), ("square", None, 0.0)]


def sgd(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """b = momentum * b + g; w -= lr * b, or lr * (g + momentum * b) in Nesterov's form."""
    if not slots:
        return lr * g, {}
    b = settings.momentum * slots["momentum"] + g
    return lr * (g + settings.momentum * b if settings.nesterov else b), {"momentum": b}


def adam(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """m = beta_1 * m + (1 - beta_1) * g, v = beta_2 * v + (1 - beta_2) * g^2 (Kingma & Ba 2015, algorithm 1).

    w -= lr / (1 - beta_1^t) * m / (sqrt(v / (1 - beta_2^t)) + epsilon). adamw is the same with decoupled decay
    (Loshchilov & Hutter 2019).
    """
    m = settings.beta_1 * slots["mean"] + (1 - settings.beta_1) * g
    v = settings.beta_2 * slots["square"] + (1 - settings.beta_2) * g**2
    size = np.sqrt(v / (1 - settings.beta_2**t)) + settings.epsilon
    return lr / (1 - settings.beta_1**t) * m / size, {"mean": m, "square": v}


def rmsprop(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """v = rho * v + (1 - rho) * g^2; g / (sqrt(v) + epsilon) goes through a momentum as in sgd; w -= lr * that."""
    v = settings.rho * slots["square"] + (1 - settings.rho) * g**2
    change = g / (np.sqrt(v) + settings.epsilon)
    if "momentum" not in slots:
        return lr * change, {"square": v}
    b = settings.momentum * slots["momentum"] + change
    return lr * b, {"square": v, "momentum": b}


def adagrad(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """s = s + g^2, s being `accumulator` at first; w -= lr * g / (sqrt(s) + epsilon) (Duchi et al. 2011)."""
    total = slots["total"] + g**2
    return lr * g / (np.sqrt(total) + settings.epsilon), {"total": total}


def adadelta(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """v = rho * v + (1 - rho) * g^2, d = sqrt(u + epsilon) / sqrt(v + epsilon) * g, u = rho * u + (1 - rho) * d^2.

    w -= lr * d (Zeiler 2012).
    """
    v = settings.rho * slots["square"] + (1 - settings.rho) * g**2
    d = np.sqrt(slots["change"] + settings.epsilon) / np.sqrt(v + settings.epsilon) * g
    return lr * d, {"square": v, "change": settings.rho * slots["change"] + (1 - settings.rho) * d**2}


def adamax(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """m as in adam, u = max(beta_2 * u, |g| + epsilon); w -= lr / (1 - beta_1^t) * m / u (Kingma & Ba 2015)."""
    m = settings.beta_1 * slots["mean"] + (1 - settings.beta_1) * g
    u = np.maximum(settings.beta_2 * slots["largest"], np.abs(g) + settings.epsilon)
    return lr / (1 - settings.beta_1**t) * m / u, {"mean": m, "largest": u}


def nadam(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """Adam with Nesterov's momentum (Dozat 2016): mu_t = beta_1 * (1 - 0.96^(t * momentum_decay) / 2), m, v as in adam.

    w -= lr * ((1 - mu_t) / (1 - mu_1...mu_t) * g + mu_t+1 / (1 - mu_1...mu_t+1) * m) / (sqrt(v / (1 - beta_2^t)) +
    epsilon). The slot `product` is mu_1...mu_t.
    """
    now, then = (settings.beta_1 * (1 - 0.5 * 0.96 ** (at * settings.momentum_decay)) for at in (t, t + 1))
    product = slots["product"] * now
    m = settings.beta_1 * slots["mean"] + (1 - settings.beta_1) * g
    v = settings.beta_2 * slots["square"] + (1 - settings.beta_2) * g**2
    size = np.sqrt(v / (1 - settings.beta_2**t)) + settings.epsilon
    change = (1 - now) / (1 - product) * g / size + then / (1 - product * then) * m / size
    return lr * change, {"mean": m, "square": v, "product": product}


def lion(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """w -= lr * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g (Chen et al. 2023)."""
    m = slots["mean"]
    change = lr * np.sign(settings.beta_1 * m + (1 - settings.beta_1) * g)
    return change, {"mean": settings.beta_2 * m + (1 - settings.beta_2) * g}


def muon(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """The momentum, made orthogonal (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; torch.optim.Muon).

    b = momentum * b + (1 - momentum) * g; u = g + momentum * (b - g) in Nesterov's form, else b. As a matrix [outputs,
    everything else], u goes through `iterations` of Newton-Schulz; w -= lr * sqrt(max(1, rows / columns)) * u. The
    authors iterate in bfloat16 for speed; here it is the weights' own precision.
    """
    b = slots["momentum"] + (1 - settings.momentum) * (g - slots["momentum"])
    u = g + settings.momentum * (b - g) if settings.nesterov else b
    rows, columns = g.shape[-1], prod(g.shape[:-1])
    orthogonal = orthogonalised(u.reshape(columns, rows).T, settings.iterations)
    return lr * max(1.0, rows / columns) ** 0.5 * orthogonal.T.reshape(g.shape), {"momentum": b}


def muon_others(settings: Optimizer, g: Values, slots: Slots, t: int, lr: float) -> tuple[Values, Slots]:
    """What is no matrix moves as with adam, with `adam_learning_rate`, as muon's authors advise."""
    return adam(settings, g, slots, t, lr * settings.adam_learning_rate / settings.learning_rate)


def orthogonalised(matrix: Values, iterations: int) -> Values:
    """Nearly the orthogonal matrix nearest to one: X = a * X + b * (X X^T) X + c * (X X^T)^2 X, from X / |X|."""
    a, b, c = NEWTON_SCHULZ
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / max(float(np.linalg.norm(wide)), NEWTON_SCHULZ_EPSILON)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


STEPS: Mapping[OptimizerName, Step] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adam,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adamax": adamax,
    "nadam": nadam,
    "lion": lion,
    "muon": muon_others,
}


def clipped(gradients: Mapping[str, Values], norm: float | None, value: float | None) -> dict[str, Values]:
    """All gradients, cut off at a size, or scaled to a norm c where theirs together is larger: g * c / max(|g|, c)."""
    if value is not None:
        return {name: np.clip(gradient, -value, value) for name, gradient in gradients.items()}
    if norm is None:
        return dict(gradients)
    length = float(np.sqrt(sum(float(np.square(gradient).sum()) for gradient in gradients.values())))
    scale = norm / max(length, norm)
    return {name: gradient * scale for name, gradient in gradients.items()}


def averaged(average: Values | None, weight: Values, kept: float) -> Values:
    """The running mean of a weight once it has moved: the first value itself, then kept * mean + (1 - kept) * w."""
    return weight if average is None else kept * average + (1 - kept) * weight


def penalty_and_gradient(weight: Values, l1: float, l2: float) -> tuple[float, Values]:
    """l1 * sum(|w|) + l2 * sum(w^2), and its gradient l1 * sign(w) + 2 * l2 * w."""
    return float(l1 * np.abs(weight).sum() + l2 * np.square(weight).sum()), l1 * np.sign(weight) + 2 * l2 * weight
