"""`$include`: a file's content in the place of a value, from the folder of the spec or below it."""

from __future__ import annotations

from pathlib import Path

from netspec.errors import Position, Problem, SpecError
from netspec.spec.reader import MAX_DEPTH, MAX_NODES, Mapping, Node, Scalar, Sequence, read

KEY = "$include"
MAX_FILES = 100


def with_includes(root: Node, file: Path) -> Node:
    """The document with every `{$include: path}` replaced by what the file at that path holds.

    Paths are relative to the file that they stand in. Keys beside `$include` come over those of a mapping that is
    included. Raises SpecError for a file outside of the spec's folder, one that cannot be read, a circle, and for a
    document that would be too large or too deep.
    """
    includer = _Includer(file)
    found = includer.expand(root, (file,))
    if _size(found) > MAX_NODES:
        raise SpecError(
            [Problem(f"with what it includes, the spec has more than {MAX_NODES:,} values", None, KEY, root.position)]
        )
    return found


class _Includer:
    """The walk over a document and what it includes. What a file holds is worked out once, however often it is used."""

    def __init__(self, file: Path) -> None:
        self.folder = file.parent.resolve()
        self.files: set[Path] = set()
        self.expanded: dict[Path, Node] = {}
        self.values = 0

    def expand(self, node: Node, files: tuple[Path, ...], level: int = 0) -> Node:
        """A value that stands so many levels deep, with what it includes."""
        if isinstance(node, Sequence):
            items = [self.expand(item, files, level + 1) for item in node.items]
            same = all(item is old for item, old in zip(items, node.items, strict=True))
            return node if same else node.with_items(items)
        if not isinstance(node, Mapping):
            return node
        entries = {
            key: (name, self.expand(value, files, level + 1))
            for key, (name, value) in node.entries.items()
            if key != KEY
        }
        if KEY not in node.entries:
            same = all(value is node.entries[key][1] for key, (_, value) in entries.items())
            return node if same else node.with_entries(entries)
        name, path = node.entries[KEY]
        included = self.include(path, files, name.position, level)
        if not entries:
            return included
        if not isinstance(included, Mapping):
            message = "only a mapping can be included beside other keys"
            raise SpecError([Problem(message, "give the file's content a key of its own", KEY, name.position)])
        return included.with_entries({**included.entries, **entries})

    def include(self, path: Node, files: tuple[Path, ...], position: Position, level: int) -> Node:
        """What the file at a path holds."""
        if not isinstance(path, Scalar) or not path.text.strip():
            raise SpecError([Problem(f"{KEY} is the path of a file", None, KEY, path.position)])
        wanted = (files[-1].parent / path.text).resolve()
        if not wanted.is_relative_to(self.folder):
            hint = "files can be included from the folder that the spec lies in, and from those in it"
            raise SpecError([Problem(f"{path.text!r} lies outside of the spec's folder", hint, KEY, path.position)])
        shown = files[-1].parent / path.text
        circle = [file.resolve() for file in files]
        if wanted in circle:
            names = " -> ".join([*(file.name for file in files[circle.index(wanted) :]), wanted.name])
            raise SpecError([Problem(f"the files include each other: {names}", None, KEY, path.position)])
        if shown not in self.expanded:
            self.files.add(wanted)
            if len(self.files) > MAX_FILES:
                raise SpecError([Problem(f"more than {MAX_FILES} files are included", None, KEY, position)])
            found = self._read(shown, path.position)
            self.values += _size(found)
            self._check(self.values, level + _height(found), position)
            self.expanded[shown] = self.expand(found, (*files, shown), level)
        found = self.expanded[shown]
        self._check(_size(found), level + _height(found), position)
        return found

    @staticmethod
    def _check(values: int, levels: int, position: Position) -> None:
        if values > MAX_NODES:
            raise SpecError([Problem(f"the included files have more than {MAX_NODES:,} values", None, KEY, position)])
        if levels > MAX_DEPTH:
            message = f"with what it includes, the spec is nested more than {MAX_DEPTH} levels deep"
            raise SpecError([Problem(message, None, KEY, position)])

    def _read(self, path: Path, position: Position) -> Node:
        from netspec.spec.load import read_text

        try:
            return read(read_text(path), str(path))
        except SpecError as error:
            # What is wrong with the file as a whole has no place in it.
            raise SpecError(problem.at(position, KEY) for problem in error.problems) from None


def _size(node: Node) -> int:
    return 1 if isinstance(node, Scalar) else node.size


def _height(node: Node) -> int:
    return 0 if isinstance(node, Scalar) else node.height
