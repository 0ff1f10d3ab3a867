"""The Python source that backends emit: its names, its prose, its formatting, and how it is imported."""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import shorten, wrap
from types import ModuleType

from netspec.errors import BackendError
from netspec.layers import Activation
from netspec.network import Network, Node
from netspec.tensors import Order

LINE_LENGTH = 88
"""How long the lines of emitted source are at most: what `ruff format` takes when nothing is said."""

# What the frameworks import while they are imported, and a few that they import later; a test compares.
FRAMEWORK_MODULES = frozenset({
    "absl", "astunparse", "certifi", "charset_normalizer", "cloudpickle", "cycler", "cython_runtime", "datasets",
    "dateutil", "dill", "filelock", "flatbuffers", "fsspec", "gast", "google", "grpc", "h5py", "huggingface_hub",
    "idna", "jax", "jaxlib", "jinja2", "joblib", "keras", "kiwisolver", "libclang", "markdown_it", "markupsafe",
    "matplotlib", "mdurl", "ml_dtypes", "mpl_toolkits", "mpmath", "namex", "narwhals", "netspec", "networkx", "numpy",
    "onnx", "onnx_ir", "onnxruntime", "opt_einsum", "optree", "packaging", "pandas", "pyarrow", "pybind11_abseil",
    "pygments", "pyparsing", "requests", "rich", "safetensors", "scipy", "six", "sklearn", "sympy", "tensorboard",
    "tensorflow", "termcolor", "threadpoolctl", "torch", "torchgen", "tqdm", "triton", "typing_extensions", "urllib3",
    "wrapt", "yaml",
})  # fmt: skip
SHADOWED = sys.stdlib_module_names | FRAMEWORK_MODULES
"""Modules that a file of their name would hide from the framework that the file imports."""

HEADS = ("softmax", "sigmoid")
"""Functions that training computes together with the loss, so that what the last of them reads stays at hand."""
KINDS_OF_INPUT = {1: "Features", 2: "Sequence", 3: "Image", 4: "Volume"}


def module_name(name: str) -> str:
    """The name of a spec as the name of a Python module.

    >>> module_name("cifar10-cnn"), module_name("rich"), module_name("3d")
    ('cifar10_cnn', 'rich_net', 'net_3d')
    """
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    if plain in SHADOWED or keyword.iskeyword(plain):
        return f"{plain}_net"
    return plain if plain and not plain[0].isdigit() else f"net_{plain}"


def class_name(name: str) -> str:
    """The name of a spec as the name of a Python class.

    >>> class_name("cifar10-cnn"), class_name("none")
    ('Cifar10Cnn', 'NoneNet')
    """
    found = "".join(part[:1].upper() + part[1:] for part in module_name(name).split("_"))
    return f"{found}Net" if keyword.iskeyword(found) else found


def plain_text(text: str) -> str:
    """Anybody's text on one line that ends no docstring and no comment, and that no tool reads as an order.

    >>> plain_text('a "quoted" # noqa')
    "a 'quoted' noqa"
    """
    printable = "".join(letter if letter.isprintable() and letter != "#" else " " for letter in text)
    return " ".join(printable.split()).replace("\\", "/").replace('"', "'")


def row_comment(row: str, text: str) -> str:
    """A comment that quotes a row as it was written, shortened where it would not fit on a line of a method.

    The name stands there once, though a table has it in a cell, and a mapping before it.

    >>> row_comment("conv1", "conv1 | CNN  | 64, 7x7 | stride=2 |")
    '# conv1: CNN | 64, 7x7 | stride=2'
    """
    text = text.strip().strip("|").strip()
    for sign in ("|", ":"):
        first, found, rest = text.partition(sign)
        if found and first.strip() == row:
            text = rest.strip()
    return shorten(f"# {row}: {plain_text(text)}", LINE_LENGTH - 8, placeholder=" ...")


def head(network: Network) -> Node | None:
    """The final softmax or sigmoid, when there is one, something before it, and no block around it."""
    last = network.nodes[-1] if len(network.nodes) > 1 else None
    if last is None or network.results != {last.name} or not isinstance(last.layer, Activation):
        return None
    if any(network.holding(last.row)):
        return None
    return last if last.layer.function in HEADS else None


def file_docstring(network: Network, framework: str, usage: str) -> str:
    """The docstring of an emitted file; `usage` is what it says after the name and what the spec says about itself."""
    first = f'"""{plain_text(network.name)} in {framework}, written by netspec from its layer table.'
    about = wrap(plain_text(network.about), LINE_LENGTH)
    lines = [*wrap(first, LINE_LENGTH, break_on_hyphens=False), "", *about, *([""] if about else []), usage, '"""']
    return "\n".join(lines)


def flow_docstring(network: Network, order: Order) -> str:
    """The docstring, indented by 4, of what makes the model: what goes in, what comes out, how many weights."""
    final = network.nodes[-1].layer if network.nodes else None
    function = final.function if isinstance(final, Activation) else ""
    several = network.output_type.size > 1
    what = {
        "softmax": "class probabilities",
        "log_softmax": "log-probabilities",
        "sigmoid": "probabilities" if several else "probability",
    }.get(function, "values")
    given, result = (
        ", ".join(map(str, ("batch", *((kind.channels, *kind.spatial) if order == "first" else kind.shape))))
        for kind in (network.input_type, network.output_type)
    )
    flow = f"{KINDS_OF_INPUT.get(network.input_type.rank, 'Values')} [{given}] -> {what} [{result}]"
    weights = f"{network.parameters:,} weights" if network.parameters else "no weights"
    if network.non_trainable:
        weights += f", {network.trainable:,} trained"
    line = f'"""{flow}; {weights}."""'
    return line if len(line) <= LINE_LENGTH - 4 else f'"""{flow}.\n\n    {weights[0].upper()}{weights[1:]}.\n    """'


def classes_line(network: Network) -> str:
    """The names of the classes as a constant, or nothing."""
    return f"CLASSES = {tuple(network.classes)!r}" if network.classes else ""


@dataclass(frozen=True, slots=True)
class Default:
    """A value that a library takes when nothing is said, so that nothing is said where every use has it."""

    value: object


def unless(value: object, default: object) -> object:
    """The value, marked where it is what a library takes when nothing is said."""
    return Default(value) if value == default else value


def alike(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number when every axis has the same, else one an axis.

    >>> alike((3, 3)), alike((3, 5))
    (3, (3, 5))
    """
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def format_source(source: str, line_length: int = LINE_LENGTH) -> str:
    """Python source as `ruff format` leaves it, with its defaults and no configuration; raises BackendError."""
    from ruff import find_ruff_bin

    command = [find_ruff_bin(), "format", "--isolated", f"--line-length={line_length}", "--stdin-filename=m.py", "-"]
    done = subprocess.run(command, input=source, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise BackendError(f"ruff could not format the emitted source: {done.stderr.strip()}")
    return done.stdout


def import_file(path: Path) -> ModuleType:
    """A Python file as a module, run afresh each time and not kept in `sys.modules`."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
