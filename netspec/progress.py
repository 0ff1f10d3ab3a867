"""Where long work reports, whoever listens: the command line, a worker's pipe, nobody."""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """Where long work reports: a finished epoch, a step, a stage; called with plain values."""

    def __call__(self, event: str, **values: Any) -> None:
        """Something happened, with what there is to say of it."""
        ...
