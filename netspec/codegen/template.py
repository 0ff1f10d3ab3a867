"""Several texts of code that differ in their literals alone -> one text with parameters, and the arguments of each.

Plotkin's anti-unification (1970), on the tokens of Python source. An argument that is what the library takes anyway
stands between two marks, which `settled` takes out with it: so `Conv2d(8, 8, 3)` and `Conv2d(8, 8, 3, stride=2)` are
seen to be alike.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BEGIN, END = "\x01", "\x02"
TOKEN = re.compile(
    r"""(?P<mark>[\x01\x02])|(?P<comment>\#[^\n]*)|(?P<fixed>f"[^"\n]*")|(?P<string>"[^"\n]*")|(?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:e[-+]?\d+)?)"""
    r"""|(?P<name>[^\W\d]\w*)|(?P<space>\s+)|(?P<sign>.)"""
)
TUPLE_SIGNS = frozenset("0123456789,.()- ")
CALLABLE = re.compile(r"[\w)\]]")
SIZE = 8
FACTORS = (2, 3, 4, 6, 8)
NAME = re.compile(r"[\w.]+")
OPEN_BEFORE = frozenset("(,=[")
CLOSE_AFTER = frozenset("),]")


def optional(text: str) -> str:
    """An argument that says what is the case anyway."""
    return f"{BEGIN}{text}{END}"


def settled(text: str) -> str:
    """The text without its optional arguments.

    >>> settled("f(1, " + optional("stride=1") + ", bias=False)"), settled("f(" + optional("stride=1") + ")")
    ('f(1, bias=False)', 'f()')
    """
    if BEGIN not in text:
        return text
    inside = f"{BEGIN}[^{BEGIN}{END}]*{END}"
    return re.sub(inside, "", re.sub(f", {inside}", "", re.sub(f"{inside}, ", "", text)))


@dataclass(frozen=True, slots=True)
class Template:
    """One text for several; `parameters` are its names with their types, `arguments` their values by text."""

    text: str
    parameters: Mapping[str, str]
    arguments: tuple[Mapping[str, str], ...]


def shape_of(text: str) -> tuple[str, ...]:
    """What texts must share to have one template: their tokens, with every literal as a blank."""
    return tuple("" if literal else token for token, literal in _tokens(text)[0])


def generalise(
    texts: Sequence[str],
    values: Sequence[Mapping[str, Any]],
    prefix: str = "",
    taken: Collection[str] = (),
    bound: Mapping[str, Sequence[str]] | None = None,
) -> Template:
    """The template of texts of one shape; `values` are, for each text, named values that its literals may come from.

    A parameter that none of them explains is named after its keyword, with `prefix` before it and not as what is
    `taken`. Names in `bound` have these values, by text, and no others.
    """
    tokens = [_tokens(text)[0] for text in texts]
    marks = [_tokens(text)[1] for text in texts]
    known = _Known(values, {name: list(given) for name, given in (bound or {}).items()}, set(taken))
    written: list[str] = []
    for index, column in enumerate(zip(*tokens, strict=True)):
        literals = [token for token, _ in column]
        if len(set(literals)) == 1:
            written.append(literals[0])
            continue
        code = known.explained(literals, prefix + _role(tokens[0], index))
        alone = _alone(_neighbour(tokens[0], index, -1), _neighbour(tokens[0], index, 1))
        written.append(code if alone or NAME.fullmatch(code) else f"({code})")
    # An argument may go where every text has it marked; one that differs stays in all of them.
    shared = {span for span in marks[0] if all(span in other for other in marks)}
    for begin, end in sorted(shared, reverse=True):
        if all(len({column[at][0] for column in tokens}) == 1 for at in range(begin, end)):
            written[begin:end] = [BEGIN, *written[begin:end], END]
    order = {name: known.used[name] for name in (*values[0], *known.used) if name in known.used}
    kinds = {name: _type_of(literals) for name, literals in order.items()}
    arguments = tuple({name: literals[at] for name, literals in order.items()} for at in range(len(texts)))
    return Template("".join(written), kinds, arguments)


def _tokens(text: str) -> tuple[list[tuple[str, bool]], list[tuple[int, int]]]:
    """The tokens with whether each is a literal, and where optional arguments begin and end among them."""
    tokens: list[tuple[str, bool]] = []
    spans: list[tuple[int, int]] = []
    at, begin, before = 0, 0, ""
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match is not None
        kind, token = match.lastgroup, match[0]
        if kind == "mark":
            if token == BEGIN:
                begin = len(tokens)
            else:
                spans.append((begin, len(tokens)))
            at = match.end()
            continue
        literal = kind in ("string", "number") or (kind == "name" and token in ("True", "False"))
        if text[at] == "(" and not CALLABLE.match(before):
            inside = _tuple_at(text, at)
            token, literal = (inside, True) if inside else (token, False)
        tokens.append((token, literal))
        at += len(token)
        before = token[-1]
    return tokens, spans


def _tuple_at(text: str, at: int) -> str:
    """The tuple of numbers that begins here, or nothing."""
    depth = 0
    for index in range(at, len(text)):
        if text[index] not in TUPLE_SIGNS:
            return ""
        depth += (text[index] == "(") - (text[index] == ")")
        if not depth:
            inside = text[at : index + 1]
            return inside if "," in inside else ""
    return ""


def _neighbour(tokens: Sequence[tuple[str, bool]], index: int, step: int) -> str:
    index += step
    while 0 <= index < len(tokens) and tokens[index][0].isspace():
        index += step
    return tokens[index][0] if 0 <= index < len(tokens) else ""


def _alone(before: str, after: str) -> bool:
    return before[-1:] in OPEN_BEFORE and after[:1] in CLOSE_AFTER


def _role(tokens: Sequence[tuple[str, bool]], index: int) -> str:
    """What a new parameter may be called: the keyword that it stands behind."""
    if _neighbour(tokens, index, -1) != "=":
        return "value"
    while tokens[index][0] != "=":
        index -= 1
    name = _neighbour(tokens, index, -1)
    return name if name.isidentifier() else "value"


class _Known:
    """The named values of each text, and those that its parameters turned out to have, by text."""

    def __init__(self, values: Sequence[Mapping[str, Any]], bound: dict[str, list[str]], taken: set[str]) -> None:
        self.columns = {name: [known[name] for known in values] for name in values[0]}
        self.bound, self.taken = bound, taken
        self.used: dict[str, list[str]] = {}

    def explained(self, literals: list[str], role: str) -> str:
        """An expression that gives these literals, one a text; its parameters are used from now on."""
        meant = [literal_eval(literal) for literal in literals]
        for code, needed in self._candidates(meant, literals):
            if all(self.bound.get(name, texts) == texts for name, texts in needed.items()):
                self._use(needed)
                return code
        for name, texts in self.used.items():
            if texts == literals:
                return name
        name, number = role, 1
        # A parameter of the block that explains nothing may give its name: `padding=1` for the word `same`.
        while name in self.bound or name in self.taken:
            number += 1
            name = f"{role}_{number}"
        self._use({name: literals})
        return name

    def _use(self, needed: Mapping[str, list[str]]) -> None:
        self.used |= needed
        self.bound |= needed

    def _candidates(self, meant: Sequence[Any], literals: list[str]) -> Iterator[tuple[str, dict[str, list[str]]]]:
        """Expressions of the named values that give what is meant, the simplest first, with what they need."""
        for name, column in self.columns.items():
            if _same(column, meant):
                yield name, {name: literals}
        for name, column in self.columns.items():
            if _same([_one(value) for value in column], meant):
                yield name, {name: literals}
        yield from self._computed(meant)
        yield from self._by_number(meant)

    def _by_number(self, meant: Sequence[Any]) -> Iterator[tuple[str, dict[str, list[str]]]]:
        """A tuple whose numbers are each alike everywhere or a named value: `(96,)` is `(channels,)`."""
        if not all(isinstance(value, tuple) for value in meant) or len(set(map(len, meant))) > 1:
            return
        parts, needed = [], {}
        for numbers in zip(*meant, strict=True):
            names = [name for name, column in self.columns.items() if _same(column, numbers) and min(numbers) >= SIZE]
            if len(set(numbers)) == 1:
                parts.append(repr(numbers[0]))
            elif names:
                parts.append(names[0])
                needed[names[0]] = list(map(repr, numbers))
            else:
                return
        yield f"({', '.join(parts)}{',' * (len(parts) == 1)})", needed

    def _computed(self, meant: Sequence[Any]) -> Iterator[tuple[str, dict[str, list[str]]]]:
        """Products, quotients and sums of the named values."""
        if not all(type(value) is int and value > 0 for value in meant) or max(meant) < SIZE:
            return  # small numbers, such as strides, are products by accident
        whole = {
            name: column for name, column in self.columns.items() if all(type(one) is int and one > 0 for one in column)
        }
        texts = {name: list(map(repr, column)) for name, column in whole.items()}
        for name, column in whole.items():
            factor, rest = divmod(meant[0], column[0])
            if not rest and factor in FACTORS and [factor * one for one in column] == meant:
                yield f"{factor} * {name}", {name: texts[name]}
        for name, column in whole.items():
            divisor, rest = divmod(column[0], meant[0])
            if not rest and divisor in FACTORS and [one // divisor for one in column] == list(meant):
                yield f"{name} // {divisor}", {name: texts[name]}
        for at, (first, left) in enumerate(whole.items()):
            for second, right in list(whole.items())[at + 1 :]:
                if [one + other for one, other in zip(left, right, strict=True)] == list(meant):
                    yield f"{first} + {second}", {first: texts[first], second: texts[second]}


def _one(value: Any) -> Any:
    """One number for sizes that are alike on every axis, as calls have it."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return all(type(one) is type(other) and one == other for one, other in zip(left, right, strict=True))


def _type_of(literals: Sequence[str]) -> str:
    """The annotation of a parameter with these values."""
    kinds: dict[str, None] = {}
    for literal in literals:
        value = literal_eval(literal)
        kinds["tuple[int, ...]" if isinstance(value, tuple) else type(value).__name__] = None
    return " | ".join(kinds)
