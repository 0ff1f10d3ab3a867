"""Labels as they are found, words or numbers, as the numbers of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.errors import Problem, SpecError, did_you_mean

Array = NDArray[Any]
Labels = NDArray[np.int64]


class Classes:
    """The classes that labels may name: those that the spec names, or the words that the training labels are.

    `count` is how many the network tells apart.
    """

    def __init__(self, named: tuple[str, ...], count: int, path: str) -> None:
        self.names, self.count, self.path = named, len(named) or count, path

    def numbers(self, found: Array, where: str, place: Callable[[int], str] | None = None) -> Labels:
        """The class int64 [n] of each label: one number or word, or one row of 0 and a 1.

        `where` they are and the `place` of one are for the SpecError that anything else raises.
        """
        said = place or (lambda at: f"label {at}")
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim == 2:
            found = self._one_hot(found, where, said)
        if found.ndim != 1:
            raise self._refused(f"{where} is {list(found.shape)}, but there is one label for each image")
        if found.dtype.kind in "OUS":
            words = [each.decode() if isinstance(each, bytes) else str(each) for each in found.tolist()]
            return self._of_words(words, where, said)
        return self._of_numbers(found, where, said)

    def _one_hot(self, found: Array, where: str, said: Callable[[int], str]) -> Array:
        wrong = np.flatnonzero((np.sort(found, axis=1)[:, :-1] != 0).any(axis=1) | (found.max(axis=1) != 1))
        if len(wrong):
            message = f"{where} is {list(found.shape)}, and {said(int(wrong[0]))} is not one 1 among zeros"
            raise self._refused(message)
        if found.shape[1] != self.count:
            raise self._refused(f"{where} tells {found.shape[1]} classes apart, the network {self.count}")
        labels: Array = found.argmax(axis=1)
        return labels

    def _of_words(self, words: list[str], where: str, said: Callable[[int], str]) -> Labels:
        if not self.names and all(word.strip().lstrip("-").isdigit() for word in words):
            return self._of_numbers(np.array([int(word) for word in words]), where, said)
        if not self.names:
            self.names = tuple(sorted(set(words)))
            if len(self.names) != self.count:
                message = f"{where} has {len(self.names)} classes, but the network tells {self.count} apart"
                raise self._refused(message, f"they are {_few(self.names)}")
        known = {name: at for at, name in enumerate(self.names)}
        if strange := sorted({word for word in words if word not in known}):
            first = words.index(strange[0])
            message = f"{where}: {_labels(sum(word not in known for word in words))} outside of the classes, "
            message += f"the first {strange[0]!r} ({said(first)})"
            raise self._refused(message, did_you_mean(strange[0], known) or f"the classes are {_few(self.names)}")
        return np.array([known[word] for word in words], np.int64)

    def _of_numbers(self, found: Array, where: str, said: Callable[[int], str]) -> Labels:
        if found.dtype.kind not in "biuf":
            raise self._refused(f"{where} holds {found.dtype}, no labels")
        with np.errstate(invalid="ignore"):
            inside = (found >= 0) & (found < self.count) & (found == np.floor(found))
        wrong = np.flatnonzero(~inside)
        if len(wrong):
            first = int(wrong[0])
            message = f"{where}: {_labels(len(wrong))} outside of the classes 0 to {self.count - 1}, "
            message += f"the first {found[first]:g} ({said(first)})"
            raise self._refused(message, f"the network tells {self.count} classes apart")
        return found.astype(np.int64)

    def _refused(self, message: str, hint: str | None = None) -> SpecError:
        return SpecError([Problem(message, hint, self.path)])


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _labels(count: int) -> str:
    return "1 label is" if count == 1 else f"{count:,} labels are"
