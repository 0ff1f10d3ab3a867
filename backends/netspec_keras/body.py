"""The statements of one function: knows which variable holds each value."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from netspec.codegen.outline import Scope, reads
from netspec.codegen.source import row_comment
from netspec.codegen.variants import reserved
from netspec.network import Node
from netspec_keras.realised import Rendering
from netspec_keras.steps import Apply, Aside, Compute

VARIABLES = frozenset({"inputs", "x", "name", "keras", "layers", "ops"})
"""Names that mean something else in the emitted functions."""


class Body:
    """One function: that of the whole network, or of a block. `made` has the arguments of each block inside.

    Values in `fed`, with the names of their rows, are inputs as well, and their readers read those. `taken` are
    names that no variable may have, and `parameters` those of the block.
    """

    def __init__(
        self,
        rendering: Rendering,
        scope: Scope,
        outputs: Sequence[str],
        *,
        made: Mapping[str, str] | None = None,
        fed: Mapping[str, str] | None = None,
        taken: Collection[str] = (),
        parameters: Collection[str] = (),
    ) -> None:
        self.rendering, self.scope, self.made = rendering, scope, made or {}
        self.parameters = frozenset(parameters)
        self.taken = {*VARIABLES, *taken, *parameters}
        self.written: list[str] = []
        self.units: list[Node | Scope] = [
            unit for item in scope.items for unit in ([item] if isinstance(item, Scope) else item.nodes)
        ]
        self._readers: dict[str, set[int]] = {}
        for index, unit in enumerate(self.units):
            for value in unit.inputs if isinstance(unit, Node) else reads(unit):
                self._readers.setdefault(value, set()).add(index)
        self._kept = set(outputs)
        self._alone = len(outputs) == 1
        self.fed = {value: self.unused(f"fed_{rendering.unused(row)}") for value, row in (fed or {}).items()}
        self.variables: dict[str, str] = self._given()
        self.arguments = [*self.variables.values(), *self.fed.values()]
        for index, unit in enumerate(self.units):
            value = unit.name if isinstance(unit, Node) else unit.result
            self.variables[value] = self._variable(value, index)
        for unit in self.units:
            if isinstance(unit, Scope):
                self._call(unit)
            else:
                self._node(unit)
        self.results = [self.variables[name] for name in outputs]

    def _given(self) -> dict[str, str]:
        """The variables of what comes in."""
        network, use = self.rendering.network, self.scope.use
        if use is not None:
            if len(use.inputs) == 1:
                [value] = use.inputs
                return {value: "x" if self._readers[value] == {0} else self.unused(use.names[0])}
            return {value: self.unused(name) for value, name in zip(use.inputs, use.names, strict=True)}
        if len(network.inputs) == 1:
            return dict.fromkeys(network.inputs, "inputs")
        return {name: self.unused(name) for name in network.inputs}

    def _variable(self, value: str, index: int) -> str:
        """`x` for a value that only the next node or block reads, or that is the only output."""
        readers = self._readers.get(value, set())
        if value in self._kept:
            return "x" if self._alone and not readers else self._named(index)
        return "x" if readers == {index + 1} else self._named(index)

    def _named(self, index: int) -> str:
        unit = self.units[index]
        own = self.scope.local(unit.row) if isinstance(unit, Node) else unit.own
        # A block's parameter may be called like one of its rows: `squeeze`, the number of channels, and what it gives.
        return self.unused(f"{own}_out" if own.lower() in self.parameters else own)

    def unused(self, name: str) -> str:
        """A variable of its own for what has this name: in lower case, as variables are written."""
        variable = re.sub(r"\W", "_", name.lower())
        while variable in self.taken or reserved(variable):
            variable += "_"
        self.taken.add(variable)
        return variable

    def _call(self, scope: Scope) -> None:
        """The line that uses a block."""
        assert scope.use is not None
        function, _, arguments = self.made[scope.use.name].partition("(")
        given = [self._read(value) for value in scope.use.inputs]
        listed = ", ".join([*given, *([arguments] if arguments else []), f"name={self._name(scope.use.name)}"])
        self.written.append(f"{self.variables[scope.use.result]} = {function}({listed})")

    def _read(self, value: str) -> str:
        return self.fed.get(value, self.variables[value])

    def _name(self, name: str) -> str:
        """The name of a layer as source: in a block it begins with the name that the block was given."""
        inside = self.scope.prefix and name.startswith(self.scope.prefix)
        return f'f"{{name}}.{self.scope.local(name)}"' if inside else f'"{name}"'

    def _node(self, node: Node) -> None:
        """The lines of a node, and as a comment its row where that takes more than one."""
        steps = self.rendering.steps(node)
        given = tuple(map(self._read, node.inputs))
        target = self.variables[node.name]
        if not steps:
            # The layer before has this activation as an argument, and so already gave the result.
            if target != given[0]:
                self.written.append(f"{target} = {given[0]}")
            return
        fused = [name for name in self.rendering.network.consumers[node.name] if name in self.rendering.fused]
        if fused:
            target = self.variables[fused[0]]
            self.variables[node.name] = target
        if len(steps) > 1 and node.text:
            self.written.append(row_comment(self.scope.local(node.row), node.text))
        own = self.scope.local(node.name)
        aside = next((self.unused(f"{own}{step.suffix}") for step in steps if isinstance(step, Aside)), "")
        for step in steps:
            if step.why:
                self.written.append(f"# {step.why}")
            if isinstance(step, Aside):
                self._chain(node, step.steps, given, aside, aside)
            else:
                self._chain(node, (step,), given, target, aside)
                given = (target,)

    def _chain(
        self, node: Node, steps: Sequence[Apply | Compute], given: tuple[str, ...], target: str, aside: str
    ) -> None:
        for step in steps:
            other = self._name(self.rendering.layer_name(node, step.suffix)) if isinstance(step, Apply) else aside
            self.written.append(f"{target} = {step.source(given, other)}")
            given = (target,)
