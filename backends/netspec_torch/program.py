"""Archives of torch.export, checked before torch loads them: torch would run what some parts of them say.

It unpickles weights that are marked so, evaluates the sizes and the guards of a program as Python, and looks up its
operators in all of the torch module. Only plain numbers, plain sizes and torch's own operators get through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from netspec.backend.artefact import excerpt
from netspec.errors import UnsupportedError, VerificationError

OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|prim)\.\w+(\.\w+)?"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|sqrt|trunc)|torch\.sym_(float|int|max|min|ite|not|sqrt)"
)
SIZES = frozenset(
    "Symbol positive integer nonnegative nonzero True False Integer Rational Add Mul Pow Mod PythonMod FloorDiv "  # noqa: SIM905 - a list of 40 strings is no easier to read
    "CleanDiv CeilDiv CeilToInt FloorToInt IntTrueDiv TruncToInt Max Min Eq Ne Ge Gt Le Lt And Or Not Where Abs "
    "L args kwargs size stride and or not math inf".split()
)
"""The words of the sizes and guards that torch.export writes, beside symbols such as `s31`."""
WORD = re.compile(r"[A-Za-z_]\w*")
SIGNS = re.compile(r"[\w\s+\-*/%().,<>=!&|~'\"\[\]]*")
NAME = re.compile(r"""(['"])[A-Za-z_]\w*\1""")
FROZEN = 2**28
"""More bytes than the graph of any program takes."""


def check(path: Path) -> None:
    """Raise VerificationError for an archive that is not whole or holds code, UnsupportedError for its operators."""
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                _check_member(archive, member.filename, member.file_size)
    except (BadZipFile, OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise VerificationError(f"it is no whole archive of torch.export: {error}") from None


def _check_member(archive: ZipFile, name: str, size: int) -> None:
    if "/aotinductor/" in name or name.endswith((".so", ".py", ".dll", ".dylib")):
        raise VerificationError(f"it holds compiled or other code ({name}), which netspec never runs")
    if not name.endswith(".json"):
        return
    if size > FROZEN:
        raise VerificationError(f"{name} in it would unpack to {size:,} bytes")
    for key, value in _entries(json.loads(archive.read(name))):
        if key == "use_pickle" and value:
            raise VerificationError(f"it holds pickles ({name}), which may be code, which netspec never runs")
        if key == "as_custom_obj" or (key == "path_name" and str(value).startswith("custom_obj")):
            raise VerificationError(f"it holds an object of a class of its own ({excerpt(value)})")
        if key in ("expr_str", "guards_code"):
            for text in value if isinstance(value, list) else [value]:
                _check_size(str(text))
        if key == "target" and _looked_up(value) and not OPERATORS.fullmatch(value):
            raise UnsupportedError(f"it has the operator {excerpt(value)}, which is none of PyTorch's own")


def _looked_up(target: Any) -> bool:
    """Whether torch takes it for the name of a function; other targets are the names of weights."""
    return isinstance(target, str) and target.startswith(("torch", "_operator", "math", "#"))


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a tree of plain data with its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def _check_size(text: str) -> None:
    """A size, or a guard of one: torch evaluates it, so it may hold nothing but sums of symbols."""
    words = WORD.findall(NAME.sub("", text))
    known = all(word in SIZES or re.fullmatch(r"[suz]\d+", word) for word in words)
    if not known or not SIGNS.fullmatch(NAME.sub("", text).replace("'", "\0").replace('"', "\0")):
        raise VerificationError(f"it has a size that is no plain sum ({excerpt(text)}), which netspec never evaluates")


@contextmanager
def numbers_only() -> Iterator[None]:
    """Whatever torch unpickles inside is tensors in plain containers, or an error."""
    original = torch.load

    def load(*arguments: Any, **named: Any) -> Any:
        return original(*arguments, **{**named, "weights_only": True})

    torch.load = load
    try:
        yield
    finally:
        torch.load = original
