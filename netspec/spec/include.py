"""`$include`: a file's content in the place of a value, from the folder of the spec or below it."""

from __future__ import annotations

from pathlib import Path

from netspec.errors import Position, Problem, SpecError
from netspec.spec.reader import MAX_NODES, Mapping, Node, Scalar, Sequence, read

KEY = "$include"
MAX_FILES = 100


def with_includes(root: Node, file: Path) -> Node:
    """The document with every `{$include: path}` replaced by what the file at that path holds.

    Paths are relative to the file that they stand in. Keys beside `$include` come over those of a mapping that is
    included. Raises SpecError for a file outside of the spec's folder, one that cannot be read, and a circle.
    """
    return _Includer(file).expand(root, (file,))


class _Includer:
    def __init__(self, file: Path) -> None:
        self.folder = file.parent.resolve()
        self.read: dict[Path, Node] = {}
        self.values = 0

    def expand(self, node: Node, files: tuple[Path, ...]) -> Node:
        if isinstance(node, Sequence):
            for index, item in enumerate(node.items):
                changed = self.expand(item, files)
                if changed is not item:
                    node = node.with_item(index, changed)
            return node
        if not isinstance(node, Mapping):
            return node
        entries = {key: (name, self.expand(value, files)) for key, (name, value) in node.entries.items() if key != KEY}
        if KEY not in node.entries:
            same = all(value is node.entries[key][1] for key, (_, value) in entries.items())
            return node if same else node.with_entries(entries)
        name, path = node.entries[KEY]
        included = self.include(path, files, name.position)
        if not entries:
            return included
        if not isinstance(included, Mapping):
            message = "only a mapping can be included beside other keys"
            raise SpecError([Problem(message, "give the file's content a key of its own", KEY, name.position)])
        return included.with_entries({**included.entries, **entries})

    def include(self, path: Node, files: tuple[Path, ...], position: Position) -> Node:
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
        if wanted not in self.read:
            if len(self.read) >= MAX_FILES:
                raise SpecError([Problem(f"more than {MAX_FILES} files are included", None, KEY, position)])
            self.read[wanted] = self._read(shown, path.position)
        found = self.read[wanted]
        self.values += getattr(found, "size", 1)
        if self.values > MAX_NODES:
            raise SpecError([Problem(f"the included files have more than {MAX_NODES:,} values", None, KEY, position)])
        return self.expand(found, (*files, shown))

    def _read(self, path: Path, position: Position) -> Node:
        from netspec.spec.load import read_text

        try:
            return read(read_text(path), str(path))
        except SpecError as error:
            # What is wrong with the file as a whole has no place in it.
            raise SpecError(problem.at(position, KEY) for problem in error.problems) from None
