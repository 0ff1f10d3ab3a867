"""torch's functions with every constant in double precision: what the float64 run is made with.

The backward passes of some take a constant in float32 whatever the precision (torch 2.13): 1/6 of hardsigmoid, which
shows with 3e-8, and 1/alpha of celu, with 1e-8. In float32 torch's own run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


class Functional:
    """`torch.nn.functional`, but for the functions that are not exact."""

    def __getattr__(self, name: str) -> Any:
        return getattr(functional, name)

    @staticmethod
    def hardsigmoid(x: Tensor) -> Tensor:
        """relu6(x + 3) / 6."""
        return functional.relu6(x + 3) / 6

    @staticmethod
    def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
        """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
        return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0) / alpha))
