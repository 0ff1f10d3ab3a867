"""The derivatives of what the rendered module computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from netspec.training.stepping import Gradients
from netspec_torch.model import arguments, load, make, outputs, to_canonical, to_numpy, to_torch
from netspec_torch.render import render
from netspec_torch.stepping import one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from netspec.network import Network
    from netspec.tensors import Arrays, Weights


def gradients(
    network: Network, weights: Weights, inputs: Arrays, cotangents: Arrays, *, training: bool, rows: bool
) -> Gradients:
    """See `Differentiable.gradients`."""
    with one_thread():
        return _gradients(network, weights, inputs, cotangents, training=training, rows=rows)


def _gradients(
    network: Network, weights: Weights, inputs: Arrays, cotangents: Arrays, *, training: bool, rows: bool
) -> Gradients:
    rendering = render(network, taps=True)
    model = load(make(rendering, "float64"), rendering, weights).train(training)
    given = [argument.requires_grad_() for argument in arguments(network, inputs, torch.float64)]
    results: dict[str, Tensor] = {}

    def tap(row: str, value: Tensor) -> Tensor:
        if rows:
            value = value if value.requires_grad else value.detach().requires_grad_()
            value.retain_grad()
            results[row] = value
        return value

    found = model(*given, tap)
    several = found if isinstance(found, tuple) else (found,)
    along = (torch.from_numpy(to_torch(cotangents[name])).to(torch.float64) for name in network.outputs)
    total = sum((value * each).sum() for value, each in zip(several, along, strict=True))
    assert isinstance(total, torch.Tensor)
    total.backward()
    parameters = dict(model.named_parameters())
    own = {weight.name: (rendering.placements[weight.name], weight) for weight in network.weights() if weight.trainable}
    return Gradients(
        outputs=outputs(network, found),
        weights={
            name: place.recover(to_numpy(_gradient(parameters[place.name])), weight.shape)
            for name, (place, weight) in own.items()
        },
        inputs={name: to_canonical(_gradient(value)) for name, value in zip(network.inputs, given, strict=True)},
        values={row: to_canonical(value, rendering.orders[row]) for row, value in results.items()},
        rows={row: to_canonical(_gradient(value), rendering.orders[row]) for row, value in results.items()},
    )


def _gradient(value: Tensor) -> Tensor:
    """Its gradient, which is zero where the outputs don't depend on it."""
    return torch.zeros_like(value) if value.grad is None else value.grad
