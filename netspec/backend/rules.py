"""The table of rules that each backend fills: for every kind of layer, the function that realises it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from netspec.errors import UnsupportedError
from netspec.layers.base import Layer
from netspec.network import Node

L = TypeVar("L", bound=Layer)
T = TypeVar("T")


class Rules(Generic[T]):
    """The table of one backend: for every kind of layer, the function that realises it.

    >>> from netspec.layers import Dense
    >>> rules = Rules[str]("example")
    >>> @rules(Dense)
    ... def dense(layer: Dense, node: Node) -> str:
    ...     return f"Dense({layer.units})"
    >>> Dense in rules
    True
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._rules: dict[type[Layer], Callable[[Any, Node], T]] = {}

    def __call__(self, kind: type[L]) -> Callable[[Callable[[L, Node], T]], Callable[[L, Node], T]]:
        """Register the decorated function as the rule of a kind; a second rule for it is a TypeError."""

        def register(rule: Callable[[L, Node], T]) -> Callable[[L, Node], T]:
            if kind in self._rules:
                raise TypeError(f"{self.backend} already has a rule for {kind.kind}")
            self._rules[kind] = rule
            return rule

        return register

    def __contains__(self, kind: type[Layer]) -> bool:
        return kind in self._rules

    def apply(self, node: Node) -> T:
        """The realisation of a node; raises UnsupportedError when its kind has no rule."""
        rule = self._rules.get(type(node.layer))
        if rule is None:
            raise UnsupportedError(f"{self.backend} has no rule for {node.layer.kind} (row {node.row!r})")
        return rule(node.layer, node)
