"""The walk along the rows: each is resolved against the type that the row above gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

from netspec.compile.expect import expectation_problems, unknown_rows
from netspec.compile.fields import FieldProblems, Written, layer_place, named_problems, read_defaults, read_row
from netspec.errors import ExpectationError, LayerError, Position, Problem, SpecError
from netspec.layers import Layer
from netspec.layers.base import AXES
from netspec.network import Network, Node, TensorType
from netspec.spec.model import Spec
from netspec.spec.names import layer_name, row_names

INPUT, OUTPUT = "input", "output"
FLAT = "Reshape gives a flat vector its axes back"


@dataclass(frozen=True, slots=True)
class NamedRow:
    """A row with its final name and its unresolved layers: the spec with every default filled in."""

    name: str
    written: Written


def read_rows(spec: Spec) -> tuple[NamedRow, ...]:
    """Every row of the spec with its kind, fields and name; raises SpecError with all that is wrong."""
    problems: list[Problem] = []
    rows = _read_rows(spec, problems)
    if problems:
        raise SpecError(problems)
    return tuple(row for row in rows if row is not None)


def _read_rows(spec: Spec, problems: list[Problem]) -> list[NamedRow | None]:
    defaults = read_defaults(spec.defaults, spec.place, problems)
    problems.extend(named_problems(spec.rows))
    rows: list[NamedRow | None] = []
    for row, name in zip(spec.rows, row_names(spec.rows), strict=True):
        if row.problem is not None:
            problems.append(row.problem)
            rows.append(None)
            continue
        try:
            written = read_row(row, defaults)
        except FieldProblems as found:
            problems.extend(found.problems)
            rows.append(None)
        else:
            assert name is not None, "a row that could be read is of a known kind"
            rows.append(NamedRow(name, written))
    return rows


def compile_spec(spec: Spec) -> Network:
    """The network that a spec means.

    Raises SpecError with every problem of its rows, in the order of the file, and ExpectationError when the network
    is sound but is not what `expect` says.
    """
    problems: list[Problem] = []
    rows = _read_rows(spec, problems)
    nodes: list[Node] = []
    names = {INPUT, *(row.name for row in rows if row)}
    value = INPUT
    current: TensorType | None = spec.input
    for row in rows:
        if row is None:
            current = None  # what a broken row gives is unknown, so shapes below it are too
        elif current is not None:
            current = _add(row, value, current, nodes, names, problems)
            value = nodes[-1].name if nodes else INPUT
    if problems:
        raise SpecError(sorted(problems, key=lambda problem: (problem.position is None, problem.position)))
    network = Network(
        name=spec.name,
        inputs={INPUT: spec.input},
        nodes=tuple(nodes),
        outputs={OUTPUT: value},
        about=spec.about or "",
        classes=tuple(spec.classes or ()),
    )
    _check_sections(spec, network)
    if unknown := tuple(unknown_rows(spec, network)):
        raise SpecError(unknown)
    if unmet := tuple(expectation_problems(spec, network)):
        raise ExpectationError(unmet)
    return network


def _check_sections(spec: Spec, network: Network) -> None:
    """Raise SpecError where the classes, the data or the loss do not suit the network, or training lacks data."""
    problems = _class_problems(spec, network)
    if spec.data is not None:
        from netspec.data.source import check_data

        problems.extend(check_data(spec.data, network))
    if spec.train is not None:
        from netspec.training.loss import loss_input

        if spec.data is None:
            problems.append(Problem("training needs data", "add for example `data: digits`", "train"))
        try:
            loss_input(network, spec.train.loss)
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problem.at(_nearest_place(spec, problem.path or "")) for problem in problems)


def _class_problems(spec: Spec, network: Network) -> list[Problem]:
    """Whether each output has the name of a class; one output alone tells two classes apart."""
    if spec.classes is None:
        return []
    named, outputs = len(spec.classes), network.output_type.channels
    if named == outputs or (named == 2 and network.output_type.shape == (1,)):
        return []
    names = f"{named} {'class has a name' if named == 1 else 'classes have names'}"
    found = f"{outputs} {'number' if outputs == 1 else 'numbers'}"
    what = "an image" if network.output_type.rank == 1 else "a position"
    return [
        Problem(
            f"{names}, but the network gives {found} for {what}",
            "one name a class, in the order of the outputs; a single output tells two classes apart",
            "classes",
        )
    ]


def _nearest_place(spec: Spec, path: str) -> Position | None:
    """Where a path is written, or the nearest section around it: a default has no place of its own."""
    while path:
        place = spec.place(path)
        if place is not None:
            return place
        path = path.rpartition(".")[0]
    return None


def _add(
    row: NamedRow,
    value: str,
    given: TensorType,
    nodes: list[Node],
    names: set[str],
    problems: list[Problem],
) -> TensorType | None:
    """Append the nodes of one row; the type of its result, or None when there is a problem."""
    written = row.written
    layers: list[tuple[str, Layer]] = [(row.name, written.layer)]
    if written.activation is not None:
        name = f"{row.name}_{layer_name(written.activation)}"
        if name in names:
            problem = Problem(f"the name {name!r} is needed for the activation of row {row.name!r}", "rename that row")
            problems.append(problem.at(written.row.place("name"), written.row.path))
        layers.append((name, written.activation))
    current = given
    for name, layer in layers:
        try:
            if layer is written.layer:
                _check_rank(written, current)
            node = make_node(name, layer, (value,), (current,), row.name)
        except LayerError as error:
            place = layer_place(written, error.field) if layer is written.layer else written.row.place("activation")
            problems.append(Problem(error.message, error.hint, f"{written.row.path}.{row.name}", place))
            return None
        nodes.append(replace(node, text=written.row.text, position=written.row.position))
        value, current = name, node.output
    return current


def make_node(
    name: str, layer: Layer, inputs: tuple[str, ...], types: tuple[TensorType, ...], row: str | None = None
) -> Node:
    """A layer, resolved against the types of its inputs, as a node; raises LayerError when they do not fit."""
    resolved = layer.resolve(types)
    output = resolved.output(types)
    weights = tuple(replace(weight, name=f"{name}.{weight.name}") for weight in resolved.weights(types))
    return Node(name, resolved, inputs, types, output, weights, row or name)


def _check_rank(written: Written, given: TensorType) -> None:
    if written.rank is not None and written.rank != given.rank - 1:
        raise LayerError(
            f"{written.row.type} is for {AXES[written.rank]}, but its input is {given}",
            hint=f"{written.layer.kind} takes any number of axes" if given.rank > 1 else FLAT,
        )
