"""What Keras' own layers say to the cases that they can express, in float64: a program of its own.

usage: python -m tests.stock_keras ANSWERS.npz
"""

from __future__ import annotations

import os
import sys

import numpy as np

from netspec.layers import Layer, MaxUnpool
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import LAYER_CASES


def stock(layer: Layer, rank: int):  # noqa: C901 - a table of kinds
    """The Keras layer that a user would write for an unresolved row, or None where Keras has none."""
    import keras
    from keras import layers as k

    def window():
        if not isinstance(layer.padding, str) or (max(layer.stride) > 1 and max(layer.dilation) > 1):
            return None
        strides = layer.stride if len(layer.stride) > 1 else layer.stride[0]
        dilation = layer.dilation if len(layer.dilation) > 1 else layer.dilation[0]
        kernel = layer.kernel if len(layer.kernel) > 1 else layer.kernel[0]
        return {
            "kernel_size": kernel,
            "strides": strides,
            "padding": layer.padding,
            "dilation_rate": dilation,
            "use_bias": layer.bias,
        }

    def pool(name):
        if rank == 3:  # TensorFlow has none in float64
            return None
        if not isinstance(layer.padding, str) or getattr(layer, "count_include_pad", False) or layer.ceil:
            return None
        sizes = [value if len(value) > 1 else value[0] for value in (layer.size, layer.stride)]
        return getattr(k, f"{name}{rank}D")(sizes[0], strides=sizes[1], padding=layer.padding)

    def pads(name, value, argument):
        value = value * rank if len(value) == 1 else value
        return getattr(k, f"{name}{rank}D")(**{argument: value[0] if rank == 1 else value})

    def activation():
        function = layer.function
        if function in ("softmax", "log_softmax"):
            axis = -1 if layer.axis is None else layer.axis
            return k.Lambda(lambda x: getattr(keras.ops, function)(x, axis=axis))
        if function == "leaky_relu":
            return k.LeakyReLU(negative_slope=layer.slope)
        if function in ("elu", "celu"):
            return k.Lambda(lambda x: getattr(keras.ops, function)(x, alpha=layer.alpha or 1.0))
        if function == "gelu":
            return k.Lambda(lambda x: keras.activations.gelu(x, approximate=layer.approximate == "tanh"))
        return k.Activation(function)

    affine = {name: getattr(layer, name, None) for name in ("epsilon", "center", "scale")}
    match layer.kind:
        case "Conv":
            arguments = window()
            return arguments and getattr(k, f"Conv{rank}D")(layer.filters, groups=layer.groups, **arguments)
        # TensorFlow has no unequal strides in float64, Keras no causal depthwise convolution.
        case "DepthwiseConv" if len(set(layer.stride)) == 1 and layer.padding != "causal":
            arguments = window()
            return arguments and getattr(k, f"DepthwiseConv{rank}D")(depth_multiplier=layer.multiplier, **arguments)
        case "SeparableConv" if len(set(layer.stride)) == 1 and layer.padding != "causal":
            arguments = window()
            make = getattr(k, f"SeparableConv{rank}D")
            return arguments and make(layer.filters, depth_multiplier=layer.multiplier, **arguments)
        case "ConvTranspose" if max(layer.dilation) == 1:  # TensorFlow dilates none in float64 on CPUs
            arguments = window()
            extra = layer.output_padding[0] or None
            return arguments and getattr(k, f"Conv{rank}DTranspose")(layer.filters, output_padding=extra, **arguments)
        case "MaxPool":
            return pool("MaxPooling")
        case "AvgPool":
            return pool("AveragePooling")
        case "GlobalMaxPool":
            return getattr(k, f"GlobalMaxPooling{rank}D")(keepdims=layer.keepdims)
        case "GlobalAvgPool":
            return getattr(k, f"GlobalAveragePooling{rank}D")(keepdims=layer.keepdims)
        case "Flatten" if layer.order == "hwc":
            return k.Flatten()
        case "Reshape":
            return k.Reshape(layer.shape)
        case "Identity":
            return k.Identity()
        case "Permute":
            return k.Permute(layer.order)
        case "Pad" if layer.mode != "edge":  # TensorFlow has none
            if layer.mode == "constant" and layer.value == 0:
                return pads("ZeroPadding", layer.padding, "padding")
            value = {"constant_values": layer.value} if layer.mode == "constant" else {}
            around = layer.padding * rank if len(layer.padding) == 1 else layer.padding
            return k.Lambda(lambda x: keras.ops.pad(x, ((0, 0), *around, (0, 0)), mode=layer.mode, **value))
        case "Split":
            return k.Lambda(lambda x: keras.ops.split(x, layer.parts, axis=layer.axis)[layer.index])
        case "AdaptiveMaxPool" if rank < 3:  # TensorFlow has none in float64
            return getattr(k, f"AdaptiveMaxPooling{rank}D")(layer.size if len(layer.size) > 1 else layer.size[0])
        case "AdaptiveAvgPool" if rank < 3:
            return getattr(k, f"AdaptiveAveragePooling{rank}D")(layer.size if len(layer.size) > 1 else layer.size[0])
        case "Crop":
            return pads("Cropping", layer.crop, "cropping")
        case "Upsample":
            size = layer.size * rank if len(layer.size) == 1 else layer.size
            mode = {"interpolation": layer.mode} if rank == 2 else {}
            return getattr(k, f"UpSampling{rank}D")(size[0] if rank == 1 else size, **mode)
        case "Dense":
            return k.Dense(layer.units, use_bias=layer.bias)
        case "BatchNorm":
            return k.BatchNormalization(**affine)
        case "LayerNorm":
            return k.LayerNormalization(axis=list(layer.axis), **affine)
        case "GroupNorm":
            return k.GroupNormalization(groups=layer.groups, **affine)
        case "InstanceNorm":
            return k.GroupNormalization(groups=-1, **affine)
        case "RMSNorm" if layer.scale:
            return k.RMSNormalization(epsilon=layer.epsilon)
        case "Activation":
            return activation()
        case "PReLU":
            return k.PReLU(shared_axes=list(range(1, rank + 1)) or None)
        case "Dropout":
            return k.Dropout(layer.rate)
        case "StochasticDepth":
            return k.Dropout(layer.rate, noise_shape=(None, *(1 for _ in range(rank + 1))))
        case "SpatialDropout":
            return getattr(k, f"SpatialDropout{rank}D")(layer.rate)
        case "Rescale":
            return k.Rescaling(layer.scale, layer.offset)
        case "Normalize":
            size = max(len(layer.mean), len(layer.std))
            mean, std = (values * size if len(values) == 1 else values for values in (layer.mean, layer.std))
            return k.Normalization(
                mean=mean if size > 1 else mean[0], variance=np.square(std) if size > 1 else std[0] ** 2
            )
        case "Grayscale":
            return k.Lambda(keras.ops.image.rgb_to_grayscale)
        case "Resize":
            size = layer.size * 2 if len(layer.size) == 1 else layer.size
            return k.Resizing(*size, interpolation=layer.mode)
    return None


def merged(case) -> np.ndarray:
    """A merge by the stock layer of its name, given a list."""
    import keras

    network = case.network()
    [node] = network.nodes
    inputs = hard_inputs(network, 2, seed=5)
    options = {"Concat": {"axis": getattr(case.layer, "axis", -1)}}.get(case.layer.kind, {})
    if case.layer.kind == "Dot":
        options = {"axes": -1, "normalize": case.layer.normalize}
    layer = getattr(keras.layers, {"Concat": "Concatenate"}.get(case.layer.kind, case.layer.kind))(**options)
    return np.asarray(layer([inputs[name].astype(np.float64) for name in node.inputs]))


def main(path: str) -> None:
    import keras

    keras.config.set_floatx("float64")
    answers = {}
    for case in LAYER_CASES:
        if isinstance(case.layer, MaxUnpool):
            continue  # Keras has none
        if case.others:
            answers[case.id] = merged(case)
            continue
        layer = stock(case.layer, len(case.shape) - 1)
        if layer is None:
            continue
        network = case.network()
        weights, inputs = biting_weights(network, seed=3), hard_inputs(network, 2, seed=5)
        layer.build((None, *case.shape))
        own = [weights[weight.name] for weight in network.weights()]
        layer.set_weights([w.reshape(mine.shape) for w, mine in zip(own, layer.weights, strict=True)])
        answers[case.id] = np.asarray(layer(inputs["input"].astype(np.float64)))
    np.savez(path, **answers)


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    main(sys.argv[1])
