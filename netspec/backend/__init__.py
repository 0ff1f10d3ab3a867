"""What a backend is, how one is found, and the table of rules that each one fills.

What it gives and takes is in `netspec.tensors`, `stored`, `foreign` and `netspec.training.stepping`.
"""

from netspec.backend.protocol import (
    Backend,
    Differentiable,
    Distributed,
    Importable,
    Movable,
    Optimising,
    Runnable,
    Trainable,
)
from netspec.backend.registry import (
    differentiable_backends,
    find_backend,
    find_backends,
    importers,
    installed_backends,
    openers,
    optimising_backends,
    runners,
)
from netspec.backend.rules import Rules
from netspec.backend.settings import ExportSettings, OnnxExport

__all__ = [
    "Backend",
    "Differentiable",
    "Distributed",
    "ExportSettings",
    "Importable",
    "Movable",
    "OnnxExport",
    "Optimising",
    "Rules",
    "Runnable",
    "Trainable",
    "differentiable_backends",
    "find_backend",
    "find_backends",
    "importers",
    "installed_backends",
    "openers",
    "optimising_backends",
    "runners",
]
