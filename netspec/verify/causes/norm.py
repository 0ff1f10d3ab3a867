"""What may be otherwise in normalisations and learnt scales."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netspec.layers import LRN, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LayerScale, RMSNorm
from netspec.reference.norm import in_groups, standardize
from netspec.reference.table import Values
from netspec.verify.causes.hypothesis import Call, Fields, Hypothesis, fields, fitted, instead, with_factor

EPSILONS = (1e-5, 1e-3, 1e-6, 1e-7, 1e-8, 1e-12, 1e-4, 1e-2, 2.0**-23, 2.0**-52, 0.0)
"""What libraries take by default, beside none: torch and ONNX 1e-5, Keras 1e-3, RMSNorm in torch that of the type."""
MOST_COUNTED = 2**20
"""A variance of more values is as good as unbiased."""
OWN = (LayerNorm, GroupNorm, InstanceNorm)
"""Those that compute their moments from what they read."""
ALL = (BatchNorm, *OWN, RMSNorm)
SCALED = (*ALL, LayerScale)


def _epsilons(call: Call) -> Iterator[Fields]:
    yield from ({"epsilon": epsilon} for epsilon in EPSILONS)
    yield {"epsilon": float(np.float32(call.layer.epsilon))}


def _affine(call: Call, normal: Values) -> Values:
    scaled: Values = normal * call.weights.get("gamma", 1.0) + call.weights.get("beta", 0.0)
    return scaled


def _moments(call: Call) -> tuple[Values, tuple[int, ...], Values, Values]:
    """What is read, in groups; the axes of a group; the mean and the variance of each."""
    grouped, axes = in_groups(call.layer, call.x)
    return grouped, axes, grouped.mean(axes, keepdims=True), grouped.var(axes, keepdims=True)


def _unbiased(call: Call) -> Values:
    grouped, axes, mean, _ = _moments(call)
    variance = grouped.var(axes, keepdims=True, ddof=1)
    return _affine(call, ((grouped - mean) / np.sqrt(variance + call.layer.epsilon)).reshape(call.x.shape))


def _outside(call: Call) -> Values:
    if isinstance(call.layer, BatchNorm):
        weights = call.weights
        return _affine(call, (call.x - weights["mean"]) / (np.sqrt(weights["var"]) + call.layer.epsilon))
    if isinstance(call.layer, RMSNorm):
        return _affine(call, call.x / (np.sqrt(np.square(call.x).mean(-1, keepdims=True)) + call.layer.epsilon))
    grouped, _, mean, variance = _moments(call)
    return _affine(call, ((grouped - mean) / (np.sqrt(variance) + call.layer.epsilon)).reshape(call.x.shape))


def _uncentred(call: Call) -> Values:
    grouped, axes = in_groups(call.layer, call.x)
    size = np.sqrt(np.square(grouped).mean(axes, keepdims=True) + call.layer.epsilon)
    return _affine(call, (grouped / size).reshape(call.x.shape))


def _undivided(call: Call) -> Values:
    grouped, _, mean, _ = _moments(call)
    return _affine(call, (grouped - mean).reshape(call.x.shape))


def _of_batch(call: Call) -> Values | None:
    if len(call.x) < 2:
        return None
    return _affine(call, standardize(call.x, tuple(range(call.x.ndim - 1)), call.layer.epsilon))


def _by_variance(call: Call) -> Values:
    weights = call.weights
    return _affine(call, (call.x - weights["mean"]) / (weights["var"] + call.layer.epsilon))


def _by_deviation(call: Call) -> Values:
    """The variance's place holds a standard deviation."""
    return call.weighted(var=np.square(call.weights["var"])).value()


def _bessel(factor: float) -> str:
    """Whether a factor of a variance is n / (n - 1), as between a biased and an unbiased one.

    >>> _bessel(64 / 63)
    ', which is 64 / 63: n / (n - 1), the unbiased one for the biased'
    >>> _bessel(63 / 64)
    ', which is 63 / 64: (n - 1) / n, the biased one for the unbiased'
    >>> _bessel(1.3)
    ''
    """
    larger = max(factor, 1 / factor)
    count = round(larger / (larger - 1)) if larger > 1 else 0
    if not 2 <= count <= MOST_COUNTED or abs(count / (count - 1) - larger) > 1e-3 / count**2:
        return ""
    if factor > 1:
        return f", which is {count} / {count - 1}: n / (n - 1), the unbiased one for the biased"
    return f", which is {count - 1} / {count}: (n - 1) / n, the biased one for the unbiased"


def _interleaved(call: Call) -> Values:
    groups, channels = call.layer.groups, call.x.shape[-1]
    places = np.arange(channels).reshape(-1, groups).T.ravel()
    plain = call.without("gamma", "beta").reading(call.x[..., places]).value()
    return _affine(call, plain[..., np.argsort(places)])


def _groups(call: Call) -> Iterator[Fields]:
    channels = call.node.input_type.channels
    yield from ({"groups": groups} for groups in (1, channels, 32, *range(2, 17)) if not channels % groups)


def _axes(call: Call) -> Iterator[Fields]:
    rank = call.node.input_type.rank
    yield from ({"axis": tuple(range(first, rank + 1))} for first in range(1, rank + 1))
    yield from ({"axis": (axis,)} for axis in range(1, rank + 1))


def _lrn(call: Call) -> Iterator[Fields]:
    yield {"alpha": call.layer.alpha * call.layer.size}
    yield {"alpha": call.layer.alpha / call.layer.size}
    yield {"size": 2 * call.layer.size + 1, "alpha": call.layer.alpha * (2 * call.layer.size + 1) / call.layer.size}
    yield from (
        {"size": size} for size in (2 * call.layer.size + 1, call.layer.size + 2, call.layer.size - 2) if size > 0
    )
    yield from ({"k": value} for value in (1.0, 2.0, 0.0))
    yield from ({"beta": value} for value in (0.75, 0.5, 1.0))


HYPOTHESES: tuple[Hypothesis, ...] = (
    fields(ALL, "another epsilon", _epsilons),
    instead(
        OWN,
        "unbiased variance",
        "the variance is the unbiased one: the squares are divided by n - 1, not by n",
        "(x - m) / sqrt(v * n / (n - 1) + {epsilon})",
        _unbiased,
    ),
    instead(
        ALL,
        "epsilon outside of the root",
        "epsilon is added to the root, not to the variance under it",
        "(x - mean) / (sqrt(var) + {epsilon})",
        _outside,
    ),
    instead(
        BatchNorm,
        "statistics of the batch",
        "the mean and the variance are those of the batch, as in training, not the running ones",
        "gamma * (x - mean of the batch) / sqrt(var of the batch + {epsilon}) + beta",
        _of_batch,
    ),
    instead(
        BatchNorm,
        "divided by the variance",
        "the root of the variance is missing",
        "gamma * (x - mean) / (var + {epsilon}) + beta",
        _by_variance,
    ),
    instead(
        BatchNorm,
        "variance taken for a deviation",
        "the variance is squared, as if it were a standard deviation",
        "gamma * (x - mean) / sqrt(var^2 + {epsilon}) + beta",
        _by_deviation,
    ),
    instead(
        BatchNorm,
        "mean and variance exchanged",
        "the mean stands where the variance belongs, and the variance where the mean does",
        "gamma * (x - var) / sqrt(mean + {epsilon}) + beta",
        lambda call: call.weighted(mean=call.weights["var"], var=call.weights["mean"]),
    ),
    instead(
        BatchNorm,
        "mean not subtracted",
        "the mean is not taken off",
        "gamma * x / sqrt(var + {epsilon}) + beta",
        lambda call: call.weighted(mean=np.zeros_like(call.weights["mean"])),
    ),
    instead(OWN, "mean not subtracted", "the mean is not taken off", "x / sqrt(mean(x^2) + {epsilon})", _uncentred),
    instead(
        OWN, "not divided by the deviation", "only the mean is taken off; nothing is divided by", "x - m", _undivided
    ),
    instead(
        RMSNorm,
        "mean subtracted",
        "the mean is taken off first, as in a LayerNorm",
        "gamma * (x - m) / sqrt(v + {epsilon})",
        lambda call: _affine(call, standardize(call.x, (-1,), call.layer.epsilon)),
    ),
    instead(
        SCALED,
        "gamma missing",
        "nothing is multiplied by gamma",
        "{value}, gamma 1",
        lambda call: _dropped(call, "gamma"),
    ),
    instead(ALL, "beta missing", "beta is not added", "{value}, beta 0", lambda call: _dropped(call, "beta")),
    instead(
        ALL,
        "gamma and beta exchanged",
        "gamma stands where beta belongs, and beta where gamma does",
        "{value}, gamma and beta exchanged",
        lambda call: (
            call.weighted(gamma=call.weights["beta"], beta=call.weights["gamma"])
            if {"gamma", "beta"} <= set(call.weights)
            else None
        ),
    ),
    instead(
        ALL,
        "gamma counted from one",
        "what is multiplied by is 1 + gamma",
        "{value}, 1 + gamma for gamma",
        lambda call: call.weighted(gamma=1 + call.weights["gamma"]),
    ),
    fields(GroupNorm, "other groups", _groups),
    instead(
        GroupNorm,
        "interleaved groups",
        "channel c is in group c mod {groups}, not in the group c // (channels / groups)",
        "{value} over channels c, c + {groups}, c + 2 * {groups}, ...",
        _interleaved,
    ),
    fields(LayerNorm, "other axes", _axes, "it is normalised over other axes"),
    fields(LRN, "another constant of the LRN", _lrn),
    *(fitted(kind, "another epsilon", "epsilon", 1e-14, 1.0) for kind in ALL),
    with_factor(
        BatchNorm,
        "variance by a factor",
        "the variance is {} times what it should be",
        "gamma * (x - mean) / sqrt({} * var + {epsilon}) + beta",
        lambda call, factor: call.weighted(var=factor * call.weights["var"]),
        (1 / 16, 16.0),
        _bessel,
    ),
    *(
        fitted(LRN, "another constant of the LRN", field, *bounds)
        for field, bounds in (("alpha", (1e-8, 1e2)), ("beta", (1e-2, 10.0)), ("k", (1e-4, 1e3)))
    ),
)


def _dropped(call: Call, name: str) -> Values | None:
    if name not in call.weights:
        return None
    neutral = np.ones_like if name == "gamma" else np.zeros_like
    return call.weighted(**{name: neutral(call.weights[name])}).value()
