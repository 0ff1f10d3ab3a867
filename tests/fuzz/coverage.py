"""What random specs have of the language: `python -m tests.fuzz --coverage` counts it, and names what none of them has.

What is wanted of layers comes from their classes: a field that is new is missing here until it is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from netspec.layers import ALIASES, KINDS, Activation, Alias, Layer, fold
from netspec.layers.activation import FUNCTIONS
from netspec.layers.base import field_named
from netspec.layers.initializer import Initializer, Scheme
from netspec.tensors import TensorType
from tests.fuzz.document import FORMS, HEADERS, SIGNS, Act, Base, Document, Formula, Name, Row, Value, compute, computed
from tests.fuzz.kept import BASE, Kept
from tests.fuzz.meaning import meanings
from tests.fuzz.walk import shapes

WINDOWS = {"Conv": "kernel", "DepthwiseConv": "kernel", "SeparableConv": "kernel", "MaxPool": "size", "AvgPool": "size"}
"""The kinds that slide a window, and the field that is its size."""
REFUSED = ("ConvTranspose.padding causal",)
"""What a field's type allows, and the layer does not."""
WINDOW = (
    "a window larger than its input", "an odd pad at the end", "a stride beyond its window", "pixels left over",
    "one pixel",
)  # fmt: skip
MORE = (
    "a merge of one value with itself", "an axis of one that is repeated", "a group a channel",
    "groups of several channels", "frozen weights",
)  # fmt: skip
"""What rows may be beside that."""
PLACES = (
    "a size", "an option", "an activation", "an argument", "repeat", "when", "a variable", "a default", "a parameter",
)  # fmt: skip
"""Where a name may stand for a value."""


def coverage(documents: Iterable[Document]) -> Counter[str]:
    """How many of the specs have each thing; what is wanted and in none of them is there with 0."""
    found = Counter[str](dict.fromkeys(wanted(), 0))
    for document in documents:
        rows = [kept for means in meanings(document).values() for kept in means.rows.values()]
        things = {*_of_document(document), *(thing for kept in rows for thing in _of_row(kept))}
        found.update(things & found.keys())
    return found


def wanted() -> Iterator[str]:
    """Everything that some spec should have."""
    yield from (thing for thing in _possible() if thing not in REFUSED)


def _possible() -> Iterator[str]:
    for kind, layer in KINDS.items():
        yield kind
        yield from (f"{kind} in {rank}-D" for rank in layer.ranks)
        hints = get_type_hints(layer)
        for name, default in layer.defaults.items():
            yield from (f"{kind}.{name} {sort}" for sort in _sorts(hints[name], has_default=default is not ...))
        if layer.arity != (1, 1):
            yield from (f"{kind} of {count}" for count in range(layer.arity[0], (layer.arity[1] or 3) + 1))
    yield from (f"activation {name}" for name in (*FUNCTIONS, "prelu"))
    yield from (f"initial values {scheme}" for scheme in get_args(Scheme))
    for kind in WINDOWS:
        yield from (f"{kind} with {what}" for what in WINDOW)
    yield from MORE
    yield from (f"{what} {word}" for what in ("a row", "a block") for word in SAID)
    yield from (*NAMED, *WRITTEN, *BASED, *CHANGED)
    yield from (f"a name in {place}" for place in PLACES)
    yield from (f"computed with {sign}" for sign in SIGNS)


def _sorts(hint: Any, *, has_default: bool) -> Iterator[str]:
    """The sorts of values that a field of this type may have, as `_sort` calls them."""
    if get_origin(hint) in (Union, UnionType):
        for each in get_args(hint):
            yield from _sorts(each, has_default=has_default)
    elif get_origin(hint) is Literal:
        yield from map(str, get_args(hint))
    elif hint is bool:
        yield from ("True", "False")
    elif get_origin(hint) is tuple:
        pairs = get_origin(get_args(hint)[0]) is tuple
        yield from ("none", "alike", "begin and end differ", "axes differ") if pairs else ("alike", "differ")
    elif has_default and hint is not type(None):
        yield from ("default", "another")


def _sort(layer: Layer, name: str, value: Any) -> str:
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, tuple):
        if not isinstance(value[0], tuple):
            return "alike" if len(set(value)) == 1 else "differ"
        if len(set(value)) > 1:
            return "axes differ"
        begin, end = value[0]
        return "begin and end differ" if begin != end else "alike" if begin else "none"
    return "default" if value == layer.defaults[name] else "another"


def _of_row(kept: Kept) -> Iterator[str]:
    """What a row of a network has."""
    layer, *act = kept.layers
    yield layer.kind
    yield f"{layer.kind} in {kept.read[0].rank - 1}-D"
    for name, value in layer.fields().items():
        if isinstance(value, Initializer):
            yield f"initial values {value.scheme}"
        yield f"{layer.kind}.{name} {_sort(layer, name, value)}"
    if layer.arity != (1, 1):
        yield f"{layer.kind} of {len(kept.read)}"
        if len(set(kept.sources)) < len(kept.sources):
            yield "a merge of one value with itself"
        if len({given.shape for given in kept.read}) > 1 and layer.kind != "Concat":
            yield "an axis of one that is repeated"
    for each in act:
        yield f"activation {each.function}" if isinstance(each, Activation) else "activation prelu"
    if layer.kind in WINDOWS:
        yield from (f"{layer.kind} with {what}" for what in _of_window(layer, kept.read))
    if layer.kind == "Conv":
        groups, channels = layer.fields()["groups"], kept.read[0].channels
        if groups > 1:
            yield "a group a channel" if groups == channels else "groups of several channels"
    if kept.trained and kept.frozen:
        yield "frozen weights"


def _of_window(layer: Layer, read: Sequence[TensorType]) -> Iterator[str]:
    fields = layer.resolve(read).fields()
    ones = (1,) * len(fields["stride"])
    axes = zip(
        read[0].spatial, fields[WINDOWS[layer.kind]], fields["stride"], fields.get("dilation", ones), fields["padding"],
        strict=True,
    )  # fmt: skip
    for length, window, stride, dilation, (begin, end) in axes:
        reach = (window - 1) * dilation + 1
        if reach > length:
            yield "a window larger than its input"
        if begin + 1 == end and layer.fields()["padding"] == "same":
            yield "an odd pad at the end"
        if stride > reach:
            yield "a stride beyond its window"
        if (length + begin + end - reach) % stride:
            yield "pixels left over"
        if length == 1:
            yield "one pixel"


def _of_rows(document: Document) -> Iterator[str]:
    """What the rows of a spec and of its blocks say."""
    blocks = {block.name for block in document.blocks}
    for rows in document.bodies().values():
        for row in rows:
            what = "a block" if row.type in blocks else "a row"
            yield from (f"{what} {word}" for word, says in SAID.items() if says(row))
            if what == "a row" and row.type != BASE:
                yield from (thing for thing, has in NAMED.items() if has(row, ALIASES[fold(row.type)]))
            places = {"a size": row.size, "an option": row.options.values(), "repeat": [row.repeat], "when": [row.when]}
            if isinstance(row.activation, Act) and row.activation.argument:
                places["an argument"] = [row.activation.argument[1]]
            elif isinstance(row.activation, Name):
                places["an activation"] = [row.activation]
            for place, values in places.items():
                yield from _computed(values, place)


def _computed(values: Iterable[Any], place: str) -> Iterator[str]:
    """What is computed in values that stand in this place."""
    for value in values:
        if isinstance(value, Name):
            yield f"a name in {place}"
        elif isinstance(value, Formula):
            yield f"computed with {value.sign}"
            yield from _computed((value.left, value.right), place)
        elif isinstance(value, tuple):
            yield from _computed(value, place)


SAID: Mapping[str, Callable[[Row], bool]] = {
    **{f"as {form}": lambda row, form=form: row.form == form for form in FORMS},
    "without a name": lambda row: row.name is None,
    "with a note": lambda row: row.note,
    "that reads one by its name": lambda row: len(row.sources) == 1,
    "that reads the input by its name": lambda row: row.sources == ("input",),
    "frozen": lambda row: row.frozen,
    "repeated": lambda row: row.repeat is not None,
    "where a word says so": lambda row: isinstance(row.when, bool),
    "where a name says so": lambda row: isinstance(row.when, Name),
    "where a comparison says so": lambda row: isinstance(row.when, Formula),
    "with arguments by position": lambda row: bool(row.size),
    "with arguments by name": lambda row: bool(row.options),
}
"""What a row may say, or the use of a block."""
NAMED: Mapping[str, Callable[[Row, Alias], bool]] = {
    "a kind whose name says the rank": lambda _, alias: alias.rank is not None,
    "a kind whose name says a field": lambda _, alias: bool(alias.fields),
    "a field by another name": lambda row, alias: any(field_named(alias.layer, name) != name for name in row.options),
    "a size as an option": lambda row, alias: any(name in alias.layer.positional for name in row.options),
    "an argument of an activation by name": lambda row, _: _has_argument(row, named=True),
    "an argument of an activation by position": lambda row, _: _has_argument(row, named=False),
    "no activation where there would be one": lambda row, _: (
        isinstance(row.activation, Act) and row.activation.function == "none"
    ),
}
"""What only the row of a layer may say."""


def _has_argument(row: Row, *, named: bool) -> bool:
    return isinstance(row.activation, Act) and row.activation.argument is not None and row.activation.named == named


def _types(values: Iterable[Value]) -> set[type]:
    return {type(value) for value in values}


def _parameters(document: Document, *, required: bool) -> set[type]:
    """The types of the parameters of blocks that have a default, or have none."""
    variables = computed(document.variables)
    return _types(
        compute(value, variables)
        for block in document.blocks
        for name, value in block.sample.items()
        if (name in block.required) == required
    )


def _uses(document: Document) -> Counter[str]:
    blocks = {block.name for block in document.blocks}
    return Counter(row.type for rows in document.bodies().values() for row in rows if row.type in blocks)


FACTS = ("parameters", "trainable", "non_trainable", "macs", "output", "layers", "shapes", "counts")
PARTS = (
    "variables", "defaults", "variants", "blocks", "layers", "expect", "about", "classes", "preprocess", "export",
    "verify",
)  # fmt: skip
WRITTEN: Mapping[str, Callable[[Document], object]] = {
    **{f"a table in {language}": lambda spec, language=language: spec.table == language for language in HEADERS},
    "rows of a block as a table": lambda spec: any(block.table for block in spec.blocks),
    "a block with several inputs": lambda spec: any(len(block.inputs) > 1 for block in spec.blocks),
    "a block in a block": lambda spec: any(row.type in spec.bodies() for block in spec.blocks for row in block.rows),
    "a block used several times": lambda spec: max(_uses(spec).values(), default=0) > 1,
    **{
        f"a parameter of type {kind.__name__}{' that is required' if required else ''}": (
            lambda spec, kind=kind, required=required: kind in _parameters(spec, required=required)
        )
        for kind in (bool, int, float, str, tuple)
        for required in (True, False)
    },
    **{
        f"a variable of type {kind.__name__}": lambda spec, kind=kind: kind in _types(spec.variables.values())
        for kind in (bool, int, float, str)
    },
    "a default of an activation": lambda spec: any("activation" in fields for fields in spec.defaults.values()),
    **{f"{count} inputs": lambda spec, count=count: len(spec.inputs) == count for count in (1, 2, 3)},
    **{
        f"an input of {rank} axes": lambda spec, rank=rank: rank in map(len, spec.inputs.values())
        for rank in (1, 2, 3, 4)
    },
    "several outputs": lambda spec: spec.outputs,
    "outputs as a list": lambda spec: spec.outputs and spec.listed_outputs,
    "shapes as lists": lambda spec: spec.lists and spec.inputs,
    **{
        section: lambda spec, section=section: section in spec.sections
        for section in ("expect", "about", "classes", "preprocess", "export", "verify")
    },
    **{f"expect.{fact}": lambda spec, fact=fact: f"{fact}: " in spec.sections.get("expect", "") for fact in FACTS},
    **{f"{part} in another file": lambda spec, part=part: part in spec.included for part in PARTS},
    "a block in another file": lambda spec: any("." in part for part in spec.included),
    "blocks beside those of another file": lambda spec: spec.beside,
}
"""What a spec may say."""
BASED: Mapping[str, Callable[[Document, Base], object]] = {
    "a base": lambda *_: True,
    "a base that is cut": lambda _, base: base.output is not None,
    "a base that is frozen": lambda _, base: base.freeze is True,
    "a base of which some is frozen": lambda _, base: isinstance(base.freeze, tuple),
    "a variant of a base": lambda _, base: base.variant,
    "a base of a base": lambda _, base: base.document.base,
    "a base among rows": lambda spec, _: any(row.type == BASE for row in spec.rows[1:]),
    "a base with several inputs": lambda _, base: len(shapes(base.document)) > 1,
    "a base with other inputs than its own": lambda spec, _: spec.inputs,
}
"""What a spec with a base may say."""
CHANGED = (
    *(f"a change of {section}" for section in (
        "variables", "input", "inputs", "name", "about", "verify", "export", "base.output", "base.freeze",
        "base.variant", "outputs", "defaults", "expect", "parameters", "a row", "a field", "activation", "frozen",
        "when", "repeat", "from",
    )),
    "a change of a row by its number", "a change of a row by the name that it is given", "a change in a block",
)  # fmt: skip
"""What a variant may change."""


def _of_document(document: Document) -> Iterator[str]:
    """What a spec says, in all of its files."""
    yield from _of_rows(document)
    yield from (thing for thing, has in WRITTEN.items() if has(document))
    yield from _computed(document.variables.values(), "a variable")
    yield from _computed((value for fields in document.defaults.values() for value in fields.values()), "a default")
    yield from _computed((value for block in document.blocks for value in block.sample.values()), "a parameter")
    for variant in document.variants:
        for path in variant.changes:
            yield from (f"a change {what}" for what in _of_path(document, path))
    if document.base is not None:
        yield from (thing for thing, has in BASED.items() if has(document, document.base))
        yield from _of_document(document.base.document)


def _of_path(document: Document, path: str) -> Iterator[str]:
    """What of a spec an override changes, and how it names that."""
    section, *rest = path.split(".")
    block = rest.pop(0) if section == "blocks" else ""
    if block:
        yield "in a block"
        section = rest.pop(0)
    if section != "layers":
        yield f"of {path if section == 'base' else section}"
        return
    row, *key = rest
    if row.isdecimal():
        yield "of a row by its number"
    elif row not in {each.name for each in document.bodies()[block]}:
        yield "of a row by the name that it is given"
    if not key:
        yield "of a row"
    else:
        yield f"of {key[0] if key[0] in ('activation', 'frozen', 'when', 'repeat', 'from') else 'a field'}"
