"""In what numbers a network computes while it trains, and how losses are scaled for the narrowest of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from netspec.training.named import folded

Compute = Literal["float32", "bf16", "fp16"]

SYNONYMS: dict[str, Compute] = {
    "float": "float32",
    "fp32": "float32",
    "bfloat16": "bf16",
    "mixedbfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "mixedfloat16": "fp16",
}

FIRST_SCALE = 2.0**16
"""What the loss is multiplied by at first in fp16, whose smallest normal number is 6e-5."""
GROWTH_STEPS = 2000
"""After so many updates in a row with finite gradients the factor doubles; where they are not finite it halves, and
that update is left out (Micikevicius et al. 2018)."""


def _compute(value: Any) -> Any:
    return SYNONYMS.get(folded(value), value.casefold()) if isinstance(value, str) else value


ComputeName = Annotated[Compute, BeforeValidator(_compute)]
