"""Values given on the command line: `train.epochs=3`, `layers.conv1.filters=16`, in the place of those in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping as Named
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace

from netspec.errors import Position, Problem, SpecError, did_you_mean, nearest, one_of
from netspec.layers import ALIASES, fold
from netspec.layers.base import field_named
from netspec.notation import Call, Value, write_value
from netspec.spec.graph import read_variables
from netspec.spec.model import Spec
from netspec.spec.names import own_names, row_names, top_names
from netspec.spec.reader import MAX_DEPTH, Mapping, Node, Scalar, Sequence, Source, read
from netspec.spec.row import Row
from netspec.spec.rows import RowError, read_row, read_value
from netspec.spec.sections import SECTIONS
from netspec.spec.written import Blocks, positional

FILE = "--set"
# Sections that may be written as one word, and the key under which their long form has it.
SHORT = {("data",): "source", ("train", "optimizer"): "name", ("train", "schedule"): "name"}
VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
HINT = "for example --set train.epochs=3 or --set layers.conv1.filters=16"


@dataclass(frozen=True, slots=True)
class Override:
    """One `path=value`: its path in parts and its value; its line in errors is the number of the override."""

    parts: tuple[str, ...]
    value: Node
    text: str
    position: Position

    @property
    def path(self) -> str:
        """The path as it was written."""
        return ".".join(self.parts)

    @property
    def block(self) -> str | None:
        """The block of whose rows it names one: `blocks.fire.layers.squeeze.filters`."""
        return self.parts[1] if self.parts[0] == "blocks" else None

    @property
    def row(self) -> tuple[str, ...]:
        """Of the path to a row, or to something that a row says, what follows `layers`; nothing for other paths."""
        if self.parts[0] == "layers":
            return self.parts[1:]
        return self.parts[3:] if self.parts[0] == "blocks" and self.parts[2:3] == ("layers",) else ()

    def refused(self, message: str, hint: str | None = None) -> SpecError:
        """The error that this override fits nothing."""
        return SpecError([Problem(message, hint, self.path, self.position)])


@dataclass(frozen=True, slots=True)
class Overrides:
    """Those of sections, which change the document, and those of single rows, which may be written in any notation."""

    sections: tuple[Override, ...]
    rows: tuple[Override, ...]

    @classmethod
    def read(cls, texts: Several[str], problems: list[Problem]) -> Overrides:
        """Take each `path=value` apart; what cannot be is left out and becomes a problem."""
        found: list[Override] = []
        for number, text in enumerate(texts, 1):
            try:
                found.append(_read(text, number))
            except SpecError as error:
                problems += error.problems
        return cls.of(found)

    def __add__(self, later: Overrides) -> Overrides:
        return Overrides(self.sections + later.sections, self.rows + later.rows)

    @property
    def names(self) -> frozenset[str]:
        """Every path that is overridden."""
        return frozenset(each.path for each in (*self.sections, *self.rows))

    @classmethod
    def of(cls, found: Several[Override]) -> Overrides:
        """Overrides, told apart."""
        return cls(tuple(each for each in found if not each.row), tuple(each for each in found if each.row))

    def apply(self, root: Node, problems: list[Problem]) -> Node:
        """The document with these values; a section that is not there yet is made, so that its reader can judge it."""
        before = _variables(root)
        for override in self.sections:
            try:
                if override.parts[0] == "variants":
                    hint = "what it changes can be changed itself, which comes over the variant"
                    raise override.refused("a variant is chosen, not changed", hint)
                if len(override.parts) > MAX_DEPTH:
                    raise override.refused(f"a path has at most {MAX_DEPTH} parts, this one {len(override.parts):,}")
                _check_variable(before, override)
                root = _replaced(root, override, 0)
            except SpecError as error:
                problems += error.problems
        return root

    def apply_rows(self, spec: Spec, problems: list[Problem]) -> Spec:
        """The spec with these values in its rows, and in those of its blocks."""
        for override in self.rows:
            try:
                spec = _with_row(spec, override)
            except SpecError as error:
                problems += error.problems
        return spec


def variant_names(root: Node) -> tuple[str, ...]:
    """The names of the variants that a document has."""
    node = root.get("variants") if isinstance(root, Mapping) else None
    return tuple(node.entries) if isinstance(node, Mapping) else ()


def no_variant(wanted: str, known: Several[str], file: str = "the spec") -> Problem:
    """That a document has no variant of this name, with those that it has."""
    hint = did_you_mean(wanted, known) or (one_of(known) if known else f"{file} has no section `variants`")
    return Problem(f"there is no variant {wanted!r}", hint, "variants")


def variant_overrides(root: Node, wanted: str | None, problems: list[Problem]) -> Overrides:
    """What a variant says: `variants: {small: {variables.width: 0.5, train.epochs: 3}}`, as `--set` has it.

    All variants are looked at, whichever is wanted.
    """
    node = root.get("variants") if isinstance(root, Mapping) else None
    hint = "for example `variants: {small: {variables.width: 0.5}}`"
    found: dict[str, list[Override]] = {}
    if node is not None and not isinstance(node, Mapping):
        problems.append(Problem("variants is a mapping of names", hint, "variants", node.position))
    for name, (key, inside) in (node.entries if isinstance(node, Mapping) else {}).items():
        path = f"variants.{name}"
        if not VARIANT.fullmatch(name):
            message = f"{name[:60]!r} cannot be the name of a variant"
            problems.append(Problem(message, "letters, digits, '.', '_' and '-'", path, key.position))
        if not isinstance(inside, Mapping):
            problems.append(Problem("a variant is a mapping of paths and values", hint, path, inside.position))
            continue
        found[name] = [
            Override(tuple(where.split(".")), value, where, written.position)
            for where, (written, value) in inside.entries.items()
        ]
    if wanted is None:
        return Overrides((), ())
    if wanted not in found:
        problems.append(no_variant(wanted, list(found)))
    return Overrides.of(found.get(wanted, []))


def _variables(root: Node) -> dict[str, Value] | None:
    """The variables that a document has; None where they cannot be read, which is said when the section is."""
    node = root.get("variables") if isinstance(root, Mapping) else None
    try:
        return read_variables(node) if node is not None else {}
    except SpecError:
        return None


def _check_variable(known: Named[str, Value] | None, override: Override) -> None:
    """Raise SpecError for a variable that the document does not have, which nothing would read, and for a word in the
    place of a number.
    """
    if known is None:
        return
    first, name = override.parts[0], override.parts[-1]
    near = nearest(first, known) if len(override.parts) == 1 and first not in SECTIONS else None
    if near is not None:
        raise override.refused(f"there is no section {first!r}", f"did you mean 'variables.{near}'?")
    if first != "variables" or len(override.parts) != 2:
        return
    if name in known:
        _check_kind(known[name], override, {each: value for each, value in known.items() if each != name})
    else:
        hint = did_you_mean(name, known) or (one_of(list(known)) if known else "the spec has no section `variables`")
        raise override.refused(f"there is no variable {name!r}", hint)


def _check_kind(old: Value, override: Override, known: Named[str, Value]) -> None:
    """Raise SpecError for a variable that was a number and is a word now, which every row would stumble over."""
    new = override.value.value if isinstance(override.value, Scalar) and not override.value.style else None
    if isinstance(old, (int, float)) and isinstance(new, str) and new.isidentifier() and new not in known:
        kind = "true or false" if isinstance(old, bool) else "a number"
        message = f"{override.parts[-1]} is {kind}, {write_value(old)} in the spec, but {new!r} is a word"
        raise override.refused(message, did_you_mean(new, known))


def _read(text: str, number: int) -> Override:
    path, sign, value = text.partition("=")
    position = Position(FILE, number, 1)
    parts = tuple(path.strip().split("."))
    if not sign or not all(parts):
        raise SpecError([Problem(f"{text[:60]!r} is not path=value", HINT, position=position)])
    # Blanks in the place of the path make the columns those of what was typed.
    blank = " " * (len(path) + 1)
    node: Node
    if value.strip():
        try:
            node = read(blank + value, FILE, number)
        except SpecError as error:
            raise SpecError(problem.at(position, path.strip()) for problem in error.problems) from None
    else:
        node = Scalar(Source(FILE, text, number), "", "", 0, len(blank), len(blank), len(blank))
    return Override(parts, node, text, position)


def _replaced(node: Node | None, override: Override, depth: int) -> Node:
    """A copy of a value with the override put in its place; what is not on the path is shared."""
    if depth == len(override.parts):
        return override.value
    part = override.parts[depth]
    node = _unfolded(node, override, depth)
    if isinstance(node, Mapping):
        key = Scalar(override.value.source, part, "", 0, override.text.index(part), 0, len(part))
        written, old = node.entries.get(part, (key, None))
        return node.with_entries({**node.entries, part: (written, _replaced(old, override, depth + 1))})
    if isinstance(node, Sequence):
        if not (part.isdecimal() and int(part) < len(node.items)):
            raise override.refused(f"{part!r} is no index of this list of {len(node.items)}", "indices count from 0")
        return node.with_item(int(part), _replaced(node.items[int(part)], override, depth + 1))
    at = ".".join(override.parts[:depth])
    raise override.refused(f"{at} is the value {node.text[:60]!r}, which has no {part!r}")


def _unfolded(node: Node | None, override: Override, depth: int) -> Node:
    """A value as what has keys: nothing as an empty mapping, short forms (`data: digits`) as their long ones."""
    source = override.value.source
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return Mapping(source, 0, 0)
    if isinstance(node, Scalar) and override.parts[:depth] in SHORT:
        key = SHORT[override.parts[:depth]]
        return Mapping(node.source, node.line, node.column).with_entries({key: (node, node)})
    if isinstance(node, Mapping) and len(node.entries) == 1 and SHORT.get(override.parts[:depth]) == "name":
        [(key, (written, inside))] = node.entries.items()
        if isinstance(inside, Mapping) and key not in ("name", override.parts[depth]):
            return node.with_entries({"name": (written, written), **inside.entries})
    return node


def _with_row(spec: Spec, override: Override) -> Spec:
    """The spec with another row in the place of one of its own, or of one of a block."""
    if override.block is None:
        return replace(spec, rows=_with_changed(spec, spec.rows, override))
    block = spec.blocks.get(override.block)
    if block is None:
        hint = did_you_mean(override.block, spec.blocks) or (one_of(list(spec.blocks)) if spec.blocks else None)
        raise override.refused(f"there is no block {override.block!r}", hint)
    block = replace(block, rows=_with_changed(spec, block.rows, override))
    return replace(spec, blocks={**spec.blocks, block.name: block})


def _with_changed(spec: Spec, rows: tuple[Row, ...], override: Override) -> tuple[Row, ...]:
    index = _row_index(spec, rows, override)
    return (*rows[:index], _changed(spec, rows[index], override), *rows[index + 1 :])


def _row_index(spec: Spec, rows: tuple[Row, ...], override: Override) -> int:
    wanted = override.row[0]
    for index, row in enumerate(rows):
        if row.name == wanted:
            return index
    if wanted.isdecimal() and len(wanted) < 10:
        if int(wanted) < len(rows):
            return int(wanted)
        raise override.refused(f"there is no row {wanted}; the last is row {len(rows) - 1}", "rows count from 0")
    names = own_names(spec) if override.block is None else row_names(rows, spec.blocks, spec.variables)
    if wanted in names:
        return names.index(wanted)
    where = f" in the block {override.block!r}" if override.block else ""
    hint = did_you_mean(wanted, [name for name in names if name]) or "`netspec show` prints the name of every row"
    if override.block is None and spec.base is not None and wanted in top_names(spec.base.spec):
        hint = "it is a row of the base, which its variants may change"
    raise override.refused(f"there is no row named {wanted!r}{where}", hint)


def _inside(spec: Spec, row: Row, override: Override) -> SpecError:
    """The error that a path goes on behind what a row says: it may mean a row of the block that the row uses."""
    name, *rest = override.row[1:]
    block = spec.blocks.get(row.type)
    if block is None:
        return override.refused(f"{name!r} has no parts of its own", HINT)
    names = [each for each in row_names(block.rows, spec.blocks, spec.variables) if each]
    message = f"{override.row[0]!r} is a use of the block {block.name!r}, whose rows are those of every use"
    known = name if name in names else nearest(name, names)
    if known is None:
        return override.refused(message, f"its rows are {', '.join(names)}" if names else HINT)
    path = ".".join(("blocks", block.name, "layers", known, *rest))
    return override.refused(message, f"{path} changes it in all of them")


def _changed(spec: Spec, row: Row, override: Override) -> Row:
    """The row with one of its parts replaced, whatever the notation and the cell that it was written in."""
    if len(override.row) > 2:
        raise _inside(spec, row, override)
    try:
        if len(override.row) == 1:
            return replace(read_row(override.value, row.path), name=row.name, label=row.label)
        field = override.row[1]
        value = read_value(override.value, override.path)
    except RowError as error:
        raise SpecError([error.problem]) from None
    cells = {**row.cells, field: override.value.position}
    text = f"{row.text} (with {field}={write_value(value)})"
    if field in ("type", "name"):
        if not isinstance(value, str):
            raise override.refused(f"the {field} of a row is a word, not {write_value(value)}")
        row = replace(row, type=value) if field == "type" else replace(row, name=value)
        return replace(row, cells=cells, text=text)
    if field == "activation":
        if not isinstance(value, (str, Call, type(None))):
            raise override.refused(
                f"{write_value(value)} is not an activation", "one word such as relu, or leaky_relu(0.1)"
            )
        return replace(row, activation=value, cells=cells, text=text)
    blocks = {name: tuple(block.parameters) for name, block in spec.blocks.items()}
    return _with_option(replace(row, cells=cells, text=text), field, value, blocks)


def _with_option(row: Row, field: str, value: Value, blocks: Blocks) -> Row:
    """The row with an option set, which changes the size cell where it is given by position."""
    alias = None if row.type in blocks else ALIASES.get(fold(row.type))
    meant = field_named(alias.layer, field) if alias else field
    options = {
        name: old for name, old in row.options.items() if (field_named(alias.layer, name) if alias else name) != meant
    }
    index = next((at for at, name in enumerate(positional(row.type, blocks)) if name == meant), len(row.size))
    if index >= len(row.size):
        return replace(row, options={**options, field: value})
    size = (*row.size[:index], value, *row.size[index + 1 :])
    return replace(row, size=size, options=options, cells={**row.cells, "size": row.cells[field]})
