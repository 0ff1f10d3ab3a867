"""Write docs/layers.md, the reference of every kind of layer, from the docstrings of the layers themselves.

python docs/make_layers.py [--check]
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netspec.layers import ALIASES, KINDS, NAMES, Activation, Initializer, Layer
from netspec.layers.activation import ARGUMENTS, FUNCTIONS
from netspec.notation import write_value
from netspec.spec.describe import field_docs

PAGE = Path(__file__).with_name("layers.md")
HEAD = """\
# Every kind of layer

This page is made from the layers' own docstrings by `make docs`. Shapes are written with the batch and with channels
last; `netspec show` prints them without the batch. Case, underscores and hyphens do not matter in a kind's name.

The *size cell* is the second cell of a row; every option may also be written `name=value`. Beside its own options,
every row may have a `name` and an `activation`.
"""


def page() -> str:
    """The whole page as Markdown."""
    families: dict[str, list[type[Layer]]] = {}
    for layer in KINDS.values():
        families.setdefault(layer.__module__, []).append(layer)
    parts = [HEAD]
    for module, layers in families.items():
        title = (inspect.getdoc(sys.modules[module]) or "").split(":")[0].split(" (")[0]
        parts.append(f"## {title.rstrip('.')}\n")
        for layer in layers:
            parts.extend(section(layer))
    return "\n".join(parts)


def section(layer: type[Layer]) -> Iterator[str]:
    """One kind: what it is, its other names, its options."""
    yield f"### {layer.kind}\n"
    about, _, types = (inspect.getdoc(layer) or "").partition("\n\n")
    yield f"{about}\n"
    if types:
        yield f"```\n{types}\n```\n"
    names = [NAMES[folded] for folded, alias in ALIASES.items() if alias.layer is layer and not alias.fields]
    others = [name for name in names if name != layer.kind and not name[-2:-1].isdigit()]
    if others:
        yield f"Also written {', '.join(f'`{name}`' for name in others)}.\n"
    presets: dict[str, list[str]] = {}
    for folded, alias in ALIASES.items():
        if alias.layer is layer and alias.fields and alias.rank is None and layer is not Activation:
            said = ", ".join(f"{field}={write_value(value)}" for field, value in alias.fields.items())
            presets.setdefault(said, []).append(f"`{NAMES[folded]}`")
    if presets:
        meanings = (f"{' and '.join(names)} with `{said}`" for said, names in presets.items())
        yield f"Names that set options: {'; '.join(meanings)}.\n"
    if layer.positional:
        yield f"Size cell: {', '.join(f'`{name}`' for name in layer.positional)}.\n"
    if layer.defaults:
        yield "| option | default | meaning |\n|---|---|---|"
        docs = field_docs(layer)
        for name in sorted(layer.defaults, key=lambda name: name not in layer.positional):
            default = layer.defaults[name]
            yield f"| `{name}` | {shown(default)} | {docs[name].replace('|', chr(92) + '|')} |"
        yield ""
    if layer is Activation:
        functions = [f"`{name}({ARGUMENTS[name]})`" if name in ARGUMENTS else f"`{name}`" for name in FUNCTIONS]
        yield f"The functions are {', '.join(functions)}. Each is also a kind of its own: `- ReLU` is a row.\n"


def shown(default: Any) -> str:
    """A default as a spec writes it."""
    if default is ...:
        return "required"
    if default is None:
        return "-"
    if isinstance(default, Initializer):
        return f"`{default}`"
    if isinstance(default, tuple) and len(default) == 1:
        [default] = default
        if isinstance(default, tuple):
            default = default[0]
    if not isinstance(default, (int, float, str, tuple)):
        return "see there"
    return f"`{default if isinstance(default, str) else write_value(default)}`"


def main() -> None:
    """Write the page, or with --check say whether it is current."""
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == text else f"{PAGE.name} is not current; run: make docs")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
