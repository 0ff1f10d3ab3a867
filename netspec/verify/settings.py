"""The spec's `verify` section."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

HARD = ("ramp", "wide", "zeros", "constant", "large", "tiny", "offset")
"""The inputs beside ordinary ones; `netspec.verify.inputs` makes them."""


class VerifySettings(BaseModel):
    """The spec's `verify` section: what the backends are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    inputs: Annotated[int, Field(ge=1, le=1000, strict=True)] = 3
    """How many random samples are compared, beside the hard ones (a ramp, zeros, a constant; wide, large, tiny and
    offset values)."""
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    """The seed of those samples and of the weights that they are compared with."""

    train_steps: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0
    """How many updates of a training every backend that trains takes in lock-step with the others; 0 for none."""

    levels: Annotated[bool | None, Field(strict=True)] = None
    """Whether the ONNX file is run at every level of ONNX Runtime's optimisation, and not only with all of it; by
    default of a network whose weights are not too large for that (some sixty million)."""

    @property
    def samples(self) -> int:
        """How many samples are compared in all."""
        return self.inputs + len(HARD)
