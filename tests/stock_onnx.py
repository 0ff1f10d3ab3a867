"""What ONNX' reference evaluator says to the cases that one operator expresses, in float64: a program of its own.

usage: python -m tests.stock_onnx ANSWERS.npz
"""

from __future__ import annotations

import sys

import numpy as np

from netspec.layers import Layer
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import LAYER_CASES


def operator(layer: Layer, w):  # noqa: C901 - a table of kinds
    """(operator, attributes, weights) for a resolved layer, channels first; None where there is none."""

    def out_in(kernel):
        return np.moveaxis(kernel, (-1, -2), (0, 1))

    def bias(channels):
        return w.get("bias", np.zeros(channels))

    def pads(pairs):
        return [begin for begin, _ in pairs] + [end for _, end in pairs]

    match layer.kind:
        case "Conv":
            own = {
                "pads": pads(layer.pads),
                "strides": layer.stride,
                "dilations": layer.dilation,
                "group": layer.groups,
            }
            return "Conv", own, [out_in(w["kernel"]), bias(layer.filters)]
        case "DepthwiseConv":
            kernel = w["kernel"]
            channels, results = kernel.shape[-2], kernel.shape[-2] * kernel.shape[-1]
            own = {"pads": pads(layer.pads), "strides": layer.stride, "dilations": layer.dilation, "group": channels}
            return "Conv", own, [out_in(kernel.reshape(*kernel.shape[:-2], 1, results)), bias(results)]
        case "ConvTranspose" if min(min(pair) for pair in layer.pads) >= 0:
            own = {"pads": pads(layer.pads), "strides": layer.stride, "dilations": layer.dilation}
            return "ConvTranspose", own, [out_in(w["kernel"]), bias(layer.filters)]
        case "MaxPool" if len(set(layer.size)) == 1 or not any(map(any, layer.pads)):  # else of a wrong shape in 1.23.2
            own = {"pads": pads(layer.pads), "strides": layer.stride, "kernel_shape": layer.size}
            return "MaxPool", {**own, "ceil_mode": int(layer.ceil)}, []
        case "AvgPool" if not layer.ceil:  # else wrong for unequal windows or pads in 1.23.2
            own = {"pads": pads(layer.pads), "strides": layer.stride, "kernel_shape": layer.size}
            return "AveragePool", {**own, "count_include_pad": int(layer.count_include_pad)}, []
        case "BatchNorm":
            ones, zeros = np.ones_like(w["var"]), np.zeros_like(w["var"])
            parts = [w.get("gamma", ones), w.get("beta", zeros), w["mean"], w["var"]]
            return "BatchNormalization", {"epsilon": layer.epsilon}, parts
        case "InstanceNorm" if layer.scale and layer.center:
            return "InstanceNormalization", {"epsilon": layer.epsilon}, [w["gamma"], w["beta"]]
        case "Pad" if layer.mode != "symmetric":
            around = [0, 0, *(begin for begin, _ in layer.padding), 0, 0, *(end for _, end in layer.padding)]
            fill = [np.array(layer.value)] if layer.mode == "constant" else []
            return "Pad", {"mode": layer.mode}, [np.array(around), *fill]
        case "PixelShuffle":
            return "DepthToSpace", {"blocksize": layer.size, "mode": "CRD"}, []
        case "PReLU":
            return "PRelu", {}, [w["alpha"]]
    return None


def main(path: str) -> None:
    import onnx
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    answers = {}
    for case in LAYER_CASES:
        if case.others:
            continue
        network = case.network()
        [node] = network.nodes
        weights, inputs = biting_weights(network, seed=3), hard_inputs(network, 2, seed=5)
        found = operator(node.layer, {name.split(".")[1]: w.astype(np.float64) for name, w in weights.items()})
        if found is None:
            continue
        name, attributes, parts = found
        if name == "PRelu":
            parts = [parts[0].reshape(-1, *(1,) * (len(case.shape) - 1))]
        feeds = {
            "x": np.moveaxis(inputs["input"].astype(np.float64), -1, 1),
            **{f"w{i}": part for i, part in enumerate(parts)},
        }
        graph = helper.make_graph(
            [helper.make_node(name, list(feeds), ["y"], **attributes)],
            case.id,
            [helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None) for name in feeds],
            [helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        [value] = ReferenceEvaluator(model).run(None, feeds)
        answers[case.id] = np.moveaxis(value, 1, -1)
    np.savez(path, **answers)


if __name__ == "__main__":
    main(sys.argv[1])
