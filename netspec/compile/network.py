"""The walk along the rows: each is resolved against the types of what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netspec.compile.expand import unroll
from netspec.compile.expect import expectation_problems, unknown_rows
from netspec.compile.fields import FieldProblems, Written, layer_place, read_defaults, read_row
from netspec.compile.fit import check_arity, check_rank, make_node
from netspec.compile.names import name_problem
from netspec.compile.needed import needed
from netspec.compile.placed import Placed, Unrolled
from netspec.errors import ExpectationError, LayerError, Position, Problem, SpecError, in_order
from netspec.layers import Layer
from netspec.network import Network, Node, Use
from netspec.notation import as_tuples
from netspec.spec.model import Spec
from netspec.spec.names import layer_name
from netspec.tensors import TensorType


@dataclass(frozen=True, slots=True)
class NamedRow:
    """A row with its unresolved layers, in its place: the spec with every default filled in."""

    placed: Placed
    written: Written

    @property
    def name(self) -> str:
        """Its full name."""
        return self.placed.name

    @property
    def shown_sources(self) -> tuple[str, ...]:
        """What it reads, by the names that the rows of its own body have for it, so that every use says the same."""
        prefix = self.name[: self.name.rfind(".") + 1]
        return tuple(source.removeprefix(prefix) for source in self.placed.sources)


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a network, none of them resolved yet, and how they belong together."""

    rows: tuple[NamedRow, ...]
    unrolled: Unrolled


def read_rows(spec: Spec) -> Rows:
    """Every row of the spec with its kind, fields and name; raises SpecError with all that is wrong."""
    problems: list[Problem] = []
    perhaps: list[Problem] = []
    rows, unrolled = _read_rows(spec, problems, perhaps)
    if problems or perhaps:
        raise SpecError(in_order(problems or perhaps))
    return Rows(tuple(row for row in rows if row is not None), unrolled)


def _read_rows(spec: Spec, problems: list[Problem], perhaps: list[Problem]) -> tuple[list[NamedRow | None], Unrolled]:
    """The rows; None for one that cannot be read, or whose sources cannot.

    What may be wrong only because another row is goes to `perhaps`: a row that nothing reads, for one that is wrong may
    have been meant to, and a cell that computes with a shape which is not known.
    """
    defaults = {
        id(given): read_defaults(given.defaults, given.variables, given.place, problems) for given in _specs(spec)
    }
    for name in spec.inputs:
        problem = name_problem(name) if name != "input" else None
        if problem is not None:
            problems.append(problem.at(spec.place(f"inputs.{name}"), f"inputs.{name}"))
    unrolled = unroll(spec, defaults, problems)
    if not problems and not unrolled.rows:
        message = "every row is left out, so there is nothing to compute"
        problems.append(Problem(message, "a `when` that holds keeps its row", "layers", spec.place("layers")))
    if not problems:
        unrolled = needed(spec, unrolled, perhaps)
    rows: list[NamedRow | None] = []
    for placed in unrolled.rows:
        if placed.waits is not None:
            perhaps.append(placed.waits)
            rows.append(None)
            continue
        try:
            rows.append(
                NamedRow(placed, read_row(placed.row, defaults[id(placed.spec)], placed.spec.blocks, placed.known))
            )
        except FieldProblems as found:
            problems.extend(problem.used_at(placed.used) for problem in found.problems)
            rows.append(None)
    return rows, unrolled


def _specs(spec: Spec) -> Iterator[Spec]:
    """The spec, its base, the base's base, ..."""
    yield spec
    if spec.base is not None:
        yield from _specs(spec.base.spec)


def compile_spec(spec: Spec) -> Network:
    """The network that a spec means.

    Raises SpecError with every problem of its rows, in the order of the file, and ExpectationError when the network
    is sound but is not what `expect` says.
    """
    problems: list[Problem] = []
    perhaps: list[Problem] = []
    rows, unrolled = _read_rows(spec, problems, perhaps)
    walk = _Walk(spec, problems, {row.name for row in rows if row})
    for row in rows:
        if row is not None:
            walk.add(row)
    if problems or perhaps:
        raise SpecError(in_order(problems or perhaps))
    network = Network(
        name=spec.name,
        inputs=spec.inputs,
        nodes=tuple(walk.nodes),
        outputs={name: walk.values[row] for name, row in unrolled.outputs.items()},
        about=spec.about or "",
        classes=tuple(spec.classes or ()),
        uses=tuple(
            Use(
                name=name,
                block=group.block,
                parameters={key: as_tuples(value) for key, value in group.parameters.items()},
                inputs=tuple(walk.values[row] for row in group.inputs),
                names=group.names,
                result=walk.values[group.result],
                about=group.about,
            )
            for name, group in unrolled.uses.items()
        ),
    )
    _check_sections(spec, network)
    if unknown := tuple(unknown_rows(spec, network)):
        raise SpecError(unknown)
    if unmet := tuple(expectation_problems(spec, network)):
        raise ExpectationError(unmet)
    return network


def _check_sections(spec: Spec, network: Network) -> None:
    """Raise SpecError where a section does not suit the network, or training lacks data."""
    problems = _class_problems(spec, network)
    if spec.preprocess is not None:
        from netspec.data.preprocess import preprocess_problems

        problems.extend(preprocess_problems(spec.preprocess, network.inputs))
    elif spec.data is not None and spec.data.folder is not None:
        from netspec.data.preprocess import Preprocess, preprocess_problems

        found = preprocess_problems(Preprocess(), network.inputs)
        problems.extend(replace(problem, path="data.folder") for problem in found)
    if spec.data is not None:
        from netspec.data.source import check_data

        problems.extend(check_data(spec.data, network))
    if spec.export is not None and spec.export.preprocessing and spec.preprocess is None:
        hint = "say with `preprocess: {...}` what an artefact is to do with pixels"
        problems.append(Problem("there is no section preprocess", hint, "export.preprocessing"))
    if spec.train is not None:
        from netspec.training.loss import check_loss
        from netspec.training.phases import phases_of

        if spec.data is None:
            problems.append(Problem("training needs data", "add for example `data: digits`", "train"))
        if spec.train.augment is not None:
            from netspec.data.augment import augment_problems

            problems.extend(augment_problems(spec.train.augment, network))
        for check in (lambda train: check_loss(network, train.loss), lambda train: list(phases_of(network, train))):
            try:
                check(spec.train)
            except SpecError as error:
                problems.extend(error.problems)
    if problems:
        raise SpecError(problem.at(_place(spec, problem.path)) for problem in problems)


def _class_problems(spec: Spec, network: Network) -> list[Problem]:
    """Whether each output has the name of a class; one output alone tells two classes apart."""
    written = spec.place("classes") is not None
    if spec.classes is None or (spec.data is not None and (not written or spec.data.folder is not None)):
        return []  # those of the data are held against the network with the data
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


def _place(spec: Spec, path: str | None) -> Position | None:
    """Where a section is written; `preprocess` may be that of the base."""
    inherited = spec.base is not None and path is not None and path.startswith("preprocess")
    return spec.nearest(path) or (spec.place("base") if inherited else None)


class _Walk:
    """The nodes so far, and the value and type that each row gives; a row after a broken one is passed over."""

    def __init__(self, spec: Spec, problems: list[Problem], names: set[str]) -> None:
        self.problems = problems
        self.names = names | set(spec.inputs)
        self.nodes: list[Node] = []
        self.values = {name: name for name in spec.inputs}
        self.types: dict[str, TensorType] = dict(spec.inputs)

    def add(self, row: NamedRow) -> None:
        """Append the nodes of one row, or its problem."""
        if not all(source in self.values for source in row.placed.sources):
            return  # what a broken row gives is unknown, so what reads it is too
        written = row.written
        layers: list[tuple[str, Layer]] = [(row.name, written.layer)]
        if written.activation is not None:
            layers.append((self._activation_name(row, written.activation), written.activation))
        inputs = tuple(self.values[source] for source in row.placed.sources)
        nodes: list[Node] = []
        for name, layer in layers:
            types = tuple(self.types[value] for value in inputs)
            try:
                if layer is written.layer:
                    check_arity(written, row.shown_sources)
                    check_rank(written, types)
                node = make_node(name, layer, inputs, types, row.name, frozen=row.placed.frozen)
            except LayerError as error:
                self._refused(row, error, first=layer is written.layer)
                return
            self.types[name], inputs = node.output, (name,)
            nodes.append(replace(node, text=written.row.text, position=written.row.position))
        self.nodes += nodes
        self.values[row.name] = inputs[0]

    def _activation_name(self, row: NamedRow, activation: Layer) -> str:
        name = f"{row.name}_{layer_name(activation)}"
        if name in self.names:
            problem = Problem(f"the name {name!r} is needed for the activation of row {row.name!r}", "rename that row")
            written = row.written.row
            self.problems.append(problem.at(written.place("name"), written.path).used_at(row.placed.used))
        return name

    def _refused(self, row: NamedRow, error: LayerError, *, first: bool) -> None:
        written = row.written
        place = layer_place(written, error.field) if first else written.row.place("activation")
        message = error.message
        for index, source in enumerate(row.shown_sources):
            message = message.replace(f"{{{index}}}", source)
        for name, source in row.placed.absent:
            if source in row.placed.sources:
                shown = row.shown_sources[row.placed.sources.index(source)]
                message += f"; the row {name!r} is left out by `when`, and {shown} stands for it"
        problem = Problem(message, error.hint, f"{written.row.path}.{row.name}", place)
        self.problems.append(problem.used_at(row.placed.used))
