"""Preparation of images."""

from __future__ import annotations

from netspec.codegen.source import unless
from netspec.layers import Grayscale, Normalize, Rescale, Resize
from netspec.network import Node
from netspec_keras.steps import Apply, Compute, Realisation, literal, one, rules


@rules(Rescale)
def rescale(layer: Rescale, node: Node) -> Realisation:
    """Scaled, then shifted."""
    return one("Rescaling", layer.scale, offset=unless(layer.offset, 0.0))


@rules(Normalize)
def normalize(layer: Normalize, node: Node) -> Realisation:
    """Fixed statistics; Keras takes the variance, and its layer no standard deviation below its own epsilon."""
    if min(layer.std) >= 1e-6 and max(layer.std) <= 1e6:
        variance = ", ".join(f"{literal(std)}**2" if std != 1 else "1.0" for std in layer.std)
        return Realisation((Apply("Normalization", (f"mean={literal(list(layer.mean))}", f"variance=[{variance}]")),))
    scale = [1 / std for std in layer.std]
    return one("Rescaling", scale, [-mean * factor for mean, factor in zip(layer.mean, scale, strict=True)])


@rules(Grayscale)
def grayscale(layer: Grayscale, node: Node) -> Realisation:
    """Luma; Keras' operation has just these coefficients."""
    return Realisation((Compute("ops.image.rgb_to_grayscale({x})", ("rgb_to_grayscale",)),))


@rules(Resize)
def resize(layer: Resize, node: Node) -> Realisation:
    """Another size, without antialiasing."""
    return one("Resizing", *layer.size, interpolation=unless(layer.mode, "bilinear"))
