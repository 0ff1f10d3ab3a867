"""The rules of the ONNX backend: one for every kind of layer, one file a family."""

from netspec_onnx.graph import rules
from netspec_onnx.rules import activation, conv, dense, dropout, image, merge, norm, pool, shape

__all__ = ["activation", "conv", "dense", "dropout", "image", "merge", "norm", "pool", "rules", "shape"]
