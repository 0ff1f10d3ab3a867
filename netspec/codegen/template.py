"""Several texts of code that differ in their literals alone -> one text with parameters, and the arguments of each.

Plotkin's anti-unification (1970), on the tokens of Python source. An argument that is what the library takes anyway
stands between two marks, which `settled` takes out with it: so `Conv2d(8, 8, 3)` and `Conv2d(8, 8, 3, stride=2)` are
seen to be alike.
"""

from __future__ import annotations

import operator
import re
from ast import literal_eval
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, permutations
from types import MappingProxyType
from typing import Any

from netspec.codegen.roles import Role, Signatures, neighbour, role

BEGIN, END = "\x01", "\x02"
TOKEN = re.compile(
    r"""(?P<mark>[\x01\x02])|(?P<comment>\#[^\n]*)|(?P<fixed>f"[^"\n]*")|(?P<string>"[^"\n]*")|(?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:e[-+]?\d+)?)"""
    r"""|(?P<name>[^\W\d]\w*)|(?P<space>\s+)|(?P<sign>.)"""
)
TUPLE_SIGNS = frozenset("0123456789,.()- ")
CALLABLE = re.compile(r"[\w)\]]")
SIZE = 8
FACTORS = (2, 3, 4, 6, 8)
COMMUTATIVE = (operator.add, operator.mul)
OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
}
NAME = re.compile(r"[\w.]+")
OPEN_BEFORE = frozenset("(,=[:")
CLOSE_AFTER = frozenset("),]:")
NOTHING: Signatures = MappingProxyType({})
Columns = Mapping[str, Sequence[Any]]
"""Named values, one for each text."""
Explanation = tuple[str, dict[str, list[str]]]
"""An expression, and for each name in it what it stands for, by text."""


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


def argument(name: str, value: str, default: str | None) -> str:
    """An argument by name, marked where it is what is taken anyway."""
    text = f"{name}={value}"
    return optional(text) if value == default else text


def declared(kind: str, default: str | None) -> str:
    """What stands behind a parameter's name: its type, and its default where it has one."""
    return kind if default is None else f"{kind} = {default}"


@dataclass(frozen=True, slots=True)
class Template:
    """One text for several; `parameters` are its names with their types, `arguments` their values by text.

    `defaults` are the values of parameters that the library takes where nothing is said.
    """

    text: str
    parameters: Mapping[str, str]
    arguments: tuple[Mapping[str, str], ...]
    defaults: Mapping[str, str] = field(default_factory=dict)


def shape_of(text: str) -> tuple[str, ...]:
    """What texts must share to have one template: their tokens, with every literal as a blank."""
    return tuple("" if literal else token for token, literal in _tokens(text)[0])


def generalise(
    texts: Sequence[str],
    values: Sequence[Mapping[str, Any]],
    prefix: str = "",
    taken: Collection[str] = (),
    bound: Mapping[str, Sequence[str]] | None = None,
    signatures: Signatures = NOTHING,
    sizes: Sequence[Mapping[str, Any]] = (),
) -> Template:
    """The template of texts of one shape; `values` are, for each text, named values that its literals may come from.

    So are `sizes`, those of what goes in, where no other value explains a literal or the literal is such a size. A
    parameter that none of them explains is named after the argument that it is, by keyword or by the `signatures` of
    what is called, with the name of the row before it where several would be called alike; with `prefix` before that,
    and not as what is `taken`. Names in `bound` have these values, by text, and no others.
    """
    named: set[str] = set()
    while True:
        names = {name: list(given) for name, given in (bound or {}).items()}
        known = _Known(_columns(values), _columns(sizes), names, set(taken), prefix, named)
        template = _generalised(texts, known, signatures)
        if known.named == named:
            return template
        named = known.named  # the first of several has its row's name too


def _columns(values: Sequence[Mapping[str, Any]]) -> Columns:
    """By name, the value for each text."""
    return {name: [known[name] for known in values] for name in values[0]} if values else {}


def _generalised(texts: Sequence[str], known: _Known, signatures: Signatures) -> Template:
    tokens, marks = zip(*map(_tokens, texts), strict=True)
    marked = [frozenset(spans) for spans in marks]
    written: list[str] = []
    names: dict[int, str] = {}
    for index, column in enumerate(zip(*tokens, strict=True)):
        literals = [token for token, _ in column]
        if len(set(literals)) == 1:
            written.append(literals[0])
            continue
        code = known.explained(literals, role(tokens[0], index, signatures))
        alone = _alone(neighbour(tokens[0], index, -1), neighbour(tokens[0], index, 1))
        if NAME.fullmatch(code):
            alone, names[index] = True, code
        written.append(code if alone else f"({code})")
    # An argument may go where every text has it marked; one that differs stays in all of them.
    shared = frozenset.intersection(*marked)
    for begin, end in sorted(shared, reverse=True):
        if all(len({column[at][0] for column in tokens}) == 1 for at in range(begin, end)):
            written[begin:end] = [BEGIN, *written[begin:end], END]
    order = {name: known.used[name] for name in (*known.sizes, *known.own, *known.used) if name in known.used}
    kinds = {name: _type_of(literals) for name, literals in order.items()}
    arguments = tuple({name: literals[at] for name, literals in order.items()} for at in range(len(texts)))
    usual = {index: at for at, spans in enumerate(marks) for span in spans for index in range(*span)}
    defaults = {name: order[name][usual[index]] for index, name in names.items() if index in usual}
    return Template("".join(written), kinds, arguments, defaults)


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


def _alone(before: str, after: str) -> bool:
    return before[-1:] in OPEN_BEFORE and after[:1] in CLOSE_AFTER


class _Known:
    """The named values of each text, and those that its parameters turned out to have, by text."""

    def __init__(
        self,
        own: Columns,
        sizes: Columns,
        bound: dict[str, list[str]],
        taken: set[str],
        prefix: str,
        named: Collection[str],
    ) -> None:
        self.own, self.sizes = own, sizes
        self.bound, self.taken, self.prefix = bound, taken, prefix
        self.used: dict[str, list[str]] = {}
        self.named = set(named)
        """The roles that several parameters have, which are told apart by their rows."""
        self.flow: tuple[list[str], str] = ([], "")
        """How many channels the layer before gives, and the expression that says so."""

    def explained(self, literals: list[str], role: Role) -> str:
        """An expression that gives these literals, one a text; its parameters are used from now on."""
        if role.takes and literals == self.flow[0]:
            return self.flow[1]
        code = self._expression(literals, role)
        if role.takes or role.gives:
            self.flow = (literals, code)
        return code

    def _expression(self, literals: list[str], role: Role) -> str:
        meant = [literal_eval(literal) for literal in literals]
        first, second = (self.sizes, self.own) if role.takes else (self.own, self.sizes)
        every = {**self.own, **self.sizes}
        pools = (self._candidates(meant, literals, columns) for columns in (first, second))
        for code, needed in chain(*pools, _computed(meant, every), self._by_number(meant, every)):
            if all(self.bound.get(name, texts) == texts for name, texts in needed.items()):
                self._use(needed)
                return code
        for name, texts in self.used.items():
            if texts == literals:
                return name
        name = self._free(role)
        self._use({name: literals})
        return name

    def _free(self, role: Role) -> str:
        """A name for a new parameter. One of the block's that explains nothing may give its: `padding=1` for `same`."""

        def free(name: str) -> bool:
            return f"{self.prefix}{name}" not in self.bound and f"{self.prefix}{name}" not in self.taken

        if role.name not in self.named and free(role.name):
            return f"{self.prefix}{role.name}"
        self.named.add(role.name)
        several = (role.full if number == 1 else f"{role.full}_{number}" for number in count(1))
        return next(f"{self.prefix}{name}" for name in several if free(name))

    def _use(self, needed: Mapping[str, list[str]]) -> None:
        self.used |= needed
        self.bound |= needed

    def _candidates(self, meant: Sequence[Any], literals: list[str], columns: Columns) -> Iterator[Explanation]:
        """Expressions of the named values that give what is meant, the simplest first, with what they need."""
        for name, column in columns.items():
            if _same(column, meant):
                yield name, {name: literals}
        for name, column in columns.items():
            if _same([_one(value) for value in column], meant):
                yield name, {name: literals}
        yield from _computed(meant, columns)

    def _by_number(self, meant: Sequence[Any], columns: Columns) -> Iterator[Explanation]:
        """A tuple whose numbers are each alike everywhere or a named value: `(96,)` is `(channels,)`."""
        if not all(isinstance(value, tuple) for value in meant) or len(set(map(len, meant))) > 1:
            return
        parts: list[str] = []
        needed: dict[str, list[str]] = {}
        for numbers in zip(*meant, strict=True):
            if len(set(numbers)) == 1:
                parts.append(repr(numbers[0]))
                continue
            names = [name for name, column in columns.items() if _same(column, numbers) and max(numbers) >= SIZE]
            direct = [(name, {name: list(map(repr, numbers))}) for name in names]
            found = [*direct, *_computed(numbers, columns)]
            if not found:
                return
            # Of a square image's height and width, each is said once.
            code, more = min(found, key=lambda each: bool(needed.keys() & each[1].keys() & self.sizes.keys()))
            parts.append(code)
            needed |= more
        yield f"({', '.join(parts)}{',' * (len(parts) == 1)})", needed


def _computed(meant: Sequence[Any], columns: Columns) -> Iterator[Explanation]:
    """Products, quotients, sums and differences of the named values."""
    if not all(type(value) is int and value > 0 for value in meant) or max(meant) < SIZE:
        return  # small numbers, such as strides, are products by accident
    whole = {name: column for name, column in columns.items() if all(type(one) is int and one > 0 for one in column)}
    texts = {name: list(map(repr, column)) for name, column in whole.items()}
    for name, column in whole.items():
        factor, rest = divmod(meant[0], column[0])
        if not rest and factor in FACTORS and [factor * one for one in column] == list(meant):
            yield f"{factor} * {name}", {name: texts[name]}
    for name, column in whole.items():
        divisor, rest = divmod(column[0], meant[0])
        if not rest and divisor in FACTORS and [one // divisor for one in column] == list(meant):
            yield f"{name} // {divisor}", {name: texts[name]}
    # A value that is the same everywhere stands as its number, as it does elsewhere in the text.
    fixed = {name: len(set(column)) == 1 for name, column in whole.items()}
    for sign, operation in OPERATIONS.items():
        for left, right in permutations(whole, 2):
            if operation in COMMUTATIVE and list(whole).index(left) > list(whole).index(right):
                continue
            if list(map(operation, whole[left], whole[right])) == list(meant):
                terms = [texts[name][0] if fixed[name] else name for name in (left, right)]
                yield f" {sign} ".join(terms), {name: texts[name] for name in (left, right) if not fixed[name]}


def _one(value: Any) -> Any:
    """One number for sizes that are alike on every axis, as calls have it."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return all(type(one) is type(other) and one == other for one, other in zip(left, right, strict=True))


def _type_of(literals: Sequence[str]) -> str:
    """The annotation of a parameter with these values."""
    values = map(literal_eval, literals)
    kinds = {"tuple[int, ...]" if isinstance(value, tuple) else type(value).__name__: None for value in values}
    return " | ".join(sorted(kinds, key=lambda kind: kind.startswith("tuple")))
