"""What can be wrong, and where: every error that a user of netspec meets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, on which path of the document, what, and a hint when there is one."""

    message: str
    hint: str | None = None
    path: str | None = None
    position: Position | None = None

    def at(self, position: Position | None, path: str | None = None) -> Problem:
        """The same problem with the place filled in where it has none yet."""
        return replace(self, position=self.position or position, path=self.path or path)

    def with_hint(self, hint: str | None) -> Problem:
        """The same problem with a hint where it has none yet."""
        return replace(self, hint=self.hint or hint)

    def __str__(self) -> str:
        place = ": ".join(str(part) for part in (self.position, self.path) if part)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class NetspecError(Exception):
    """Anything that is not our bug; `exit_code` is what the command line returns for it."""

    exit_code = 2


class SpecError(NetspecError):
    """The spec (or an argument) is wrong; holds every problem that its stage found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)  # what pickle gives back to __init__

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class ExpectationError(SpecError):
    """The spec is valid, but its `expect` section promises another network."""

    exit_code = 1


class LayerError(ValueError):
    """A layer cannot be what its row says; raised without a place, which `compile` adds.

    `field` names the field of the layer that is to blame, so that the error can point at its cell.
    """

    def __init__(self, message: str, hint: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.field = message, hint, field


class ShapeError(LayerError):
    """The input of a row does not fit its layer."""


class UnsupportedError(NetspecError):
    """A backend has no rule for what is asked."""

    exit_code = 3


class BackendError(NetspecError):
    """A backend is not installed, or its worker died or failed."""

    exit_code = 3


class FolderError(NetspecError):
    """A folder or a file in it cannot be written: no permission, no space, another build at work."""


class VerificationError(NetspecError):
    """The backends do not agree."""

    exit_code = 1


def did_you_mean(word: str, known: Iterable[str], *, fold: bool = True) -> str | None:
    """A hint naming the nearest known word, or None when nothing is near.

    >>> did_you_mean("flaten", ["Flatten", "Dense"])
    "did you mean 'Flatten'?"
    """
    import difflib

    by_fold = {(name.casefold() if fold else name): name for name in known}
    near = difflib.get_close_matches(word.casefold() if fold else word, by_fold, n=1, cutoff=0.6)
    return f"did you mean {by_fold[near[0]]!r}?" if near else None


def one_of(known: Sequence[str]) -> str:
    """The known words as a hint.

    >>> one_of(["a", "b"])
    "one of 'a', 'b'"
    """
    return "one of " + ", ".join(repr(name) for name in known)
