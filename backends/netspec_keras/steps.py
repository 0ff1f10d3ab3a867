"""What a rule returns: the lines of Python that realise one layer, and where Keras keeps its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

from netspec.backend import Rules
from netspec.codegen.source import Default, alike
from netspec.codegen.template import optional
from netspec.network import Node

Pads = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Apply:
    """A stock layer, applied to the value before it; a node's first step is applied to all that the node reads.

    It is named after its node, with `suffix` where it only helps the layer of that name. A layer that `fuses` takes
    an activation as an argument. `why` becomes a comment.
    """

    layer: str
    arguments: tuple[str, ...]
    suffix: str = ""
    fuses: bool = False
    why: str = ""

    def source(self, given: Sequence[str], name: str) -> str:
        """The call of a layer, for the values called `given`: one by itself, several as a list.

        `name` is its name as source.
        """
        arguments = ", ".join([*self.arguments, f"name={name}"])
        values = given[0] if len(given) == 1 else f"[{', '.join(given)}]"
        return f"layers.{self.layer}({arguments})({values})"

    def with_activation(self, function: str) -> Apply:
        """The same layer with an activation of Keras' own."""
        return replace(self, arguments=(*self.arguments, f'activation="{function}"'))

    def trained(self, trainable: bool) -> Apply:
        """The same layer, whose weights are trained or frozen."""
        argument = optional("trainable=True") if trainable else "trainable=False"
        return replace(self, arguments=(*self.arguments, argument))


@dataclass(frozen=True, slots=True)
class Compute:
    """An expression of operators and `keras.ops`, where no stock layer says it.

    In `expression`, `{x}` is the value before it and `{aside}` the value that an earlier step put aside; `{0}`,
    `{1}`, ... are the values that the node reads, where the step is its first.
    `operations` are the names that Keras gives the operations, for it gives them itself. `why` becomes a comment.
    """

    expression: str
    operations: tuple[str, ...]
    why: str = ""

    def source(self, given: Sequence[str], aside: str) -> str:
        """The expression, for the values called `given` and the one put aside."""
        return self.expression.format(*given, x=given[0], aside=aside)


@dataclass(frozen=True, slots=True)
class Aside:
    """Steps that start from the value before them and put their result aside, while that value passes.

    The result is named after the node, with `suffix`.
    """

    steps: tuple[Apply | Compute, ...]
    suffix: str = "_share"
    why: str = ""


Step = Apply | Compute | Aside


@dataclass(frozen=True, slots=True)
class Realisation:
    """One layer in Keras: its steps, in order, and for each weight, by its short name, the variable that keeps it.

    The variable is that of the layer that is named after the node; `shapes` gives its shape where it is not the
    canonical one.
    """

    steps: tuple[Step, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


rules = Rules[Realisation]("keras")


def one(layer: str, *arguments: object, **options: object) -> Realisation:
    """A layer that is one stock layer without weights; options that are None are left out."""
    return Realisation((Apply(layer, written(*arguments, **options)),))


def variables_of(node: Node, **renamed: str) -> dict[str, str]:
    """For each weight of the node, its variable: of the same name, unless Keras calls it otherwise."""
    names = (weight.name.rsplit(".", 1)[-1] for weight in node.weights)
    return {name: renamed.get(name, name) for name in names}


def written(*arguments: object, **options: object) -> tuple[str, ...]:
    """Arguments of a call as source; options that are None are left out, those that are the default are marked.

    >>> written(32, (3, 5), padding="same", strides=None)
    ('32', '(3, 5)', 'padding="same"')
    """
    named = []
    for name, value in options.items():
        if isinstance(value, Default):
            named.append(optional(f"{name}={literal(value.value)}"))
        elif value is not None:
            named.append(f"{name}={literal(value)}")
    return (*map(literal, arguments), *named)


def literal(value: object) -> str:
    """A Python value as source.

    >>> literal((1, "a")), literal(float("-inf")), literal(1 / 255), literal([0.5])
    ('(1, "a")', 'float("-inf")', '1 / 255', '[0.5]')
    """
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        inside = ", ".join(map(literal, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)


def _number(value: float) -> str:
    if not isfinite(value):
        return f'float("{value}")'
    if 0 < abs(value) < 1:
        divisor = round(1 / value)
        if abs(divisor) < 10_000 and 1 / divisor == value and len(repr(value)) > 10:
            return f"{'-' if value < 0 else ''}1 / {abs(divisor)}"
    return repr(value)


def border(pads: Pads) -> int | tuple[object, ...]:
    """What the padding and cropping layers take: a number, one an axis, or (begin, end) an axis.

    >>> border([(1, 1), (1, 1)]), border([(1, 1), (2, 2)]), border([(0, 1), (2, 2)]), border([(0, 1)])
    (1, (1, 2), ((0, 1), (2, 2)), (0, 1))
    """
    if all(begin == end for begin, end in pads):
        return alike([begin for begin, _ in pads])
    return tuple(pads[0]) if len(pads) == 1 else tuple(map(tuple, pads))


def zero_padding(pads: Pads, suffix: str = "_pad") -> tuple[Apply, ...]:
    """The layer that puts zeros around the image, or nothing when there are none."""
    if not any(map(any, pads)):
        return ()
    return (Apply(f"ZeroPadding{len(pads)}D", written(border(pads)), suffix),)
