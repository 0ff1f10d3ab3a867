"""The names that rows have without being given one: their kind and a number (`conv_1`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from netspec.layers import ALIASES, Activation, Layer, fold, snake
from netspec.layers.activation import function_named
from netspec.notation import Call
from netspec.spec.row import Row


class Namer:
    """Gives unnamed rows their kind and a number, passing over names that are written in the spec."""

    def __init__(self, written: Iterable[str]) -> None:
        self.taken = set(written)
        self._count: Counter[str] = Counter()

    def name(self, base: str) -> str:
        """The next free name of this base."""
        while True:
            self._count[base] += 1
            name = f"{base}_{self._count[base]}"
            if name not in self.taken:
                self.taken.add(name)
                return name


def row_names(rows: Iterable[Row], blocks: Collection[str] = ()) -> tuple[str, ...]:
    """The name of every row, written or given; that of a repeated row without a name is its first."""
    rows = tuple(rows)
    namer = Namer(row.name for row in rows if row.name)
    names: list[str] = []
    for row in rows:
        times = row.options.get("repeat", 1)
        several = times if isinstance(times, int) and not row.name else 1
        given = [row.name or namer.name(base_name(row, blocks)) for _ in range(max(several, 1))]
        names.append(given[0])
    return tuple(names)


def base_name(row: Row, blocks: Collection[str] = ()) -> str:
    """What the given name of this row begins with: its kind or block, or `row` where nobody knows its kind."""
    return snake(row.type) if row.type in blocks else _kind_name(row) or "row"


def _kind_name(row: Row) -> str | None:
    called = row.type.partition("(")[0]
    alias = ALIASES.get(fold(called))
    if alias is None:
        return None
    if alias.layer is not Activation:
        return snake(alias.layer.kind)
    function = alias.fields.get("function") or row.options.get("function") or (row.size[0] if row.size else None)
    name = function.name if isinstance(function, Call) else function
    return (function_named(name) if isinstance(name, str) else None) or snake(alias.layer.kind)


def layer_name(layer: Layer) -> str:
    """What the name of a layer without a row of its own ends with: the activation of a cell."""
    return layer.function if isinstance(layer, Activation) else snake(layer.kind)
