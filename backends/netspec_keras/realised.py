"""How every node of a network is realised in Keras, chosen together: steps, fused activations, names, variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from netspec.codegen.source import HEADS
from netspec.layers import Activation
from netspec.network import Network, Node
from netspec.tensors import Placement
from netspec_keras.rules import rules
from netspec_keras.rules.activation import native
from netspec_keras.steps import Apply, Aside, Compute, Realisation, Step


@dataclass(frozen=True)
class Rendering:
    """The realisation of every node of a network, chosen together: fused activations, and names that do not collide."""

    network: Network

    @cached_property
    def fused(self) -> Mapping[str, str]:
        """Activation nodes that are an argument of the layer before them: node name to Keras' name of the function."""
        found = {}
        for before, node in zip(self.network.nodes, self.network.nodes[1:], strict=False):
            if isinstance(node.layer, Activation) and self._fuses(before, node):
                function = native(node.layer, node.input_type.rank)
                if function:
                    found[node.name] = function
        return found

    def _fuses(self, before: Node, node: Node) -> bool:
        assert isinstance(node.layer, Activation)
        if node.name in self.network.results and node.layer.function in HEADS:
            return False  # a layer of its own, so that training can take what it reads
        alone = self.network.consumers[before.name] == (node.name,) and before.name not in self.network.results
        last = self._realised[before.name].steps[-1]
        return before.row == node.row and alone and isinstance(last, Apply) and last.fuses

    @cached_property
    def _realised(self) -> Mapping[str, Realisation]:
        return {node.name: rules.apply(node) for node in self.network.nodes}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What Keras calls the layer of each node: the node's name, unless Keras might give it to an operation."""
        taken = {name for realised in self._realised.values() for step in realised.steps for name in _operations(step)}
        pattern = re.compile(rf"({'|'.join(sorted(taken))})(_\d+)?") if taken else re.compile("(?!)")
        return {
            node.name: self.unused(f"{node.name}_layer") if pattern.fullmatch(node.name) else node.name
            for node in self.network.nodes
        }

    def unused(self, name: str) -> str:
        """A name like this, lengthened until no value of the network has it."""
        return self.unused(f"{name}_") if name in self.network.types else name

    def layer_name(self, node: Node, suffix: str = "") -> str:
        """What Keras calls the layer of a node, or with a suffix one that helps it: no node's name."""
        name = self.names[node.name]
        return self.unused(f"{name}{suffix}") if suffix else name

    @cached_property
    def placements(self) -> Mapping[str, Placement]:
        """Where each canonical weight lives: the path of a variable of the model."""
        found = {}
        for node in self.network.nodes:
            realised = self._realised[node.name]
            for weight in node.weights:
                short = weight.name.rsplit(".", 1)[-1]
                path = f"{self.names[node.name]}/{realised.variables[short]}"
                found[weight.name] = Placement(path, shape=realised.shapes.get(short))
        return found

    def steps(self, node: Node) -> tuple[Step, ...]:
        """The steps of a node: none for a fused activation, which is an argument of the layer before it."""
        if node.name in self.fused:
            return ()
        steps = self._realised[node.name].steps
        if node.weights:
            steps = tuple(step.trained(not node.frozen) if _keeps_weights(step) else step for step in steps)
        readers = self.network.consumers[node.name]
        if len(readers) == 1 and readers[0] in self.fused:
            last = steps[-1]
            assert isinstance(last, Apply)
            steps = (*steps[:-1], last.with_activation(self.fused[readers[0]]))
        return steps


def _keeps_weights(step: Step) -> TypeGuard[Apply]:
    """Whether a step is the layer that is named after its node, which keeps the node's weights."""
    return isinstance(step, Apply) and not step.suffix


def _operations(step: Step) -> tuple[str, ...]:
    if isinstance(step, Aside):
        return tuple(name for inner in step.steps for name in _operations(inner))
    return step.operations if isinstance(step, Compute) else ()
