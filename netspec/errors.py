"""What can be wrong, and where: every error that a user of netspec meets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Used:
    """A row that uses a block: where it stands, on which path, and what it says (`fire(squeeze=16)`)."""

    position: Position | None
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.position, self.path, self.text) if part)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, on which path of the document, what, and a hint when there is one.

    What is wrong inside of a block was `used` by rows, the innermost first; `more` are other uses that have it too.
    """

    message: str
    hint: str | None = None
    path: str | None = None
    position: Position | None = None
    used: tuple[Used, ...] = ()
    more: int = 0

    def at(self, position: Position | None, path: str | None = None) -> Problem:
        """The same problem with the place filled in where it has none yet."""
        return replace(self, position=self.position or position, path=self.path or path)

    def with_hint(self, hint: str | None) -> Problem:
        """The same problem with a hint where it has none yet."""
        return replace(self, hint=self.hint or hint)

    def used_at(self, used: tuple[Used, ...]) -> Problem:
        """The same problem with the rows that used the block it is in."""
        return replace(self, used=self.used or used)

    def uses(self) -> list[str]:
        """The rows that used the block it is in, a line each."""
        lines = [f"used at {row}" for row in self.used]
        return [*lines, f"and {self.more:,} more {'use' if self.more == 1 else 'uses'}"] if self.more else lines

    def __str__(self) -> str:
        place = ": ".join(str(part) for part in (self.position, self.path) if part)
        text = f"{place}: {self.message}" if place else self.message
        lines = [text, *self.uses(), *([f"hint: {self.hint}"] if self.hint else [])]
        return "\n  ".join(lines)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """The problems in the order of their places; one that every use of a block has is said once."""
    found: dict[tuple[Position | None, str], Problem] = {}
    for problem in problems:
        key = (problem.position, problem.message)
        if key not in found:
            found[key] = problem
        elif problem.used:
            found[key] = replace(found[key], more=found[key].more + 1)
    return sorted(found.values(), key=lambda problem: (problem.position is None, problem.position))


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

    def used_at(self, used: Used) -> Self:
        """The same error of what was used there: a variant, of which each problem says so."""
        return type(self)(replace(problem, used=(*problem.used, used)) for problem in self.problems)


class UnreadableError(SpecError):
    """A file that is missing, not whole, of no known kind, or hostile."""


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


def nearest(word: str, known: Iterable[str], *, fold: bool = True, cutoff: float = 0.6) -> str | None:
    """The nearest known word, or None when nothing is near: no ratio of difflib reaches the `cutoff`."""
    import difflib

    by_fold = {(name.casefold() if fold else name): name for name in known}
    near = difflib.get_close_matches(word.casefold() if fold else word, by_fold, n=1, cutoff=cutoff)
    return by_fold[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str], *, fold: bool = True) -> str | None:
    """A hint naming the nearest known word, or None when nothing is near.

    >>> did_you_mean("flaten", ["Flatten", "Dense"])
    "did you mean 'Flatten'?"
    """
    near = nearest(word, known, fold=fold)
    return f"did you mean {near!r}?" if near is not None else None


def file_near(name: str, beside: Iterable[str]) -> str | None:
    """A hint naming the file whose name is nearest, or None; endings, which many share, do not count.

    >>> file_near("nets.yaml", ["net.yaml", "other.yaml"]), file_near("nothere.yaml", ["paren.yaml"])
    ("did you mean 'net.yaml'?", None)
    """

    def stem(name: str) -> str:
        return name[: name.rfind(".")] if name.rfind(".") > 0 else name

    by_stem: dict[str, list[str]] = {}
    for each in beside:
        by_stem.setdefault(stem(each), []).append(each)
    near = nearest(stem(name), by_stem, cutoff=0.65)
    return did_you_mean(name, by_stem[near]) or f"did you mean {by_stem[near][0]!r}?" if near is not None else None


def one_of(known: Sequence[str]) -> str:
    """The known words as a hint.

    >>> one_of(["a", "b"])
    "one of 'a', 'b'"
    """
    return "one of " + ", ".join(repr(name) for name in known)
