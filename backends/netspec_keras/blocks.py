"""Blocks as functions: one for all uses of a block whose code is alike, with what differs as its arguments."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from netspec.codegen.outline import Scope
from netspec.codegen.template import argument, declared, generalise, shape_of
from netspec.codegen.variants import Variant, Variants, given_sizes, named_values
from netspec_keras.body import Body
from netspec_keras.realised import Rendering
from netspec_keras.signatures import SIGNATURES


class Blocks:
    """The functions, in the order in which they are needed, and what each use calls."""

    def __init__(self, rendering: Rendering, whole: Scope, taken: set[str]) -> None:
        self.rendering = rendering
        self.functions: list[str] = []
        self.made: dict[str, str] = {}
        """By the name of a use, its function, an opening bracket, and what differs among the uses."""
        self.names: set[str] = set(taken)
        # A parameter would hide a function of its name.
        parameters = {name for scope in whole.every() if scope.use for name in scope.use.parameters}
        variants = Variants({*taken, *parameters}, str)
        for level in variants.levels(whole):
            bodies = {scope.use.name: self._body(scope) for scope in level if scope.use}
            shapes = {name: (shape_of(_text(body)), *body.arguments) for name, body in bodies.items()}
            for variant in variants.of(level, shapes):
                self._function(variant, [bodies[each.use.name] for each in variant.scopes if each.use])

    def _body(self, scope: Scope) -> Body:
        assert scope.use is not None
        [parameters] = named_values([scope])
        return Body(self.rendering, scope, (scope.use.result,), made=self.made, taken=self.names, parameters=parameters)

    def _function(self, variant: Variant, bodies: Sequence[Body]) -> None:
        name, scopes = variant.name, variant.scopes
        self.names.add(name)
        taken = bodies[0].taken - bodies[0].parameters
        sizes = given_sizes(scopes, self.rendering.network, taken)
        template = generalise(
            [_text(body) for body in bodies], named_values(scopes), taken=taken, signatures=SIGNATURES, sizes=sizes
        )
        own = {key: kind for key, kind in template.parameters.items() if key not in sizes[0]}
        required, usual = ([key for key in own if (key in template.defaults) is there] for there in (False, True))
        arguments = [f"{given}: keras.KerasTensor" for given in bodies[0].arguments]
        arguments += [f"{key}: {own[key]}" for key in required]
        arguments += [f"{key}: {declared(own[key], template.defaults[key])}" for key in usual]
        arguments += ["*"] * bool(usual) + ["name: str"]
        read = _read_sizes(bodies[0].arguments[0], list(sizes[0]), template.parameters)
        lines = "".join(f"    {line}\n" for line in [*read, *template.text.splitlines()])
        self.functions.append(
            f"def {name}({', '.join(arguments)}) -> keras.KerasTensor:\n    {variant.docstring}\n{lines}"
        )
        for scope, given in zip(scopes, template.arguments, strict=True):
            assert scope.use is not None
            written = (argument(key, given[key], template.defaults.get(key)) for key in (*required, *usual))
            self.made[scope.use.name] = f"{name}({', '.join(written)}"


def _read_sizes(given: str, axes: Sequence[str], used: Collection[str]) -> list[str]:
    """The statement that takes sizes from the shape of what a function is given."""
    wanted = [axis if axis in used else "_" for axis in axes]
    if set(wanted[:-1]) <= {"_"}:
        return [f"{wanted[-1]} = {given}.shape[-1]"] if wanted[-1:] not in ([], ["_"]) else []
    return [f"_, {', '.join(wanted)} = {given}.shape"]


def _text(body: Body) -> str:
    """The statements, the last of which returns the result."""
    [result] = body.results
    lines = list(body.written)
    last = re.match(r"(\w+) = ", lines[-1]) if lines else None
    if last and last[1] == result:
        lines[-1] = f"return {lines[-1][last.end() :]}"
    else:
        lines.append(f"return {result}")
    return "\n".join(lines)
