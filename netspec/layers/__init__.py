"""What each kind of layer means: its arguments, its shape rule, its weights and its cost; one file a family."""

from netspec.layers.activation import Activation, PReLU
from netspec.layers.base import ALIASES, KINDS, NAMES, Alias, Layer, fold, snake
from netspec.layers.conv import Conv, ConvTranspose, DepthwiseConv, SeparableConv
from netspec.layers.dense import Dense
from netspec.layers.dropout import Dropout, SpatialDropout
from netspec.layers.image import Grayscale, Normalize, Rescale, Resize
from netspec.layers.initializer import Initializer
from netspec.layers.merge import Add, Average, Concat, Dot, Maximum, Minimum, Multiply, Subtract
from netspec.layers.norm import BatchNorm, GroupNorm, LayerNorm
from netspec.layers.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from netspec.layers.shape import Crop, Flatten, Permute, Reshape, Upsample, ZeroPad

__all__ = [
    "ALIASES",
    "KINDS",
    "NAMES",
    "Activation",
    "Add",
    "Alias",
    "Average",
    "AvgPool",
    "BatchNorm",
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
    "Initializer",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalize",
    "PReLU",
    "Permute",
    "Rescale",
    "Reshape",
    "Resize",
    "SeparableConv",
    "SpatialDropout",
    "Subtract",
    "Upsample",
    "ZeroPad",
    "fold",
    "snake",
]
