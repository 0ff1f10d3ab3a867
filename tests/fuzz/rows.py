"""Single rows at random: fields under any of their names, in any notation, with names in the place of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from netspec.layers import ALIASES, NAMES
from netspec.layers.base import SYNONYMS, field_named
from netspec.tensors import TensorType
from tests.fuzz import kinds
from tests.fuzz.document import FORMS, Act, Formula, Name, Row, Value

PADDINGS = ("same", "valid")
"""Words that are no activations."""


def condition(r: Random, names: Mapping[str, Value]) -> Value:
    """What `when` may say here."""
    numbers = [name for name, value in names.items() if isinstance(value, int) and not isinstance(value, bool)]
    flags = [name for name, value in names.items() if isinstance(value, bool)]
    if flags and r.random() < 0.7:
        return Name(r.choice(flags)) if r.random() < 0.7 else Formula("==", Name(r.choice(flags)), r.random() < 0.5)
    if numbers:
        left, right = Name(r.choice(numbers)), expression(r, r.randint(1, 4), names)
        return Formula(r.choice([">", ">=", "<", "<=", "==", "!="]), left, right)
    return r.random() < 0.7


def other_value(r: Random, value: Value) -> Value:
    """Another value of the same type."""
    if isinstance(value, bool):
        return r.random() < 0.5
    if isinstance(value, int):
        return r.choice([1, 2, 3, 4, 5, value, value])
    if isinstance(value, float):
        return r.choice([0.1, 0.5, value])
    if isinstance(value, tuple):
        return r.choice([(1, 3), (2, 2), value, value])
    return r.choice(PADDINGS if value in PADDINGS else ["relu", "tanh", "none", "silu", "ReLU6"])


def expression(r: Random, value: Value, names: Mapping[str, Value]) -> Value:
    """Now and then a name that has this value, or arithmetic that gives it."""
    if isinstance(value, bool) or r.random() < 0.5:
        return value
    alike = [name for name, other in names.items() if type(other) is type(value) and other == value]
    if alike:
        return Name(r.choice(alike))
    numbers = [
        (name, other)
        for name, other in names.items()
        if isinstance(other, (int, float)) and not isinstance(other, bool)
    ]
    if isinstance(value, int) and value > 0 and numbers:
        return r.choice(list(_formulas(r, value, *r.choice(numbers))))
    return value


def _formulas(r: Random, value: int, name: str, other: float) -> Iterator[Value]:
    """Arithmetic on a number of this name that gives a value."""
    if (value / other).is_integer():
        yield Formula("*", int(value / other), Name(name))
    if not isinstance(other, int):
        yield value
        return
    yield Formula("+", Name(name), value - other) if value > other else Formula("-", Name(name), other - value)
    yield Formula("/", value * other, Name(name))
    yield (
        Formula("//", Formula("*", Name(name), value), other)
        if r.random() < 0.5
        else Formula("//", value * other + r.randrange(other), Name(name))
    )
    more = r.randint(1, 3)
    yield Formula("-", Formula("*", more, Formula("+", Name(name), value)), more * other + (more - 1) * value)
    yield Formula("-", value + other + more, Formula("+", Name(name), more))


def activation(r: Random, given: TensorType, names: Mapping[str, Value]) -> Act | Name:
    """An activation for what a row gives that reads this."""
    words = [name for name, value in names.items() if isinstance(value, str) and value not in PADDINGS]
    if words and r.random() < 0.6:
        return Name(r.choice(words))
    if r.random() < 0.12:
        word = r.choice(["prelu", "prelu", "none"])
        return Act(word, word)
    function = r.choice([*kinds.FUNCTIONS, "relu", "relu", "tanh", "sigmoid", "softmax"])
    own = kinds.argument(r, function, TensorType(given.shape))
    if own is not None and own[0] == "axis":
        own = ("axis", r.choice([-1, 1]))  # the result may have another rank than the input, but has these
    floats = [name for name, value in names.items() if isinstance(value, float)]
    if own is not None and own[0] in ("slope", "alpha") and floats and r.random() < 0.5:
        own = (own[0], Name(r.choice(floats)))
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


def row_of(
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
    given = tuple(positions[: len(size)])
    return Row(word, name, tuple(size), None, options, sources, form=form(r), positional=given, note=r.random() < 0.05)


def form(r: Random) -> str:
    """The notation of a row."""
    return r.choice(["pipes", "pipes", *FORMS])


def _synonym(r: Random, layer: type, key: str) -> str:
    if r.random() < 0.85:
        return key
    others = [word for word in {**SYNONYMS, **layer.synonyms} if field_named(layer, word) == key]
    return r.choice([key, *others])


REPLACED = ("filters", "units", "kernel", "stride", "size", "dilation", "rate", "multiplier")


def _replaced(r: Random, key: str, value: Value, names: Mapping[str, Value]) -> Value:
    """A name in the place of a number, which then has that name's value, whatever it is."""
    if not names or r.random() < 0.5:
        return value
    if key == "padding" and value in PADDINGS:
        return Name(r.choice([name for name, other in names.items() if other in PADDINGS] or [value]))
    if key not in REPLACED:
        return value
    kind = float if key == "rate" else (int, tuple) if key in ("kernel", "stride", "size", "dilation") else int
    suited = [name for name, other in names.items() if isinstance(other, kind) and not isinstance(other, bool)]
    if not suited:
        return value
    name = Name(r.choice(suited))
    if key in ("filters", "units") and r.random() < 0.3:
        return Formula("*", 2, name) if r.random() < 0.7 else Formula("+", name, 1)
    return name
