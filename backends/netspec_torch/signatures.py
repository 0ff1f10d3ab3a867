"""The names that PyTorch has for the arguments that emitted code gives by position."""

from __future__ import annotations

from netspec.codegen.roles import Signatures

SIGNATURES: Signatures = {
    "Conv": ("in_channels", "out_channels", "kernel_size"),
    "ConvTranspose": ("in_channels", "out_channels", "kernel_size"),
    "Linear": ("in_features", "out_features"),
    "BatchNorm": ("num_features",),
    "InstanceNorm": ("num_features",),
    "GroupNorm": ("num_groups", "num_channels"),
    "LayerNorm": ("normalized_shape",),
    "RMSNorm": ("normalized_shape",),
    "PReLU": ("num_parameters",),
    "avg_pool": ("input", "kernel_size", "stride"),
    "max_pool": ("input", "kernel_size", "stride"),
    "adaptive_avg_pool": ("input", "output_size"),
    "adaptive_max_pool": ("input", "output_size"),
    "channel_shuffle": ("input", "groups"),
    "chunk": ("chunks", "dim"),
    "dropout": ("input", "p"),
    "hardtanh": ("input", "min_val", "max_val"),
    "leaky_relu": ("input", "negative_slope"),
    "local_response_norm": ("input", "size"),
    "pad": ("input", "pad"),
    "pixel_shuffle": ("input", "upscale_factor"),
    "pixel_unshuffle": ("input", "downscale_factor"),
    "reshape": ("shape",) * 5,
    "unflatten": ("dim", "sizes"),
}
"""By the function's name, without the number of axes."""
