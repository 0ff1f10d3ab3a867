"""Ways to get a rule wrong: it is told another layer, its expression is another, or a weight stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from netspec.layers import Layer
from netspec.network import Node
from netspec.tensors import Placement

Rule = Callable[[Any, Node], Any]


class Plant(Protocol):
    """One mistake in the rule of a kind of layer."""

    @property
    def kind(self) -> type[Layer]:
        """The kind whose rule is wrong."""
        ...

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends whose rule can be wrong so."""
        ...

    def spoilt(self, backend: str, rules: Mapping[type[Layer], Rule]) -> Rule:
        """The wrong rule, made of the right ones."""
        ...


EVERYWHERE = ("torch", "keras", "onnx")


@dataclass(frozen=True)
class Told:
    """The rule is told another layer than the network has, or that of another kind."""

    kind: type[Layer]
    change: Callable[[Any], Layer]
    backends: tuple[str, ...] = EVERYWHERE

    def spoilt(self, backend: str, rules: Mapping[type[Layer], Rule]) -> Rule:
        """The rule of the other layer."""

        def rule(layer: Any, node: Node) -> Any:
            changed = self.change(layer)
            return rules[type(changed)](changed, replace(node, layer=changed))

        return rule


@dataclass(frozen=True)
class After:
    """Something is done to the right result: `{x}` in an expression of torch or of `keras.ops`, an operator of ONNX."""

    kind: type[Layer]
    expressions: Mapping[str, Any]
    first: bool = False
    """Before it, to the first thing that the rule reads."""

    @property
    def backends(self) -> tuple[str, ...]:
        """Those that there is an expression for."""
        return tuple(self.expressions)

    def spoilt(self, backend: str, rules: Mapping[type[Layer], Rule]) -> Rule:
        """The right rule, with more around it."""
        expression = self.expressions[backend]

        def rule(layer: Any, node: Node) -> Any:
            sound = rules[self.kind](layer, node)
            return WRAP[backend](sound, expression, node, first=self.first)

        return rule


def _torch(line: Any, expression: str, node: Node, *, first: bool) -> Any:
    if first:
        code = {order: code.replace("{x}", expression) for order, code in line.code.items()}
    else:
        code = {order: expression.replace("{x}", f"({code})") for order, code in line.code.items()}
    return replace(line, code=code)


def _keras(realisation: Any, expression: str, node: Node, *, first: bool) -> Any:
    import re

    from netspec_keras.steps import Compute

    step = Compute(expression, tuple(re.findall(r"ops\.(\w+)", expression)) or ("multiply",))
    steps = (step, *realisation.steps) if first else (*realisation.steps, step)
    return replace(realisation, steps=steps)


def _onnx(emission: Any, apply: Callable[..., Any], node: Node, *, first: bool) -> Any:
    from netspec_onnx.graph import Scope

    class Within(Scope):
        """Where the right result has a name of a step on the way."""

        def op(self, op_type: str, given: Any, *others: Any, part: str | None = None, **options: Any) -> Any:
            if part is None:
                part, options = "sound", {"type": self.node.output, **options}
            return Scope.op(self, op_type, given, *others, part=part, **options)

    def build(scope: Any, given: Any, *others: Any) -> Any:
        if first:
            return emission.build(scope, apply(scope, given, "spoilt"), *others)
        within = Within(scope.graph, scope.node, scope.placed)
        return apply(scope, emission.build(within, given, *others), None)

    return replace(emission, build=build)


WRAP: Mapping[str, Callable[..., Any]] = {"torch": _torch, "keras": _keras, "onnx": _onnx}


def times(number: float) -> Callable[..., Any]:
    """A product in ONNX."""
    return lambda scope, given, part: scope.op("Mul", given, scope.constant("spoilt_factor", number), part=part)


def operator(op_type: str, **attributes: Any) -> Callable[..., Any]:
    """An operator of ONNX without other inputs."""
    return lambda scope, given, part: scope.op(op_type, given, part=part, **attributes)


def along(op_type: str, axis: int) -> Callable[..., Any]:
    """An operator of ONNX along an axis of the canonical layout."""
    return lambda scope, given, part: scope.op(op_type, given, part=part, axis=given.axis(axis))


def taken(indices: tuple[int, ...]) -> Callable[..., Any]:
    """Channels in another order, in ONNX."""
    return lambda scope, given, part: scope.op(
        "Gather", given, scope.integers("spoilt_order", indices), part=part, axis=given.axis(given.type.rank)
    )


@dataclass(frozen=True)
class Swapped:
    """The first two things that a rule reads change places."""

    kind: type[Layer]
    backends: tuple[str, ...] = EVERYWHERE

    def spoilt(self, backend: str, rules: Mapping[type[Layer], Rule]) -> Rule:
        """The right rule, which reads the other first."""

        def rule(layer: Any, node: Node) -> Any:
            sound = rules[self.kind](layer, node)
            if backend == "torch":
                turn = {"{0}": "{1}", "{1}": "{0}"}
                code = {order: _each(code, turn) for order, code in sound.code.items()}
                return replace(sound, code=code)
            if backend == "onnx":
                return replace(
                    sound, build=lambda scope, first, second, *rest: sound.build(scope, second, first, *rest)
                )
            return replace(sound, steps=(_turned(sound.steps[0]), *sound.steps[1:]))

        return rule


def _turned(step: Any) -> Any:
    """A layer of Keras' that reads the second value first."""
    from netspec_keras.steps import Apply

    class Turned(Apply):
        def source(self, given: Any, name: str) -> str:
            first, second, *rest = given
            return Apply.source(self, [second, first, *rest], name)

    return Turned(step.layer, step.arguments, step.suffix, step.fuses, step.why)


def _each(text: str, turn: Mapping[str, str]) -> str:
    import re

    return re.sub("|".join(map(re.escape, turn)), lambda found: turn[found[0]], text)


@dataclass(frozen=True)
class Written:
    """The emitted text says something else; by backend what stands for what, in ONNX attributes of operators."""

    kind: type[Layer]
    changes: Mapping[str, Any]

    @property
    def backends(self) -> tuple[str, ...]:
        """Those whose text is changed."""
        return tuple(self.changes)

    def spoilt(self, backend: str, rules: Mapping[type[Layer], Rule]) -> Rule:
        """The right rule, its text changed."""

        def rule(layer: Any, node: Node) -> Any:
            sound = rules[self.kind](layer, node)
            if backend == "onnx":
                return _attributes(sound, self.changes[backend])
            missing = {old for old, _ in self.changes[backend]}

            def rewrite(text: str) -> str:
                for old, new in self.changes[backend]:
                    if old in text:
                        missing.discard(old)
                    text = text.replace(old, new)
                return text

            if backend == "torch":
                attributes = tuple(
                    replace(each, code=rewrite(each.code), then=tuple(map(rewrite, each.then)))
                    for each in sound.attributes
                )
                code = {order: rewrite(code) for order, code in sound.code.items()}
                changed = replace(sound, code=code, before=tuple(map(rewrite, sound.before)), attributes=attributes)
            else:
                changed = replace(sound, steps=tuple(_rewritten(step, rewrite) for step in sound.steps))
            assert not missing, f"{backend} does not write {missing} for {node.row}"
            return changed

        return rule


def _rewritten(step: Any, rewrite: Callable[[str], str]) -> Any:
    from netspec_keras.steps import Apply, Compute

    if isinstance(step, Apply):
        return replace(step, layer=rewrite(step.layer), arguments=tuple(map(rewrite, step.arguments)))
    if isinstance(step, Compute):
        return replace(step, expression=rewrite(step.expression))
    return replace(step, steps=tuple(_rewritten(inner, rewrite) for inner in step.steps))


def _attributes(emission: Any, changes: Mapping[str, Any]) -> Any:
    from netspec_onnx.graph import Scope

    class Changed(Scope):
        def op(self, op_type: str, given: Any, *others: Any, **options: Any) -> Any:
            options |= {name: value for name, value in changes.items() if name in options}
            return Scope.op(self, op_type, given, *others, **options)

    def build(scope: Any, *given: Any) -> Any:
        return emission.build(Changed(scope.graph, scope.node, scope.placed), *given)

    return replace(emission, build=build)


@dataclass(frozen=True)
class Placed:
    """A weight stands elsewhere or another way round."""

    kind: type[Layer]
    weight: str
    change: Callable[[Placement], Placement]
    backends: tuple[str, ...] = ("torch", "onnx")

    def spoilt(self, backend: str, rules: Mapping[type[Layer], Rule]) -> Rule:
        """The right rule, with that weight placed wrongly."""

        def rule(layer: Any, node: Node) -> Any:
            sound = rules[self.kind](layer, node)
            if backend == "onnx":
                name = f"{node.name}.{self.weight}"
                own = sound.weights.get(name, Placement(name))
                return replace(sound, weights={**sound.weights, name: self.change(own)})
            attributes = tuple(
                replace(each, weights={**each.weights, self.weight: self.change(each.weights[self.weight])})
                if self.weight in each.weights
                else each
                for each in sound.attributes
            )
            return replace(sound, attributes=attributes)

        return rule


@dataclass(frozen=True)
class Exchanged:
    """Two weights of a row change places."""

    kind: type[Layer]
    first: str
    second: str
    backends: tuple[str, ...] = EVERYWHERE

    def spoilt(self, backend: str, rules: Mapping[type[Layer], Rule]) -> Rule:
        """The right rule, with each where the other belongs."""

        def rule(layer: Any, node: Node) -> Any:
            sound = rules[self.kind](layer, node)
            if backend == "keras":
                own = dict(sound.variables)
                own[self.first], own[self.second] = own[self.second], own[self.first]
                return replace(sound, variables=own)
            if backend == "onnx":
                turn = {f"{node.name}.{self.first}": f"{node.name}.{self.second}"}
                turn |= {second: first for first, second in turn.items()}

                def build(scope: Any, *given: Any) -> Any:
                    placed = {name: scope.placed[turn.get(name, name)] for name in scope.placed}
                    return sound.build(replace(scope, placed=placed), *given)

                return replace(sound, build=build)
            [attribute] = sound.attributes
            own = dict(attribute.weights)
            own[self.first], own[self.second] = own[self.second], own[self.first]
            return replace(sound, attributes=(replace(attribute, weights=own),))

        return rule


def twisted(placement: Placement) -> Placement:
    """The last two axes the other way round, as they stand in the backend."""
    axes = placement.axes or (0, 1)
    return replace(placement, axes=(*axes[:-2], axes[-1], axes[-2]))


def mixed(placement: Placement) -> Placement:
    """The first two axes the other way round: of a depthwise kernel the multiplier before the channels."""
    axes = placement.axes or (0, 1)
    return replace(placement, axes=(axes[1], axes[0], *axes[2:]))
