"""Rows under construction: of every kind in every notation, branches, blocks and their uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from netspec.tensors import TensorType
from tests.fuzz import kinds
from tests.fuzz.document import HEADERS, Act, Base, Block, Row, Value, compute
from tests.fuzz.kept import BASE, INVALID, Given, Namer
from tests.fuzz.rows import activation, condition, expression, form, other_value, row_of
from tests.fuzz.walk import Scope, Walk

MOST_VALUES = 3000
MOST_MACS = 60_000
MOST_WEIGHTS = 20_000
MOST_POWER = 3
"""How often a value may be multiplied by another: the inputs are up to 4000, and float32 ends at 3e38."""
TRIES = 60
# Names that emitted sources, frameworks or netspec might use themselves; a number makes them unique.
WORDS = (
    "a", "b", "conv", "Conv", "CONV", "left", "right", "shape", "size", "name", "batch", "data", "math", "list", "len",
    "range", "Module", "kernel", "weight", "bias", "gamma", "mean", "result", "layer", "value", "axis", "int", "str",
    "dense", "conv_1_x", "Functional", "model", "x1", "y", "print", "tuple", "functional", "keras_1",
    "long_name_of_a_row",
)  # fmt: skip
PARAMETERS = ("filters", "lambda", "x", "n", "class_", "self", "width", "F", "kind", "torch", "k", "units")
BLOCKS = ("fire", "unit", "Residual", "stem_block", "b", "torch", "Tensor", "pair", "layers", "cell", "Net", "keras")


@dataclass
class Body:
    """Rows under construction: what they may read, and the value that the next row reads unless it says otherwise."""

    r: Random
    blocks: dict[str, Block]
    variables: Mapping[str, Value]
    """Their values."""
    scope: Scope
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    base: Base | None = None
    taken: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    at: int | None = None
    """The index of the row that gives the value above, if it is one of these."""
    last: str | None = field(init=False)
    """The name of the value above, where it has one."""

    def __post_init__(self) -> None:
        self.last = next(iter(self.scope.values))

    @property
    def above(self) -> Given:
        """The value that the next row reads."""
        return self.scope.above or next(iter(self.scope.values.values()))

    @property
    def names(self) -> Mapping[str, Value]:
        """The parameters and variables, with their values."""
        return self.scope.names

    def add(self, row: Row) -> bool:
        """Append a row, unless it is not valid here or makes the network too large."""
        walk = Walk(self.blocks, self.defaults, self.variables, self.base)
        scope = self.scope.copy()
        try:
            walk.row(row, scope, Namer(scope.values), frozen=False)
        except INVALID:
            return False
        rows = walk.rows.values()
        if max((kept.largest for kept in rows), default=0) > MOST_VALUES or sum(kept.macs for kept in rows) > MOST_MACS:
            return False
        if sum(kept.size for kept in rows) > MOST_WEIGHTS or any(kept.given.power > MOST_POWER for kept in rows):
            return False
        if row.name is None and row.type != BASE:
            # What it is called is known when all rows are there.
            scope.values = {name: value for name, value in scope.values.items() if name in self.scope.values}
        if scope.above is not self.scope.above:
            self.last, self.at = row.name, len(self.rows)
            if row.type == BASE and row.name is None:
                self.last = next((name for name, value in scope.values.items() if value == scope.above), None)
        self.scope = scope
        self.rows.append(row)
        return True

    def attempt(self, rows: Callable[[], bool]) -> None:
        """Some rows that belong together: if they say that they failed, none of them is there."""
        scope, at, last, count = self.scope, self.at, self.last, len(self.rows)
        if not rows():
            self.scope, self.at, self.last = scope, at, last
            del self.rows[count:]

    def read(self, name: str) -> None:
        """Let the next row read another value."""
        self.scope = replace(self.scope.copy(), above=self.scope.values[name])
        self.last, self.at = name, None

    def name(self) -> str:
        """A name that no row of this body has."""
        word = self.r.choice(WORDS)
        name = next(name for name in (word, *(f"{word}{number}" for number in range(2, 99))) if self.free(name))
        self.taken.add(name)
        return name

    def name_of_several(self) -> str:
        """A name for a row that is repeated: conv_1, conv_2, ... are what rows are called that have no name."""
        return f"{self.name()}_of"

    def free(self, name: str) -> bool:
        """Whether a row may have this name."""
        # The words of netspec itself come with a number.
        return name not in self.taken and name not in self.scope.values and name not in ("x", "input", "type")

    def named(self) -> str:
        """The name of the value above, which gets one where it has none."""
        if self.last is None and self.at is None:
            self.add(Row("Identity", self.name()))
        elif self.last is None:
            assert self.at is not None
            row = self.rows[self.at]
            self.last = self.name() if row.repeat is None else self.name_of_several()
            self.rows[self.at] = replace(row, name=self.last)
            self.scope.values[self.last] = self.above
        assert self.last is not None
        return self.last


def join(body: Body, names: Sequence[str]) -> bool:
    """One value of several, whatever their shapes are."""
    r = body.r
    types = [body.scope.values[name].type for name in names]
    if all(given == types[0] for given in types) and r.random() < 0.7:
        kind = r.choice(["Add", "Concat", "Average", "Maximum", "Minimum", "Multiply"])
        if body.add(row_of(r, kind, {}, types[0], body.names, sources=tuple(names), name=body.name())):
            return True
    flat = []
    for name in names:
        given = body.scope.values[name].type
        kind = r.choice(["GlobalAvgPool", "Flatten"]) if given.rank > 1 else "Dense"
        fields = {"units": r.randint(1, 5)} if kind == "Dense" else {}
        flat.append(body.name())
        if not body.add(row_of(r, kind, fields, given, body.names, sources=(name,), name=flat[-1])):
            return False
    return body.add(row_of(r, "Concat", {}, body.above.type, body.names, sources=tuple(flat), name=body.name()))


def steps(body: Body, count: int, *, ends: bool = False) -> dict[str, str]:
    """Some rows, branches and blocks more; the outputs that were branched off, by their names."""
    r, outputs = body.r, dict[str, str]()
    for _ in range(count):
        [step] = r.choices(list(STEPS), list(STEPS.values()))
        if step is _side and ends and body.rows and len(outputs) < 2:
            outputs |= _side(body)
        elif step is _block_somewhere and body.blocks:
            _block_somewhere(body)
        elif step in (any_row, _side, _block_somewhere) or not body.rows:
            any_row(body)
        else:
            step(body)
    return outputs


def _block_somewhere(body: Body) -> None:
    use(body, body.r.choice(list(body.blocks.values())))


def _side(body: Body) -> dict[str, str]:
    """A row that is an output, and another one that reads what it reads; the output by its name."""
    trunk, name = body.named(), body.r.choice(["side", "mask", "aux_out", "Classes"])
    if name in body.scope.values or not any_row(body, name=body.name()):
        return {}
    found = {name: body.named()}
    body.read(trunk)
    _continue(body, trunk)
    return found


def _continue(body: Body, trunk: str) -> None:
    """A row that reads another than the one above."""
    if not any_row(body, sources=(trunk,)):
        body.add(Row("Rescale", size=(0.5,), sources=(trunk,)))


def any_row(
    body: Body, names: Sequence[str] = tuple(kinds.ROWS), *, name: str | None = None, sources: tuple[str, ...] = ()
) -> bool:
    """A row of one of these kinds that suits the value it reads; whether there is one."""
    r = body.r
    given = body.scope.values[sources[0]].type if sources else body.above.type
    weights = [kinds.WEIGHTS.get(kind, 1.0) for kind in names]
    for _ in range(TRIES):
        [kind] = r.choices(names, weights)
        fields = kinds.ROWS[kind](r, given)
        if fields is None:
            continue
        row = row_of(r, kind, fields, given, body.names, sources=sources, name=name)
        if row.activation is None and r.random() < 0.3 and kind != "Activation":
            row = replace(row, activation=activation(r, given, body.names))
        keeps = kind in kinds.KEEPING or kind in ("Conv", "DepthwiseConv", "MaxPool", "Pad")
        if keeps and name is None and r.random() < 0.07:
            row = replace(row, repeat=expression(r, r.choice([1, 2, 3]), body.names))
        if name is None and r.random() < 0.4:
            row = replace(row, name=body.name() if row.repeat is None else body.name_of_several())
        if r.random() < 0.05:
            row = replace(row, when=condition(r, body.names))
        if body.add(replace(row, frozen=r.random() < 0.05)):
            return True
    return False


def _residual(body: Body) -> None:
    """Rows that keep the shape, and their result merged with what they began with."""
    r, trunk = body.r, body.named()
    given = body.above.type
    for _ in range(r.randint(1, 3)):
        if given.rank > 1 and r.random() < 0.5:
            fields = {"filters": given.channels, "kernel": kinds.sizes(r, given.rank - 1, 3), "padding": "same"}
            body.add(row_of(r, "Conv", fields, given, body.names))
        else:
            any_row(body, kinds.KEEPING)
    branch = body.named()
    if branch == trunk and r.random() < 0.5:
        return
    kind = r.choice(["Add", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concat"])
    fields = {"axis": r.randint(1, given.rank)} if kind == "Concat" and r.random() < 0.5 else {}
    sources = r.sample([trunk, branch], 2) + ([trunk] if kind != "Subtract" and r.random() < 0.2 else [])
    row = row_of(r, kind, fields, given, body.names, sources=tuple(sources))
    if r.random() < 0.3:
        row = replace(row, activation=activation(r, given, body.names))
    if r.random() < 0.1:
        row = replace(row, when=condition(r, body.names))
    if not body.add(row):
        body.add(Row("Add", sources=(trunk, branch)))


def _reach(body: Body) -> None:
    """The value above merged with one from anywhere: of the base beyond its cut, of one of several repetitions."""
    r = body.r
    alike = [name for name, value in body.scope.values.items() if value.type == body.above.type]
    if not body.rows or not alike:
        return
    kind = r.choice(["Add", "Subtract", "Maximum", "Average", "Concat"])
    body.add(row_of(r, kind, {}, body.above.type, body.names, sources=(r.choice(alike), body.named())))


def _branched(body: Body) -> None:
    trunk = body.named()
    body.attempt(partial(_branches, body, trunk))


def _parted(body: Body) -> None:
    trunk = body.named()
    body.attempt(partial(_parts, body, trunk))


def _branches(body: Body, trunk: str) -> bool:
    """Two or three ways of the same extent, one behind the other along the channels; whether they fit."""
    r, ends = body.r, []
    given = body.above.type
    for _ in range(r.randint(2, 3)):
        name = body.name()
        if given.rank == 1:
            row = row_of(r, "Dense", {"units": r.randint(1, 4)}, given, body.names, sources=(trunk,), name=name)
        else:
            fields = {"filters": r.randint(1, 4), "kernel": kinds.sizes(r, given.rank - 1, 3), "padding": "same"}
            row = row_of(r, "Conv", fields, given, body.names, sources=(trunk,), name=name)
        if not body.add(row):
            body.add(Row("Activation", name, ("tanh",), sources=(trunk,)))
        if r.random() < 0.4:
            any_row(body, kinds.KEEPING)
        ends.append(body.named())
    return body.add(Row("Concat", sources=tuple(ends), name=body.name() if r.random() < 0.3 else None))


def _parts(body: Body, trunk: str) -> bool:
    """All parts of an axis, each changed, together again; whether they fit."""
    r = body.r
    given, axis = body.above.type, body.r.randint(1, body.above.type.rank)
    parts = r.choice([part for part in (2, 3, 5) if given.shape[axis - 1] % part == 0] or [1])
    if parts == 1:
        return False
    ends = []
    for index in range(parts):
        body.add(
            Row(
                "Split",
                body.name(),
                (parts, index),
                options={"axis": axis},
                sources=(trunk,),
                positional=("parts", "index"),
            )
        )
        if r.random() < 0.5:
            any_row(body, kinds.KEEPING)
        ends.append(body.named())
    return body.add(Row("Concat", size=(axis,), sources=tuple(ends), positional=("axis",)))


def _gate(body: Body) -> None:
    """A value for each channel, or each position, that scales all of it."""
    r = body.r
    given = body.above.type
    if given.rank == 1 or not body.rows:
        return
    trunk, first = body.named(), body.name()
    if r.random() < 0.6:
        body.add(Row("GlobalAvgPool", first, options={"keepdims": True}))
        filters = given.channels
    else:
        body.add(Row("Activation", first, ("tanh",)))
        filters = 1
    if body.add(row_of(r, "Conv", {"filters": filters, "kernel": 1, "padding": "same"}, given, body.names)):
        body.rows[-1] = replace(body.rows[-1], activation=Act("sigmoid", "sigmoid"))
    gate = body.named()
    kind = "Multiply" if body.scope.values[trunk].power < MOST_POWER - 1 else "Add"
    body.add(Row(kind, sources=tuple(r.sample([trunk, gate], 2))))


def _dot(body: Body) -> None:
    """The scalar products of a vector or a sequence with a change of itself."""
    if body.above.type.rank > 2 or body.above.power > 1:
        return
    trunk = body.named()
    if any_row(body, ("BatchNorm", "Activation", "LayerScale", "Rescale"), name=body.name()):
        options = {"normalize": True} if body.r.random() < 0.5 else {}
        body.add(Row("Dot", sources=(trunk, body.named()), options=options))


def _unpool(body: Body) -> None:
    """A pool, a change of what it gives, and its values where they were in the image."""
    r, given = body.r, body.above.type
    sizes = [[size for size in (1, 2, 3, 5) if length % size == 0] for length in given.spatial]
    if not sizes:
        return
    size, trunk = tuple(r.choice(fitting) for fitting in sizes), body.named()
    if body.add(Row("MaxPool", body.name(), (size,), positional=("size",))):
        any_row(body, kinds.KEEPING)
        body.add(Row("MaxUnpool", None, (size,), sources=(body.named(), trunk), positional=("size",)))


def block_of(
    r: Random, blocks: dict[str, Block], variables: Mapping[str, Value], defaults: Mapping[str, Mapping[str, Value]]
) -> Block | None:
    """A block that works for the sample of its parameters; whether it does for other values, each use tries."""
    sample: dict[str, Value] = {}
    for name in r.sample(PARAMETERS, r.randint(0, 3)):
        sample[name] = r.choice([1, 2, 3, 4, True, 0.2, "relu", "same", (3, 2)])
    required = tuple(name for name in sample if r.random() < 0.5)
    inputs = ("input",) if r.random() < 0.8 else tuple(r.sample(["x", "skip", "other", "y1"], 2))
    rank = r.choice([1, 2, 2, 2, 3])
    shape = (*(r.choice([4, 5, 7, 8]) if rank < 3 else r.randint(3, 5) for _ in range(rank)), r.choice([2, 3, 4, 6]))
    values = {name: Given(name, TensorType(shape)) for name in inputs}
    scope = Scope(values, {**variables, **sample}, next(iter(values.values())))
    body = Body(r, dict(blocks), variables, scope, defaults)
    if len(inputs) > 1 and not join(body, inputs):
        return None
    steps(body, r.randint(1, 4))
    if not body.rows:
        return None
    given = {name: value if name in required else expression(r, value, variables) for name, value in sample.items()}
    free = [name for name in BLOCKS if name not in blocks]
    return Block(
        r.choice(free),
        tuple(body.rows),
        inputs,
        given,
        required,
        table=r.choice(["", "", "", *HEADERS]) if r.random() < 0.2 else "",
    )


def use(body: Body, block: Block) -> bool:
    """A row that uses a block, with values of its own for its parameters."""
    r = body.r
    sample = {name: compute(value, body.variables) for name, value in block.sample.items()}
    for attempt in range(8):
        given = dict(sample) if attempt > 5 else {name: other_value(r, value) for name, value in sample.items()}
        count = r.randint(0, len(given)) if r.random() < 0.5 else 0
        positional = list(given)[:count]
        options = {
            name: value for name, value in given.items()
            if name not in positional and (name in block.required or value != sample[name])
        }  # fmt: skip
        sources: tuple[str, ...] = ()
        if len(block.inputs) > 1:
            others = [name for name, value in body.scope.values.items() if value.type == body.above.type]
            sources = (body.named(), r.choice(others) if others and r.random() < 0.5 else body.named())
        elif r.random() < 0.15:
            sources = (body.named(),)
        repeat = expression(r, r.choice([2, 3]), body.names) if r.random() < 0.15 and len(sources) < 2 else None
        named = r.random() < 0.7
        row = Row(
            block.name,
            None if not named else body.name() if repeat is None else body.name_of_several(),
            tuple(given[name] for name in positional),
            options={name: expression(r, value, body.names) for name, value in options.items()},
            sources=sources,
            repeat=repeat,
            when=condition(r, body.names) if r.random() < 0.08 and len(sources) < 2 else None,
            frozen=r.random() < 0.05,
            form=form(r),
            note=r.random() < 0.1,
            positional=tuple(positional),
        )
        if body.add(row):
            return True
    return False


STEPS: Mapping[Callable[..., object], float] = {
    any_row: 58, _residual: 10, _branched: 7, _parted: 4, _gate: 3, _dot: 2, _unpool: 2, _reach: 3, _block_somewhere: 9,
    _side: 4,
}  # fmt: skip
"""What comes next, and how often."""
