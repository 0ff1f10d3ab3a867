"""The rows of a network as they belong together: rows, and blocks at work that hold rows and blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from netspec.network import Network, Node, Row, Use


@dataclass(slots=True)
class Scope:
    """The whole network, or a block at work, with what it holds in order."""

    use: Use | None = None
    items: list[Row | Scope] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """What the names of its rows begin with."""
        return f"{self.use.name}." if self.use else ""

    @property
    def own(self) -> str:
        """The name that it has among its neighbours."""
        return self.use.name.rpartition(".")[2] if self.use else ""

    @property
    def result(self) -> str:
        """The value that the block gives."""
        assert self.use is not None
        return self.use.result

    def local(self, name: str) -> str:
        """A name without what all names here begin with."""
        return name.removeprefix(self.prefix)

    @property
    def rows(self) -> Iterator[Row]:
        """The rows that stand in it directly."""
        return (item for item in self.items if isinstance(item, Row))

    @property
    def scopes(self) -> Iterator[Scope]:
        """The blocks that stand in it directly."""
        return (item for item in self.items if isinstance(item, Scope))

    @property
    def names(self) -> tuple[str, ...]:
        """What it calls the rows and blocks that stand in it directly."""
        return tuple(item.own if isinstance(item, Scope) else self.local(item.name) for item in self.items)

    def nodes(self) -> Iterator[Node]:
        """Every node in it, also inside of its blocks."""
        for item in self.items:
            yield from item.nodes() if isinstance(item, Scope) else item.nodes

    def every(self) -> Iterator[Scope]:
        """Every block in it, inner ones before those that hold them."""
        for inner in self.scopes:
            yield from inner.every()
            yield inner


def reads(item: Row | Scope) -> tuple[str, ...]:
    """The values that an item reads from outside of it."""
    if isinstance(item, Scope):
        assert item.use is not None
        return item.use.inputs
    own = {node.name for node in item.nodes}
    return tuple(name for node in item.nodes for name in node.inputs if name not in own)


def outline(network: Network) -> Scope:
    """The network's rows and blocks; rows of one block stand side by side."""
    whole = Scope()
    scopes = {use.name: Scope(use) for use in network.uses}
    for row in network.rows:
        parent = whole
        for use in network.holding(row.name):
            inner = scopes[use.name]
            if not parent.items or parent.items[-1] is not inner:
                parent.items.append(inner)
            parent = inner
        parent.items.append(row)
    return whole
