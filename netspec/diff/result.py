"""What was found to differ, as plain values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

How = Literal["added", "removed", "changed"]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="strings")


class Change(_Result):
    """One value that is another on the other side; null where it is not there."""

    path: str
    """What it is: `padding`, `parameters`, `train.epochs`."""
    left: Any
    right: Any


class RowDiff(_Result):
    """A row that only one spec has, or that means something else in the other."""

    row: str
    how: How
    kind: str
    """Its kind of layer, on the left where both have it."""
    changes: tuple[Change, ...]


class SpecDiff(_Result):
    """Two specs, in their resolved meaning."""

    left: str
    right: str
    equal: bool
    totals: tuple[Change, ...]
    """Inputs, outputs, and what the network has in all."""
    rows: tuple[RowDiff, ...]
    sections: tuple[Change, ...]
    """What else the specs say: of data, training, ..."""
    unmet: tuple[str, ...]
    """What a spec expects of its network that it does not meet, with the place."""

    @property
    def differs(self) -> bool:
        """Whether something differs; of specs that is always known."""
        return not self.equal


class TensorDiff(_Result):
    """A tensor that only one file has, or whose numbers are others."""

    tensor: str
    how: How
    left_shape: tuple[int, ...] | None
    right_shape: tuple[int, ...] | None
    changed: int | None
    """How many of its numbers differ; null where the shapes do, or one side has none."""
    most: float | None
    """The largest difference of two numbers."""
    relative: float | None
    """The L2 norm of the difference over that of the left side."""


class OutputDiff(_Result):
    """One output of two models, for the sample in which they are furthest apart."""

    left: str | None
    right: str | None
    """What the files call it; null where one has none."""
    equal: bool
    error: float | None
    """The L2 norm of the difference over that of the left side; null where the shapes differ, or one has none."""
    granted: float | None
    """What rounding may cost there, as measured on both models."""
    sample: str | None


class FileDiff(_Result):
    """Two files."""

    left: str
    right: str
    equal: bool
    aligned: str
    """How tensors were paired: `by name`, `by order and shape`, or `by their numbers`."""
    same: int
    """How many tensors are the same, bit for bit in float32."""
    tensors: tuple[TensorDiff, ...]
    outputs: tuple[OutputDiff, ...] | None
    """What the two compute; null where one of them is weights alone, or could not be run."""
    notes: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether something was found to differ; if they are not equal either, it is not known."""
        return not self.equal and bool(self.tensors or self.outputs)
