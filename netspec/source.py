"""Names and formatting of the Python source that backends emit."""

from __future__ import annotations

import keyword
import re
import subprocess
import sys

from netspec.errors import BackendError

SHADOWED = sys.stdlib_module_names | {"keras", "numpy", "onnx", "safetensors", "tensorflow", "torch"}
"""Modules that a file of their name would hide from the framework that the file imports."""


def module_name(name: str) -> str:
    """The name of a spec as the name of a Python module.

    >>> module_name("cifar10-cnn")
    'cifar10_cnn'
    """
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    if plain in SHADOWED or keyword.iskeyword(plain):
        return f"{plain}_net"
    return plain if plain and not plain[0].isdigit() else f"net_{plain}"


def class_name(name: str) -> str:
    """The name of a spec as the name of a Python class.

    >>> class_name("cifar10-cnn")
    'Cifar10Cnn'
    """
    return "".join(part[:1].upper() + part[1:] for part in module_name(name).split("_"))


def format_source(source: str, line_length: int = 88) -> str:
    """Python source as `ruff format` leaves it, with its defaults and no configuration; raises BackendError."""
    from ruff import find_ruff_bin

    command = [find_ruff_bin(), "format", "--isolated", f"--line-length={line_length}", "--stdin-filename=m.py", "-"]
    done = subprocess.run(command, input=source, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise BackendError(f"ruff could not format the emitted source: {done.stderr.strip()}")
    return done.stdout
