"""How each kind of layer is written in Keras; importing this fills the table of rules."""

from netspec_keras.rules import activation, conv, dense, dropout, image, merge, norm, pool, shape
from netspec_keras.steps import rules

__all__ = ["activation", "conv", "dense", "dropout", "image", "merge", "norm", "pool", "rules", "shape"]
