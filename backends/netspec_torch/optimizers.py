"""The optimisers of `netspec.reference.optimizer` in PyTorch: torch.optim's own, and plain ones where it has none.

Clipping, decoupled decay and the running mean of the weights hang on the optimiser's step as torch's own hooks, so that
whoever calls `step` gets all of it. They exist only where the settings ask for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from netspec.reference.optimizer import NEWTON_SCHULZ, NEWTON_SCHULZ_EPSILON
from netspec.training.optimizer import Optimizer
from netspec.training.settings import TrainSettings
from netspec.training.stepping import AVERAGE

SLOTS: dict[str, dict[str, str]] = {
    "sgd": {"momentum": "momentum_buffer"},
    "adam": {"mean": "exp_avg", "square": "exp_avg_sq"},
    "adamw": {"mean": "exp_avg", "square": "exp_avg_sq"},
    "rmsprop": {"square": "square_avg", "momentum": "momentum_buffer"},
    "adagrad": {"total": "sum"},
    "adadelta": {"square": "square_avg", "change": "acc_delta"},
    "adamax": {"mean": "exp_avg", "largest": "exp_inf"},
    "nadam": {"mean": "exp_avg", "square": "exp_avg_sq", "product": "mu_product"},
    "lion": {"mean": "exp_avg"},
    "muon": {"momentum": "momentum_buffer", "mean": "exp_avg", "square": "exp_avg_sq"},
}
"""What torch calls each slot in an optimiser's state."""

OWN_DECAY = frozenset({"adam", "adamw"})
"""The optimisers whose decoupled decay is torch's own, as AdamW."""


class Lion(torch.optim.Optimizer):
    """w -= lr * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g (Chen et al. 2023)."""

    def __init__(self, params: Iterable[Any], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch overloads it by the closure
        """One update."""
        for group in self.param_groups:
            beta_1, beta_2 = group["betas"]
            for parameter, gradient, state in moving(self, group):
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                mean = state["exp_avg"]
                parameter.sub_((mean * beta_1).add_(gradient, alpha=1 - beta_1).sign_(), alpha=group["lr"])
                mean.mul_(beta_2).add_(gradient, alpha=1 - beta_2)


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal by Newton-Schulz (Jordan et al. 2024), for groups that are `matrix`; Adam for others.

    torch.optim.Muon takes matrices alone and iterates in bfloat16; this one takes kernels too, as matrices
    [outputs, everything else], and iterates in their own precision.
    """

    def __init__(self, params: Iterable[Any], settings: Optimizer) -> None:
        super().__init__(params, {"lr": settings.learning_rate})
        self.settings = settings

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch overloads it by the closure
        """One update."""
        for group in self.param_groups:
            for parameter, gradient, state in moving(self, group):
                if group["matrix"]:
                    self.orthogonal_step(parameter, gradient, state, group["lr"])
                else:
                    self.adam_step(parameter, gradient, state, group["lr"])

    def orthogonal_step(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], rate: float) -> None:
        """A matrix or a kernel moves by its orthogonal momentum."""
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer, kept = state["momentum_buffer"], self.settings.momentum
        buffer.lerp_(gradient, 1 - kept)
        chosen = gradient.lerp(buffer, kept) if self.settings.nesterov else buffer
        matrix = chosen.reshape(len(chosen), -1)
        rows, columns = matrix.shape
        change = orthogonalised(matrix, self.settings.iterations).reshape(parameter.shape)
        parameter.sub_(change, alpha=rate * max(1.0, rows / columns) ** 0.5)

    def adam_step(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], rate: float) -> None:
        """Everything else moves as with Adam."""
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        state["step"] += 1
        s, t = self.settings, int(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - s.beta_1)
        state["exp_avg_sq"].mul_(s.beta_2).addcmul_(gradient, gradient, value=1 - s.beta_2)
        size = (state["exp_avg_sq"] / (1 - s.beta_2**t)).sqrt_().add_(s.epsilon)
        rate = rate * s.adam_learning_rate / s.learning_rate
        parameter.addcdiv_(state["exp_avg"], size, value=-rate / (1 - s.beta_1**t))


def moving(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Iterable[tuple[Tensor, Tensor, dict[str, Any]]]:
    """The weights of a group that have a gradient, with it and their slots."""
    for parameter in group["params"]:
        if parameter.grad is not None:
            yield parameter, parameter.grad, optimizer.state[parameter]


def orthogonalised(matrix: Tensor, iterations: int) -> Tensor:
    """Nearly the orthogonal matrix nearest to one, by Newton-Schulz; see `netspec.reference.optimizer`."""
    a, b, c = NEWTON_SCHULZ
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / x.norm().clamp(min=NEWTON_SCHULZ_EPSILON)
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def optimizer_of(
    parameters: dict[str, nn.Parameter],
    settings: TrainSettings,
    decayed: Collection[str] = (),
    matrices: Collection[str] = (),
) -> torch.optim.Optimizer:
    """The optimiser of these parameters, with every hyper-parameter said and all that belongs to a step.

    `decayed` and `matrices` are names of parameters: of those that decay, and that muon sees as matrices.
    """
    chosen = settings.optimizer
    own = 0.0 if chosen.decoupled and chosen.name not in OWN_DECAY else chosen.weight_decay
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault((name in decayed, name in matrices), []).append(parameter)
    params = [
        {"params": group, "weight_decay": own if decays else 0.0, "decays": decays, "matrix": matrix}
        for (decays, matrix), group in groups.items()
    ]
    optimizer = _plain(chosen, params, skips=settings.precision == "fp16")
    _add_hooks(optimizer, settings, decoupled=chosen.decoupled and bool(decayed) and chosen.name not in OWN_DECAY)
    return optimizer


def _plain(chosen: Optimizer, params: list[dict[str, Any]], *, skips: bool) -> torch.optim.Optimizer:
    """As torch has it, in one kernel for a weight where there is one, unless GradScaler `skips` updates.

    It would call those kernels nevertheless, with the hooks around them, and SGD's never sets a momentum whose first
    update is left out.
    """
    fused = None if skips else True
    # torch has it for Adagrad on CPUs alone.
    on_cpu = fused if all(each.device.type == "cpu" for group in params for each in group["params"]) else None
    rate, betas, epsilon = chosen.learning_rate, (chosen.beta_1, chosen.beta_2), chosen.epsilon
    match chosen.name:
        case "sgd":
            return torch.optim.SGD(
                params, lr=rate, momentum=chosen.momentum, dampening=0, nesterov=chosen.nesterov, fused=fused
            )
        case "adam" | "adamw":
            kind = torch.optim.AdamW if chosen.decoupled else torch.optim.Adam
            return kind(params, lr=rate, betas=betas, eps=epsilon, amsgrad=False, fused=fused)
        case "rmsprop":
            return torch.optim.RMSprop(
                params, lr=rate, alpha=chosen.rho, eps=epsilon, momentum=chosen.momentum, centered=False
            )
        case "adagrad":
            return torch.optim.Adagrad(
                params, lr=rate, lr_decay=0, initial_accumulator_value=chosen.accumulator, eps=epsilon, fused=on_cpu
            )
        case "adadelta":
            return torch.optim.Adadelta(params, lr=rate, rho=chosen.rho, eps=epsilon)
        case "adamax":
            return torch.optim.Adamax(params, lr=rate, betas=betas, eps=epsilon)
        case "nadam":
            return torch.optim.NAdam(params, lr=rate, betas=betas, eps=epsilon, momentum_decay=chosen.momentum_decay)
        case "lion":
            return Lion(params, lr=rate, betas=betas)
        case "muon":
            return Muon(params, chosen)


def _add_hooks(optimizer: torch.optim.Optimizer, settings: TrainSettings, *, decoupled: bool) -> None:
    """What comes before and after the step, in this order: clipping, decoupled decay; the running mean of weights."""

    @torch.no_grad()
    def clip(optimizer: torch.optim.Optimizer, *__: Any) -> None:
        clip_gradients([parameter.grad for group in optimizer.param_groups for parameter in group["params"]], settings)

    @torch.no_grad()
    def decay(optimizer: torch.optim.Optimizer, *__: Any) -> None:
        for group in optimizer.param_groups:
            for parameter, _, _ in moving(optimizer, group):
                parameter.mul_(1 - group["lr"] * settings.optimizer.weight_decay * group["decays"])

    @torch.no_grad()
    def average(optimizer: torch.optim.Optimizer, *__: Any) -> None:
        for parameter, _, state in (found for group in optimizer.param_groups for found in moving(optimizer, group)):
            if AVERAGE in state:
                state[AVERAGE].mul_(settings.ema).add_(parameter, alpha=1 - settings.ema)
            else:
                state[AVERAGE] = parameter.detach().clone()

    if settings.clip_norm is not None or settings.clip_value is not None:
        optimizer.register_step_pre_hook(clip)
    if decoupled:
        optimizer.register_step_pre_hook(decay)
    if settings.ema:
        optimizer.register_step_post_hook(average)


def clip_gradients(gradients: list[Tensor | None], settings: TrainSettings) -> None:
    """Cut every number off at `clip_value`, or scale all to `clip_norm` where their norm is larger, by c / max(n, c).

    torch.nn.utils.clip_grad_norm_ divides by n + 1e-6 instead. The device is not waited for.
    """
    found = [gradient for gradient in gradients if gradient is not None]
    if settings.clip_value is not None:
        for gradient in found:
            gradient.clamp_(-settings.clip_value, settings.clip_value)
    elif settings.clip_norm is not None:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in found]))
        for gradient in found:
            gradient.mul_(settings.clip_norm / norm.clamp(min=settings.clip_norm))


@contextmanager
def averages(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, every weight that has a running mean is that mean; afterwards it is itself again."""
    means = {parameter: state[AVERAGE] for parameter, state in optimizer.state.items() if AVERAGE in state}
    kept = {parameter: parameter.detach().clone() for parameter in means}
    with torch.no_grad():
        for parameter, mean in means.items():
            parameter.copy_(mean)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, own in kept.items():
                parameter.copy_(own)
