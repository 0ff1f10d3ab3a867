"""How a cell writes values: numbers and arithmetic on them, sizes, words, tuples, lists, calls, options.

    cell   = [item ("," item)*]            item = name "=" value | value
    value  = sum [("<"|"<="|">"|">="|"=="|"!=") sum]
    sum    = term (("+"|"-") term)* ;  term = factor (("*"|"/"|"//") factor)*
    factor = ["-"|"+"] atom
    atom   = number | sizes | string | word ["(" cell ")"] | "(" [value ("," value)*] ")" | "[" ... "]"

A parenthesised single value is that value; `(3,)` and `(3,3)` are tuples. A word may be the name of a parameter or of a
variable: what is computed from words waits as an Expression until `evaluate` knows them. Nothing here is ever executed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Union

from netspec.errors import did_you_mean

MAX_DEPTH = 32
MAX_OPERATIONS = 100
MAX_PARTS = 10_000
"""How many values a value may be made of, once names are replaced: lists of lists of names grow fast."""
PRODUCTS = ("*", "/", "//")
"""Signs that bind closer than plus and minus."""
WORD = re.compile(r"[^\W\d][\w.]*")
TOKEN = re.compile(
    r"""\s*(?:
        (?P<sizes>\d+(?:\s*[x×]\s*\d+)+(?![\w.]))
      | (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<string>'[^']*'|"[^"]*")
      | (?P<word>[^\W\d][\w.]*)
      | (?P<mark>[=!<>]=|//|[-+*/=,()\[\]<>])
    )""",
    re.VERBOSE,
)

Value = Union[int, float, bool, str, tuple["Value", ...], list["Value"], "Call", "Expression", None]
WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("true", "True"), True),
    **dict.fromkeys(("false", "False"), False),
    **dict.fromkeys(("null", "None"), None),
}
CLOSING: Mapping[str, str] = {"(": ")", "[": "]", "{": "}"}
NOTHING = frozenset(("", "-", "–", "—"))


class NotationError(ValueError):
    """A cell that cannot be read; `offset` counts characters from the start of the text."""

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.offset, self.hint = message, offset, hint


@dataclass(frozen=True, slots=True)
class Call:
    """A word with arguments: `leaky_relu(0.2)`, `softmax(axis=1)`."""

    name: str
    arguments: tuple[Value, ...] = ()
    options: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = [write_value(argument) for argument in self.arguments]
        inside += [f"{name}={write_value(value)}" for name, value in self.options.items()]
        return f"{self.name}({', '.join(inside)})"


class Quoted(str):
    """A word in quotes, which is no name."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """Arithmetic, or a comparison, that waits for the values of its names: `4*growth`, `stride>1`."""

    sign: str
    left: Value
    right: Value

    def __str__(self) -> str:
        return f"{_operand(self.left, self.sign)}{self.sign}{_operand(self.right, self.sign)}"


def _operand(value: Value, sign: str) -> str:
    text = write_value(value)
    loose = isinstance(value, Expression) and not (value.sign in PRODUCTS and sign not in PRODUCTS)
    return f"({text})" if loose else text


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell holds: values by position and options by name, each with the offset at which it starts."""

    arguments: tuple[Value, ...]
    options: Mapping[str, Value]
    offsets: tuple[int, ...] = field(default=(), compare=False)
    option_offsets: Mapping[str, int] = field(default_factory=dict, compare=False)


def is_empty(text: str) -> bool:
    """Whether a cell holds nothing: it is blank, or a dash of any length.

    >>> is_empty(" "), is_empty("—"), is_empty("-1")
    (True, True, False)
    """
    return text.strip() in NOTHING


def parse_cell(text: str) -> Cell:
    """Read a cell's comma-separated values and options; an empty cell and a dash hold nothing.

    >>> parse_cell("32, (3,3), stride=2")
    Cell(arguments=(32, (3, 3)), options={'stride': 2}, offsets=(0, 4), option_offsets={'stride': 11})
    """
    if is_empty(text):
        return Cell((), {})
    parser = _Parser(text)
    return parser.cell(closing="")


def parse_value(text: str) -> Value:
    """Read one value; raises NotationError when the text is anything else.

    >>> parse_value("3x3"), parse_value("1/4"), parse_value("[same, 2]"), parse_value("1e-3")
    ((3, 3), 0.25, ['same', 2], 0.001)
    """
    parser = _Parser(text)
    value = parser.value(0)
    parser.end("a value")
    return value


def write_value(value: Value) -> str:
    """The value as a cell writes it; `parse_value` reads it back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, tuple):
        inside = ",".join(map(write_value, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, str) and (isinstance(value, Quoted) or value in WORDS or not WORD.fullmatch(value)):
        return f'"{value}"' if "'" in value else f"'{value}'"
    return str(value)


def split_outside(text: str, separator: str) -> list[tuple[str, int]]:
    """The parts of a text between separators that stand outside of brackets and quotes, with their offsets.

    Raises NotationError at a bracket or quote that has no partner.

    >>> split_outside("CNN | 32, (3|3) | 'a|b'", "|")
    [('CNN ', 0), (' 32, (3|3) ', 5), (" 'a|b'", 17)]
    """
    parts, start = [], 0
    opened: list[tuple[str, int]] = []
    for match in re.finditer(r"""'[^']*'|"[^"]*"|[][(){}'"]|""" + re.escape(separator), text):
        sign, at = match[0], match.start()
        if sign in CLOSING:
            opened.append((sign, at))
        elif sign in CLOSING.values():
            if not opened or CLOSING[opened[-1][0]] != sign:
                if opened:
                    raise _never_closed(*opened[-1])
                raise NotationError(f"this {sign!r} closes nothing", at, "are the brackets balanced?")
            opened.pop()
        elif sign in ("'", '"'):
            raise NotationError("this quote is never closed", at)
        elif sign == separator and not opened:
            parts.append((text[start:at], start))
            start = match.end()
    if opened:
        raise _never_closed(*opened[-1])
    parts.append((text[start:], start))
    return parts


def _never_closed(sign: str, at: int) -> NotationError:
    return NotationError(f"this {sign!r} is never closed", at, f"a {CLOSING[sign]!r} is missing")


NEGATED = "{0}==false holds where {0} is false"


def _unreadable(text: str) -> str:
    """What to write instead of a text that begins with what is no token."""
    if negated := re.match(r"!\s*([A-Za-z_]\w*)", text):
        return NEGATED.format(negated[1])
    if label := re.match(r"\d+[A-Za-z_]\w*", text):
        return f"a name begins with a letter: if {label[0]} is the label of a row, write row_{label[0]} in both places"
    return "+ - * / // and comparisons are all there is"


class _Parser:
    """Recursive descent over the tokens of one cell."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                at = position + len(text[position:]) - len(text[position:].lstrip())
                raise NotationError(f"cannot read {text[at:].strip()!r}", at, _unreadable(text[at:].strip()))
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        self.index = 0
        self.operations = 0

    def peek(self, ahead: int = 0) -> str:
        index = self.index + ahead
        return self.tokens[index][1] if index < len(self.tokens) else ""

    @property
    def offset(self) -> int:
        return self.tokens[self.index][2] if self.index < len(self.tokens) else len(self.text.rstrip())

    def end(self, wanted: str) -> None:
        if self.index < len(self.tokens):
            before = self.tokens[self.index - 1][1]
            if self.peek() in ("and", "or", "not", "if"):
                hint = "a condition is one comparison"
            elif before == "not":
                hint = NEGATED.format(self.peek())
            else:
                hint = "== compares" if self.peek() == "=" else "values are separated by commas"
            raise NotationError(f"{self.peek()!r} stands after {wanted}", self.offset, hint)

    def close(self, opened: int) -> None:
        """Take the partner of the bracket at this token."""
        sign, at = self.tokens[opened][1:]
        if self.index >= len(self.tokens):
            raise _never_closed(sign, at)
        if self.peek() != CLOSING[sign]:
            raise NotationError(
                f"expected {CLOSING[sign]!r}, found {self.peek()!r}", self.offset, "are the brackets balanced?"
            )
        self.index += 1

    def cell(self, closing: str, depth: int = 0) -> Cell:
        opened = self.index - 1
        arguments: list[Value] = []
        options: dict[str, Value] = {}
        offsets: list[int] = []
        option_offsets: dict[str, int] = {}
        while self.peek() != closing or not closing:
            at = self.offset
            if self.index < len(self.tokens) and self.tokens[self.index][0] == "word" and self.peek(1) == "=":
                name = self.peek()
                if name in options:
                    raise NotationError(f"{name} is given twice", at)
                self.index += 2
                options[name], option_offsets[name] = self.value(depth), at
            else:
                value = self.value(depth)
                if options:
                    raise NotationError(
                        f"{write_value(value)} stands after an option", at, "values come before options (name=value)"
                    )
                arguments.append(value)
                offsets.append(at)
            if self.peek() != ",":
                break
            self.index += 1
        if closing:
            self.close(opened)
        else:
            self.end("the values of the cell")
        return Cell(tuple(arguments), options, tuple(offsets), option_offsets)

    def value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise NotationError(f"brackets are nested more than {MAX_DEPTH} deep", self.offset)
        left = self.sum(depth)
        if self.peek() in COMPARISONS:
            left = self.operation(left, self.sum, depth)
            if self.peek() in COMPARISONS:
                raise NotationError("a comparison has two sides", self.offset, "one condition at a time")
        return left

    def operation(self, left: Value, operand: Callable[[int], Value], depth: int) -> Value:
        """Take the sign at this token and its right side."""
        sign, at = self.peek(), self.offset
        self.index += 1
        self.operations += operand != self.atom  # a sign before a number is none
        if self.operations > MAX_OPERATIONS:
            raise NotationError(f"more than {MAX_OPERATIONS} operations stand in one cell", at)
        return _computed(sign, left, operand(depth), at)

    def sum(self, depth: int) -> Value:
        left = self.term(depth)
        while self.peek() in ("+", "-"):
            left = self.operation(left, self.term, depth)
        return left

    def term(self, depth: int) -> Value:
        left = self.factor(depth)
        while self.peek() in PRODUCTS:
            left = self.operation(left, self.factor, depth)
        return left

    def factor(self, depth: int) -> Value:
        return self.operation(0, self.atom, depth) if self.peek() in ("-", "+") else self.atom(depth)

    def atom(self, depth: int) -> Value:
        if self.index >= len(self.tokens):
            raise NotationError("a value is missing", self.offset)
        group, text, at = self.tokens[self.index]
        self.index += 1
        if group == "sizes":
            return tuple(_whole(part, at) for part in re.split(r"\s*[x×]\s*", text))
        if group == "number":
            return _number(text, at)
        if group == "string":
            return Quoted(text[1:-1])
        if group == "word":
            if self.peek() == "(":
                self.index += 1
                inside = self.cell(closing=")", depth=depth + 1)
                return Call(text, inside.arguments, inside.options)
            return WORDS.get(text, text)
        if text == "(":
            return self.sequence(")", depth)
        if text == "[":
            return self.sequence("]", depth)
        power = text == "*" and self.tokens[max(self.index - 2, 0)][1] == "*"
        raise NotationError(f"a value is missing before {text!r}", at, "a square is x*x" if power else None)

    def sequence(self, closing: str, depth: int) -> Value:
        opened = self.index - 1
        items: list[Value] = []
        comma = False
        while self.peek() != closing:
            items.append(self.value(depth + 1))
            if self.peek() != ",":
                break
            comma = True
            self.index += 1
        self.close(opened)
        if closing == "]":
            return items
        return items[0] if len(items) == 1 and not comma else tuple(items)


def _whole(text: str, at: int) -> int:
    if len(text) > 18:
        raise NotationError(f"the number {text[:18]}… is too large", at)
    return int(text)


def _number(text: str, at: int) -> int | float:
    if re.fullmatch(r"\d+", text):
        return _whole(text, at)
    number = float(text)
    if not isfinite(number):
        raise NotationError(f"the number {text} is too large", at)
    return number


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
ARITHMETIC: Mapping[str, Callable[[Any, Any], int | float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
}


def _is_open(value: Value) -> bool:
    """Whether a value may still become another, once names are known."""
    return isinstance(value, Expression) or (isinstance(value, str) and not isinstance(value, Quoted))


def _computed(sign: str, left: Value, right: Value, at: int, hints: Mapping[str, Value] | None = None) -> Value:
    """The result, or the expression itself while one of its sides is a word; `hints` are all the names there are."""
    if hints is None and (_is_open(left) or _is_open(right)):
        return Expression(sign, left, right)
    if sign in ("==", "!="):
        return COMPARISONS[sign](left, right)
    for side in (left, right):
        if isinstance(side, bool) or not isinstance(side, (int, float)):
            hint = did_you_mean(side, hints) if hints and isinstance(side, str) else None
            if side is left and isinstance(side, tuple) and sign == "/":
                hint = f"a stride is an option of its own: stride={write_value(right)}"
            raise NotationError(f"{write_value(side)} is not a number, so {sign!r} cannot be applied", at, hint)
    if sign in COMPARISONS:
        return COMPARISONS[sign](left, right)
    if sign in ("/", "//") and right == 0:
        raise NotationError("division by zero", at)
    try:
        result = ARITHMETIC[sign](left, right)
    except OverflowError:
        raise NotationError("the result is too large", at) from None
    if not isfinite(result) or abs(result) > 1e18:
        raise NotationError("the result is too large", at)
    # What comes out whole is whole: 64*0.5 filters are 32.
    return int(result) if isinstance(result, float) and result.is_integer() else result


def evaluate(value: Value, names: Mapping[str, Value]) -> Value:
    """The value with every word that is one of `names` replaced and every expression computed.

    Raises NotationError where an expression holds what is neither a number nor a name.

    >>> evaluate(parse_value("(4*growth, same)"), {"growth": 8}), evaluate(parse_value("stride>1"), {"stride": 1})
    ((32, 'same'), False)
    """
    found = _evaluated(value, names)
    if isinstance(found, (tuple, list, Call)) and parts(found, MAX_PARTS) > MAX_PARTS:
        raise NotationError(f"the value has more than {MAX_PARTS:,} parts", 0)
    return found


def _evaluated(value: Value, names: Mapping[str, Value]) -> Value:
    if isinstance(value, str):
        return str(value) if isinstance(value, Quoted) else names.get(value, value)
    if isinstance(value, tuple):
        return tuple([_evaluated(item, names) for item in value])
    if isinstance(value, list):
        return [_evaluated(item, names) for item in value]
    if isinstance(value, Call):
        options = {name: _evaluated(option, names) for name, option in value.options.items()}
        return Call(value.name, tuple([_evaluated(item, names) for item in value.arguments]), options)
    if isinstance(value, Expression):
        return _computed(value.sign, _evaluated(value.left, names), _evaluated(value.right, names), 0, names)
    return value


def parts(value: Value, most: int) -> int:
    """How many values a value is made of, itself among them; the count ends where it is past `most`."""
    count, pending = 0, [value]
    while pending and count <= most:
        item = pending.pop()
        count += 1
        if isinstance(item, (tuple, list)):
            pending += item
        elif isinstance(item, Call):
            pending += [*item.arguments, *item.options.values()]
    return count


def as_tuples(value: Value) -> Value:
    """The value with every list as a tuple: layers take either for the other."""
    return tuple(map(as_tuples, value)) if isinstance(value, (list, tuple)) else value
