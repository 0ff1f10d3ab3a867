"""A path or a text -> the spec that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netspec.errors import Position, Problem, SpecError
from netspec.spec.model import Spec
from netspec.spec.reader import MAX_BYTES, read
from netspec.spec.sections import read_sections


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> Spec:
    """The spec in a file; `overrides` are `path=value`, as `--set` takes them.

    Raises SpecError with every problem; where only rows cannot be read, they are in the spec with their problems.
    """
    return parse_spec(read_text(Path(path)), str(path), overrides)


def parse_spec(text: str, file: str, overrides: Sequence[str] = ()) -> Spec:
    """The spec in a text; `file` is what positions cite, and its stem names a network that has no name."""
    root = read(text, file)
    if not overrides:
        return read_sections(root, file, text)
    from netspec.spec.override import Overrides

    problems: list[Problem] = []
    found = Overrides.read(overrides, problems)
    root = found.apply(root, problems)
    try:
        spec = found.apply_rows(read_sections(root, file, text), problems)
    except SpecError as error:
        problems += error.problems
    if problems:
        raise SpecError(sorted(problems, key=lambda problem: (problem.position is None, problem.position)))
    return spec


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
    from netspec.errors import did_you_mean

    try:
        return did_you_mean(
            path.name, [found.name for found in path.parent.iterdir() if found.suffix in (".yaml", ".yml")]
        )
    except OSError:
        return f"there is no folder {str(path.parent)!r} either"
