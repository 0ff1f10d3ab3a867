"""Plain data -> the text of a YAML document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from netspec.spec.reader import resolve


class _Dumper(yaml.SafeDumper):
    """PyYAML writes YAML 1.1, where `1e-3` is a word and so stands unquoted; our reader, and YAML 1.2, see a number."""


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = not isinstance(resolve(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _string)


def write_yaml(document: Mapping[str, Any]) -> str:
    """The document as YAML that `netspec.spec.reader` reads back; keys keep their order."""
    text: str = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return text
