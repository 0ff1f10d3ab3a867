"""The statements of `forward`: follows every value's expression and the order of its axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from netspec.codegen.outline import Scope, reads
from netspec.codegen.source import row_comment
from netspec.codegen.template import settled
from netspec.codegen.variants import reserved
from netspec.layers import Activation
from netspec.network import Node, Row
from netspec.tensors import Order, channels_first, channels_last
from netspec_torch.line import Line
from netspec_torch.plan import Plan

VARIABLES = frozenset({"x", "self", "tap", "F", "nn", "torch", "Tensor", "inside", "padded", "rows", "columns"})
"""Names that mean something else in the emitted methods."""
NOTHING: Mapping[str, Order] = MappingProxyType({})
PART = re.compile(r"(?P<target>\w+) = (?P<split>(?P<source>\w+)\.chunk\((?P<parts>\d+), \d+\))\[(?P<index>\d+)\]")
"""A line that takes one part of a split."""


class Body:
    """One method: of the whole network, or of a block.

    Values cross its `border` in this order of axes, and those of the blocks in it in that which `borders` has for each.
    """

    def __init__(
        self,
        plan: Plan,
        scope: Scope,
        *,
        taps: bool = False,
        head: Node | None = None,
        border: Order = "first",
        borders: Mapping[str, Order] = NOTHING,
    ) -> None:
        self.plan, self.scope, self.taps, self.head, self.borders = plan, scope, taps, head, borders
        network = plan.network
        self.types = network.types
        self.row_orders: dict[str, Order] = {}
        self.written: list[str] = []
        use = scope.use
        given = dict(zip(use.inputs, use.names, strict=True)) if use else {name: name for name in network.inputs}
        self.outputs = [use.result] if use else [head.inputs[0]] if head else list(network.outputs.values())
        self._kept = {use.result} if use else set(network.results)
        self._readers: dict[str, set[int]] = {}
        for index, item in enumerate(scope.items):
            for value in reads(item):
                self._readers.setdefault(value, set()).add(index)
        self._variables: set[str] = set()
        self._code = {
            value: self._variable(value, name, -1) if len(given) == 1 else self._unused(name)
            for value, name in given.items()
        }
        self._order: dict[str, Order] = dict.fromkeys(given, border)
        self.arguments = list(self._code.values())
        for index, item in enumerate(scope.items):
            if isinstance(item, Scope):
                self._call(item, index)
            else:
                self._write(item, index)
        results = [self._read(value, border) for value in self.outputs]
        self.gives = "Tensor" if len(results) == 1 else f"tuple[{', '.join(['Tensor'] * len(results))}]"
        self._return(", ".join(results))
        self.written = unpacked(self.written)

    @property
    def permutes(self) -> int:
        """How often it exchanges axes."""
        return sum(line.count(".permute(") for line in self.written)

    @property
    def declared(self) -> str:
        """The arguments with their types."""
        return ", ".join(f"{argument}: Tensor" for argument in self.arguments)

    def methods(self) -> str:
        """The methods that compute the whole network."""
        statements = "\n".join(f"        {line}" for line in self.written)
        if self.taps:
            tap = "tap: Callable[[str, Tensor], Tensor]"
            return f"    def forward(self, {self.declared}, {tap}) -> {self.gives}:\n{statements}\n"
        if self.head is None:
            return f"    def forward(self, {self.declared}) -> {self.gives}:\n{statements}\n"
        function = self.head.layer.function if isinstance(self.head.layer, Activation) else ""
        logits = f"self.logits({', '.join(self.arguments)})"
        final = self.plan.lines[self.head.name].code["first"].format(x=logits)
        return (
            f"    def logits(self, {self.declared}) -> Tensor:\n"
            f'        """What comes before the final {function}; losses are computed from here."""\n'
            f"{statements}\n\n"
            f"    def forward(self, {self.declared}) -> Tensor:\n"
            f"        return {final}\n"
        )

    def _return(self, results: str) -> None:
        """Return the result; the assignment just above it is folded in."""
        last = re.fullmatch(r"(\w+) = (.*?)(  # .*)?", self.written[-1]) if self.written else None
        if last and results == last[1]:
            self.written[-1] = f"return {last[2]}{last[3] or ''}"
        else:
            self.written.append(f"return {results}")

    def _variable(self, value: str, name: str, index: int) -> str:
        """`x` for a value that only the next item reads, or the end; else a variable named after what gives it."""
        readers = self._readers.get(value, set())
        last = index == len(self.scope.items) - 1
        alone = last and not readers if value in self._kept else readers == {index + 1}
        return "x" if alone else self._unused(name)

    def _unused(self, name: str) -> str:
        """A variable of its own for what has this name."""
        variable = re.sub(r"\W", "_", name, flags=re.ASCII)
        while variable in self._variables or variable in VARIABLES or reserved(variable):
            variable += "_"
        self._variables.add(variable)
        return variable

    def _call(self, item: Scope, index: int) -> None:
        """The line that uses a block."""
        assert item.use is not None
        border = self.borders.get(item.use.name, "first")
        given = [self._read(value, border) for value in item.use.inputs]
        code = f"self.{self.plan.attributes[item.use.name]}({', '.join(given)})"
        variable = self._variable(item.use.result, item.own, index)
        self.written.append(f"{variable} = {code}")
        self._code[item.use.result], self._order[item.use.result] = variable, border

    def _write(self, row: Row, index: int) -> None:
        nodes = [node for node in row.nodes if node is not self.head]
        if not nodes:
            return
        quoted = any(self.plan.lines[node.name].quote for node in nodes)
        own = self.scope.local(row.name)
        if quoted and row.nodes[0].text:
            self.written.append(row_comment(own, row.nodes[0].text))
        for node in nodes:
            self._apply(node)
        value = nodes[-1].name
        code, variable = self._code[value], self._variable(row.result, own, index)
        if self.taps:
            code = f"tap({row.name!r}, {code})"
            self.row_orders[row.name] = self._order[value]
        comment = next((self.plan.lines[node.name].comment for node in nodes if self.plan.lines[node.name].comment), "")
        if code != variable:
            self.written.append(f"{variable} = {code}" + (f"  # {comment}" if comment else ""))
        self._code[value] = variable

    def _apply(self, node: Node) -> None:
        line = self.plan.lines[node.name]
        order = self._taken(node, line)
        inputs = [self._read(name, order) for name in node.inputs]
        code = line.code[order]
        wrapped = re.search(r"[(\s]\{x\}[,)]", code) and code.count("{x}") == 1 and not line.before
        if line.before or code.count("{x}") > 1 or not (wrapped or _is_operand(inputs[0])):
            inputs[0] = self._bound(inputs[0])
        path = self.plan.path(node) if self.taps else self.plan.bases[node.name]
        names = {"x": inputs[0], "self": f"self.{path}"}
        self.written += [statement.format(*inputs, **names) for statement in line.before]
        self._code[node.name] = code.format(*inputs, **names)
        self._order[node.name] = line.gives.get(order, order)

    def _taken(self, node: Node, line: Line) -> Order:
        """The order that the line reads: the one at hand where it can."""
        at_hand = self._order[node.inputs[0]]
        return at_hand if at_hand in line.code else next(iter(line.code))

    def _read(self, name: str, order: Order) -> str:
        """A value's expression with its axes in this order; flat values have but one."""
        code, rank = self._code[name], self.types[name].rank
        if self._order[name] == order or rank == 1:
            return code
        axes = channels_first(rank) if order == "first" else channels_last(rank)
        operand = code if _is_operand(code) else self._bound(code)
        return f"{operand}.permute({', '.join(map(str, axes))})"

    def _bound(self, code: str) -> str:
        """The expression as a variable."""
        if code.isidentifier():
            return code
        self.written.append(f"x = {code}")
        return "x"


def unpacked(lines: Sequence[str]) -> list[str]:
    """The lines, with those that take all parts of one split in their order as one.

    >>> unpacked(["a = x.chunk(2, 1)[0]", "x = x.chunk(2, 1)[1]", "return a + x"])
    ['a, x = x.chunk(2, 1)', 'return a + x']
    """
    found: list[str] = []
    at = 0
    while at < len(lines):
        first = PART.fullmatch(lines[at])
        several = lines[at : at + int(first["parts"])] if first else []
        parts = [match for line in several if (match := PART.fullmatch(line))]
        targets = [part["target"] for part in parts]
        whole = first is not None and [(part["split"], int(part["index"])) for part in parts] == [
            (first["split"], index) for index in range(int(first["parts"]))
        ]
        if first is not None and whole and len(parts) > 1 and first["source"] not in targets[:-1]:
            found.append(f"{', '.join(targets)} = {first['split']}")
            at += len(parts)
        else:
            found.append(lines[at])
            at += 1
    return found


def _is_operand(code: str) -> bool:
    """Whether an expression can stand inside of a larger one as it is: a name, a call or a subscript."""
    depth = 0
    for character in settled(code):
        depth += (character in "([") - (character in ")]")
        if character == " " and not depth:
            return False
    return True
