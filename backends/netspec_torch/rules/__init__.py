"""How each kind of layer is written in PyTorch; one file a family, filled into one table."""

from netspec_torch.line import rules
from netspec_torch.rules import activation, conv, dense, dropout, image, merge, norm, pool, shape

__all__ = ["activation", "conv", "dense", "dropout", "image", "merge", "norm", "pool", "rules", "shape"]
