"""What the rules say about every node, and the attribute that each node and each block is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from netspec.codegen.outline import Scope
from netspec.layers import BatchNorm, Layer
from netspec.network import Network, Node, Row
from netspec.tensors import Placement
from netspec_torch.line import Attribute, Line
from netspec_torch.rules import rules

METHODS = frozenset({"logits", "forward", "training", "train"})
"""Attributes that mean something else in the emitted module, beside those that no row may be named after."""


class Plan:
    """Lines of all nodes, and names: within its block, and as a path from the whole module."""

    def __init__(self, network: Network, whole: Scope) -> None:
        self.network = network
        self.lines: dict[str, Line] = {node.name: rules.apply(node) for node in network.nodes}
        self.bases: dict[str, str] = {}
        """The attribute of each node in its block, without a suffix."""
        self.attributes: dict[str, str] = {}
        """The attribute of each block at work in what holds it."""
        self.paths: dict[str, str] = {}
        """What stands before the attribute of a node, on the path from the whole module: `fire2.`."""
        self.owners: dict[str, str] = {}
        self._name(whole, "")

    def _name(self, scope: Scope, path: str) -> None:
        taken: set[str] = set()
        for item in scope.items:
            if isinstance(item, Scope):
                assert item.use is not None
                name = self._free(item.own, [""], taken)
                self.attributes[item.use.name] = name
                self._name(item, f"{path}{name}.")
                continue
            for node in item.nodes:
                suffixes = [attribute.suffix for attribute in self.lines[node.name].attributes]
                base = self._free(re.sub(r"\W", "_", scope.local(node.name), flags=re.ASCII), suffixes, taken)
                self.bases[node.name], self.paths[node.name] = base, path
                self.owners.update((f"{path}{base}{suffix}", node.row) for suffix in suffixes)

    @staticmethod
    def _free(base: str, suffixes: list[str], taken: set[str]) -> str:
        while any(base + suffix in taken or base + suffix in METHODS for suffix in suffixes):
            base += "_"
        taken.update(base + suffix for suffix in suffixes)
        return base

    def path(self, node: Node) -> str:
        """The way from the whole module to the attribute of a node, without a suffix."""
        return self.paths[node.name] + self.bases[node.name]

    def attributes_in(self, scope: Scope) -> Iterator[str]:
        """The attributes of all that stands in a scope directly."""
        for item in scope.items:
            if isinstance(item, Scope):
                assert item.use is not None
                yield self.attributes[item.use.name]
                continue
            for node in item.nodes:
                yield from (self.bases[node.name] + attribute.suffix for attribute in self.lines[node.name].attributes)

    def named(self) -> Iterator[tuple[Node, str, Attribute]]:
        """Every attribute with its node and its path."""
        for node in self.network.nodes:
            for attribute in self.lines[node.name].attributes:
                yield node, self.path(node) + attribute.suffix, attribute

    @cached_property
    def placements(self) -> dict[str, Placement]:
        """Where each canonical weight stands in the state dict."""
        return {
            f"{node.name}.{weight}": replace(placement, name=f"{name}.{placement.name}".rstrip("."))
            for node, name, attribute in self.named()
            for weight, placement in attribute.weights.items()
        }

    @cached_property
    def counters(self) -> tuple[str, ...]:
        """Names in the state dict of integers that torch keeps for itself."""
        return tuple(f"{name}.{counter}" for _, name, attribute in self.named() for counter in attribute.counters)

    def statements(self, scope: Scope, made: Mapping[str, str] | None) -> Iterator[str]:
        """What the `__init__` of a block or of the whole does; `made` is how each block inside is made.

        Without it the blocks' rows stand in the whole, under modules that hold nothing else.
        """
        held: set[str] = set()
        for item in scope.items:
            if isinstance(item, Scope):
                assert item.use is not None
                assert made is not None
                yield f"self.{self.attributes[item.use.name]} = {made[item.use.name]}"
            else:
                for node in item.nodes:
                    path = self.paths[node.name] if made is None else ""
                    if self.lines[node.name].attributes:
                        yield from _holders(path, held)
                    yield from self._made(node, path)

    def _made(self, node: Node, path: str) -> Iterator[str]:
        for attribute in self.lines[node.name].attributes:
            name = f"{path}{self.bases[node.name]}{attribute.suffix}"
            if attribute.constant:
                holder, _, own = name.rpartition(".")
                owner = f"self.{holder}" if holder else "self"
                yield f'{owner}.register_buffer("{own}", {attribute.code}, persistent=False)'
                continue
            yield f"self.{name} = {attribute.code}"
            yield from (statement.format(self=f"self.{name}") for statement in attribute.then)

    def constants(self, scope: Scope) -> Iterator[str]:
        """The attributes of the rows that stand in a scope that are constant tensors."""
        for item in scope.items:
            for node in item.nodes if isinstance(item, Row) else ():
                for attribute in self.lines[node.name].attributes:
                    if attribute.constant and not (scope.use is None and self.paths[node.name]):
                        yield f"{self.bases[node.name]}{attribute.suffix}"

    def frozen_statements(self) -> list[str]:
        """What keeps the frozen weights from being trained."""
        frozen = self._frozen()
        if not frozen:
            return []
        if len(frozen) == 1:
            return [f"self.{frozen[0]}.requires_grad_(False)"]
        return [f"for frozen in ({_listed(frozen)}):", "    frozen.requires_grad_(False)"]

    def _frozen(self, kind: type[Layer] = Layer) -> list[str]:
        """The paths of what is frozen and of this kind, or holds such: a whole block where all in it is frozen."""
        trained: set[str] = set()
        frozen: list[str] = []
        for node, path, _ in self.named():
            if not node.frozen:
                trained.update(path[:at] for at, sign in enumerate(path) if sign == ".")
            elif isinstance(node.layer, kind):
                frozen.append(path)
        found: dict[str, None] = {}
        for path in frozen:
            cuts = [path[:at] for at, sign in enumerate(path) if sign == "."]
            found[next((cut for cut in cuts if cut not in trained), path)] = None
        return list(found)

    def train_method(self) -> str:
        """A `train` that leaves frozen batch normalisation as it is; nothing where there is none."""
        norms = {
            f"nn.BatchNorm{max(node.input_type.rank - 1, 1)}d"
            for node in self.network.nodes
            if node.frozen and isinstance(node.layer, BatchNorm)
        }
        if not norms:
            return ""
        kinds = " | ".join(sorted(norms))
        return f'''    def train(self, mode: bool = True) -> nn.Module:
        """Frozen batch normalisation keeps its statistics and goes on using them."""
        super().train(mode)
        for frozen in ({_listed(self._frozen(BatchNorm))}):
            for module in frozen.modules():
                if isinstance(module, {kinds}):
                    module.eval()
        return self
'''


def _listed(paths: Sequence[str]) -> str:
    """What a tuple of attributes has between its brackets."""
    return ", ".join(f"self.{path}" for path in paths) + "," * (len(paths) == 1)


def _holders(path: str, held: set[str]) -> Iterator[str]:
    """The modules on a path that are not there yet."""
    at = path.find(".")
    while at >= 0:
        if path[:at] not in held:
            held.add(path[:at])
            yield f"self.{path[:at]} = nn.Module()"
        at = path.find(".", at + 1)
