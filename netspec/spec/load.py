"""A path or a text -> the spec that it holds."""

from __future__ import annotations

from collections.abc import Mapping as Named
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.errors import Position, Problem, SpecError
from netspec.spec.model import Base, BaseSettings, Spec
from netspec.spec.reader import MAX_BYTES, Mapping, Node, read
from netspec.spec.rows import row_problems
from netspec.spec.sections import SectionError, read_model, read_sections

if TYPE_CHECKING:
    from netspec.data.preprocess import Preprocess
    from netspec.tensors import TensorType

MAX_BASES = 32


def load_spec(path: Path | str, overrides: Sequence[str] = (), variant: str | None = None) -> Spec:
    """The spec in a file; `overrides` are `path=value`, as `--set` takes them, and come over those of the variant.

    Raises SpecError with every problem; where only rows cannot be read, they are in the spec with their problems.
    """
    return parse_spec(read_text(Path(path)), str(path), overrides, variant)


def parse_spec(
    text: str, file: str, overrides: Sequence[str] = (), variant: str | None = None, within: tuple[Path, ...] = ()
) -> Spec:
    """The spec in a text; `file` is what positions cite, and its stem names a network that has no name.

    `within` are the specs whose base this is.
    """
    root = _document(text, file)
    if not overrides and variant is None and not _has(root, "variants"):
        spec = read_sections(root, file, text)
    else:
        spec = _overridden(root, file, text, overrides, variant, within)
    if spec.data is not None and not within:
        spec = _with_classes(spec)
    return _with_base(spec, within)


def _document(text: str, file: str) -> Node:
    """The document of a text, with what it includes."""
    root = read(text, file)
    if "$include" in text:
        from netspec.spec.include import with_includes

        root = with_includes(root, Path(file))
    return root


def _has(root: Node, section: str) -> bool:
    return isinstance(root, Mapping) and section in root.entries


def _overridden(
    root: Node, file: str, text: str, overrides: Sequence[str], variant: str | None, within: tuple[Path, ...]
) -> Spec:
    """The spec with what a variant and the command line say in the place of what the file says."""
    from netspec.spec.override import Overrides, variant_overrides

    problems: list[Problem] = []
    found = variant_overrides(root, variant, problems) + Overrides.read(overrides, problems)
    root = found.apply(root, problems)
    try:
        spec = read_sections(root, file, text)
        if found.rows:  # which may be meant by names that pass over those of the base
            spec = found.apply_rows(_with_base(spec, within), problems)
    except SpecError as error:
        problems += error.problems
    if problems:
        raise SpecError(sorted(problems, key=lambda problem: (problem.position is None, problem.position)))
    if variant is not None and "name" not in found.names:
        spec = replace(spec, name=f"{spec.name}-{variant}")
    return spec


def _with_classes(spec: Spec) -> Spec:
    """The spec with the names of its classes, where its data are known, or are here and say them."""
    from netspec.data.source import class_names, name_problems

    assert spec.data is not None
    if spec.classes is not None and spec.data.folder is None:
        return spec  # those of a known set, or words, are held against it with the data
    with spec.places():
        found = class_names(spec.data, Path(spec.file).parent)
    if found is None:
        return spec
    if spec.classes is not None and (problems := name_problems(spec.data, found, spec.classes)):
        raise SpecError(problem.at(spec.place("classes")) for problem in problems)
    return replace(spec, classes=found)


def _with_base(spec: Spec, within: tuple[Path, ...]) -> Spec:
    """The spec with the one that its section `base` names, if it has one."""
    if spec.base is not None or not isinstance(spec.root, Mapping) or "base" not in spec.root.entries:
        return spec
    node = spec.root.entries["base"][1]
    try:
        settings = read_model(BaseSettings, node, "base")
    except SectionError as error:
        raise SpecError(error.problems) from None
    assert isinstance(settings, BaseSettings)
    place = spec.place("base.spec") or node.position
    chain = (*within, Path(spec.file))
    path = Path(spec.file).parent / settings.spec
    if path.resolve() in [each.resolve() for each in chain]:
        names = " -> ".join([*(each.name for each in chain), path.name])
        raise SpecError([Problem(f"the specs are each other's base: {names}", None, "base.spec", place)])
    if len(chain) > MAX_BASES:
        message = f"more than {MAX_BASES} specs are each other's base"
        raise SpecError([Problem(message, "the rows of the first may stand in the second", "base.spec", place)])
    try:
        text = read_text(path)
    except SpecError as error:
        raise SpecError(problem.at(place, "base.spec") for problem in error.problems) from None
    _check_variant(spec, settings.variant, text, path)
    base = parse_spec(text, str(path), variant=settings.variant, within=chain)
    if broken := row_problems(base.rows):
        raise SpecError(broken)
    inputs = spec.inputs or base.inputs
    return replace(spec, base=Base(settings, base), inputs=inputs, preprocess=_preprocess(spec, base, inputs))


def _check_variant(spec: Spec, wanted: str | None, text: str, path: Path) -> None:
    """Raise SpecError, at the place that names it, for a variant that the base does not have."""
    if wanted is None:
        return
    from netspec.spec.override import no_variant, variant_names

    known = variant_names(_document(text, str(path)))
    if wanted not in known:
        problem = no_variant(wanted, known, path.name)
        raise SpecError([replace(problem, path="base.variant", position=spec.nearest("base.variant"))])


def _preprocess(spec: Spec, base: Spec, inputs: Named[str, TensorType]) -> Preprocess | None:
    """How pictures become the input: as the spec says, else as its base says, if the base reads that input.

    What the base does about the size of pictures is meant for its own input's.
    """
    first = next(iter(spec.rows), None)
    reads = first is None or first.type.casefold() == "base" or all(row.type.casefold() != "base" for row in spec.rows)
    if spec.preprocess is not None or base.preprocess is None or not reads:
        return spec.preprocess
    if inputs == base.inputs:
        return base.preprocess
    return base.preprocess.model_copy(update={"resize": None, "crop": None})


def read_text(path: Path) -> str:
    """The text of a file, which is UTF-8 and not too large; raises SpecError."""
    try:
        if path.is_dir():
            hint = "name the file in it: " + ", ".join(sorted(found.name for found in path.glob("*.yaml"))[:3])
            raise _refused(path, "is a folder, not a spec file", hint if hint[-2] != ":" else None)
        if not path.is_file():
            missing = not path.exists()
            message = "there is no such file" if missing else "is no regular file"
            raise _refused(path, message, _near(path) if missing else None)
        size = path.stat().st_size
        if size <= MAX_BYTES:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            size = max(size, len(content))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _refused(path, f"cannot be read: {reason}", None) from None
    if size > MAX_BYTES:
        message = f"has {size / 1e6:,.1f} MB; a spec has at most {MAX_BYTES / 1e6:,.0f} MB"
        raise _refused(path, message, "is it a spec at all?")
    return decode(content, str(path))


def decode(content: bytes, file: str) -> str:
    """The text of a file's bytes; raises SpecError at the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        hint = "the file is UTF-16; save it as UTF-8" if utf16 else "save the file as UTF-8"
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8"
        raise SpecError([Problem(message, hint, position=Position(file, line, column))]) from None


def _refused(path: Path, message: str, hint: str | None) -> SpecError:
    return SpecError([Problem(message, hint, str(path))])


def _near(path: Path) -> str | None:
    from netspec.errors import file_near

    try:
        return file_near(
            path.name, [found.name for found in path.parent.iterdir() if found.suffix in (".yaml", ".yml")]
        )
    except OSError:
        return f"there is no folder {str(path.parent)!r} either"
