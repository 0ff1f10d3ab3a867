"""A random valid spec from a seed: rows of every kind in every notation, branches, blocks in blocks, several ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from pydantic import ValidationError

from netspec.errors import LayerError
from netspec.layers import ALIASES, NAMES
from netspec.layers.base import SYNONYMS, field_named
from netspec.network import TensorType
from tests.fuzz import kinds
from tests.fuzz.document import Act, Block, Document, Formula, Name, Row, Value
from tests.fuzz.walk import Given, Walk, meaning

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
TEXTS = (
    "plain", "with 'single' and \\\"double\\\" quotes", "a back\\\\slash at the end\\\\", "한국어, 日本語, ü",
    "{x} %s ${y} #z",
    'three \\"\\"\\" of them', "line one\\nline two", "trailing blank ", "<b>&amp;</b>", "# comment",
    "\\u2028 separator",
)  # fmt: skip
INVALID = (LayerError, ValidationError, ValueError, KeyError)


@dataclass
class Body:
    """Rows under construction: what they may read, and the value that the next row reads unless it says otherwise."""

    r: Random
    blocks: dict[str, Block]
    names: Mapping[str, Value]
    scope: dict[str, Given]
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    above: Given = field(init=False)
    last: str | None = field(init=False)
    """The name of the value above, where it has one."""
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.above, self.last = next(iter(self.scope.values())), next(iter(self.scope))

    def add(self, row: Row) -> bool:
        """Append a row, unless it is not valid here or makes the network too large."""
        walk = Walk(self.blocks, self.defaults)
        scope = dict(self.scope)
        try:
            result = walk.row(row, scope, self.above, self.names, frozen=False)
        except INVALID:
            return False
        if walk.largest > MOST_VALUES or walk.macs > MOST_MACS or walk.trainable + walk.others > MOST_WEIGHTS:
            return False
        if result.power > MOST_POWER:
            return False
        self.scope, self.above, self.last = scope, result, row.name
        self.rows.append(row)
        return True

    def attempt(self, rows: Callable[[], bool]) -> None:
        """Some rows that belong together: if they say that they failed, none of them is there."""
        scope, above, last, count = self.scope, self.above, self.last, len(self.rows)
        if not rows():
            self.scope, self.above, self.last = scope, above, last
            del self.rows[count:]

    def name(self) -> str:
        """A name that no row of this body has."""
        word = self.r.choice(WORDS)
        name = next(name for name in (word, *(f"{word}{number}" for number in range(2, 99))) if self.free(name))
        self.taken.add(name)
        return name

    def free(self, name: str) -> bool:
        # The words of netspec itself come with a number.
        return name not in self.taken and name not in self.scope and name not in ("x", "input", "type")

    def named(self) -> str:
        """The name of the value above, which gets one by a row that does nothing where it has none."""
        if self.last is None:
            row = replace(self.rows[-1], name=self.name())
            self.rows[-1] = row
            self.scope[str(row.name)] = self.above
            self.last = row.name
        assert self.last is not None
        return self.last


def document(seed: int | str) -> Document:
    """The spec of this seed: the same one in every process, on every machine with this version of the generator."""
    r = Random(f"netspec {seed}")
    for _ in range(1000):
        found = _document(r)
        if found is not None:
            return found
    raise AssertionError(f"no valid spec comes of seed {seed}")


def _document(r: Random) -> Document | None:
    inputs = _inputs(r)
    variables: dict[str, Value] = {}
    if r.random() < 0.3:
        variables["wide"] = r.randint(1, 3)
        if r.random() < 0.5:
            variables["Rate"] = 0.25
    defaults = _defaults(r)
    blocks: dict[str, Block] = {}
    for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
        block = _block(r, blocks, variables, defaults)
        if block is not None:
            blocks[block.name] = block
    scope = {name: Given(TensorType(shape)) for name, shape in inputs.items()}
    body = Body(r, blocks, variables, scope, defaults)
    if len(inputs) > 1 and not _join(body, list(inputs)):
        return None
    outputs = _steps(body, r.choice([1, 2, 3, 4, 6, 9]), ends=True)
    for block in list(blocks.values()):
        if not any(
            row.type == block.name for row in [*body.rows, *(row for each in blocks.values() for row in each.rows)]
        ):
            _use(body, block)
    if not body.rows:
        return None
    if outputs:
        outputs["end"] = body.named()
    found = Document(
        name=r.choice(["net", "Net-2", "a.b", "torch", "x", "conv_1", "my_model", "keras", "N1"]),
        inputs=inputs,
        rows=tuple(body.rows),
        blocks=tuple(r.sample(list(blocks.values()), len(blocks))),
        variables=variables,
        defaults=defaults,
        outputs=outputs,
        table=r.random() < 0.15,
    )
    return _with_sections(r, found)


def _inputs(r: Random) -> dict[str, tuple[int, ...]]:
    def shape(rank: int) -> tuple[int, ...]:
        most = {0: 20, 1: 17, 2: 13, 3: 6}[rank]
        spatial = (r.choice([1, 2, 3, 5, 7, 11, r.randint(1, most), r.randint(4, most)]) for _ in range(rank))
        return (*(min(size, most) for size in spatial), r.choice([1, 2, 3, 3, 4, 5, 6, 8]))

    rank = r.choice([0, 1, 1, 2, 2, 2, 2, 2, 3])
    if r.random() < 0.8:
        return {"input": shape(rank)}
    names = r.sample(["image", "mask", "left", "right", "Left", "state"], r.choice([1, 2, 2, 3]))
    first = shape(rank)
    return {name: first if r.random() < 0.5 else shape(r.choice([rank, rank, 0])) for name in names}


def _defaults(r: Random) -> dict[str, dict[str, Value]]:
    choices: list[tuple[str, dict[str, Value]]] = [
        ("Conv", {"padding": "same"}), ("Conv", {"bias": False, "init": "he_normal"}), ("Conv", {"activation": "relu"}),
        ("BatchNorm", {"epsilon": 1e-5, "momentum": 0.9}), ("Dense", {"activation": "tanh"}),
        ("MaxPool", {"ceil": True}),
    ]  # fmt: skip
    return dict([r.choice(choices)]) if r.random() < 0.25 else {}


def _with_sections(r: Random, found: Document) -> Document | None:
    try:
        means = meaning(found)
    except INVALID:
        return None
    walk = means.walk
    if not 1 <= walk.rows <= 60 or walk.macs > 3 * MOST_MACS:
        return None
    sections: list[str] = []
    first = next(iter(means.outputs.values()))
    if r.random() < 0.4:
        expect = {
            "parameters": walk.trainable + walk.others,
            "trainable": walk.trainable,
            "macs": walk.macs,
            "output": first,
        }
        sections.append("expect: {" + ", ".join(f"{name}: {value}" for name, value in expect.items()) + "}")
    if r.random() < 0.2:
        sections.append(f'about: "{r.choice(TEXTS)}"')
    if r.random() < 0.1 and first.channels > 1:
        labels = [f'"{r.choice(TEXTS)} {number}"' for number in range(first.channels)]
        sections.append(f"classes: [{', '.join(labels)}]")
    if r.random() < 0.15:
        sections.append("export: {onnx: {layout: nhwc}}")
    sections.append(f"verify: {{inputs: {r.choice([1, 2, 3])}, seed: {r.randrange(1000)}}}")
    return replace(found, sections=tuple(sections))


def _join(body: Body, names: Sequence[str]) -> bool:
    """One value of several, whatever their shapes are."""
    r = body.r
    types = [body.scope[name].type for name in names]
    if all(given == types[0] for given in types) and r.random() < 0.7:
        kind = r.choice(["Add", "Concat", "Average", "Maximum", "Minimum", "Multiply"])
        if body.add(_row(r, kind, {}, types[0], body.names, sources=tuple(names), name=body.name())):
            return True
    flat = []
    for name in names:
        given = body.scope[name].type
        kind = r.choice(["GlobalAvgPool", "Flatten"]) if given.rank > 1 else "Dense"
        fields = {"units": r.randint(1, 5)} if kind == "Dense" else {}
        flat.append(body.name())
        if not body.add(_row(r, kind, fields, given, body.names, sources=(name,), name=flat[-1])):
            return False
    return body.add(_row(r, "Concat", {}, body.above.type, body.names, sources=tuple(flat), name=body.name()))


def _steps(body: Body, count: int, *, ends: bool = False) -> dict[str, str]:
    """Some rows, branches and blocks more; the outputs that were branched off, by their names."""
    r, outputs = body.r, dict[str, str]()
    for _ in range(count):
        choice = r.random()
        if choice < 0.1 and body.rows:
            _residual(body)
        elif choice < 0.17 and body.rows:
            trunk = body.named()
            body.attempt(partial(_branches, body, trunk))
        elif choice < 0.21 and body.rows:
            trunk = body.named()
            body.attempt(partial(_parts, body, trunk))
        elif choice < 0.24:
            _gate(body)
        elif choice < 0.26 and body.rows:
            _dot(body)
        elif choice < 0.28 and body.rows:
            _unpool(body)
        elif choice < 0.4 and body.blocks:
            _use(body, r.choice(list(body.blocks.values())))
        elif choice < 0.44 and ends and body.rows and len(outputs) < 2:
            trunk = body.named()
            if _any(body, {"name": body.name()}):
                name = r.choice(["side", "mask", "aux_out", "Classes"])
                if name not in outputs and name not in body.scope:
                    outputs[name] = body.named()
                    body.above, body.last = body.scope[trunk], trunk
                    _continue(body, trunk)
        else:
            _any(body, {})
    return outputs


def _continue(body: Body, trunk: str) -> None:
    """A row that reads another than the one above."""
    if not _any(body, {"sources": (trunk,)}):
        body.add(Row("Rescale", size=(0.5,), sources=(trunk,)))


def _any(body: Body, extra: dict[str, object], names: Sequence[str] | None = None) -> bool:
    """A row of any kind, or of one of these, that suits the value it reads."""
    r = body.r
    sources = extra.get("sources")
    given = body.scope[sources[0]].type if isinstance(sources, tuple) else body.above.type
    pool = list(names or kinds.ROWS)
    weights = [kinds.WEIGHTS.get(kind, 1.0) for kind in pool]
    for _ in range(TRIES):
        [kind] = r.choices(pool, weights)
        fields = kinds.ROWS[kind](r, given)
        if fields is None:
            continue
        row = _row(r, kind, fields, given, body.names)
        if row.activation is None and r.random() < 0.3 and kind != "Activation":
            row = replace(row, activation=_activation(r, given, body.names))
        keeps = kind in kinds.KEEPING or kind in ("Conv", "DepthwiseConv", "MaxPool", "Pad")
        changes: dict[str, object] = dict(extra)
        if "name" not in changes and r.random() < 0.4:
            changes["name"] = body.name()
        if keeps and r.random() < 0.07:
            changes["repeat"] = r.choice([1, 2, 3])
            if "name" in changes:
                # conv_1, conv_2, ... are what rows are called that have no name.
                changes["name"] = f"{changes['name']}_of"
        if r.random() < 0.05:
            changes["when"] = _condition(r, body.names)
        if r.random() < 0.05:
            changes["frozen"] = True
        if body.add(replace(row, **changes)):  # type: ignore[arg-type]
            return True
    return False


def _condition(r: Random, names: Mapping[str, Value]) -> Value:
    numbers = [name for name, value in names.items() if isinstance(value, int) and not isinstance(value, bool)]
    flags = [name for name, value in names.items() if isinstance(value, bool)]
    if flags and r.random() < 0.7:
        return Name(r.choice(flags))
    if numbers:
        return Formula(r.choice([">", "<=", "=="]), Name(r.choice(numbers)), r.randint(1, 4))
    return r.random() < 0.7


def _residual(body: Body) -> None:
    """Rows that keep the shape, and their result merged with what they began with."""
    r, trunk = body.r, body.named()
    given = body.above.type
    for _ in range(r.randint(1, 3)):
        if given.rank > 1 and r.random() < 0.5:
            fields = {"filters": given.channels, "kernel": kinds.sizes(r, given.rank - 1, 3), "padding": "same"}
            body.add(_row(r, "Conv", fields, given, body.names))
        else:
            _any(body, {}, kinds.KEEPING)
    branch = body.named()
    if branch == trunk and r.random() < 0.5:
        return
    kind = r.choice(["Add", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concat"])
    fields = {"axis": r.randint(1, given.rank)} if kind == "Concat" and r.random() < 0.5 else {}
    sources = r.sample([trunk, branch], 2) + (
        [trunk] if kind not in ("Subtract", "Multiply") and r.random() < 0.2 else []
    )
    row = _row(r, kind, fields, given, body.names, sources=tuple(sources))
    if r.random() < 0.3:
        row = replace(row, activation=_activation(r, given, body.names))
    if not body.add(row):
        body.add(Row("Add", sources=(trunk, branch)))


def _branches(body: Body, trunk: str) -> bool:
    """Two or three ways of the same extent, one behind the other along the channels; whether they fit."""
    r, ends = body.r, []
    given = body.above.type
    for _ in range(r.randint(2, 3)):
        name = body.name()
        if given.rank == 1:
            row = _row(r, "Dense", {"units": r.randint(1, 4)}, given, body.names, sources=(trunk,), name=name)
        else:
            fields = {"filters": r.randint(1, 4), "kernel": kinds.sizes(r, given.rank - 1, 3), "padding": "same"}
            row = _row(r, "Conv", fields, given, body.names, sources=(trunk,), name=name)
        if not body.add(row):
            body.add(Row("Activation", name, ("tanh",), sources=(trunk,)))
        if r.random() < 0.4:
            _any(body, {}, kinds.KEEPING)
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
            _any(body, {}, kinds.KEEPING)
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
    if body.add(_row(r, "Conv", {"filters": filters, "kernel": 1, "padding": "same"}, given, body.names)):
        body.rows[-1] = replace(body.rows[-1], activation=Act("sigmoid", "sigmoid"))
    gate = body.named()
    kind = "Multiply" if body.scope[trunk].power < MOST_POWER - 1 else "Add"
    body.add(Row(kind, sources=tuple(r.sample([trunk, gate], 2))))


def _dot(body: Body) -> None:
    """The scalar products of a vector or a sequence with a change of itself."""
    if body.above.type.rank > 2 or body.above.power > 1:
        return
    trunk = body.named()
    if _any(body, {"name": body.name()}, ("BatchNorm", "Activation", "LayerScale", "Rescale")):
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
        _any(body, {}, kinds.KEEPING)
        body.add(Row("MaxUnpool", None, (size,), sources=(body.named(), trunk), positional=("size",)))


def _block(
    r: Random, blocks: dict[str, Block], variables: Mapping[str, Value], defaults: Mapping[str, Mapping[str, Value]]
) -> Block | None:
    """A block that works for the sample of its parameters; whether it does for other values, each use tries."""
    sample: dict[str, Value] = {}
    for name in r.sample(PARAMETERS, r.randint(0, 3)):
        sample[name] = r.choice([1, 2, 3, 4, True, 0.2, "relu", (3, 2)])
    required = tuple(name for name in sample if r.random() < 0.5)
    inputs = ("input",) if r.random() < 0.8 else tuple(r.sample(["x", "skip", "other", "y1"], 2))
    rank = r.choice([1, 2, 2, 2, 3])
    shape = (*(r.choice([4, 5, 7, 8]) if rank < 3 else r.randint(3, 5) for _ in range(rank)), r.choice([2, 3, 4, 6]))
    scope = {name: Given(TensorType(shape)) for name in inputs}
    body = Body(r, dict(blocks), {**variables, **sample}, scope, defaults)
    if len(inputs) > 1 and not _join(body, inputs):
        return None
    _steps(body, r.randint(1, 4))
    free = [name for name in BLOCKS if name not in blocks]
    return (
        Block(r.choice(free), tuple(body.rows), inputs, sample, required, table=r.random() < 0.1) if body.rows else None
    )


def _use(body: Body, block: Block) -> bool:
    """A row that uses a block, with values of its own for its parameters."""
    r = body.r
    for attempt in range(8):
        given = dict(block.sample) if attempt > 5 else {name: _other(r, value) for name, value in block.sample.items()}
        count = r.randint(0, len(given)) if r.random() < 0.5 else 0
        positional = list(given)[:count]
        options = {
            name: value for name, value in given.items()
            if name not in positional and (name in block.required or value != block.sample[name])
        }  # fmt: skip
        sources: tuple[str, ...] = ()
        if len(block.inputs) > 1:
            if not body.rows and body.last is None:
                return False
            others = [name for name, value in body.scope.items() if value.type == body.above.type]
            sources = (body.named(), r.choice(others) if others and r.random() < 0.5 else body.named())
        name = body.name() if r.random() < 0.7 else None
        repeat = r.choice([2, 3]) if r.random() < 0.15 and not sources else None
        row = Row(
            block.name,
            # conv_1, conv_2, ... are what rows are called that have no name.
            f"{name}_of" if name and repeat else name,
            tuple(given[name] for name in positional),
            options={name: _expression(r, value, body.names) for name, value in options.items()},
            sources=sources,
            repeat=repeat,
            when=_condition(r, body.names) if r.random() < 0.08 and not sources else None,
            frozen=r.random() < 0.05,
            form=r.choice(["pipes", "pipes", "flow", "mapping"]),
            positional=tuple(positional),
        )
        if body.add(row):
            return True
    return False


def _other(r: Random, value: Value) -> Value:
    if isinstance(value, bool):
        return r.random() < 0.5
    if isinstance(value, int):
        return r.choice([1, 2, 3, 4, 5, value, value])
    if isinstance(value, float):
        return r.choice([0.1, 0.5, value])
    if isinstance(value, tuple):
        return r.choice([(1, 3), (2, 2), value, value])
    return r.choice(["relu", "tanh", "none", "silu", "ReLU6"])


def _expression(r: Random, value: Value, names: Mapping[str, Value]) -> Value:
    """Now and then a name that has this value, or arithmetic that gives it."""
    if isinstance(value, bool) or r.random() < 0.5:
        return value
    alike = [name for name, other in names.items() if type(other) is type(value) and other == value]
    if alike:
        return Name(r.choice(alike))
    numbers = [(name, other) for name, other in names.items() if isinstance(other, int) and not isinstance(other, bool)]
    if isinstance(value, int) and value > 0 and numbers:
        name, other = r.choice(numbers)
        if value % other == 0:
            return Formula("*", value // other, Name(name))
        if value > other:
            return Formula("+", Name(name), value - other)
        return Formula("-", Name(name), other - value) if value < other else Name(name)
    return value


def _activation(r: Random, given: TensorType, names: Mapping[str, Value]) -> Act | Name:
    words = [name for name, value in names.items() if isinstance(value, str)]
    if words and r.random() < 0.6:
        return Name(r.choice(words))
    if r.random() < 0.08:
        return Act("prelu", "prelu")
    function = r.choice([*kinds.FUNCTIONS, "relu", "relu", "tanh", "sigmoid", "softmax"])
    own = kinds.argument(r, function, TensorType(given.shape))
    if own is not None and own[0] == "axis":
        own = ("axis", r.choice([-1, 1]))  # the result may have another rank than the input, but has these
    return Act(_cased(r, function), function, own, named=own is not None and (own[0] == "axis" or r.random() < 0.5))


def _cased(r: Random, name: str) -> str:
    """The name in another spelling: case and underscores do not matter."""
    spellings = [
        name,
        name,
        name.lower(),
        name.replace("_", ""),
        "".join(part.capitalize() for part in name.split("_")),
    ]
    return r.choice(spellings)


def _row(
    r: Random,
    kind: str,
    fields: Mapping[str, Value],
    given: TensorType,
    names: Mapping[str, Value],
    *,
    sources: tuple[str, ...] = (),
    name: str | None = None,
) -> Row:
    """The fields of a kind as a row: under one of its names, in the size cell or as options, by any of their names."""
    layer = ALIASES[kind.lower()].layer
    left = dict(fields)
    called = [
        NAMES[folded]
        for folded, alias in ALIASES.items()
        if alias.layer is layer and alias.rank in (None, given.rank - 1) and alias.fields.items() <= left.items()
    ]
    word = r.choice([kind, r.choice(called)])
    preset = ALIASES[word.replace("_", "").replace("-", "").lower()].fields
    left = {key: value for key, value in left.items() if key not in preset}
    positions = [] if preset and kind == "Activation" else list(layer.positional)
    size: list[Value] = []
    for key in positions:
        if key not in left or (r.random() < 0.15 and kind != "Activation"):
            break
        size.append(_replaced(r, key, left.pop(key), names))
    options = {_synonym(r, layer, key): _replaced(r, key, value, names) for key, value in left.items()}
    form = r.choice(["pipes", "pipes", "pipes", "flow", "mapping"])
    return Row(word, name, tuple(size), None, options, sources, form=form, positional=tuple(positions[: len(size)]))


def _synonym(r: Random, layer: type, key: str) -> str:
    if r.random() < 0.85:
        return key
    others = [word for word in {**SYNONYMS, **layer.synonyms} if field_named(layer, word) == key]
    return r.choice([key, *others])


REPLACED = ("filters", "units", "kernel", "stride", "size", "dilation", "rate", "multiplier")


def _replaced(r: Random, key: str, value: Value, names: Mapping[str, Value]) -> Value:
    """A name in the place of a number, which then has that name's value, whatever it is."""
    if key not in REPLACED or not names or r.random() < 0.5:
        return value
    kind = float if key == "rate" else (int, tuple) if key in ("kernel", "stride", "size", "dilation") else int
    suited = [name for name, other in names.items() if isinstance(other, kind) and not isinstance(other, bool)]
    if not suited:
        return value
    name = Name(r.choice(suited))
    if key in ("filters", "units") and r.random() < 0.3:
        return Formula("*", 2, name) if r.random() < 0.7 else Formula("+", name, 1)
    return name
