"""The sections of a spec beside its rows: read, validated, and every problem of all of them gathered."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, ValidationError

from netspec.errors import Position, Problem, SpecError, did_you_mean, one_of
from netspec.notation import Value
from netspec.spec.graph import (
    SHAPE_HINT,
    read_blocks,
    read_inputs,
    read_outputs,
    read_shape_at,
    read_uses,
    read_variables,
)
from netspec.spec.model import Spec
from netspec.spec.reader import MAX_PROBLEMS, Mapping, Node, Scalar, Sequence, find, plain
from netspec.spec.rows import RowError, read_rows, read_value, row_problems
from netspec.spec.wording import belongs, fields_at, reworded
from netspec.tensors import TensorType

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
MAX_NAME = 100

# The sections that are models of their own, imported only where a spec has them.
MODELS: dict[str, tuple[str, str]] = {
    "expect": ("netspec.spec.model", "Expect"),
    "data": ("netspec.data.settings", "DataSettings"),
    "preprocess": ("netspec.data.preprocess", "Preprocess"),
    "train": ("netspec.training.settings", "TrainSettings"),
    "verify": ("netspec.spec.model", "VerifySettings"),
    "export": ("netspec.backend.settings", "ExportSettings"),
}
OWN = ("name", "about", "inputs", "outputs", "variables", "blocks", "uses", "layers", "defaults", "classes")
SECTIONS = ("name", "about", "input", *OWN[2:], "base", "variants", *MODELS)
WRITTEN_BY_BUILDS = ("uses",)


class SectionError(Exception):
    """A section that cannot be read; carries its problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*map(str, problems))
        self.problems = problems


def model_of(section: str) -> type[BaseModel]:
    """The model of a section."""
    module, name = MODELS[section]
    model: type[BaseModel] = getattr(import_module(module), name)
    return model


def read_sections(root: Node, file: str, text: str) -> Spec:
    """The spec of a document; raises SpecError with every problem of every section, in the order of the text.

    Where only rows cannot be read, they are in the spec with their problems, for `compile` to judge the others too.
    """
    if not isinstance(root, Mapping):
        hint = "it begins with `input: 32x32x3`, then `layers:` and a list of rows"
        raise SpecError([Problem("a spec is a mapping of sections", hint, position=root.position)])
    problems: list[Problem] = []
    for name, (key, _) in root.entries.items():
        if name not in SECTIONS:
            known = [each for each in SECTIONS if each not in WRITTEN_BY_BUILDS]
            homes = [section for section in MODELS if name in model_of(section).model_fields]
            hint = belongs(homes) or did_you_mean(name, SECTIONS) or one_of(known)
            problems.append(Problem(f"unknown key {_shown(name)}", hint, name, key.position))
    read: dict[str, Any] = {}
    for section in (*OWN, *MODELS):
        try:
            read[section] = _read(section, root, file, read)
        except SectionError as error:
            problems.extend(error.problems)
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        problems += row_problems(read.get("layers", ()))
        problems.sort(key=lambda problem: (problem.position is None, problem.position))
        raise SpecError(problems[:MAX_PROBLEMS])
    rows = read.pop("layers")
    return Spec(rows=rows, file=file, text=text, root=root, **read)


def _read(section: str, root: Mapping, file: str, read: dict[str, Any]) -> Any:
    """One section; `read` has those before it."""
    node = root.get(section)
    if section == "layers":
        # A base may be all there is.
        return () if node is None and root.get("base") else read_rows(node, root.position)
    if section == "name":
        return _name(node, file)
    if section == "inputs":
        return _inputs(root)
    if node is None:
        return {} if section in ("defaults", "variables", "blocks", "uses") else None
    if section in MODELS:
        return read_model(model_of(section), node, section)
    if section == "blocks":
        return read_blocks(node, read.get("variables", {}))
    readers = {"about": _about, "outputs": read_outputs, "variables": read_variables, "uses": read_uses}
    return {**readers, "defaults": _defaults, "classes": _classes}[section](node)


def _name(node: Node | None, file: str) -> str:
    if node is None:
        stem = PurePath(file).stem
        if NAME.fullmatch(stem) and len(stem) <= MAX_NAME:
            return stem
        message = f"the file's name {_shown(stem)} cannot be the name of a network"
        raise SectionError(Problem(message, "give it one, such as `name: my-net`", "name"))
    name = node.text if isinstance(node, Scalar) else ""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        hint = f"a letter, then letters, digits, '.', '_' and '-', at most {MAX_NAME} in all"
        what = _shown(name) if isinstance(node, Scalar) else "this"
        raise SectionError(Problem(f"{what} cannot be the name of a network", hint, "name", node.position))
    return name


def _about(node: Node) -> str | None:
    if not isinstance(node, Scalar):
        raise SectionError(Problem("about is a text", None, "about", node.position))
    return None if node.empty else node.text.strip()


def _inputs(root: Mapping) -> dict[str, TensorType]:
    """The only input, which is called `input`, or several with their names; none where the base has them."""
    one, several = root.get("input"), root.get("inputs")
    if one is not None and several is not None:
        message = "input and inputs are both here"
        raise SectionError(Problem(message, "`inputs` gives each of several a name", "inputs", several.position))
    if several is not None:
        return read_inputs(several)
    if one is not None:
        return {"input": read_shape_at(one, "input")}
    if root.get("base") is not None:
        return {}
    raise SectionError(Problem("input is missing", SHAPE_HINT, "input", root.position))


def _classes(node: Node) -> tuple[str, ...]:
    hint = "one name a class, in the order of the outputs, such as `classes: [cat, dog]`"
    if not isinstance(node, Sequence) or not node.items:
        raise SectionError(Problem("classes is a list of names", hint, "classes", node.position))
    names: dict[str, Node] = {}
    for index, item in enumerate(node.items):
        path = f"classes.{index}"
        if not isinstance(item, Scalar) or not item.text.strip():
            raise SectionError(Problem("the name of a class is a text", hint, path, item.position))
        if item.text in names:
            message = f"the class {_shown(item.text)} is here for the second time"
            raise SectionError(Problem(message, None, path, item.position))
        names[item.text] = item
    return tuple(names)


def _defaults(node: Node) -> dict[str, dict[str, Value]]:
    hint = "by kind, such as `defaults: {Conv: {padding: same}}`"
    if not isinstance(node, Mapping):
        raise SectionError(Problem("defaults is a mapping of kinds", hint, "defaults", node.position))
    problems: list[Problem] = []
    read: dict[str, dict[str, Value]] = {}
    for kind, (_, fields) in node.entries.items():
        path = f"defaults.{kind}"
        if not isinstance(fields, Mapping):
            problems.append(
                Problem(f"the defaults of {_shown(kind)} are a mapping of options", hint, path, fields.position)
            )
            continue
        read[kind] = {}
        for option, (_, value) in fields.entries.items():
            try:
                read[kind][option] = read_value(value, f"{path}.{option}")
            except RowError as error:
                problems.append(error.problem)
    if problems:
        raise SectionError(*problems)
    return read


def read_model(model: type[BaseModel], node: Node, path: str) -> BaseModel:
    """A section as its model; raises SectionError with every field that is wrong, at its place."""
    data = plain(node)
    try:
        return model.model_validate({} if data is None else data)
    except ValidationError as error:
        problems = []
        for parts, problem in reworded(error, model):
            unknown = bool(parts) and parts[-1] not in fields_at(model, parts[:-1])
            full = ".".join((path, *map(str, parts)))
            problems.append(problem.at(_position(node, parts, unknown), full))
        raise SectionError(*problems) from None


def _position(node: Node, parts: tuple[str | int, ...], unknown: bool) -> Position:
    """The place of the value at a path inside of a section (of its key, where that is unknown), or of the nearest
    thing around it that is written.
    """
    for length in range(len(parts), 0, -1):
        found = find(node, ".".join(map(str, parts[:length])))
        if found:
            key, value = found
            return key.position if unknown and key is not None and length == len(parts) else value.position
    return node.position


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
