"""A file that a backend exported: what it was written from, as a key; is it there, and is it still what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from netspec import __version__
from netspec.errors import Problem, SpecError, VerificationError
from netspec.network import Network
from netspec.storage.stages import key_of

if TYPE_CHECKING:
    from netspec.backend.settings import ExportSettings

T = TypeVar("T")

EXCERPT, BEFORE = 60, 20
"""How many characters of a value are shown, and of them before a difference."""
SAID = 300
"""How many characters of what a library says of a file are shown."""


def content_key(exported: Network, weights_digest: str, settings: ExportSettings) -> str:
    """What artefacts hold, whichever libraries wrote them: a file that Keras wrote on JAX runs on TensorFlow too."""
    return key_of(
        spec=exported.digest,
        about=[exported.about, *(use.about for use in exported.uses if use.about)],
        weights=weights_digest,
        settings=settings.model_dump(mode="json"),
        netspec=__version__,
    )


def existing(path: Path) -> Path:
    """The path itself; raises VerificationError when there is no such file."""
    if not path.is_file():
        raise VerificationError(f"{path.name} is missing")
    return path


def changed_text(path: Path, written: str) -> Iterator[str]:
    """A sentence when the file does not hold the text that was written; raises VerificationError for no text."""
    try:
        found = existing(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise VerificationError(f"{path.name} is no UTF-8 text: {error}") from error
    if found == written:
        return
    ours, theirs = written.splitlines(), found.splitlines()
    line = next((number for number, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    if line is None and len(ours) == len(theirs):
        yield f"{path.name} ends otherwise than exported"
    elif line is None:
        yield f"{path.name} has {len(theirs)} lines, exported were {len(ours)}"
    else:
        given, kept = theirs[line], ours[line]
        agreed = next((at for at, pair in enumerate(zip(given, kept, strict=False)) if pair[0] != pair[1]), 0)
        shown = slice(max(agreed - BEFORE, 0), None)
        yield f"{path.name}, line {line + 1}, has {excerpt(given[shown])}, exported was {excerpt(kept[shown])}"


def changed_values(found: Any, written: Any, place: str = "") -> Iterator[str]:
    """A sentence for every difference between two trees of plain data, with its place: `layers/3/rate is 0.9, ...`."""
    if isinstance(found, Mapping) and isinstance(written, Mapping):
        for name in dict.fromkeys([*written, *found]):
            yield from changed_values(found.get(name), written.get(name), f"{place}/{name}" if place else str(name))
    elif isinstance(found, list) and isinstance(written, list) and len(found) == len(written):
        for index, (one, other) in enumerate(zip(found, written, strict=True)):
            name = other.get("name", index) if isinstance(other, Mapping) else index
            yield from changed_values(one, other, f"{place}/{name}")
    elif type(found) is not type(written) or found != written:
        yield f"{place} is {excerpt(found)}, exported was {excerpt(written)}"


class LoadedOnce(Generic[T]):
    """A function that loads a file, made to keep the last one: what was not touched since is not loaded again.

    `beside` names the files beside it that are loaded with it, where there are any; `{}` is the file's own name.
    """

    def __init__(self, load: Callable[..., T], *beside: str) -> None:
        self._load, self._beside = load, beside
        self._key: tuple[Any, ...] = ()
        self._kept: T | None = None

    def __call__(self, path: Path, *more: str) -> T:
        """What the function gives for a path and `more` that it takes; raises what it raises, and OSError."""
        others = (path.with_name(name.format(path.name)) for name in self._beside)
        states = [path.stat(), *(other.stat() for other in others if other.exists())]
        key = (path, *((state.st_ino, state.st_size, state.st_mtime_ns) for state in states), *more)
        if self._kept is None or self._key != key:
            self.forget()
            self._key, self._kept = key, self._load(path, *more)
        return self._kept

    def forget(self) -> None:
        """Let go of the last one."""
        self._key, self._kept = (), None


def unusable(path: Path, network: Network, why: object) -> SpecError:
    """The error of a file that cannot be run as an artefact of a network."""
    said = " ".join(str(why).split())
    message = f"{path} cannot be run as {network.name}: {said[:SAID]}{'...' * (len(said) > SAID)}"
    return SpecError([Problem(message, "a file that `netspec build` or `netspec export` wrote of this spec")])


def excerpt(value: Any) -> str:
    """A value as a message shows it: its beginning, when it is long.

    >>> excerpt("a")
    "'a'"
    """
    text = repr(value)
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}..."
