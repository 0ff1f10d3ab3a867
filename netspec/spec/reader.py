"""YAML 1.2 with positions: text in, a tree of scalars, sequences and mappings out; nothing is ever executed.

The tree is built from the parser's events, not by its constructor: no tag is honoured, scalars follow YAML 1.2's core
schema (`1e-3` is a number, `no` is a word), and depth and number of values are bounded with every alias expanded.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NoReturn, Union

import yaml
from yaml.reader import Reader

from netspec.errors import Position, Problem, SpecError
from netspec.spec.syntax import explain_syntax

MAX_BYTES = 10_000_000
MAX_NODES = 1_000_000
MAX_DEPTH = 64
MAX_KEYS = 20_000
MAX_PROBLEMS = 100
MAX_DIGITS = 40

NOT_TEXT = Reader.NON_PRINTABLE  # PyYAML compiles it anyway, and it takes milliseconds
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# What stands for one character of the value, by the style of the scalar.
SIGN = re.compile(".", re.DOTALL)
UNITS = {"'": re.compile("''|.", re.DOTALL), '"': re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|.", re.DOTALL)}
BLANK_ESCAPES = ("\\n", "\\t", "\\ ", "\\\n")

Node = Union["Scalar", "Sequence", "Mapping"]


class Source:
    """A text and the name under which positions cite it; `line` is that of its first character."""

    __slots__ = ("_starts", "file", "line", "text")

    def __init__(self, file: str, text: str, line: int = 1) -> None:
        self.file, self.text, self.line = file, text, line
        self._starts: list[int] | None = None

    @property
    def starts(self) -> list[int]:
        """The index at which each line begins."""
        if self._starts is None:
            self._starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        return self._starts

    def position(self, line: int, column: int) -> Position:
        """The place at this line and column, both counted from 0 in the text."""
        return Position(self.file, line + self.line, column + 1)

    def position_of(self, index: int) -> Position:
        """The place of the character at this index."""
        line = bisect_right(self.starts, index) - 1
        return self.position(line, index - self.starts[line])


class Scalar:
    """Text, as written: `style` is empty for a plain scalar, else its quote or block sign.

    `start` and `end` are indices into the source, `line` and `column` count from 0.
    """

    __slots__ = ("_indices", "_lines", "column", "end", "line", "source", "start", "style", "text")

    def __init__(self, source: Source, text: str, style: str, line: int, column: int, start: int, end: int) -> None:
        self.source, self.text, self.style = source, text, style
        self.line, self.column, self.start, self.end = line, column, start, end
        self._lines: list[tuple[int, int]] | None = None
        self._indices: list[int] | None = None

    @property
    def position(self) -> Position:
        """Where it begins."""
        return self.source.position(self.line, self.column)

    @property
    def value(self) -> Any:
        """What it means under YAML 1.2's core schema; only plain scalars are ever anything but text."""
        return self.text if self.style else resolve(self.text)

    @property
    def empty(self) -> bool:
        """Whether nothing is written at all."""
        return not self.text and not self.style

    def place(self, offset: int) -> Position:
        """Where the character at this offset of the text stands in the file."""
        length = self.end - self.start
        if length == len(self.text) and not self.style:
            return self.source.position_of(self.start + offset)
        if length == len(self.text) + 2 and self.style in ("'", '"'):  # nothing is escaped or folded
            return self.source.position_of(self.start + 1 + offset)
        if self.style == "|":
            return self._literal_place(offset)
        return self.source.position_of(self._source_index(offset))

    def _literal_place(self, offset: int) -> Position:
        """A literal block keeps its lines: only the indentation and the header line are not part of the text."""
        if self._lines is None:
            written = self.source.text[self.start : self.end].split("\n")[1:] or [""]
            self._lines, begin = [], 0
            for nth, line in enumerate(self.text.split("\n")):
                indent = len(written[min(nth, len(written) - 1)].removesuffix("\r")) - len(line)
                self._lines.append((begin, max(indent, 0)))
                begin += len(line) + 1
        nth = bisect_right(self._lines, (offset, MAX_BYTES)) - 1
        begin, indent = self._lines[nth]
        return self.source.position(self.line + 1 + nth, indent + offset - begin)

    def _source_index(self, offset: int) -> int:
        """Folding and quoting only move white space and escapes: the characters that are neither keep their order."""
        if self._indices is None:
            start = self.start + 1 if self.style in ("'", '"') else self.start
            if self.style == ">":
                start = self.source.text.find("\n", self.start) + 1
            found = [
                match.start()
                for match in UNITS.get(self.style, SIGN).finditer(self.source.text, start, self.end)
                if not (match[0].isspace() or match[0] in BLANK_ESCAPES)
            ]
            before = [0, *accumulate(not sign.isspace() for sign in self.text)]
            self._indices = [found[min(count, len(found) - 1)] if found else start for count in before]
        return self._indices[offset]


class Sequence:
    """A list; `size` counts its values and `height` its levels, with every alias expanded.

    `end` is the index behind it in the source: behind the bracket, or behind its last value.
    """

    __slots__ = ("column", "end", "flow", "height", "items", "line", "size", "source")

    def __init__(self, source: Source, line: int, column: int, flow: bool = False) -> None:
        self.source, self.line, self.column, self.flow = source, line, column, flow
        self.items: list[Node] = []
        self.size, self.height, self.end = 1, 1, 0

    @property
    def position(self) -> Position:
        """Where it begins."""
        return self.source.position(self.line, self.column)

    def with_items(self, items: list[Node]) -> Sequence:
        """A copy with these items."""
        copy = Sequence(self.source, self.line, self.column, self.flow)
        copy.items = items
        copy.size, copy.height = _measured(items)
        return copy

    def with_item(self, index: int, item: Node) -> Sequence:
        """A copy with another item at this index."""
        return self.with_items([*self.items[:index], item, *self.items[index + 1 :]])


class Mapping:
    """Keys, which are words, and their values in the order of the text."""

    __slots__ = ("column", "end", "entries", "flow", "height", "line", "size", "source")

    def __init__(self, source: Source, line: int, column: int, flow: bool = False) -> None:
        self.source, self.line, self.column, self.flow = source, line, column, flow
        self.entries: dict[str, tuple[Scalar, Node]] = {}
        self.size, self.height, self.end = 1, 1, 0

    @property
    def position(self) -> Position:
        """Where it begins."""
        return self.source.position(self.line, self.column)

    def get(self, key: str) -> Node | None:
        """The value under a key, or None."""
        entry = self.entries.get(key)
        return entry[1] if entry else None

    def with_entries(self, entries: dict[str, tuple[Scalar, Node]]) -> Mapping:
        """A copy with these entries."""
        copy = Mapping(self.source, self.line, self.column, self.flow)
        copy.entries = entries
        size, copy.height = _measured([value for _, value in entries.values()])
        copy.size = size + len(entries)
        return copy


def _measured(inside: list[Node]) -> tuple[int, int]:
    """The values and levels of what holds these, itself among them."""
    each = [(node.size, node.height) for node in inside if not isinstance(node, Scalar)]
    size = 1 + len(inside) - len(each) + sum(size for size, _ in each)
    return size, 1 + max((height for _, height in each), default=0)


def resolve(text: str) -> Any:
    """A plain scalar under YAML 1.2's core schema; a number too long to be meant stays text.

    >>> resolve("1e-3"), resolve("no"), resolve("0o17"), resolve("12e03"), resolve("")
    (0.001, 'no', 15, 12000.0, None)
    """
    if text in WORDS:
        return WORDS[text]
    if len(text) <= MAX_DIGITS:
        if INTEGER.fullmatch(text):
            return int(text, 8 if text[:2] == "0o" else 16 if text[:2] == "0x" else 10)
        if FLOAT.fullmatch(text):
            return float(text)
    return text


def plain(node: Node) -> Any:
    """The tree as plain data: dicts with words as keys, lists, and resolved scalars."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, (_, value) in node.entries.items()}


def find(root: Node, path: str) -> tuple[Scalar | None, Node] | None:
    """The key (None in a list) and the value at a dotted path such as `expect.shapes.conv1`, or None."""
    found: tuple[Scalar | None, Node] = (None, root)
    parts = path.split(".") if path else []
    at = 0
    while at < len(parts):
        node = found[1]
        step: tuple[Scalar | None, Node] | None = None
        taken = 1
        if isinstance(node, Sequence) and parts[at].isdecimal() and int(parts[at]) < len(node.items):
            step = (None, node.items[int(parts[at])])
        elif isinstance(node, Mapping):
            # A key may hold dots itself; the longest one that fits is meant.
            for taken in range(len(parts) - at, 0, -1):
                step = node.entries.get(".".join(parts[at : at + taken]))
                if step:
                    break
        if step is None:
            return None
        found, at = step, at + taken
    return found


def read(text: str, file: str, line: int = 1) -> Node:
    """The tree of a document whose first line has this number; raises SpecError with every problem found on the way."""
    text = text.removeprefix("\ufeff")
    source = Source(file, text, line)
    strange = NOT_TEXT.search(text)
    if strange:
        what = "a NUL character" if strange[0] == "\0" else f"the character U+{ord(strange[0]):04X}"
        raise SpecError([Problem(f"{what} cannot stand in a spec", position=source.position_of(strange.start()))])
    return _Builder(source).build()


def anchored(text: str) -> Iterator[tuple[int, int]]:
    """Index and line (from 0) of every anchor and every alias of a text that `read` accepts."""
    for event in _events(Source("", text.removeprefix("\ufeff"))):
        if getattr(event, "anchor", None) is not None:
            yield event.start_mark.index, event.start_mark.line


def _events(source: Source) -> Iterator[Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return iter(yaml.parse(source.text, Loader=loader))


class _Frame:
    """A collection that is still open, and the key that waits for its value."""

    __slots__ = ("anchor", "key", "node")

    def __init__(self, node: Sequence | Mapping, anchor: str | None) -> None:
        self.node, self.anchor = node, anchor
        self.key: Scalar | None = None


class _Builder:
    """Events to a tree, without recursion."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.frames: list[_Frame] = []
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None
        self.nodes = 0

    def build(self) -> Node:
        try:
            self._consume()
        except yaml.YAMLError as error:
            self.problems.append(self._syntax(error))
        if self.problems:
            raise SpecError(self.problems)
        if self.root is None:
            hint = "a spec needs at least `input: 32x32x3` and `layers:` with a list of rows"
            raise SpecError([Problem("the file is empty", hint, position=self.source.position(0, 0))])
        return self.root

    def _syntax(self, error: yaml.YAMLError) -> Problem:
        mark = getattr(error, "problem_mark", None)
        if self.frames and self.frames[-1].node.flow and mark and not self.source.text[mark.index :].strip():
            sign = "[" if isinstance(self.frames[-1].node, Sequence) else "{"
            place = self.frames[-1].node.position
            return Problem(f"this {sign!r} is never closed", "are the brackets balanced?", position=place)
        return explain_syntax(error, self.source.text, self.source.position)

    def _consume(self) -> None:
        documents = 0
        for event in _events(self.source):
            name = type(event).__name__
            if name == "ScalarEvent":
                self._scalar(event)
            elif name == "MappingStartEvent":
                self._open(event, Mapping(self.source, *_at(event), flow=bool(event.flow_style)))
            elif name == "SequenceStartEvent":
                self._open(event, Sequence(self.source, *_at(event), flow=bool(event.flow_style)))
            elif name in ("MappingEndEvent", "SequenceEndEvent"):
                frame = self.frames.pop()
                if frame.node.flow:
                    frame.node.end = event.end_mark.index
                self._anchor(frame.anchor, frame.node)
                self._add(frame.node, frame.node.size, frame.node.height)
            elif name == "AliasEvent":
                self._alias(event)
            elif name == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    self._stop(event, "a second document begins here", "a spec is one document: remove the '---'")

    def _stop(self, event: Any, message: str, hint: str | None = None) -> NoReturn:
        self.problems.append(Problem(message, hint, position=self.source.position(*_at(event))))
        raise SpecError(self.problems)

    def _scalar(self, event: Any) -> None:
        start, end = event.start_mark, event.end_mark
        style = "" if event.style is None else event.style
        scalar = Scalar(self.source, event.value, style, start.line, start.column, start.index, end.index)
        self._admit(event, 1, 0)
        self._anchor(event.anchor, scalar)
        flow = bool(self.frames) and self.frames[-1].node.flow
        if flow and not style and event.value.count("(") != event.value.count(")"):
            self._stop(
                event,
                f"the brackets of {event.value!r} do not balance, for a comma inside of {{ }} and [ ] ends a value",
                'write 3x3 or [3, 3] for (3,3), or put the whole value in quotes: "(3,3)"',
            )
        self._add(scalar, 1, 0)

    def _open(self, event: Any, node: Sequence | Mapping) -> None:
        self._admit(event, 1, 1)
        if self.frames and self._wants_key(self.frames[-1]):
            self._stop(event, "a key must be a word, not a list or a mapping")
        self.frames.append(_Frame(node, event.anchor))

    def _alias(self, event: Any) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            inside = any(frame.anchor == event.anchor for frame in self.frames)
            problem = "refers to the value that it stands in" if inside else "refers to no anchor above it"
            self._stop(event, f"the alias *{event.anchor} {problem}")
        size, height = (1, 0) if isinstance(node, Scalar) else (node.size, node.height)
        if self.frames and self._wants_key(self.frames[-1]):
            self._stop(event, "a key must be a word, not an alias")
        self._admit(event, size, height)
        self._add(node, size, height)

    def _admit(self, event: Any, size: int, height: int) -> None:
        """Count values and levels with aliases expanded, and refuse tags."""
        self.nodes += size
        if self.nodes > MAX_NODES:
            self._stop(event, f"the spec holds more than {MAX_NODES:,} values once its aliases are expanded")
        if len(self.frames) + height > MAX_DEPTH:
            self._stop(event, f"the spec is nested more than {MAX_DEPTH} levels deep")
        tag = getattr(event, "tag", None)
        if tag is not None:
            written = tag.replace("tag:yaml.org,2002:", "!!")
            self._stop(event, f"the tag {_short(written)} is not allowed", "a spec holds plain values: remove the tag")

    def _anchor(self, name: str | None, node: Node) -> None:
        if name is not None:
            self.anchors[name] = node

    @staticmethod
    def _wants_key(frame: _Frame) -> bool:
        return isinstance(frame.node, Mapping) and frame.key is None

    def _add(self, node: Node, size: int, height: int) -> None:
        """Put a finished value where the text has it."""
        if not self.frames:
            self.root = node
            return
        frame = self.frames[-1]
        frame.node.size += size
        frame.node.height = max(frame.node.height, height + 1)
        frame.node.end = node.end
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None:
            assert isinstance(node, Scalar)
            frame.key = self._key(node, frame.node)
        else:
            frame.node.entries.setdefault(frame.key.text, (frame.key, node))
            frame.key = None

    def _key(self, key: Scalar, mapping: Mapping) -> Scalar:
        if len(mapping.entries) >= MAX_KEYS:
            message = f"this mapping has more than {MAX_KEYS:,} keys"
            raise SpecError([*self.problems, Problem(message, position=mapping.position)])
        if len(self.problems) >= MAX_PROBLEMS:
            raise SpecError(self.problems)
        if key.empty:
            self.problems.append(Problem("a key is missing before ':'", position=key.position))
        elif key.text == "<<" and not key.style:
            hint = "YAML 1.2 has no merge keys: write the keys out, or put them under `defaults:`"
            self.problems.append(Problem("'<<' is not a key", hint, position=key.position))
        elif key.text in mapping.entries:
            first = mapping.entries[key.text][0].line + self.source.line
            message = f"the key {_short(key.text)!r} is here for the second time; line {first} has it too"
            self.problems.append(Problem(message, "keep one of the two", position=key.position))
        return key


def _at(event: Any) -> tuple[int, int]:
    return event.start_mark.line, event.start_mark.column


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
