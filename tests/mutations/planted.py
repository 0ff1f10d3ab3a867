"""Backends with one planted mistake, in a worker's process: `Worker("tests.mutations.planted:torch")`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from netspec.backend import Rules, find_backend, installed_backends
from netspec.layers import Activation, Layer
from netspec.network import Network, Node
from tests.mutations.facts import FACTS, Rulewise, Trainwise


class Planted:
    """A backend whose rules, or whose training, can be spoilt; everything else is the backend's own.

    The artefacts are those of the sound rules, and what is asked of them is answered once for each network.
    """

    def __init__(self, name: str) -> None:
        self.backend_name = name
        self.backend: Any = find_backend(name)
        self.rules: Rules[Any] = importlib.import_module(f"netspec_{name}.rules").rules
        self.sound = dict(self.rules._rules)
        self.fact: Rulewise | Trainwise | None = None
        self.known: dict[tuple[str, str], Any] = {}
        self.patches = ExitStack()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def plant(self, fact: str | None) -> None:
        """Spoil one thing; None makes all sound again."""
        self.patches.close()
        self.rules._rules = dict(self.sound)
        for module in ("model", "stepping"):
            found = importlib.import_module(f"netspec_{self.backend_name}.{module}") if self._has(module) else None
            for function in vars(found).values() if found else ():
                if hasattr(function, "cache_clear"):
                    function.cache_clear()
            if found and hasattr(found, "_kept"):
                found._kept.clear()
        self.fact = FACTS[fact] if fact else None
        if isinstance(self.fact, Rulewise):
            plant, row = self.fact.plant, self.fact.row
            wrong = plant.spoilt(self.backend_name, self.sound)

            def rule(layer: Layer, node: Node) -> Any:
                return (wrong if node.row == row else self.sound[plant.kind])(layer, node)

            self.rules._rules[plant.kind] = rule
            if self.backend_name == "keras" and plant.kind is Activation:
                # Functions that are an argument of the layer before go by no rule.
                self.patches.enter_context(patch("netspec_keras.realised.native", lambda layer, rank: None))
        elif isinstance(self.fact, Trainwise) and self.fact.patch is not None:
            self.patches.enter_context(self.fact.patch(self.backend_name))

    def _has(self, module: str) -> bool:
        return importlib.util.find_spec(f"netspec_{self.backend_name}.{module}") is not None

    def update(self, *, settings: Any, rate: float, **given: Any) -> Any:
        """An update, with settings that are spoilt."""
        if isinstance(self.fact, Trainwise):
            settings, rate = self.fact.settings(settings), rate * self.fact.rate
        return self.backend.update(settings=settings, rate=rate, **given)

    def _once(self, method: str, folder: Path, network: Network, **given: Any) -> Any:
        key = (method, f"{folder} {network.digest}")
        if key not in self.known:
            spoilt, self.rules._rules = self.rules._rules, dict(self.sound)
            try:
                self.known[key] = getattr(self.backend, method)(folder=folder, network=network, **given)
            finally:
                self.rules._rules = spoilt
        return self.known[key]

    def check_artefacts(self, folder: Path, network: Network) -> Any:
        """The sound answer."""
        return self._once("check_artefacts", folder, network)

    def counts(self, folder: Path, network: Network) -> Any:
        """The sound answer."""
        return self._once("counts", folder, network)

    def read_weights(self, folder: Path, network: Network) -> Mapping[str, Any]:
        """The sound answer."""
        found: Mapping[str, Any] = self._once("read_weights", folder, network)
        return found

    def run_artefact(self, folder: Path, network: Network, inputs: Any) -> Any:
        """The sound answer."""
        return self._once("run_artefact", folder, network, inputs=inputs)

    def run_levels(self, folder: Path, network: Network, inputs: Any) -> Any:
        """The sound answer."""
        return self._once("run_levels", folder, network, inputs=inputs)


def __getattr__(name: str) -> Planted:
    # Test runners look for names of their own in every module.
    if name not in installed_backends():
        raise AttributeError(f"there is no backend {name!r}")
    return Planted(name)
