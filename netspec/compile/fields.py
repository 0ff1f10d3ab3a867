"""A written row -> the layer it means: kind looked up, cells given their fields, values validated."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from netspec.compile.unsupported import unknown_kind
from netspec.errors import LayerError, Position, Problem, did_you_mean
from netspec.layers import ALIASES, Activation, Alias, Layer, PReLU, fold
from netspec.layers.activation import ARGUMENTS, FUNCTIONS, function_named
from netspec.layers.base import field_named
from netspec.notation import Call, NotationError, Value, evaluate, is_empty, parse_value, write_value
from netspec.spec.row import Row
from netspec.spec.shaped import first_shaped, misplaced
from netspec.spec.wording import reworded

ROUNDS_DOWN = "// divides and rounds down"
MOST_AXES = 3
NO_ACTIVATION = {"linear", "none", "identity"}


@dataclass(frozen=True, slots=True)
class Written:
    """What a row says: its layer and activation, both not yet resolved against an input."""

    row: Row
    layer: Layer
    rank: int | None
    """The number of spatial axes that the written kind asserts."""
    activation: Layer | None


class FieldProblems(Exception):
    """Everything that is wrong with the cells of one row."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def read_row(
    row: Row,
    defaults: Mapping[type[Layer], Mapping[str, Any]],
    blocks: Collection[str] = (),
    names: Collection[str] = (),
) -> Written:
    """The layer that a row means, with the spec's defaults for its kind; raises FieldProblems.

    The names of `blocks`, and those of parameters and variables, are what a word may have meant that means nothing.
    """
    problems: list[Problem] = []
    alias, arguments = _kind(row, problems, blocks)
    if alias is None:
        raise FieldProblems(problems)
    given = defaults.get(alias.layer, {})
    fields = {name: value for name, value in given.items() if name != "activation"} | dict(alias.fields)
    fields |= _positional(row, alias, arguments, problems)
    for name, value in row.options.items():
        field = field_named(alias.layer, name)
        if "function" in alias.fields and field != ARGUMENTS.get(str(alias.fields["function"])):
            problems.append(_at(row, name, _no_argument(str(alias.fields["function"]), name)))
            continue
        if field in row.options and field != name:
            problems.append(_at(row, name, Problem(f"{name} and {field} are the same; give one of them")))
        elif field in fields and field not in given and field not in alias.fields:
            problems.append(_at(row, name, Problem(f"{field} is given twice, in the size cell and as an option")))
        elif field in alias.fields and value != alias.fields[field]:
            problems.append(_at(row, name, _contradiction(row, alias, field, value)))
        fields[field] = value
    if issubclass(alias.layer, Activation) and isinstance(fields.get("function"), Call):
        fields |= _called(row, fields.pop("function"), problems)
    layer = _validated(row, alias.layer, fields, problems, names=names)
    activation = _activation(row, row.activation if row.activation is not None else given.get("activation"), problems)
    if problems or layer is None:
        raise FieldProblems(problems)
    return Written(row, layer, alias.rank, activation)


def _contradiction(row: Row, alias: Alias, field: str, value: Value) -> Problem:
    """That an option says otherwise than the name of the kind does, which sets it."""
    said = f"{field}={write_value(value)}"
    return Problem(
        f"{row.type} means {field}={write_value(alias.fields[field])}, so {said} contradicts it",
        f"{alias.layer.kind} takes any: {alias.layer.kind} | ... | - | {said}",
    )


def _kind(row: Row, problems: list[Problem], blocks: Collection[str]) -> tuple[Alias | None, tuple[Value, ...]]:
    """What the type cell means, and the arguments where it is written as a call (`leaky_relu(0.2)`)."""
    name = row.type
    arguments: tuple[Value, ...] = ()
    if "(" in name:
        try:
            value = parse_value(name)
        except NotationError as error:
            problems.append(_at(row, "type", Problem(error.message, error.hint)))
            return None, ()
        if isinstance(value, Call):
            name, arguments = value.name, (value,)
    alias = ALIASES.get(fold(name))
    if alias is None:
        problems.append(_at(row, "type", unknown_kind(name, blocks)))
    elif arguments and alias.layer is not Activation:
        said = f"{name} takes its arguments in the next cell, not in brackets"
        cell = str(arguments[0]).removeprefix(name)[1:-1]
        problems.append(_at(row, "type", Problem(said, f"{name} | {cell}" if cell else f"{name}, without brackets")))
        return None, ()
    return alias, arguments


def _positional(row: Row, alias: Alias, arguments: tuple[Value, ...], problems: list[Problem]) -> dict[str, Value]:
    if arguments:
        return {"function": arguments[0]}
    names = alias.layer.positional
    if alias.layer is Activation and alias.fields:
        own = ARGUMENTS.get(str(alias.fields["function"]))
        names = (own,) if own else ()
    if len(row.size) > len(names):
        values = ", ".join(map(write_value, row.size))
        holds = f"holds {', '.join(names)}" if names else "stays empty"
        hint = None
        extra = row.size[len(names)]
        if row.activation is None and _is_activation(extra):
            cells = [row.type, ", ".join(map(write_value, row.size[: len(names)])) or "-", write_value(extra)]
            hint = f"the activation is the third cell: {' | '.join(cells)}"
        else:
            hint = _meant(row, alias, names)
        kind = row.type if "function" in alias.fields else alias.layer.kind
        problem = Problem(
            f"the size cell of {kind} {holds}, but it has "
            f"{len(row.size)} value{'' if len(row.size) == 1 else 's'}: {values}",
            hint,
        )
        problems.append(_at(row, "size", problem))
    return dict(zip(names, row.size, strict=False))


def _meant(row: Row, alias: Alias, names: Sequence[str]) -> str | None:
    """What a size cell with too many whole numbers may mean: the stride and padding, or one size for every axis."""
    if not names or not all(isinstance(value, int) for value in row.size[len(names) - 1 :]):
        return None
    head = [write_value(value) for value in row.size[: len(names) - 1]]
    tail = row.size[len(names) - 1 :]
    one = f"({','.join(map(write_value, tail))})"
    together = f"write {', '.join([*head, one])} if {names[-1]} is {one}" if len(tail) <= MOST_AXES else None
    options = [name for name in ("stride", "padding") if name in alias.layer.defaults][: len(tail) - 1]
    if len(options) < len(tail) - 1:
        return together
    given = ", ".join(f"{name}={write_value(value)}" for name, value in zip(options, tail[1:], strict=True))
    apart = f"{row.type} | {', '.join([*head, write_value(tail[0])])} | - | {given}"
    if len(set(tail)) == 1 or not options:  # 32, 3, 3
        return f"{together}, or {apart}"
    return f"options have names: {apart}" + (f"; {together}" if len(tail) == 2 else "")


def _is_activation(value: Value) -> bool:
    """Whether a value is the name of an activation, perhaps with its arguments."""
    name = value.name if isinstance(value, Call) else value
    return isinstance(name, str) and (fold(name) == "prelu" or function_named(name) is not None)


def _no_argument(function: str, name: str) -> Problem:
    own = ARGUMENTS.get(function)
    return Problem(f"{function} has no option {name!r}", f"its only option is {own}" if own else "it has no options")


def _called(row: Row, call: Call, problems: list[Problem]) -> dict[str, Value]:
    """The fields of `leaky_relu(0.2)`."""
    function = function_named(call.name)
    if function is None:
        return {"function": call.name}  # which nothing can be said about but that it is unknown
    own = ARGUMENTS.get(function)
    if len(call.arguments) > (1 if own else 0):
        problems.append(
            _at(row, "activation", Problem(f"{call.name} takes {'one argument' if own else 'no arguments'}"))
        )
    unnamed = {own: call.arguments[0]} if own and call.arguments else {}
    problems += [_at(row, "activation", _no_argument(function, name)) for name in call.options if name != own]
    return {"function": function, **unnamed, **{name: value for name, value in call.options.items() if name == own}}


def _activation(row: Row, written: object, problems: list[Problem]) -> Layer | None:
    if written is None or (isinstance(written, str) and (is_empty(written) or fold(written) in NO_ACTIVATION)):
        return None
    if isinstance(written, str) and "(" in written:
        try:
            written = parse_value(written)
        except NotationError as error:
            problems.append(_at(row, "activation", Problem(error.message, error.hint)))
            return None
    call = written if isinstance(written, Call) else Call(str(written))
    if fold(call.name) == "prelu":
        return PReLU()
    function = function_named(call.name)
    if function is None:
        problem = Problem(f"unknown activation {call.name!r}", did_you_mean(call.name, (*FUNCTIONS, "prelu")))
        problems.append(_at(row, "activation", problem))
        return None
    before = len(problems)
    fields = _called(row, Call(function, call.arguments, call.options), problems)
    if len(problems) > before:
        return None
    return _validated(row, Activation, fields, problems, cell="activation")


def _validated(
    row: Row,
    kind: type[Layer],
    fields: Mapping[str, Any],
    problems: list[Problem],
    cell: str | None = None,
    names: Collection[str] = (),
) -> Layer | None:
    if kind is Activation and isinstance(fields.get("function"), str):
        fields = {**fields, "function": function_named(fields["function"]) or fields["function"]}
    try:
        return kind(**fields)
    except LayerError as error:
        problem = Problem(error.message, error.hint)
        problems.append(_at(row, cell or _cell_of(row, kind, error.field or ""), problem, error.field or ""))
        return None
    except ValidationError as error:
        for path, problem in reworded(error, kind.form(), kind):
            field = str(path[0]) if path else ""
            written = fields.get(field)
            if problem.hint is None and isinstance(written, str):
                problem = replace(problem, hint=did_you_mean(written, names))
            elif problem.hint is None and isinstance(written, tuple) and row.size[:1] == (written,):
                problem = replace(problem, hint=_other_order(row, kind))
            elif problem.hint is None and isinstance(written, float) and "/" in row.text:
                problem = replace(problem, hint=_divided(row, kind, field))
            problems.append(_at(row, cell or _cell_of(row, kind, field), problem, field))
        return None


def _other_order(row: Row, kind: type[Layer]) -> str | None:
    """A hint for a size cell that begins with the size of the window: `3x3, 8`."""
    if len(row.size) != 2 or len(kind.positional) != 2 or not isinstance(row.size[1], int):
        return None
    window = write_value(row.size[0])
    if isinstance(row.size[0], tuple) and all(isinstance(each, int) for each in row.size[0]):
        window = "x".join(map(str, row.size[0]))
    return f"the size cell is {', '.join(kind.positional)}: {row.size[1]}, {window}"


def _divided(row: Row, kind: type[Layer], field: str) -> str:
    """A hint for a size that was divided: papers write the stride of a window so."""
    written = re.search(r"(\d+)\s*/\s*(\d+)", row.text)
    if written is None or "stride" not in kind.defaults or field not in ("kernel", "size"):
        return ROUNDS_DOWN
    return f"a stride is an option of its own: {written[1]}, stride={written[2]}; {ROUNDS_DOWN}"


def _cell_of(row: Row, kind: type[Layer], field: str) -> str:
    """The cell that gave a field its value."""
    for name in row.options:
        if field_named(kind, name) == field:
            return name
    return "size" if field in kind.positional else "type"


def layer_place(written: Written, field: str | None) -> Position | None:
    """Where the value of a layer's field is written, for errors that come to light later."""
    return written.row.place(_cell_of(written.row, type(written.layer), field) if field else "type")


def _at(row: Row, cell: str, problem: Problem, field: str = "") -> Problem:
    path = f"{row.path}.{field}" if field else row.path
    return problem.at(row.place(cell), path)


def read_defaults(
    defaults: Mapping[str, Mapping[str, Any]], variables: Mapping[str, Value], place: Any, problems: list[Problem]
) -> dict[type[Layer], dict[str, Any]]:
    """The spec's `defaults` by kind, its names checked and its values computed from `variables`."""
    read: dict[type[Layer], dict[str, Any]] = {}
    for name, fields in defaults.items():
        path = f"defaults.{name}"
        alias = ALIASES.get(fold(name))
        if alias is None:
            problems.append(unknown_kind(name).at(place(path), path))
            continue
        known = read.setdefault(alias.layer, {})
        for option, value in fields.items():
            field = field_named(alias.layer, option)
            if field not in alias.layer.defaults and field != "activation":
                hint = did_you_mean(option, alias.layer.defaults)
                where = f"{path}.{option}"
                problems.append(Problem(f"{alias.layer.kind} has no option {option!r}", hint, where, place(where)))
            elif word := first_shaped(value):
                where = f"{path}.{option}"
                problems.append(Problem(misplaced(word), None, where, place(where)))
            else:
                try:
                    known[field] = evaluate(value, variables)
                except NotationError as error:
                    where = f"{path}.{option}"
                    hint = error.hint or "the values of defaults are computed from `variables` alone"
                    problems.append(Problem(error.message, hint, where, place(where)))
    return read
