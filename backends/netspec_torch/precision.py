"""In what numbers a network computes while it trains: torch's autocast, and the scaling of losses that fp16 needs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.amp import GradScaler

from netspec.errors import BackendError
from netspec.training.precision import FIRST_SCALE, GROWTH_STEPS, Compute

DTYPES: dict[Compute, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Those that are not the weights' own."""

Forward = Callable[..., Tensor]


def computing_in(precision: Compute, forward: Forward, device: torch.device) -> Forward:
    """A forward pass that computes so, and whose outputs are float32.

    torch's autocast says which operations: products and convolutions do, norms and sums stay float32. Raises
    BackendError where the device cannot.
    """
    if precision == "float32":
        return forward
    dtype = DTYPES[precision]
    check(precision, device)

    def compute(*given: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype):
            return forward(*given).float()

    return compute


def check(precision: Compute, device: torch.device) -> None:
    """Raise BackendError where a device does not compute in this precision."""
    dtype, why = DTYPES[precision], "it has no units for it"
    try:
        if device.type != "cuda" or dtype is torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False):
            square = torch.ones((2, 2), dtype=dtype, device=device)
            _ = square @ square
            return
    except (RuntimeError, TypeError) as error:
        why = str(error)
    raise BackendError(f"torch cannot train in {precision} on {device}: {why}\n  hint: precision: float32")


def scaler_of(precision: Compute, device: torch.device) -> GradScaler | None:
    """What scales the loss, and leaves out updates whose gradients are not finite; none but for fp16.

    It reads from the device whether they are, once an update.
    """
    if precision != "fp16":
        return None
    return GradScaler(device.type, init_scale=FIRST_SCALE, growth_interval=GROWTH_STEPS)
