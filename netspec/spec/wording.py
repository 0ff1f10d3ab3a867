"""What pydantic finds wrong, said in the words of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

from netspec.errors import Problem, did_you_mean, one_of
from netspec.notation import Call, Expression, write_value

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from netspec.layers import Layer

Path = tuple[str | int, ...]

# Error types that only say what the value is not, in the order of how well they say it.
KIND_OF_VALUE = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a word",
    "tuple_type": "a size such as 3 or (3,3)",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
}
BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


# What pydantic calls members of unions and functions, in the place of a field.
MEMBERS = ("function-before", "function-after", "int", "str", "float", "bool")


def reworded(
    error: ValidationError, model: type[BaseModel], layer: type[Layer] | None = None
) -> Iterator[tuple[Path, Problem]]:
    """Each thing that is wrong, once: its path in the document and a problem without a place.

    `layer` is the kind of layer that a model is the form of. The members of a union each complain for themselves;
    for one value, the complaint that says most is kept.
    """
    found: dict[Path, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        if details["type"] == "default_factory_not_called":
            continue  # a field that is wrong has no default to give to another
        path = _document_path(details)
        found.setdefault(path, []).append(details)
    for path, several in found.items():
        yield path, _problem(path, several, model, layer)


def fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """The names of the fields of the model at this path inside of a model; none where it is no model."""
    from pydantic import BaseModel

    found: type[BaseModel] | None = model
    for part in path:
        info = found.model_fields.get(str(part)) if found is not None else None
        members = (info.annotation, *get_args(info.annotation)) if info is not None else ()
        found = next((member for member in members if isinstance(member, type) and issubclass(member, BaseModel)), None)
    return list(found.model_fields) if found is not None else []


def belongs(homes: Sequence[str]) -> str | None:
    """Where a key belongs that is written one level too high, as a hint; None where nothing has a key of its name.

    >>> belongs(["optimizer", "phases"])
    'it belongs into `optimizer` or `phases`'
    """
    return f"it belongs into {' or '.join(f'`{home}`' for home in homes)}" if homes else None


def _document_path(details: ErrorDetails) -> Path:
    """`loc` without the names that pydantic adds for the members of unions and for functions, and without indices
    into tuples, which a cell writes as one value.
    """
    path: list[str | int] = []
    for part in details["loc"]:
        if isinstance(part, str) and ("[" in part or part in MEMBERS):
            break
        if isinstance(part, int):
            break
        path.append(part)
    return tuple(path)


def _problem(path: Path, several: list[ErrorDetails], model: type[BaseModel], layer: type[Layer] | None) -> Problem:
    details = max(several, key=_tells)
    # What is inside of a layer's field (the scheme of an initialiser) is written as one value, the field's.
    field = str(path[0]) if layer and path else _field(details) or "this"
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        known = fields_at(model, path[:-1])
        owner = f"{layer.kind} has no option {field!r}" if layer else f"unknown key {field!r}"
        homes = [each for each in known if field in fields_at(model, (*path[:-1], each))]
        return Problem(owner, belongs(homes) or did_you_mean(field, known) or (one_of(known) if known else None))
    if kind == "missing":
        described: type[object] = model if layer is None else layer
        message = f"{layer.kind} needs {field}" if layer else f"{field} is missing"
        from netspec.spec.describe import field_docs  # reads source code, which only an error needs

        return Problem(message, field_docs(described).get(field))
    if kind == "value_error":
        message, _, hint = (
            str(context.get("error", details["msg"])).removeprefix("Value error, ").partition("\n  hint: ")
        )
        return Problem(message, hint or None)
    choices = [each for each in several if each["type"] == "literal_error"]
    if choices:
        expected = str(choices[0].get("ctx", {}).get("expected", "")).replace(" or ", ", ")
        words = [word.strip("' ") for word in expected.split(",")]
        others = [KIND_OF_VALUE[each["type"]] for each in several if each["type"] in KIND_OF_VALUE]
        near = _near(choices[0]["input"], words)
        hint = near or one_of(words) + (f", or {others[0]}" if others else "")
        return Problem(f"{field} cannot be {_shown(choices[0]['input'])}", hint)
    if kind in BOUNDS:
        bound, words_ = BOUNDS[kind]
        limit = context.get(bound)
        said = f"{limit:,}" if isinstance(limit, int) else f"{limit:g}" if isinstance(limit, float) else limit
        return Problem(f"{field} must be {words_} {said}, got {_shown(value)}")
    if kind == "tuple_type" and layer is None:
        return Problem(f"{field} must be a list, got {_shown(value)}")
    if kind in KIND_OF_VALUE:
        wanted = [KIND_OF_VALUE[kind]]
        if layer is None:  # a value of one of several types, which each said that it is not theirs
            wanted = list(
                dict.fromkeys(KIND_OF_VALUE[each["type"]] for each in several if each["type"] in KIND_OF_VALUE)
            )
        return Problem(f"{field} must be {' or '.join(wanted)}, got {_shown(value)}")
    if kind in ("too_long", "too_short"):
        return Problem(f"{field} has {context.get('actual_length')} entries: {_shown(value)}")
    return Problem(f"{field}: {details['msg'].lower()}, got {_shown(value)}" if field else details["msg"])


def _field(details: ErrorDetails) -> str:
    """The innermost field that an error is in, even in an entry of a list."""
    names = [part for part in details["loc"] if isinstance(part, str) and "[" not in part and part not in MEMBERS]
    return names[-1] if names else ""


def _near(written: Any, words: list[str]) -> str | None:
    """A hint naming the word that was meant: a near one, or those that begin with what is written (`he`)."""
    if not isinstance(written, str):
        return None
    longer = [word for word in words if word.startswith(f"{written.casefold()}_")]
    named = " or ".join(map(repr, sorted(longer)))
    return f"did you mean {named}?" if longer else did_you_mean(written, words)


def _tells(details: ErrorDetails) -> int:
    """How much a complaint says: a bound or a message of our own more than the wrong kind of value."""
    kind = details["type"]
    # A tuple of which no entry could be read is also "too short", which says less than what is wrong with an entry.
    return 3 if kind == "value_error" else 2 if kind in BOUNDS else 1 if kind in KIND_OF_VALUE else 0


def _shown(value: Any) -> str:
    try:
        text = (
            write_value(value) if isinstance(value, (int, float, str, tuple, list, Call, Expression)) else repr(value)
        )
    except (AttributeError, TypeError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
