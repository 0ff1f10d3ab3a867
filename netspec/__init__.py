"""netspec: a neural network as a table of layers, compiled to PyTorch, Keras and ONNX, and proven equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.api import Model, load

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> object:
    # The API is loaded when it is asked for, so that the command line starts without it.
    if name in ("Model", "load"):
        from netspec import api

        return getattr(api, name)
    raise AttributeError(f"module 'netspec' has no attribute {name!r}")
