"""The names that rows have without being given one: their kind and a number (`conv_1`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from netspec.layers import ALIASES, Activation, Layer, fold, snake
from netspec.layers.activation import function_named
from netspec.notation import Call, NotationError, Value, evaluate
from netspec.spec.row import Row
from netspec.spec.shaped import first_shaped

if TYPE_CHECKING:
    from netspec.spec.model import Spec

BASE = "base"
MAX_REPEAT = 10_000
MAX_NAMES = 200_000
"""How many names are given; no network has as many rows."""
NOTHING: Mapping[str, Value] = MappingProxyType({})


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


def row_names(
    rows: Iterable[Row],
    blocks: Collection[str] = (),
    values: Mapping[str, Value] = NOTHING,
    base: Collection[str] = (),
) -> tuple[str, ...]:
    """The name of every row, written or given; that of a repeated row without a name is its first.

    `values` are those of variables; a name that depends on another value, a parameter of a block, is empty. `base` are
    the names of the base's rows.
    """
    return tuple(names[0] for names in _names(tuple(rows), blocks, values, base))


def own_names(spec: Spec) -> tuple[str, ...]:
    """The names of a spec's own rows."""
    return row_names(spec.rows, spec.blocks, spec.variables, top_names(spec.base.spec) if spec.base else ())


def top_names(spec: Spec) -> frozenset[str]:
    """The names by which a spec that is based on this one can read its rows, those beyond a cut among them."""
    inner = top_names(spec.base.spec) if spec.base is not None else frozenset()
    found = set(inner)
    for row, names in zip(spec.rows, _names(spec.rows, spec.blocks, spec.variables, inner), strict=True):
        if not is_base(row) and _value(row, "when", spec.variables) is not False:
            found.update(names)
    return frozenset(found)


def is_base(row: Row) -> bool:
    """Whether a row stands for the rows of the base."""
    return row.type.casefold() == BASE


def _names(
    rows: Sequence[Row], blocks: Collection[str], values: Mapping[str, Value], base: Collection[str]
) -> Iterator[list[str]]:
    """The name of every row, or of each of its repetitions."""
    namer = Namer(row.name for row in rows if row.name)
    if not any(map(is_base, rows)):
        namer.taken.update(base)
    unknown: set[str] = set()
    left = MAX_NAMES
    for row in rows:
        word, times = base_name(row, blocks), _times(row, values)
        if times is not None:
            times = max(min(times, left), 1)
            left -= times
        if row.name is None:
            names = [namer.name(word) for _ in range(times or 1)]
            yield [""] * len(names) if word in unknown else names
        else:
            names = [f"{row.name}_{number}" for number in range(1, (times or 0) + 1)]
            namer.taken.update(names)
            yield [row.name, *names]
        if times is None and "repeat" in row.options:
            unknown.add(row.name or word)
        if is_base(row):
            namer.taken.update(base)


def _times(row: Row, values: Mapping[str, Value]) -> int | None:
    """How often a row is repeated, or None where it is not, or that cannot be known."""
    times = _value(row, "repeat", values)
    if isinstance(times, bool) or not isinstance(times, (int, float)) or not 1 <= times <= MAX_REPEAT:
        return None
    return int(times)


def _value(row: Row, option: str, values: Mapping[str, Value]) -> Value:
    """What an option of a row says, as far as it can be known."""
    written = row.options.get(option)
    if first_shaped(written):
        return None
    try:
        return evaluate(written, values)
    except NotationError:
        return None


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
