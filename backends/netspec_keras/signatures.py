"""The names that Keras has for the arguments that emitted code gives by position."""

from __future__ import annotations

from netspec.codegen.roles import Signatures

SIGNATURES: Signatures = {
    "Conv": ("filters", "kernel_size"),
    "ConvTranspose": ("filters", "kernel_size"),
    "SeparableConv": ("filters", "kernel_size"),
    "DepthwiseConv": ("kernel_size",),
    "Dense": ("units",),
    "MaxPooling": ("pool_size",),
    "AveragePooling": ("pool_size",),
    "Dropout": ("rate",),
    "SpatialDropout": ("rate",),
    "GroupNormalization": ("groups",),
    "Activation": ("activation",),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "Reshape": ("target_shape",),
    "Permute": ("dims",),
    "ZeroPadding": ("padding",),
    "Cropping": ("cropping",),
    "UpSampling": ("size",),
    "Resizing": ("height", "width"),
    "Rescaling": ("scale", "offset"),
    "pad": ("x", "pad_width"),
    "repeat": ("x", "repeats"),
    "reshape": ("x", "newshape"),
}
"""By the name of the layer or operation, without the number of axes."""
