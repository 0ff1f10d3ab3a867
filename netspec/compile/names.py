"""What the name of a row may be."""

from __future__ import annotations

import keyword
import re

from netspec.codegen.variants import MODULE_ATTRIBUTES
from netspec.errors import Problem

MAX_LENGTH = 64
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# A row's name becomes an attribute of an nn.Module and of Python source, so it may not hide what is there: its
# attributes, and the words that the emitted source uses itself.
EMITTED_WORDS = frozenset({
    "F", "Tensor", "input", "inputs", "keras", "layers", "logits", "nn", "np", "ops", "output", "outputs", "self",
    "super", "tap", "torch", "x",
})  # fmt: skip


def name_problem(name: str) -> Problem | None:
    """Why this cannot be the name of a row, or None when it can."""
    if not IDENTIFIER.fullmatch(name):
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lstrip("0123456789_")
        return Problem(
            f"the name {_shown(name)} is not an identifier (ASCII letters, digits and underscores, a letter first)",
            f"for example {plain[:MAX_LENGTH] or 'conv_1'!r}",
        )
    if len(name) > MAX_LENGTH:
        return Problem(f"the name {_shown(name)} has {len(name)} characters; at most {MAX_LENGTH} are allowed")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return Problem(
            f"the name {name!r} is a keyword of Python, where it becomes a variable", f"for example '{name}_1'"
        )
    if name in MODULE_ATTRIBUTES or name in EMITTED_WORDS:
        return Problem(f"the name {name!r} is taken in the emitted source", f"for example '{name}_1'")
    return None


def label_said(label: str, name: str) -> tuple[str, str]:
    """That a word is what a table calls a row, but not its name, and how to name it."""
    plain = re.sub(r"\W+", "_", label, flags=re.ASCII).strip("_")
    plain = plain if plain[:1].isalpha() else f"{plain and 'row_'}{plain}"
    hint = f"read it as {name}" + (f", or write the label as a name, such as {plain}" if plain else "")
    return f"{label!r} is the label of a row, whose name is {name!r}", hint


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:37] + "...")
