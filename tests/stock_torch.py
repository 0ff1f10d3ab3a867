"""What PyTorch's own functions say to the cases that they can express, in float64: a program of its own.

usage: python -m tests.stock_torch ANSWERS.npz
"""

from __future__ import annotations

import sys

import numpy as np

from netspec.layers import Layer
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import LAYER_CASES


def symmetric(pads) -> tuple[int, ...] | None:
    return tuple(begin for begin, _ in pads) if all(begin == end for begin, end in pads) else None


def stock(layer: Layer, rank: int, x, w):  # noqa: C901 - a table of kinds
    """A resolved layer's value, channels first, by one stock function; None where torch has none.

    `w` are the weights without the row, in the canonical layout.
    """
    import torch
    import torch.nn.functional as f

    def out_in(kernel):  # [k..., in, out] -> [out, in, k...]
        return kernel.movedim((-1, -2), (0, 1))

    match layer.kind:
        case "Conv" if (pads := symmetric(layer.pads)) is not None:
            own = (layer.stride, pads, layer.dilation, layer.groups)
            return getattr(f, f"conv{rank}d")(x, out_in(w["kernel"]), w.get("bias"), *own)
        case "ConvTranspose" if (pads := symmetric(layer.pads)) is not None:
            own = (layer.stride, pads, 0, 1, layer.dilation)
            return getattr(f, f"conv_transpose{rank}d")(x, out_in(w["kernel"]), w.get("bias"), *own)
        case "MaxPool" if (pads := symmetric(layer.pads)) is not None:
            if all(2 * pad <= size for pad, size in zip(pads, layer.size, strict=True)):
                return getattr(f, f"max_pool{rank}d")(x, layer.size, layer.stride, pads, ceil_mode=layer.ceil)
        case "AvgPool" if (pads := symmetric(layer.pads)) is not None:
            if all(2 * pad <= size for pad, size in zip(pads, layer.size, strict=True)):
                own = {"count_include_pad": layer.count_include_pad, "ceil_mode": layer.ceil}
                return getattr(f, f"avg_pool{rank}d")(x, layer.size, layer.stride, pads, **own)
        case "AdaptiveMaxPool" | "AdaptiveAvgPool":
            return getattr(f, f"adaptive_{layer.kind[8:11].lower()}_pool{rank}d")(x, layer.size)
        case "GlobalMaxPool" if layer.keepdims:
            return getattr(f, f"adaptive_max_pool{rank}d")(x, 1)
        case "GlobalAvgPool" if layer.keepdims:
            return getattr(f, f"adaptive_avg_pool{rank}d")(x, 1)
        case "Dense" if rank == 0:
            return f.linear(x, w["kernel"].T, w.get("bias"))
        case "BatchNorm":
            return f.batch_norm(x, w["mean"], w["var"], w.get("gamma"), w.get("beta"), eps=layer.epsilon)
        case "LayerNorm" if rank == 0:
            return f.layer_norm(x, x.shape[1:], w.get("gamma"), w.get("beta"), layer.epsilon)
        case "GroupNorm":
            return f.group_norm(x, layer.groups, w.get("gamma"), w.get("beta"), layer.epsilon)
        case "InstanceNorm":
            return f.instance_norm(x, weight=w.get("gamma"), bias=w.get("beta"), eps=layer.epsilon)
        case "RMSNorm" if rank == 0:
            return f.rms_norm(x, x.shape[1:], w.get("gamma"), layer.epsilon)
        case "LRN" if rank > 0:
            return f.local_response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)
        case "PReLU":
            return f.prelu(x, w["alpha"])
        case "Pad" if layer.mode != "symmetric":
            mode = {"edge": "replicate"}.get(layer.mode, layer.mode)
            return f.pad(x, [pad for axis in reversed(layer.padding) for pad in axis], mode, layer.value)
        case "Slice":
            return x.narrow(1 if layer.axis == rank + 1 else layer.axis + 1, layer.begin, layer.end - layer.begin)
        case "Split":
            return x.tensor_split(layer.parts, 1 if layer.axis == rank + 1 else layer.axis + 1)[layer.index]
        case "ChannelShuffle" if rank > 0:
            return torch.nn.ChannelShuffle(layer.groups)(x)
        case "PixelShuffle":
            return f.pixel_shuffle(x, layer.size)
        case "PixelUnshuffle":
            return f.pixel_unshuffle(x, layer.size)
        case "Upsample":
            return f.interpolate(x, scale_factor=tuple(map(float, layer.size)), mode=layer.mode)
        case "Resize":
            return f.interpolate(x, size=layer.size, mode={"nearest": "nearest-exact"}.get(layer.mode, layer.mode))
        case "Activation":
            return activation(layer, x)
    return None


def activation(layer: Layer, x):
    import torch.nn.functional as f

    name = {
        "hard_swish": "hardswish",
        "hard_sigmoid": "hardsigmoid",
        "log_sigmoid": "logsigmoid",
        "hard_tanh": "hardtanh",
    }
    match layer.function:
        case "softmax" | "log_softmax":
            axis = 1 if layer.axis == x.ndim - 1 else layer.axis + 1
            return getattr(f, layer.function)(x, dim=axis)
        case "leaky_relu":
            return f.leaky_relu(x, layer.slope)
        case "elu" | "celu":
            return getattr(f, layer.function)(x, layer.alpha)
        case "gelu":
            return f.gelu(x, approximate=layer.approximate)
        case function:
            return getattr(f, name.get(function, function))(x)


def main(path: str) -> None:
    import torch

    answers = {}
    for case in LAYER_CASES:
        if case.others:
            continue
        network = case.network()
        [node] = network.nodes
        weights, inputs = biting_weights(network, seed=3), hard_inputs(network, 2, seed=5)
        own = {name.split(".")[1]: torch.from_numpy(values).double() for name, values in weights.items()}
        x = torch.from_numpy(inputs["input"]).double().movedim(-1, 1).contiguous()
        value = stock(node.layer, len(case.shape) - 1, x, own)
        if value is not None:
            answers[case.id] = value.movedim(1, -1).numpy()
    np.savez(path, **answers)


if __name__ == "__main__":
    main(sys.argv[1])
