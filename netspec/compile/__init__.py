"""Spec -> Network: kinds looked up, fields read, names given, shapes inferred, expectations held against the result."""

from netspec.compile.network import compile_spec

__all__ = ["compile_spec"]
