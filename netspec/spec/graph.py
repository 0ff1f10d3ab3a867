"""The sections that make a network more than a list of rows: inputs, outputs, variables, blocks, uses, base."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from netspec.errors import Position, Problem, SpecError, did_you_mean, one_of
from netspec.layers import ALIASES, fold
from netspec.notation import NotationError, Value, evaluate, parts, write_value
from netspec.spec.model import Block, Grouped, Parameter, read_shape
from netspec.spec.reader import Mapping, Node, Scalar, Sequence, plain
from netspec.spec.row import OWN_OPTIONS
from netspec.spec.rows import RowError, read_rows, read_value
from netspec.spec.shaped import first_shaped, misplaced
from netspec.tensors import TensorType

TYPES: dict[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "word": "a word",
    "size": "a size such as 3 or (3,3)",
}
"""The types of parameters, in words."""
SYNONYMS = {"str": "word", "string": "word", "number": "float", "integer": "int", "boolean": "bool", "tuple": "size"}
SHAPE_HINT = "height x width x channels of one sample, without the batch, such as `input: 32x32x3`"
MAX_PARAMETERS = 100
MAX_SIZE = 100
"""How many parts the value of a parameter may have: it is said for every row that uses the block."""
OF_ROWS = ("type", "name", "activation", *OWN_OPTIONS)
"""What a row says of itself, so that it could not give it to a block."""
BLOCK_KEYS = ("parameters", "inputs", "layers", "about")


def _refuse(message: str, hint: str | None, path: str, position: Position) -> NoReturn:
    raise SpecError([Problem(message, hint, path, position)])


def _mapping(node: Node, what: str, hint: str, path: str) -> Mapping:
    if not isinstance(node, Mapping):
        _refuse(f"{path} is a mapping of {what}", hint, path, node.position)
    return node


def _name(key: Scalar, what: str, path: str, *, dots: bool = False) -> str:
    """A key as a name: an identifier, with `dots` several of them."""
    parts = key.text.split(".") if dots else [key.text]
    if not all(part.isascii() and part.isidentifier() and part[0] != "_" for part in parts):
        hint = "ASCII letters, digits and underscores, a letter first"
        _refuse(f"{key.text[:60]!r} cannot be the name of {what}", hint, path, key.position)
    return key.text


def read_shape_at(node: Node, path: str) -> TensorType:
    """A shape; raises SpecError."""
    try:
        # The text itself is read, for to YAML 0x32 is a number.
        return TensorType(read_shape(node.text if isinstance(node, Scalar) else plain(node)))
    except ValueError as error:
        _refuse(str(error), SHAPE_HINT, path, node.position)


def read_inputs(node: Node) -> dict[str, TensorType]:
    """`inputs: {image: 32x32x3, mask: 32x32x1}`."""
    entries = _mapping(node, "names and shapes", "for example `inputs: {left: 28x28x1, right: 28x28x1}`", "inputs")
    if not entries.entries:
        _refuse(
            "inputs has no entries", "for example `inputs: {left: 28x28x1, right: 28x28x1}`", "inputs", node.position
        )
    return {
        _name(key, "an input", f"inputs.{name}"): read_shape_at(shape, f"inputs.{name}")
        for name, (key, shape) in entries.entries.items()
    }


def read_outputs(node: Node) -> dict[str, str]:
    """`outputs: {classes: head, boxes: regression}`, or a list of rows that give the outputs their own names."""
    hint = "a name and a row each, such as `outputs: {classes: head, boxes: regression}`"
    if isinstance(node, Sequence):
        items = [(item, item) for item in node.items]
    else:
        items = list(_mapping(node, "names and rows", hint, "outputs").entries.values())
    found: dict[str, str] = {}
    for key, row in items:
        if not isinstance(row, Scalar) or not isinstance(key, Scalar) or not row.text.strip():
            _refuse("an output is the name of a row", hint, "outputs", row.position)
        if key.text in found:
            _refuse(f"the output {key.text!r} is here for the second time", None, "outputs", key.position)
        found[_name(key, "an output", f"outputs.{key.text}")] = row.text
    if not found:
        _refuse("outputs has no entries", hint, "outputs", node.position)
    return found


def read_variables(node: Node) -> dict[str, Value]:
    """`variables: {width: 0.5, growth: 16*width}`: each may use those above it."""
    entries = _mapping(node, "names and values", "for example `variables: {width: 1.0}`", "variables")
    found: dict[str, Value] = {}
    problems: list[Problem] = []
    for name, (key, value) in entries.entries.items():
        path = f"variables.{name}"
        try:
            found[_name(key, "a variable", path)] = _value(value, path, found, "a variable may use those above it")
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return found


def _value(node: Node, path: str, names: dict[str, Value], hint: str | None = None) -> Value:
    """A value with the names in it replaced; `hint` is for one that is not known."""
    try:
        value = read_value(node, path)
        if word := first_shaped(value):
            _refuse(misplaced(word), None, path, node.position)
        return evaluate(value, names)
    except RowError as error:
        raise SpecError([error.problem]) from None
    except NotationError as error:
        _refuse(error.message, error.hint or (hint if "not a number" in error.message else None), path, node.position)


def read_blocks(node: Node, variables: dict[str, Value]) -> dict[str, Block]:
    """The blocks by name; raises SpecError with what is wrong in any of them."""
    hint = "for example `blocks: {pair: {parameters: {filters: int}, layers: [CNN | filters, 3]}}`"
    blocks: dict[str, Block] = {}
    problems: list[Problem] = []
    for name, (key, inside) in _mapping(node, "names and blocks", hint, "blocks").entries.items():
        try:
            blocks[name] = _block(key, inside, variables)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return blocks


def _block(key: Scalar, node: Node, variables: dict[str, Value]) -> Block:
    path = f"blocks.{key.text}"
    name = _name(key, "a block", path)
    known = ALIASES.get(fold(name))
    if known is not None or fold(name) == "base":
        what = f"the kind of layer {known.layer.kind}" if known else "the rows of the section `base`"
        _refuse(f"the name {name!r} already means {what}", f"for example '{name}_block'", path, key.position)
    inside = _mapping(node, "parameters and layers", "for example `{parameters: {filters: int}, layers: [...]}`", path)
    for part, (where, _) in inside.entries.items():
        if part not in BLOCK_KEYS:
            _refuse(f"a block has no {part!r}", one_of(BLOCK_KEYS), f"{path}.{part}", where.position)
    parameters = _parameters(inside.get("parameters"), f"{path}.parameters", variables)
    inputs = _block_inputs(inside.get("inputs"), f"{path}.inputs")
    rows = read_rows(inside.get("layers"), key.position, f"{path}.layers")
    return Block(name, parameters, inputs, rows, key.position, _about(inside.get("about"), f"{path}.about"))


def _about(node: Node | None, path: str) -> str:
    if node is None:
        return ""
    if not isinstance(node, Scalar):
        _refuse("about is a text", None, path, node.position)
    return node.text.strip()


def _block_inputs(node: Node | None, path: str) -> tuple[str, ...]:
    if node is None:
        return ("input",)
    hint = "the names by which its rows read what it is given, such as [x, skip]"
    if not isinstance(node, Sequence) or not node.items:
        _refuse("the inputs of a block are a list of names", hint, path, node.position)
    names = [_name(item, "an input", path) for item in node.items if isinstance(item, Scalar)]
    if len(set(names)) < len(node.items):
        _refuse("the inputs of a block are names, each once", hint, path, node.position)
    return tuple(names)


def _parameters(node: Node | None, path: str, variables: dict[str, Value]) -> dict[str, Parameter]:
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return {}
    hint = f"a type ({', '.join(TYPES)}), or a default that gives it, such as {{filters: int, stride: 1}}"
    found: dict[str, Parameter] = {}
    entries = _mapping(node, "names and types or defaults", hint, path).entries
    if len(entries) > MAX_PARAMETERS:
        _refuse(
            f"a block has at most {MAX_PARAMETERS} parameters, this one {len(entries):,}", None, path, node.position
        )
    for name, (key, value) in entries.items():
        here = f"{path}.{name}"
        _name(key, "a parameter", here)
        if name in OF_ROWS:
            message = f"{name!r} cannot be the name of a parameter, for every row may say it"
            _refuse(message, f"for example '{name}_'", here, key.position)
        if isinstance(value, Scalar) and (value.text in TYPES or value.text in SYNONYMS):
            found[name] = Parameter(SYNONYMS.get(value.text, value.text), required=True)
            continue
        default = _value(value, here, variables)
        if isinstance(default, str) and isinstance(value, Scalar) and not value.style and default == value.text:
            near = did_you_mean(value.text, (*TYPES, *SYNONYMS))
            if near is not None:
                hint = f"{near} A word by default is written in quotes: '{value.text}'"
                _refuse(f"there is no type {value.text!r} of parameters", hint, here, value.position)
        kind = type_of(default)
        if parts(default, MAX_SIZE) > MAX_SIZE:
            _refuse(f"a parameter has at most {MAX_SIZE} numbers", None, here, value.position)
        if kind is None:
            _refuse(f"{write_value(default)} is no default that a parameter may have", hint, here, value.position)
        found[name] = Parameter(kind, default)
    return found


def type_of(value: Value) -> str | None:
    """The type of a parameter with this default, or None where there is none of it."""
    if isinstance(value, bool):
        return "bool"
    checks: dict[str, Callable[[Value], bool]] = {
        "int": lambda value: isinstance(value, int),
        "float": lambda value: isinstance(value, float),
        "word": lambda value: isinstance(value, str),
        "size": lambda value: isinstance(value, (tuple, list)),
    }
    return next((name for name, holds in checks.items() if holds(value)), None)


def read_uses(node: Node) -> dict[str, Grouped]:
    """What a build writes into the resolved spec about the blocks that its rows were."""
    hint = "it is written by a build; a spec that a person writes has `blocks`"
    found: dict[str, Grouped] = {}
    for name, (key, inside) in _mapping(node, "names and blocks", hint, "uses").entries.items():
        path = f"uses.{name}"
        _name(key, "a row", path, dots=True)
        use = _mapping(inside, "block, parameters, inputs, names and result", hint, path)
        block, result = use.get("block"), use.get("result")
        inputs, names = (_scalars(use.get(part)) for part in ("inputs", "names"))
        given = use.get("parameters")
        if (
            not isinstance(block, Scalar)
            or not isinstance(result, Scalar)
            or not isinstance(given, Mapping)
            or inputs is None
            or names is None
            or len(inputs) != len(names)
        ):
            _refuse("a use has block, parameters, inputs, as many names, and result", hint, path, key.position)
        # All of these names go into the emitted sources.
        found[name] = Grouped(
            block=_name(block, "a block", path),
            parameters={
                _name(parameter, "a parameter", path): _value(value, path, {})
                for parameter, value in given.entries.values()
            },
            inputs=tuple(each.text for each in inputs),
            names=tuple(_name(each, "an input", path) for each in names),
            result=result.text,
            about=_about(use.get("about"), f"{path}.about"),
        )
    return found


def _scalars(node: Node | None) -> list[Scalar] | None:
    """The items of a list of words, or None where it is none."""
    items = node.items if isinstance(node, Sequence) else None
    return None if items is None else [item for item in items if isinstance(item, Scalar)]
