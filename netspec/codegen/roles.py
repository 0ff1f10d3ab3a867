"""What a literal in emitted code is for: the argument that it is, and the row whose line it stands in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Tokens = Sequence[tuple[str, bool]]
"""The tokens of a text, each with whether it is a literal."""
Signatures = Mapping[str, tuple[str, ...]]
"""By the last name of what is called, without the number of axes in it, the names of its arguments by position."""
OPERANDS = {"*": "scale", "/": "scale", "+": "offset", "-": "offset"}
BEFORE_A_VALUE = frozenset("(,=[:")
UNKNOWN = "value"
GIVEN = ("out_channels", "out_features")
KEPT = ("num_features", "num_channels", "normalized_shape", "num_parameters")
RANK = re.compile(r"[123][dD](?=[A-Z]|$)")
LAYER = re.compile(r'name=f"\{name\}\.(\w+)"')
TARGET = re.compile(r"\s*(?:self\.)?(\w+) = ")
OPENING, CLOSING = frozenset("(["), frozenset(")]")


@dataclass(frozen=True, slots=True)
class Role:
    """What a literal may be called: its argument's name, with the row's where several would be called alike."""

    name: str
    row: str = ""
    takes: bool = False
    """Whether it is how many channels the layer is given."""
    gives: bool = False
    """Whether it is how many channels the layer gives."""

    @property
    def full(self) -> str:
        """The name with the row before it, if there is one."""
        return f"{self.row}_{self.name}" if self.row else self.name


def neighbour(tokens: Tokens, index: int, step: int) -> str:
    """The token before or after another, or nothing."""
    at = _beside(tokens, index, step)
    return tokens[at][0] if at is not None else ""


def role(tokens: Tokens, index: int, signatures: Signatures) -> Role:
    """The role of the literal at this place.

    >>> role([("f", False), ("(", False), ("3", True), (")", False)], 2, {"f": ("size",)}).name
    'size'
    """
    name = _argument(tokens, index, signatures)
    line = _line(tokens, index)
    each = f"groups={tokens[index][0]}" in line  # a group a channel: what is given is what a filter stands for
    takes = name.startswith("in_") or name in KEPT or (each and name in (*GIVEN, "groups"))
    found = LAYER.search(line) or TARGET.match(line)
    return Role(name, found[1] if found and found[1] != "x" else "", takes, gives=name in GIVEN)


def _argument(tokens: Tokens, index: int, signatures: Signatures) -> str:
    at, after = _beside(tokens, index, -1), neighbour(tokens, index, 1)
    if at is not None and tokens[at][0] in OPERANDS:
        if neighbour(tokens, at, -1)[-1:] not in BEFORE_A_VALUE:
            return OPERANDS[tokens[at][0]]
        at = _beside(tokens, at, -1)  # a number with a sign
    before = tokens[at][0] if at is not None else ""
    if before == "=":
        name = neighbour(tokens, at or 0, -1)
        return name if name.isidentifier() else UNKNOWN
    opened, place = _enclosing(tokens, index)
    if opened is None:
        return UNKNOWN
    if tokens[opened][0] == "[":
        return "begin" if after == ":" else "end" if before == ":" else UNKNOWN
    names = signatures.get(RANK.sub("", neighbour(tokens, opened, -1)), ())
    return names[place] if place < len(names) else UNKNOWN


def _enclosing(tokens: Tokens, index: int) -> tuple[int | None, int]:
    """Where the bracket around a token is opened, and how many commas stand between them."""
    depth = commas = 0
    for at in range(index - 1, -1, -1):
        text, literal = tokens[at]
        if "\n" in text:
            break  # a statement is one line, as long as nobody has formatted it
        if literal:
            continue
        if text in OPENING and not depth:
            return at, commas
        depth += (text in CLOSING) - (text in OPENING)
        commas += text == "," and not depth
    return None, 0


def _line(tokens: Tokens, index: int) -> str:
    """The line around a token."""
    begin = next((at + 1 for at in range(index - 1, -1, -1) if "\n" in tokens[at][0]), 0)
    end = next((at for at in range(index, len(tokens)) if "\n" in tokens[at][0]), len(tokens))
    return "".join(text for text, _ in tokens[begin:end])


def _beside(tokens: Tokens, index: int, step: int) -> int | None:
    index += step
    while 0 <= index < len(tokens) and tokens[index][0].isspace():
        index += step
    return index if 0 <= index < len(tokens) else None
