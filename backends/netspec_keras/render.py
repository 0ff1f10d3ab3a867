"""Network -> the source text of one Keras module, and where each weight lives in the model that it builds."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from netspec.backend import Placement
from netspec.layers import Activation
from netspec.network import Network, Node
from netspec.source import (
    HEADS,
    classes_line,
    file_docstring,
    flow_docstring,
    format_source,
    module_name,
    plain_text,
    row_comment,
)
from netspec_keras.rules import rules
from netspec_keras.rules.activation import native
from netspec_keras.steps import Apply, Aside, Compute, Realisation, Step

ENTRY = "build_model"
"""The name of the function that builds the model."""
USAGE = """\
With the weights that lie beside this file:

    model = {entry}()
    model.load_weights("{archive}")

The archive is the whole model too:

    model = keras.saving.load_model("{archive}")"""


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
        readers = self.network.consumers[node.name]
        if len(readers) == 1 and readers[0] in self.fused:
            last = steps[-1]
            assert isinstance(last, Apply)
            steps = (*steps[:-1], last.with_activation(self.fused[readers[0]]))
        return steps


def _operations(step: Step) -> tuple[str, ...]:
    if isinstance(step, Aside):
        return tuple(name for inner in step.steps for name in _operations(inner))
    return step.operations if isinstance(step, Compute) else ()


def archive_name(network: Network) -> str:
    """The name of the .keras file."""
    return f"{network.name}.keras"


def render(network: Network) -> str:
    """The module: one function that builds the model, importing only Keras, formatted as `ruff format` leaves it."""
    return format_source(_Writer(Rendering(network), tuple(network.outputs.values()), ()).source())


def render_taps(network: Network, feed: Sequence[str] = ()) -> str:
    """The same module with the result of every row as an output, in the order of the rows.

    Each row named in `feed` whose result is read gets an input of its own after the network's inputs, in the order
    of the rows, which its readers read instead.
    """
    return _Writer(Rendering(network), tuple(row.result for row in network.rows), feed).source()


def fed_rows(network: Network, feed: Sequence[str]) -> list[str]:
    """The rows that get an input in `render_taps`, in its order."""
    return [row.name for row in network.rows if row.name in feed and network.consumers[row.result]]


class _Writer:
    """Writes the lines of the module, knowing which variable holds each value."""

    def __init__(self, rendering: Rendering, outputs: Sequence[str], feed: Sequence[str]) -> None:
        self.rendering, self.network, self.outputs = rendering, rendering.network, outputs
        self.fed = {
            row.result: self.rendering.unused(f"fed_{row.name}")
            for row in self.network.rows
            if row.name in fed_rows(self.network, feed)
        }
        self.taken = {"inputs", "x", "keras", "layers", "ops", *self.fed.values()}
        several = len(self.network.inputs) > 1
        self.variables = {name: self._unused(name) if several else "inputs" for name in self.network.inputs}
        for node, following in zip(self.network.nodes, (*self.network.nodes[1:], None), strict=True):
            self.variables[node.name] = self._variable(node, following)

    def _variable(self, node: Node, following: Node | None) -> str:
        """`x` for a value that only the next node reads, or that is the only output."""
        readers = self.network.consumers[node.name]
        if len(self.outputs) == 1 and node.name == self.outputs[0] and not readers:
            return "x"
        only_next = following is not None and readers == (following.name,)
        return "x" if only_next and node.name not in self.outputs else self._unused(node.name)

    def _unused(self, name: str) -> str:
        """A variable of its own for what has this name: in lower case, as variables are written."""
        variable = re.sub(r"\W", "_", name.lower())
        while variable in self.taken or keyword.iskeyword(variable):
            variable += "_"
        self.taken.add(variable)
        return variable

    def source(self) -> str:
        lines = list(self._inputs())
        for node in self.network.nodes:
            lines += self._node(node)
        values = [self.variables[name] for name in self.outputs]
        inputs = [*(self.variables[name] for name in self.network.inputs), *self.fed.values()]
        name = module_name(self.network.name)
        lines.append(f'return keras.Model({_listed(inputs)}, {_listed(values)}, name="{name}")')
        body = "\n".join(f"    {line}" for line in lines)
        code = [line for line in lines if not line.startswith("#")]
        archive = plain_text(archive_name(self.network))
        used = [name for name in ("layers", "ops") if any(f"{name}." in line for line in code)]
        return "\n".join(
            (
                file_docstring(self.network, "Keras", USAGE.format(entry=ENTRY, archive=archive)),
                "",
                "import keras",
                *([f"from keras import {', '.join(used)}"] if used else []),
                "",
                classes_line(self.network),
                "",
                f"def {ENTRY}() -> keras.Model:",
                f"    {flow_docstring(self.network, 'last')}",
                body,
                "",
            )
        )

    def _inputs(self) -> Sequence[str]:
        lines = [
            f'{self.variables[name]} = keras.Input({type_.shape}, name="{name}")'
            for name, type_ in self.network.inputs.items()
        ]
        lines += [
            f'{variable} = keras.Input({self.network.types[value].shape}, name="{variable}")'
            for value, variable in self.fed.items()
        ]
        return lines

    def _node(self, node: Node) -> Sequence[str]:
        """The lines of a node, and as a comment its row where that takes more than one."""
        steps = self.rendering.steps(node)
        given = tuple(self.fed.get(name, self.variables[name]) for name in node.inputs)
        target = self.variables[node.name]
        if not steps:
            # The layer before has this activation as an argument, and so already gave the result.
            return [f"{target} = {given[0]}"] if target != given[0] else []
        fused = [name for name in self.network.consumers[node.name] if name in self.rendering.fused]
        if fused:
            target = self.variables[fused[0]]
            self.variables[node.name] = target
        lines = [row_comment(node.row, node.text)] if len(steps) > 1 and node.text else []
        aside = next((self._unused(f"{node.name}{step.suffix}") for step in steps if isinstance(step, Aside)), "")
        for step in steps:
            if step.why:
                lines.append(f"# {step.why}")
            if isinstance(step, Aside):
                lines += self._chain(node, step.steps, given, aside, aside)
            else:
                lines += self._chain(node, (step,), given, target, aside)
                given = (target,)
        return lines

    def _chain(
        self, node: Node, steps: Sequence[Apply | Compute], given: tuple[str, ...], target: str, aside: str
    ) -> Sequence[str]:
        lines = []
        for step in steps:
            other = self.rendering.layer_name(node, step.suffix) if isinstance(step, Apply) else aside
            lines.append(f"{target} = {step.source(given, other)}")
            given = (target,)
        return lines


def _listed(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"[{', '.join(values)}]"
