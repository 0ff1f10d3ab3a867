"""Rows of numbers with a class each: CSV and Parquet files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.data.settings import DataSettings
from netspec.errors import BackendError, Problem, SpecError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.data.dataset import Split
    from netspec.data.labels import Classes

    Array = NDArray[Any]

Columns = Mapping[str, Sequence[Any]]
NAMED = 5
"""How many wrong cells an error names."""
MISSING = frozenset(("", "nan", "na", "null", "none", "?"))


def read_table(paths: Mapping[str, Path], settings: DataSettings, width: int, classes: Classes) -> dict[str, Split]:
    """The splits in these files, features float32 [n, width]; raises SpecError for cells that are no numbers."""
    from netspec.data.dataset import Split

    splits = {}
    for name, path in paths.items():
        columns = read_columns(path)
        values, labels = features_and_labels(columns, settings, width, str(path))
        place = line_of(path)
        splits[name] = Split(values, classes.numbers(labels, f"{path}: {settings.labels}", place))
    return splits


def read_words(path: Path, column: str) -> tuple[str, ...] | None:
    """The words in a column of a CSV file, each once, sorted: the names of classes; None where they are numbers."""
    if path.suffix.lower() == ".parquet":
        return None
    found = sorted({str(word) for word in _column(read_columns(path), column, str(path)) if not _missing(word)})
    return None if all(word.strip().lstrip("-").isdigit() for word in found) else tuple(found)


def read_columns(path: Path) -> Columns:
    """The columns of a file by their names; raises SpecError for a file that is not whole."""
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused(
            f"{path} cannot be read: {error}", "a table in UTF-8, its first line names the columns"
        ) from None
    while rows and not any(rows[-1]):
        rows.pop()
    if len(rows) < 2:
        raise _refused(f"{path} has no rows", "its first line names the columns")
    header = [name.strip() for name in rows[0]]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise _refused(f"{path} has several columns called {twice[0]!r}", "names tell columns apart")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            message = f"{path}, line {line}: {len(row)} cells, but the first line names {len(header)} columns"
            raise _refused(message, "is the file whole?")
    return dict(zip(header, zip(*rows[1:], strict=True), strict=True))


def _read_parquet(path: Path) -> Columns:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise BackendError(
            "Parquet files are read by pyarrow, which is not installed\n  hint: pip install pyarrow"
        ) from error
    try:
        found = parquet.read_table(path).to_pydict()
    except (OSError, ArrowException) as error:
        raise _refused(f"{path} cannot be read: {error}", "is the file whole?") from None
    columns: dict[str, Sequence[Any]] = found
    if not columns or not len(next(iter(columns.values()))):
        raise _refused(f"{path} has no rows", None)
    return columns


def line_of(path: Path) -> Any:
    """What the k-th row is called in messages."""
    return (lambda at: f"row {at}") if path.suffix.lower() == ".parquet" else (lambda at: f"line {at + 2}")


def features_and_labels(columns: Columns, settings: DataSettings, width: int, where: str) -> tuple[Array, Array]:
    """The features float32 [n, width] and the labels as they are found."""
    import numpy as np

    assert settings.labels is not None
    labels = _column(columns, settings.labels, where)
    names = settings.inputs or tuple(name for name in columns if name != settings.labels)
    if settings.labels in names:
        message = f"{settings.labels!r} is the class, so it cannot be among the inputs"
        raise _refused(message, None, "data.inputs")
    if len(names) != width:
        message = f"{where} has {len(names)} columns beside {settings.labels!r}, but the input is {width}"
        raise _refused(message, f"input: {len(names)}; `inputs: [...]` chooses columns", "data.inputs")
    values = np.empty((len(labels), width), np.float32)
    wrong: list[tuple[int, str, Any]] = []
    for at, name in enumerate(names):
        numbers = [_number(cell) for cell in _column(columns, name, where)]
        wrong += ((row, name, columns[name][row]) for row, number in enumerate(numbers) if not isfinite(number))
        values[:, at] = numbers
    wrong += ((row, settings.labels, each) for row, each in enumerate(labels) if _missing(each))
    if wrong:
        raise SpecError(_wrong_cells(wrong, where))
    return values, np.array(labels)


def _wrong_cells(wrong: list[tuple[int, str, Any]], where: str) -> Iterator[Problem]:
    place = line_of(Path(where))
    for row, name, cell in sorted(wrong, key=lambda each: each[0])[:NAMED]:
        said = "is empty" if cell is None or not str(cell).strip() else f"is {str(cell)!r}, no finite number"
        yield Problem(f"{where}, {place(row)}: {name} {said}", None, "data.file")
    more = f", of which {NAMED} are named above" if len(wrong) > NAMED else ""
    yield Problem(
        f"{len(wrong):,} cell{'s' * (len(wrong) > 1)} of {where} cannot be used{more}",
        "fill them, or remove their rows",
        "data.file",
    )


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")


def _missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and not isfinite(cell)) or str(cell).strip().casefold() in MISSING


def _column(columns: Columns, name: str, where: str) -> Sequence[Any]:
    if name not in columns:
        hint = did_you_mean(name, columns) or f"it has {', '.join(columns)}"
        raise _refused(f"{where} has no column {name!r}", hint)
    return columns[name]


def standardised(splits: Mapping[str, Split]) -> tuple[dict[str, Split], tuple[tuple[float, float], ...]]:
    """The splits with each column's mean of the training rows taken off and divided by their deviation, and both.

    A column that is the same everywhere is only moved.
    """
    import numpy as np

    from netspec.data.dataset import Split

    train = splits["train"].images.astype(np.float64)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1.0
    moved = {
        name: Split(((split.images - mean) / deviation).astype(np.float32), split.labels)
        for name, split in splits.items()
    }
    return moved, tuple(zip(mean.tolist(), deviation.tolist(), strict=True))


def _refused(message: str, hint: str | None, path: str = "data.file") -> SpecError:
    return SpecError([Problem(message, hint, path)])
