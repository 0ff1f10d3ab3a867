"""What does not fit, said row by row: both shapes, in our layout and as the file has them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from netspec.backend.stored import StoredTensor
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.importing.folded import Folding
from netspec.importing.names import Named
from netspec.importing.units import Found, Part, Unit, Wanted, role_of, shape_of
from netspec.network import Node
from netspec.tensors import Placement

FLOATS = ("float64", "float32", "float16", "bfloat16")
FIRST = 5
"""How many of a kind of problem are listed."""
UNDECIDED = 20
"""How many pairs of rows that have to be told apart are listed: a mapping file needs them all."""
MAPPING = (
    "say what belongs together in a mapping file (--mapping): a row or a weight, a colon, the file's layer or tensor"
)


def check_pairs(source: str, pairs: Iterable[tuple[Part, StoredTensor]]) -> None:
    """Raise SpecError for every weight whose tensor has another shape, or is no array of floating point numbers."""
    problems = [problem for part, tensor in pairs if (problem := _misfit(source, part, tensor))]
    if problems:
        raise SpecError(_first(problems))


def _misfit(source: str, part: Part, tensor: StoredTensor) -> Problem | None:
    if shape_of(tensor) != part.shape:
        return Problem(f"{source}: row {part.row!r}: {_needs(part)}, but {tensor.name} is {_has(part, tensor)}")
    if tensor.dtype not in FLOATS:
        message = f"{tensor.name} is {tensor.dtype}, but weights are floating point numbers"
        hint = "a quantized model has to be turned back into float32 by the program that made it"
        return Problem(f"{source}: row {part.row!r}: {message}", hint if "int" in tensor.dtype else None)
    return None


def names_error(source: str, named: Named, network: str) -> SpecError:
    """The error for the names that a file lacks or has too many of, where most others are right."""
    unknown = [tensor.name for tensor in named.unknown]
    problems = [
        Problem(
            f"{source}: row {part.row!r}: there is no {part.placement.name}",
            did_you_mean(part.placement.name, unknown, fold=False),
        )
        for part in named.missing
    ]
    problems += [Problem(f"{source}: {name} belongs to no row of {network}") for name in unknown]
    return SpecError(_first(problems))


def units_error(
    source: str,
    wanted: Sequence[Wanted],
    found: Sequence[Found],
    sign: Callable[[Unit[Any]], Hashable],
    network: str,
    *,
    kinds: bool,
) -> SpecError:
    """The error for the rows and the layers that have no partner, compared in order; kind by kind with `kinds`."""
    forms = dict.fromkeys([*map(_form, wanted), *map(_form, found)]) if kinds else [None]
    problems: list[Problem] = []
    for form in forms:
        rows = [unit for unit in wanted if form in (None, _form(unit))]
        layers = [unit for unit in found if form in (None, _form(unit))]
        for some_rows, some_layers in _differences(rows, layers, sign):
            problems += _unlike(source, some_rows, some_layers)
    parts, tensors = _count(wanted), _count(found)
    if parts != tensors:
        difference = "too many" if tensors > parts else "too few"
        message = f"{source} holds {tensors} tensors, {difference}: {network} needs {parts}"
        hint = "is it of this network? --ignore leaves out what the network does not have" if tensors > parts else None
        problems.insert(0, Problem(message, hint or "is it of this network?"))
    return SpecError(_first(problems, FIRST + 1))


class FoldedError(SpecError):
    """Weights into which an exporter has put those of BatchNorms."""

    folding = Folding((), {})


def folded_error(source: str, norms: Sequence[Node], folded: Mapping[Node, Node]) -> FoldedError:
    """The error for these BatchNorms, whose numbers an exporter put together, `folded` ones with the layer before."""
    problems = [
        Problem(
            f"{source}: BatchNorm {norm.row!r} was folded into {folded[norm].row!r}: its own numbers are in this file "
            "no more"
            if norm in folded
            else f"{source}: BatchNorm {norm.row!r} is a factor and a shift: its own numbers are in this file no more"
        )
        for norm in norms
    ]
    hint = (
        "the weights that it was exported from have them; torch.onnx.export keeps them with optimize=False, or with "
        "dynamo=False, do_constant_folding=False and training=TrainingMode.PRESERVE"
    )
    problems[-1] = problems[-1].with_hint(hint)
    error = FoldedError(problems if len(problems) <= FIRST else [*_first(problems[:-1], FIRST - 1), problems[-1]])
    into = {norm.name: before.name for norm, before in folded.items()}
    error.folding = Folding(tuple(norm.name for norm in norms), into)
    return error


def order_error(source: str, wanted: Wanted, found: Found) -> SpecError:
    """The error for a layer that stands before one from which the network computes it."""
    message = (
        f"{source}: the shapes fit, but not the order: {found.owner}, which would be row {_row(wanted)!r}, "
        "stands before layers from which that row is computed"
    )
    return SpecError([Problem(message, f"is it of this network? If so, {MAPPING}")])


def undecided_error(source: str, alike: Sequence[Sequence[tuple[Wanted, Found]]]) -> SpecError:
    """The error for rows with the same shapes side by side, which the file's order does not tell apart."""
    problems = []
    for (one, first), (other, second) in alike:
        message = (
            f"{source}: {first.owner} and {second.owner} have the shapes of rows {_row(one)!r} and {_row(other)!r}, "
            "which stand side by side, and nothing says which is which"
        )
        hint = (
            f"a line in a mapping file (--mapping) does: `{_row(one)}: ...`; so does a file that holds the whole model"
        )
        problems.append(Problem(message, hint))
    return SpecError(_first(problems, UNDECIDED))


def orders_error(source: str, wanted: Sequence[Wanted], one: Sequence[Found], other: Sequence[Found]) -> SpecError:
    """The error for names that fit the rows in more than one order."""
    unlike = [(row, a, b) for row, a, b in zip(wanted, one, other, strict=True) if a is not b]
    problems = [
        Problem(f"{source}: {a.owner} and {b.owner} both fit row {_row(row)!r}, for the file keeps no order", MAPPING)
        for row, a, b in unlike
    ]
    return SpecError(_first(problems))


def _form(unit: Unit[Any]) -> tuple[int, ...]:
    """What layers of one kind have in common: how many axes each of their parts has."""
    return tuple(len(shape_of(part)) for part in unit.parts)


def _differences(
    wanted: Sequence[Wanted], found: Sequence[Found], sign: Callable[[Unit[Any]], Hashable]
) -> Iterator[tuple[Sequence[Wanted], Sequence[Found]]]:
    """The stretches in which two sequences differ; long ones are compared less closely."""
    many = len(found) > 1000
    compared = SequenceMatcher(None, [sign(unit) for unit in wanted], [sign(unit) for unit in found], autojunk=many)
    for tag, start, end, begin, stop in compared.get_opcodes():
        if tag != "equal":
            yield wanted[start:end], found[begin:stop]


def _unlike(source: str, rows: Sequence[Wanted], layers: Sequence[Found]) -> Iterator[Problem]:
    """The problems of a stretch: partners whose shapes differ, then what is left over on one side."""
    for row, layer in zip(rows, layers, strict=False):
        partners = list(_partners(row, layer))
        for part, tensor in partners:
            if problem := _misfit(source, part, tensor):
                yield problem
        if len(row.parts) != len(layer.parts) or len(partners) != len(row.parts):
            needed = ", ".join(role_of(part) for part in row.parts)
            # Tensors that no operator is known to read have no roles, and stand together in no layer.
            held = ", ".join(tensor.role or f"{tensor.name} {_shape(tensor.shape)}" for tensor in layer.parts[:FIRST])
            held += f" and {len(layer.parts) - FIRST} more" if len(layer.parts) > FIRST else ""
            whose = f"{layer.owner} has" if layer.owner else "what no known operator of the file reads is"
            yield Problem(f"{source}: row {_row(row)!r} needs {needed}, but {whose} {held or 'none'}")
    for row in rows[len(layers) :]:
        needed = " and ".join(f"{_short(part)} {_shape(part.weight.shape)}" for part in row.parts)
        yield Problem(f"{source}: row {_row(row)!r}: nothing in the file is its {needed}")
    for layer in layers[len(rows) :]:
        held = ", ".join(f"{tensor.name} {_shape(tensor.shape)}" for tensor in layer.parts)
        yield Problem(f"{source}: no row is left for {held}")


def _partners(row: Wanted, layer: Found) -> Iterator[tuple[Part, StoredTensor]]:
    """The parts of two units that have the same role; by their places, where the file says no roles."""
    if all(tensor.role for tensor in layer.parts):
        held = {role_of(tensor): tensor for tensor in layer.parts}
        yield from ((part, held[role_of(part)]) for part in row.parts if role_of(part) in held)
    else:
        yield from zip(row.parts, layer.parts, strict=False)


def _needs(part: Part) -> str:
    own, theirs = part.weight.shape, part.shape
    there = f" ({_shape(theirs)} in this file's layout)" if own != theirs else ""
    return f"{_short(part)} has to be {_shape(own)}{there}"


def _has(part: Part, tensor: StoredTensor) -> str:
    """The tensor's shape as the file has it, and in our layout where that can be said."""
    here = _ours(part.placement, shape_of(tensor))
    return _shape(tensor.shape) + (f" (here {_shape(here)})" if here is not None and here != tensor.shape else "")


def _ours(placement: Placement, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if placement.shape is not None:
        return None
    if placement.axes is None:
        return shape
    if len(placement.axes) != len(shape):
        return None
    return tuple(shape[placement.axes.index(axis)] for axis in range(len(shape)))


def _short(part: Part) -> str:
    return part.weight.name.rpartition(".")[2]


def _row(unit: Wanted) -> str:
    return unit.parts[0].row


def _count(units: Sequence[Unit[Any]]) -> int:
    return sum(len(unit.parts) for unit in units)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _first(problems: Sequence[Problem], most: int = FIRST) -> list[Problem]:
    """The first few problems, and how many more there are."""
    more = len(problems) - most
    return [*problems[:most], *([Problem(f"and {more} more like these")] if more > 0 else [])]
