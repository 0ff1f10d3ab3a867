"""Fully connected layers."""

from __future__ import annotations

from netspec.errors import ShapeError
from netspec.layers.base import Inputs, Layer, Size, Weight
from netspec.layers.initializer import GLOROT, Init, bias_beside
from netspec.tensors import TensorType


class Dense(Layer, kind="Dense", aliases=("FNN", "FC", "Linear", "FullyConnected", "InnerProduct"), size=("units",)):
    """Weighted sums of the last axis: y = x @ kernel + bias.

    [batch, n] -> [batch, units]; more axes are kept where `every_position` asks for it
    weights: kernel [n, units], bias [units]
    """

    units: Size
    """How many sums there are, and so the size of the result's last axis."""
    bias: bool = True
    """Whether a bias is added, before any activation."""
    every_position: bool = False
    """Apply to the last axis of an input that has several; otherwise such an input is taken for a forgotten Flatten."""
    init: Init = GLOROT
    """Initial values of the kernel."""
    bias_init: Init | None = None
    """Initial values of the bias: zeros when not given, or torch's where the kernel asks for `torch_default`."""

    def output(self, inputs: Inputs) -> TensorType:
        given = inputs[0]
        if given.rank > 1 and not self.every_position:
            raise ShapeError(
                f"{self.kind} needs a flat input, but its input is {given}",
                hint=f"put a Flatten row before it ({given} becomes {given.size}), or write every_position=true, "
                f"which takes the {given.channels} channels of every position to {self.units}",
            )
        return TensorType((*given.spatial, self.units))

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        fan_in = inputs[0].channels
        kernel = Weight("kernel", (fan_in, self.units), self.init, fan_in=fan_in)
        init = self.bias_init or bias_beside(self.init)
        return (kernel, Weight("bias", (self.units,), init, fan_in=fan_in)) if self.bias else (kernel,)

    def macs(self, inputs: Inputs, output: TensorType) -> int:
        return inputs[0].channels * output.size
