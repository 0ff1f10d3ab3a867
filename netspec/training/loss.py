"""What the loss reads and compares with: logits where the network ends in a Softmax or Sigmoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec.errors import Problem, SpecError
from netspec.layers import Activation
from netspec.network import Network
from netspec.training.settings import LossName, Optimizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FUSED = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}
KERNELS = frozenset({"kernel", "depthwise", "pointwise"})


def loss_input(network: Network, loss: LossName) -> str:
    """The name of the value that the loss is computed from: the logits for the entropies, else the output itself.

    A final Softmax under cross_entropy, or Sigmoid under binary_cross_entropy, is taken off; an output without either
    is taken for logits. Raises SpecError when the network's end does not suit the loss.
    """
    output, shape = network.output, network.output_type
    if len(network.inputs) > 1:
        raise _unfit(f"training needs one input, but there are {len(network.inputs)}: {', '.join(network.inputs)}")
    if len(network.outputs) > 1 or shape.rank != 1:
        raise _unfit(f"the loss needs one flat output, but there are {len(network.outputs)}, the first {shape}")
    if loss == "mean_squared_error":
        return output
    if loss == "cross_entropy" and shape.size == 1:
        raise _unfit(
            "cross_entropy needs one output a class, but there is 1",
            "loss: binary_cross_entropy, after FNN | 1 | Sigmoid",
        )
    last = next((node for node in network.nodes if node.name == output), None)
    if last is None or not isinstance(last.layer, Activation):
        return output
    function = last.layer.function
    if function == FUSED[loss]:
        around = next(network.holding(last.row), None)
        if around is not None:
            raise _unfit(
                f"the final {function} stands in row {last.row!r}, inside of the block {around.block}",
                f"take it out of the block: a last row `{FUSED[loss].capitalize()}`, or the activation of one",
            )
        return last.inputs[0]
    if function in FUSED.values():
        other = next(name for name, fused in FUSED.items() if fused == function)
        raise _unfit(
            f"{loss} needs a final {FUSED[loss]} or none, but row {last.row!r} ends in {function}",
            f"loss: {other}, or a final {FUSED[loss].capitalize()}",
        )
    return output


def loss_targets(labels: NDArray[np.int64], outputs: int) -> NDArray[np.float32]:
    """The labels as the numbers that a loss compares with, float32 [n, outputs].

    One-hot, or 0 and 1 where there is one output. cross_entropy may read the labels themselves, which means the same.
    """
    import numpy as np

    if outputs == 1:
        return labels[:, np.newaxis].astype(np.float32)
    return np.eye(outputs, dtype=np.float32)[labels]


def decayed_weights(network: Network, optimizer: Optimizer) -> frozenset[str]:
    """The canonical names of the weights that `weight_decay` applies to; none when it is 0."""
    if not optimizer.weight_decay:
        return frozenset()
    trained = (weight.name for weight in network.weights() if weight.trainable)
    return frozenset(name for name in trained if optimizer.decay_on == "all" or name.rsplit(".", 1)[-1] in KERNELS)


def _unfit(message: str, hint: str | None = None) -> SpecError:
    return SpecError([Problem(message, hint, "train.loss")])
