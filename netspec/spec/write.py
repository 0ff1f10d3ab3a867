"""Plain data -> the text of a YAML document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def write_yaml(document: Mapping[str, Any]) -> str:
    """The document as YAML that `netspec.spec.reader` reads back; keys keep their order."""
    text: str = yaml.safe_dump(dict(document), sort_keys=False, width=120, allow_unicode=True)
    return text
