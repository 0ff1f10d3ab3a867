"""The losses of a spec, and what each reads: logits where the network ends in a Softmax or Sigmoid.

What a loss computes is `netspec.reference.loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from netspec.errors import Problem, SpecError
from netspec.layers import Activation
from netspec.network import Network
from netspec.training.named import Fraction, Named, NotNegative, Positive

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

LossName = Literal[
    "cross_entropy",
    "binary_cross_entropy",
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "kl_divergence",
    "hinge",
    "focal",
    "binary_focal",
]

_WEIGHTED = {"class_weights": (), "mean_over": "count"}
LOSSES: dict[str, dict[str, Any]] = {
    "cross_entropy": {"label_smoothing": 0.0, **_WEIGHTED},
    "binary_cross_entropy": {"label_smoothing": 0.0, **_WEIGHTED},
    "mean_squared_error": _WEIGHTED,
    "mean_absolute_error": _WEIGHTED,
    "huber": {"delta": 1.0, **_WEIGHTED},
    "kl_divergence": {"label_smoothing": 0.0, **_WEIGHTED},
    "hinge": _WEIGHTED,
    "focal": {"gamma": 2.0, "alpha": 0.25, **_WEIGHTED},
    "binary_focal": {"gamma": 2.0, "alpha": 0.25, **_WEIGHTED},
}
FUSED = {
    "cross_entropy": "softmax",
    "kl_divergence": "softmax",
    "focal": "softmax",
    "binary_cross_entropy": "sigmoid",
    "binary_focal": "sigmoid",
}
"""The losses that read logits, with the function that they take off the network's end."""


class Loss(Named):
    """A loss with every option; `netspec.reference.loss` has the formulas."""

    what: ClassVar[str] = "loss"
    choices: ClassVar[Mapping[str, Mapping[str, Any]]] = LOSSES
    field_synonyms: ClassVar[Mapping[str, str]] = {"smoothing": "label_smoothing"}
    # What Keras and PyTorch call each loss, folded; classes given as numbers or one-hot mean the same here.
    synonyms: ClassVar[Mapping[str, str]] = {
        "crossentropyloss": "cross_entropy",
        "categoricalcrossentropy": "cross_entropy",
        "sparsecategoricalcrossentropy": "cross_entropy",
        "softmaxcrossentropy": "cross_entropy",
        "nll": "cross_entropy",
        "nllloss": "cross_entropy",
        "negativeloglikelihood": "cross_entropy",
        "bce": "binary_cross_entropy",
        "bceloss": "binary_cross_entropy",
        "bcewithlogits": "binary_cross_entropy",
        "bcewithlogitsloss": "binary_cross_entropy",
        "mse": "mean_squared_error",
        "mseloss": "mean_squared_error",
        "mae": "mean_absolute_error",
        "l1loss": "mean_absolute_error",
        "huberloss": "huber",
        "kl": "kl_divergence",
        "kldivergence": "kl_divergence",
        "kldiv": "kl_divergence",
        "kldivloss": "kl_divergence",
        "hingeloss": "hinge",
        "focalloss": "focal",
        "categoricalfocalcrossentropy": "focal",
        "sigmoidfocalloss": "binary_focal",
        "binaryfocalcrossentropy": "binary_focal",
    }

    name: LossName = "cross_entropy"
    """`cross_entropy`, `kl_divergence` and `focal` (of a softmax), `binary_cross_entropy` and `binary_focal` (of a
    sigmoid) are computed from what comes before a final Softmax or Sigmoid; `mean_squared_error`,
    `mean_absolute_error`, `huber` and `hinge` from the output as it is. The names of Keras and PyTorch mean the
    same."""
    label_smoothing: Fraction = 0.0
    """How much of each target is spread evenly: over all classes, or over 0 and 1 for binary_cross_entropy."""
    delta: Positive = 1.0
    """`huber`: up to this error the loss is half its square, then it grows evenly."""
    gamma: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    """`focal`, `binary_focal`: the power of how far the prediction is off, which lets easy images count less."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """`focal`: a factor of the whole. `binary_focal`: the factor of outputs that should be 1; of others 1 - alpha."""
    class_weights: tuple[NotNegative, ...] = ()
    """How much the images of each class count, one number a class; alike when not given."""
    mean_over: Literal["count", "weights"] = "count"
    """What the weighted sum over the images is divided by: how many there are (as Keras does), or the sum of their
    weights (as PyTorch does)."""

    @model_validator(mode="after")
    def _weights_count(self) -> Self:
        if self.class_weights and not any(self.class_weights):
            raise ValueError("class_weights are all zero, so nothing would count")
        if self.mean_over == "weights" and not self.class_weights:
            raise ValueError("mean_over: weights needs class_weights, one number a class")
        return self

    @property
    def threshold(self) -> float:
        """Above it a single output means class 1: of a logit, of a probability, or between -1 and 1 for hinge."""
        return 0.0 if self.name in FUSED or self.name == "hinge" else 0.5


def check_loss(network: Network, loss: Loss) -> None:
    """Raise SpecError when a network cannot be trained with this loss."""
    if len(network.inputs) > 1:
        raise _unfit(f"training needs one input, but there are {len(network.inputs)}: {', '.join(network.inputs)}")
    loss_input(network, loss)


def default_loss(network: Network) -> Loss:
    """The loss that suits the network's end, for a spec that names none."""
    last = network.nodes[-1].layer
    sigmoid = isinstance(last, Activation) and last.function == "sigmoid"
    return Loss.model_validate("binary_cross_entropy" if sigmoid else "cross_entropy")


def taken_off(network: Network, loss: Loss) -> str | None:
    """The final `softmax` or `sigmoid` that the loss reads past; raises SpecError as `loss_input` does."""
    return FUSED[loss.name] if loss_input(network, loss) != network.output else None


def loss_input(network: Network, loss: Loss) -> str:
    """The name of the value that the loss is computed from: the logits where it is of a softmax or sigmoid.

    Such a final Softmax or Sigmoid is taken off; an output without either is taken for logits. Raises SpecError when
    the network's end does not suit the loss.
    """
    output, shape = network.output, network.output_type
    if len(network.outputs) > 1 or shape.rank != 1:
        raise _unfit(f"the loss needs one flat output, but there are {len(network.outputs)}, the first {shape}")
    classes = max(shape.size, 2)
    if loss.class_weights and len(loss.class_weights) != classes:
        raise _unfit(f"class_weights has {len(loss.class_weights)} numbers, but there are {classes} classes")
    fused = FUSED.get(loss.name)
    if fused is None:
        return output
    if fused == "softmax" and shape.size == 1:
        other = "binary_focal" if loss.name == "focal" else "binary_cross_entropy"
        raise _unfit(f"{loss.name} needs one output a class, but there is 1", f"loss: {other}, after FNN | 1 | Sigmoid")
    last = next((node for node in network.nodes if node.name == output), None)
    if last is None or not isinstance(last.layer, Activation):
        return output
    function = last.layer.function
    if function == fused:
        around = next(network.holding(last.row), None)
        if around is not None:
            raise _unfit(
                f"the final {function} stands in row {last.row!r}, inside of the block {around.block}",
                f"take it out of the block: a last row `{fused.capitalize()}`, or the activation of one",
            )
        return last.inputs[0]
    if function in FUSED.values():
        other = {"focal": "binary_focal", "binary_focal": "focal"}.get(
            loss.name, "binary_cross_entropy" if function == "sigmoid" else "cross_entropy"
        )
        raise _unfit(
            f"{loss.name} needs a final {fused} or none, but row {last.row!r} ends in {function}",
            f"loss: {other}, or a final {fused.capitalize()}",
        )
    return output


def class_labels(labels: NDArray[Any]) -> NDArray[np.int64]:
    """The classes, int64 [n], of labels that may also be one-hot rows [n, classes], or a column of 0 and 1."""
    import numpy as np

    if labels.ndim == 1:
        return labels.astype(np.int64, copy=False)
    classes = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0]
    return np.asarray(classes, dtype=np.int64)


def loss_targets(labels: NDArray[np.int64], outputs: int) -> NDArray[np.float32]:
    """The labels as the numbers that a loss compares with, float32 [n, outputs].

    One-hot, or 0 and 1 where there is one output. Labels that are one-hot already mean the same.
    """
    import numpy as np

    if labels.ndim == 2:
        return labels.astype(np.float32)
    if outputs == 1:
        return labels[:, np.newaxis].astype(np.float32)
    return np.eye(outputs, dtype=np.float32)[labels]


def _unfit(message: str, hint: str | None = None) -> SpecError:
    return SpecError([Problem(message, hint, "train.loss")])
