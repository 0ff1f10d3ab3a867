"""Network -> source: one self-contained Python file with one `nn.Module`, as a person would write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from netspec.backend import Order, Placement, channels_first, channels_last
from netspec.layers import Activation
from netspec.network import Network, Node, Row
from netspec.source import (
    class_name,
    classes_line,
    file_docstring,
    flow_docstring,
    format_source,
    head,
    module_name,
    row_comment,
)
from netspec_torch.line import Attribute, Line
from netspec_torch.rules import rules

METHODS = frozenset({"logits", "forward", "training"})
"""Attributes that mean something else in the emitted module, beside those that no row may be named after."""

VARIABLES = frozenset({"x", "self", "tap", "F", "nn", "torch", "Tensor", "inside", "padded", "rows", "columns"})
"""Names that mean something else in the emitted methods."""

IMPORTED = frozenset({"F", "Tensor", "Callable"})
"""Names that mean something else in the emitted file."""

USAGE = """\
With the weights that lie beside this file:

    model = {name}()
    model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
    model.eval()"""


@dataclass(frozen=True)
class Rendering:
    """The source, and how the names in it relate to the network's."""

    module: str
    """The name of the module, and of its file without `.py`."""
    class_name: str
    source: str
    placements: Mapping[str, Placement]
    """Where each canonical weight stands in the state dict."""
    counters: tuple[str, ...]
    """Names in the state dict of integers that torch keeps for itself."""
    attributes: Mapping[str, str]
    """The row of each attribute."""
    orders: Mapping[str, Order]
    """How the axes of every row's value are ordered, when every row is tapped."""


def render(network: Network, *, taps: bool = False) -> Rendering:
    """Write a network as PyTorch; raises UnsupportedError for what has no rule.

    With `taps`, `forward` takes a function that every row's value goes through, by the row's name, and whose result
    the rows after it read.
    """
    plan = _Plan(network)
    body = _Body(plan, taps=taps)
    methods = body.methods()
    name = class_name(network.name)
    name = f"{name}Net" if name in IMPORTED else name
    source = _file(network, name, plan, methods, taps=taps)
    return Rendering(
        module=module_name(network.name),
        class_name=name,
        source=source if taps else format_source(source),
        placements=plan.placements,
        counters=plan.counters,
        attributes=plan.owners,
        orders=body.row_orders,
    )


class _Plan:
    """What the rules say about every node, and the attribute that each is given."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.lines: dict[str, Line] = {node.name: rules.apply(node) for node in network.nodes}
        self.bases: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        for node in network.nodes:
            self._name(node)

    def _name(self, node: Node) -> None:
        base = re.sub(r"\W", "_", node.name, flags=re.ASCII)
        suffixes = [attribute.suffix for attribute in self.lines[node.name].attributes]
        while any(base + suffix in self.owners or base + suffix in METHODS for suffix in suffixes):
            base += "_"
        self.bases[node.name] = base
        self.owners.update((base + suffix, node.row) for suffix in suffixes)

    def named(self) -> list[tuple[Node, str, Attribute]]:
        """Every attribute with its node and its name."""
        return [
            (node, self.bases[node.name] + attribute.suffix, attribute)
            for node in self.network.nodes
            for attribute in self.lines[node.name].attributes
        ]

    @cached_property
    def placements(self) -> dict[str, Placement]:
        return {
            f"{node.name}.{weight}": replace(placement, name=f"{name}.{placement.name}".rstrip("."))
            for node, name, attribute in self.named()
            for weight, placement in attribute.weights.items()
        }

    @cached_property
    def counters(self) -> tuple[str, ...]:
        return tuple(f"{name}.{counter}" for _, name, attribute in self.named() for counter in attribute.counters)

    def statements(self) -> list[str]:
        """What `__init__` does."""
        statements = []
        for _, name, attribute in self.named():
            if attribute.constant:
                statements.append(f'self.register_buffer("{name}", {attribute.code}, persistent=False)')
                continue
            statements.append(f"self.{name} = {attribute.code}")
            statements += [statement.format(self=f"self.{name}") for statement in attribute.then]
        return statements


class _Body:
    """The statements of `forward`: follows every value's expression and the order of its axes."""

    def __init__(self, plan: _Plan, *, taps: bool) -> None:
        self.plan, self.network, self.taps = plan, plan.network, taps
        self.written: list[str] = []
        self.row_orders: dict[str, Order] = {}
        self.head = None if taps else head(self.network)
        self._readers = self.network.consumers
        self._after = {
            before.name: node.name for before, node in zip(self.network.nodes, self.network.nodes[1:], strict=False)
        }
        if self.network.nodes and len(self.network.inputs) == 1:
            self._after[next(iter(self.network.inputs))] = self.network.nodes[0].name
        self._code: dict[str, str] = {given: self._variable(given, given) for given in self.network.inputs}
        self._order: dict[str, Order] = dict.fromkeys(self.network.inputs, "first")

    def methods(self) -> str:
        """The methods that compute the network."""
        arguments = [self._code[given] for given in self.network.inputs]
        declared = ", ".join(f"{argument}: Tensor" for argument in arguments)
        for row in self.network.rows:
            self._write(row)
        results = [self._read(value, "first") for value in self._results()]
        self._return(", ".join(results))
        gives = "Tensor" if len(results) == 1 else f"tuple[{', '.join(['Tensor'] * len(results))}]"
        statements = "\n".join(f"        {line}" for line in self.written)
        if self.taps:
            tap = "tap: Callable[[str, Tensor], Tensor]"
            return f"    def forward(self, {declared}, {tap}) -> {gives}:\n{statements}\n"
        if self.head is None:
            return f"    def forward(self, {declared}) -> {gives}:\n{statements}\n"
        final = self.plan.lines[self.head.name].code["first"].format(x=f"self.logits({', '.join(arguments)})")
        return (
            f"    def logits(self, {declared}) -> Tensor:\n"
            f'        """What comes before the final {_function(self.head)}; losses are computed from here."""\n'
            f"{statements}\n\n"
            f"    def forward(self, {declared}) -> Tensor:\n"
            f"        return {final}\n"
        )

    def _results(self) -> list[str]:
        return [self.head.inputs[0]] if self.head else list(self.network.outputs.values())

    def _return(self, result: str) -> None:
        """Return the result; the assignment just above it is folded in."""
        last = re.fullmatch(r"(\w+) = (.*?)(  # .*)?", self.written[-1]) if self.written else None
        if last and result == last[1]:
            self.written[-1] = f"return {last[2]}{last[3] or ''}"
        else:
            self.written.append(f"return {result}")

    def _variable(self, value: str, row: str) -> str:
        """`x` for a value that only the next node reads, else a variable named after its row."""
        readers = self._readers[value]
        if value in self.network.results or readers == (self._after.get(value),):
            return "x"
        name = re.sub(r"\W", "_", row, flags=re.ASCII)
        return f"{name}_" if name in VARIABLES else name

    def _write(self, row: Row) -> None:
        nodes = [node for node in row.nodes if node is not self.head]
        if not nodes:
            return
        quoted = any(self.plan.lines[node.name].quote for node in nodes)
        if quoted and row.nodes[0].text:
            self.written.append(row_comment(row.name, row.nodes[0].text))
        for node in nodes:
            self._apply(node)
        value = nodes[-1].name
        code, variable = self._code[value], self._variable(value, row.name)
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
        if line.before or code.count("{x}") > 1 or not _is_operand(inputs[0]):
            inputs[0] = self._bound(inputs[0])
        names = {"x": inputs[0], "self": f"self.{self.plan.bases[node.name]}"}
        self.written += [statement.format(*inputs, **names) for statement in line.before]
        self._code[node.name] = code.format(*inputs, **names)
        self._order[node.name] = line.gives.get(order, order)

    def _taken(self, node: Node, line: Line) -> Order:
        """The order that the line reads: the one at hand where it can."""
        at_hand = self._order[node.inputs[0]]
        return at_hand if at_hand in line.code else next(iter(line.code))

    def _read(self, name: str, order: Order) -> str:
        """A value's expression with its axes in this order; flat values have but one."""
        code, rank = self._code[name], self.network.types[name].rank
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


def _function(node: Node) -> str:
    assert isinstance(node.layer, Activation)
    return node.layer.function


def _is_operand(code: str) -> bool:
    """Whether an expression can stand inside of a larger one as it is: a name, a call or a subscript."""
    depth = 0
    for character in code:
        depth += (character in "([") - (character in ")]")
        if character == " " and not depth:
            return False
    return True


def _file(network: Network, name: str, plan: _Plan, methods: str, *, taps: bool) -> str:
    statements = "".join(f"        {statement}\n" for statement in plan.statements())
    constants = "".join(f"    {name}: Tensor\n" for _, name, attribute in plan.named() if attribute.constant)
    imports = ["from collections.abc import Callable\n"] if taps else []
    code = re.sub(r"#.*", "", statements + methods)
    if re.search(r"\btorch\.", code):
        imports.append("import torch")
    imports.append("from torch import Tensor, nn")
    if re.search(r"\bF\.", code):
        imports.append("from torch.nn import functional as F")
    parts = [
        file_docstring(network, "PyTorch", USAGE.format(name=name)),
        "\n".join(imports),
        classes_line(network),
        f"""class {name}(nn.Module):
    {flow_docstring(network, "first")}

{constants}
    def __init__(self) -> None:
        super().__init__()
{statements}
{methods}""",
    ]
    return "\n\n".join(part for part in parts if part)
