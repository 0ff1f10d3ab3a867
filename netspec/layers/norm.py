"""Normalisation: shift and scale values by their own statistics or by learnt numbers; variances are the biased ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field

from netspec.errors import LayerError, ShapeError
from netspec.layers.base import Inputs, Layer, Size, Weight, axis_index, spatial_input
from netspec.layers.initializer import ONES, ZEROS, Init, Initializer

Epsilon = Annotated[float, Field(gt=0, lt=1)]


class _Norm(Layer):
    """What every normalisation has."""

    epsilon: Epsilon = 1e-3
    """Added to the variance before its square root."""
    center: bool = True
    """Whether a learnt `beta` is added."""
    scale: bool = True
    """Whether the result is multiplied by a learnt `gamma`."""
    gamma_init: Init = ONES
    """Initial values of gamma."""
    beta_init: Init = ZEROS
    """Initial values of beta."""

    def _affine(self, shape: tuple[int, ...]) -> tuple[Weight, ...]:
        gamma = (Weight("gamma", shape, self.gamma_init),) if self.scale else ()
        beta = (Weight("beta", shape, self.beta_init),) if self.center else ()
        return gamma + beta


class BatchNorm(
    # torch's BatchNorm1d takes flat features as well as sequences, so that name asserts nothing.
    _Norm,
    kind="BatchNorm",
    aliases=("BN", "BatchNormalization", "BatchNorm1D"),
    ranks=(2, 3),
):
    """Normalise every channel: by the batch in training, by running statistics afterwards.

    y = gamma * (x - mean) / sqrt(var + epsilon) + beta, the shape stays. In training the batch's biased variance
    normalises, and the running variance takes the unbiased one, n/(n-1) (Ioffe and Szegedy 2015).
    weights: gamma [c], beta [c], and mean [c], var [c], which are not trained
    """

    momentum: Annotated[float, Field(ge=0, le=1)] = 0.99
    """The fraction of the running statistics that one step keeps; torch states the fraction replaced, 1 - momentum, so
    values below a half are refused."""

    def check(self) -> None:
        if self.momentum < 0.5:
            raise LayerError(
                f"momentum={self.momentum:g} would keep only {self.momentum:.0%} of the running statistics each step",
                f"torch's momentum is the fraction replaced; what it calls {self.momentum:g} is "
                f"momentum={1 - self.momentum:g} here",
                "momentum",
            )

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        shape = (inputs[0].channels,)
        statistics = (Weight("mean", shape, ZEROS, trainable=False), Weight("var", shape, ONES, trainable=False))
        return self._affine(shape) + statistics


def _read_axes(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


class LayerNorm(_Norm, kind="LayerNorm", aliases=("LayerNormalization",)):
    """Normalise every sample over its last axis, or over its last axes.

    y = gamma * (x - mean) / sqrt(var + epsilon) + beta, the shape stays (Ba et al. 2016)
    weights: gamma and beta, shaped as the normalised axes
    """

    axis: Annotated[tuple[int, ...], BeforeValidator(_read_axes)] = (-1,)
    """The axes to normalise together: the last one, or several that end with it (0 is the batch, -1 the channels)."""

    def resolve(self, inputs: Inputs) -> Self:
        rank = inputs[0].rank
        axes = tuple(sorted(axis_index(axis, rank) for axis in self.axis))
        if axes != tuple(range(rank - len(axes) + 1, rank + 1)):
            raise ShapeError(
                f"LayerNorm normalises the last axes together, but of the axes 1 to {rank} of {inputs[0]}, "
                f"{', '.join(map(str, axes))} {'is' if len(axes) == 1 else 'are'} not the last",
                hint=f"-1 for the last one, or all of them: {tuple(range(1, rank + 1))}" if rank > 1 else "axis=-1",
                field="axis",
            )
        return self.replace(axis=axes)

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        return self._affine(inputs[0].shape[self.axis[0] - 1 :])


class GroupNorm(_Norm, kind="GroupNorm", aliases=("GroupNormalization",), size=("groups",)):
    """Normalise every sample's channels in contiguous groups, over all positions (Wu and He 2018).

    y = gamma * (x - mean) / sqrt(var + epsilon) + beta, the shape stays
    weights: gamma [c], beta [c]
    """

    groups: Size = 32
    """How many groups the channels are split into."""

    def resolve(self, inputs: Inputs) -> Self:
        if inputs[0].channels % self.groups:
            raise ShapeError(
                f"groups={self.groups} does not divide the {inputs[0].channels} channels of {inputs[0]}",
                hint="GroupNorm | 1 takes all channels together",
                field="groups",
            )
        if inputs[0].size == self.groups:
            raise ShapeError(
                f"GroupNorm normalises every group by itself, but each of the {self.groups} groups of {inputs[0]} has "
                "only one number",
                hint="which is its own mean; LayerNorm normalises over the channels",
                field="groups",
            )
        return self

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        return self._affine((inputs[0].channels,))


class InstanceNorm(_Norm, kind="InstanceNorm", aliases=("InstanceNormalization",), ranks=(1, 2, 3)):
    """Normalise every channel of every sample over its positions, without running statistics (Ulyanov et al. 2016).

    y = gamma * (x - mean) / sqrt(var + epsilon) + beta, the shape stays
    weights: gamma [c], beta [c]
    """

    def resolve(self, inputs: Inputs) -> Self:
        given = spatial_input(self, inputs)
        if given.size == given.channels:
            raise ShapeError(
                f"InstanceNorm normalises every channel over its positions, but its input {given} has only one",
                hint="which is its own mean; LayerNorm normalises over the channels",
            )
        return self

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        return self._affine((inputs[0].channels,))


class RMSNorm(Layer, kind="RMSNorm", aliases=("RMSNormalization",)):
    """Divide the channels at every position by the root of their mean square (Zhang and Sennrich 2019).

    y = gamma * x / sqrt(mean(x^2) + epsilon), the shape stays
    weights: gamma [c]
    """

    epsilon: Epsilon = 1e-6
    """Added to the mean square before its square root."""
    scale: bool = True
    """Whether the result is multiplied by a learnt `gamma`."""
    gamma_init: Init = ONES
    """Initial values of gamma."""

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        return (Weight("gamma", (inputs[0].channels,), self.gamma_init),) if self.scale else ()


class LRN(Layer, kind="LRN", aliases=("LocalResponseNorm", "LocalResponseNormalization"), size=("size",)):
    """Divide every value by a power of the squares of its neighbouring channels (Krizhevsky et al. 2012).

    y = x / (k + alpha / size * sum of x^2 over the `size` channels around it)^beta, the shape stays. Channels that are
    not there count as zero. As in torch, Caffe and ONNX; the paper and TensorFlow call alpha what is alpha / size here.
    """

    synonyms: ClassVar[Mapping[str, str]] = {"bias": "k"}

    size: Size = 5
    """How many channels are summed, itself and as many on either side: an odd number."""
    alpha: Annotated[float, Field(gt=0)] = 1e-4
    """How much the mean square of these channels counts."""
    beta: Annotated[float, Field(gt=0)] = 0.75
    """The power."""
    k: Annotated[float, Field(gt=0)] = 1.0
    """What is added to the sum; the paper has 2."""

    def check(self) -> None:
        if self.size % 2 == 0:
            raise LayerError(
                f"size={self.size} has no channel in its middle", f"{self.size - 1} or {self.size + 1}", "size"
            )


class LayerScale(Layer, kind="LayerScale"):
    """Multiply every channel by a learnt gamma, which is small at first (Touvron et al. 2021).

    y = gamma * x, the shape stays
    weights: gamma [c]
    """

    init: Init = Initializer.model_construct(scheme="constant", value=1e-5)
    """Initial values of gamma."""

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        return (Weight("gamma", (inputs[0].channels,), self.init),)
