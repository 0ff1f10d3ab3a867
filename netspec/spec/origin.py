"""Where data come from, as the command line names it: what the section `data` can say, or a name or path alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from netspec.data.folder import places
from netspec.data.settings import ARRAYS, TABLES, DataSettings, Origin, SourceName, plain_name
from netspec.errors import Position, Problem, SpecError, file_near
from netspec.spec.reader import plain, read
from netspec.spec.wording import reworded

OPTION = "--data"
SECTION = "or what the section `data` says: '{file: x.csv, labels: species}'"
KNOWN = f"{', '.join(get_args(SourceName))}, hf:NAME, a folder of images, a {', '.join((*ARRAYS, *TABLES))} file"


def read_origin(text: str, own: DataSettings | None) -> DataSettings:
    """The settings that a text means: `mnist`, a folder, a file, `hf:NAME`, or `{...}` as in the section `data`.

    What a name alone does not say, which columns or arrays are meant, is as in the spec's `own` section where that is
    of the same kind. Raises SpecError for what is none of these.
    """
    position = Position(OPTION, 1, 1)
    try:
        written = plain(read(text, OPTION)) if text.lstrip().startswith("{") else _named(text.strip(), own)
    except SpecError as error:
        raise SpecError(each if each.path == OPTION else each.at(position) for each in error.problems) from None
    try:
        settings = DataSettings.model_validate(written)
    except ValidationError as error:
        problems = [problem.at(None, OPTION).with_hint(SECTION) for _, problem in reworded(error, DataSettings)]
        raise SpecError(problems) from None
    if settings.standardise:
        message = "standardise is by the rows that were trained on, which the spec's own section `data` names"
        raise SpecError([Problem(message, "data: {standardise: true} in the spec", OPTION)])
    return settings


def named_by_option(problem: Problem) -> Problem:
    """A problem of the section `data` as one of the option that stands for it, with the key that is not its origin.

    >>> print(named_by_option(Problem("there is no array 'y'", None, "data.labels")))
    --data: labels: there is no array 'y'
    """
    section, _, key = (problem.path or "").partition(".")
    if section != "data":
        return problem
    path = f"{OPTION}: {key}" if key and key not in get_args(Origin) else OPTION
    hint = problem.hint
    if hint is not None and hint.startswith("data: {"):
        hint = f"{OPTION} '{hint.removeprefix('data: ')}'"
    return replace(problem, path=path, hint=hint)


def _named(name: str, own: DataSettings | None) -> dict[str, Any]:
    """The section that a name or a path alone stands for."""
    known = plain_name(name)
    if known in get_args(SourceName):
        return {"source": known}
    if name.startswith("hf:"):
        return {"hf": name.removeprefix("hf:"), **_kept(own, "hf", "inputs", "labels", "skip_broken")}
    if Path(name).suffix.lower() in (*ARRAYS, *TABLES):
        return {"file": name, **_kept(own, "file", "inputs", "labels")}
    if any(place.is_dir() for place in places(name, Path())):
        return {"folder": name, **_kept(own, "folder", "skip_broken")}
    around = Path(name).parent
    beside = [each.name for each in around.iterdir()] if around.is_dir() else []
    near = file_near(Path(name).name, [*get_args(SourceName), *beside])
    message = f"{name!r} is no known data set, and no folder or file of data"
    raise SpecError([Problem(message, near or f"{KNOWN}, {SECTION}", OPTION)])


def _kept(own: DataSettings | None, kind: str, *fields: str) -> dict[str, Any]:
    """Those fields of the spec's section, where its data are of this kind."""
    if own is None or own.origin != kind:
        return {}
    return {field: value for field in fields if (value := getattr(own, field)) not in (None, (), False)}
