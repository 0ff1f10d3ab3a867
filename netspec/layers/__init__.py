"""What each kind of layer means: its arguments, its shape rule, its weights and its cost; one file a family."""

from netspec.layers.activation import Activation, PReLU
from netspec.layers.base import ALIASES, KINDS, NAMES, Alias, Layer, fold, snake
from netspec.layers.conv import Conv, ConvTranspose, DepthwiseConv, SeparableConv
from netspec.layers.dense import Dense
from netspec.layers.dropout import Dropout, SpatialDropout, StochasticDepth
from netspec.layers.image import Grayscale, Normalize, Rescale, Resize
from netspec.layers.initializer import Initializer
from netspec.layers.merge import Add, Average, Concat, Dot, Maximum, Minimum, Multiply, Subtract
from netspec.layers.norm import LRN, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LayerScale, RMSNorm
from netspec.layers.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)
from netspec.layers.shape import (
    ChannelShuffle,
    Crop,
    Flatten,
    Identity,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    Slice,
    Split,
    Upsample,
)

__all__ = [
    "ALIASES",
    "KINDS",
    "LRN",
    "NAMES",
    "Activation",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "Add",
    "Alias",
    "Average",
    "AvgPool",
    "BatchNorm",
    "ChannelShuffle",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Crop",
    "Dense",
    "DepthwiseConv",
    "Dot",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Grayscale",
    "GroupNorm",
    "Identity",
    "Initializer",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LayerScale",
    "MaxPool",
    "MaxUnpool",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalize",
    "PReLU",
    "Pad",
    "Permute",
    "PixelShuffle",
    "PixelUnshuffle",
    "RMSNorm",
    "Rescale",
    "Reshape",
    "Resize",
    "SeparableConv",
    "Slice",
    "SpatialDropout",
    "Split",
    "StochasticDepth",
    "Subtract",
    "Upsample",
    "fold",
    "snake",
]
