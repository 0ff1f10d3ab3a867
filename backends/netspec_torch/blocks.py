"""Blocks as classes: one for all uses of a block whose code is alike, with what differs as its arguments."""

from __future__ import annotations

from netspec.codegen.outline import Scope
from netspec.codegen.template import argument, declared, generalise, shape_of
from netspec.codegen.variants import MODULE_ATTRIBUTES, Variant, Variants, camel, given_sizes, named_values
from netspec.tensors import Order
from netspec_torch.body import Body
from netspec_torch.plan import METHODS, Plan
from netspec_torch.signatures import SIGNATURES


class Blocks:
    """The classes, in the order in which they are needed, and how each use makes its own."""

    def __init__(self, plan: Plan, whole: Scope, taken: set[str]) -> None:
        self.plan = plan
        self.classes: list[str] = []
        self.made: dict[str, str] = {}
        """By the name of a use, the call that makes its module."""
        self.borders: dict[str, Order] = {}
        """By the name of a use, how the axes of what it takes and gives are ordered."""
        variants = Variants(taken, camel)
        for level in variants.levels(whole):
            texts = {scope.use.name: self._text(scope) for scope in level if scope.use}
            shapes = {name: tuple(map(shape_of, text)) for name, text in texts.items()}
            for variant in variants.of(level, shapes):
                own = [texts[scope.use.name] for scope in variant.scopes if scope.use]
                self._class(variant, own)

    def _text(self, scope: Scope) -> tuple[str, str, str]:
        """What `__init__` does, what `forward` does, and the arguments of `forward`."""
        body = self._body(scope)
        statements = "\n".join(self.plan.statements(scope, self.made))
        return statements, "\n".join(body.written), body.declared

    def _body(self, scope: Scope) -> Body:
        """Channels first, but for sequences which the block computes with channels last, such as tokens."""
        assert scope.use is not None
        types = [self.plan.network.types[value] for value in (*scope.use.inputs, scope.use.result)]
        orders: tuple[Order, ...] = ("first", "last") if max(given.rank for given in types) == 2 else ("first",)
        bodies = {order: Body(self.plan, scope, border=order, borders=self.borders) for order in orders}
        chosen = min(orders, key=lambda order: bodies[order].permutes)
        self.borders[scope.use.name] = chosen
        return bodies[chosen]

    def _class(self, variant: Variant, texts: list[tuple[str, str, str]]) -> None:
        scopes = variant.scopes
        values = named_values(scopes)
        sizes = [
            {key: size for key, size in known.items() if key.startswith("in_")}  # all that a module knows of its input
            for known in given_sizes(scopes, self.plan.network)
        ]
        attributes = {key: f"self.{self._attribute(key, scopes[0])}" for key in (*sizes[0], *values[0])}
        own, given = (
            [{attributes[key]: value for key, value in known.items()} for known in each] for each in (values, sizes)
        )
        made = generalise([init for init, _, _ in texts], values, signatures=SIGNATURES, sizes=sizes)
        taken = {f"self.{key}" for key in self._taken(scopes[0])}
        bound = {
            attributes.get(key, f"self.{key}"): [known[key] for known in made.arguments] for key in made.parameters
        }
        flow = generalise(
            [forward for _, forward, _ in texts],
            own,
            prefix="self.",
            taken=taken,
            bound=bound,
            signatures=SIGNATURES,
            sizes=given,
        )
        # What `forward` needs is kept by `__init__`.
        parameter_of = {code: key for key, code in attributes.items()}
        plain = {code: parameter_of.get(code, code.removeprefix("self.")) for code in flow.parameters}
        parameters = {**made.parameters, **{plain[code]: kind for code, kind in flow.parameters.items()}}
        defaults = {plain[code]: value for code, value in flow.defaults.items()} | dict(made.defaults)
        named = [*sizes[0], *values[0]]
        order = [*(key for key in named if key in parameters), *(key for key in parameters if key not in named)]
        order.sort(key=lambda key: key in defaults)
        self.classes.append(
            self._source(
                variant,
                declared="".join(f", {key}: {declared(parameters[key], defaults.get(key))}" for key in order),
                made=[*(f"{code} = {plain[code]}" for code in flow.parameters), *made.text.splitlines()],
                given=texts[0][2],
                flow=flow.text.splitlines(),
            )
        )
        for scope, made_with, flow_with in zip(scopes, made.arguments, flow.arguments, strict=True):
            assert scope.use is not None
            told = {**made_with, **{plain[code]: text for code, text in flow_with.items()}}
            written = (
                told[key] if key.startswith("in_") and not at else argument(key, told[key], defaults.get(key))
                for at, key in enumerate(order)
            )
            self.made[scope.use.name] = f"{variant.name}({', '.join(written)})"

    def _attribute(self, parameter: str, scope: Scope) -> str:
        """Under which name a module keeps the value of a parameter: not that of one of its layers."""
        taken, name = self._taken(scope), parameter
        while name in taken:
            name += "_"
        return name

    def _taken(self, scope: Scope) -> set[str]:
        """The attributes of a block's module that mean something else."""
        return {*METHODS, *MODULE_ATTRIBUTES, *self.plan.attributes_in(scope)}

    def _source(self, variant: Variant, *, declared: str, made: list[str], given: str, flow: list[str]) -> str:
        constants = "".join(f"    {constant}: Tensor\n" for constant in self.plan.constants(variant.scopes[0]))
        init = "".join(f"        {line}\n" for line in made)
        forward = "".join(f"        {line}\n" for line in flow)
        return f"""class {variant.name}(nn.Module):
    {variant.docstring}

{constants}
    def __init__(self{declared}) -> None:
        super().__init__()
{init}
    def forward(self, {given}) -> Tensor:
{forward}"""
