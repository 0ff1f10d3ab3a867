"""Words of a cell that are sizes of a value: `input.channels`, `stem.height`."""

from __future__ import annotations

from netspec.notation import Call, Expression, Quoted, Value
from netspec.tensors import TensorType

NAMES = ("channels", "height", "width", "length", "depth")
"""The names of the axes that some value has."""


def shaped(word: str) -> tuple[str, str] | None:
    """The row and the axis that a word names, or None where it is another word.

    >>> shaped("input.channels"), shaped("fire2.squeeze.height"), shaped("fire2.squeeze")
    (('input', 'channels'), ('fire2.squeeze', 'height'), None)
    """
    row, _, axis = word.rpartition(".")
    return (row, axis) if row and axis in NAMES else None


def size_along(axis: str, given: TensorType) -> int | None:
    """How long an axis of a value is, or None where it has none of this name.

    >>> size_along("width", TensorType((28, 14, 64))), size_along("width", TensorType((100, 8)))
    (14, None)
    """
    return given.shape[given.axes.index(axis)] if axis in given.axes else None


def misplaced(word: str) -> str:
    """That a value cannot hold such a word, since it is read before there are rows."""
    return f"{word} is the size of a row, with which only the cells of rows below it can compute"


def first_shaped(value: Value) -> str | None:
    """The first word of a value that is a size of another, or None."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str) and not isinstance(item, Quoted) and shaped(item):
            return item
        if isinstance(item, Expression):
            pending += [item.right, item.left]
        elif isinstance(item, Call):
            pending += reversed([*item.arguments, *item.options.values()])
        elif isinstance(item, (tuple, list)):
            pending += reversed(item)
    return None
