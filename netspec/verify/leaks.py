"""Where a library computes float64 with less than float64: what its backend says of a node."""

from __future__ import annotations

from typing import Any, Protocol

from netspec.errors import BackendError
from netspec.network import Network, Node


class Caller(Protocol):
    """A backend that is called by the names of its methods, wherever it runs."""

    def call(self, method: str, **arguments: Any) -> Any:
        """What the backend's method returns."""
        ...


def leak_at(backend: Caller, node: Node) -> float:
    """The relative precision that the backend loses in float64 at a node; 0 when it declares nothing.

    A backend that knows of losses in its library has a method `leak(node)`; one that does not is as good as it says.
    """
    try:
        return float(backend.call("leak", node=node))
    except BackendError:
        return 0.0


def leaks_of(backend: Caller, network: Network) -> dict[str, float]:
    """For every row, the largest leak of its nodes and of all that they read."""
    worst = dict.fromkeys(network.inputs, 0.0)
    for node in network.nodes:
        worst[node.name] = max(leak_at(backend, node), *(worst[name] for name in node.inputs))
    return {row.name: worst[row.result] for row in network.rows}
