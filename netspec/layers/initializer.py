"""How the initial values of a weight are drawn; `netspec.weights` draws them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from netspec.notation import Call, Value, parse_value

Scheme = Literal[
    "zeros",
    "ones",
    "constant",
    "normal",
    "truncated_normal",
    "uniform",
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
    "torch_default",
]
SYNONYMS = {
    "random_normal": "normal",
    "random_uniform": "uniform",
    "xavier_uniform": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
}
# The argument that `name(0.02)` gives when it is not named.
ARGUMENT = {"constant": "value", "normal": "std", "truncated_normal": "std", "uniform": "limit", "orthogonal": "gain"}


class Initializer(BaseModel):
    """The distribution of a weight's initial values; the definitions are Keras'."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    scheme: Scheme
    """Which distribution; the glorot, he and lecun families scale by the fans of the weight's canonical layout."""
    value: float = 0.0
    """The number that `constant` fills with."""
    std: float = Field(0.05, ge=0)
    """Standard deviation of `normal` and `truncated_normal` (which redraws beyond two of them)."""
    limit: float = Field(0.05, ge=0)
    """`uniform` draws from [-limit, limit)."""
    gain: float = 1.0
    """Factor of `orthogonal`."""

    def __str__(self) -> str:
        argument = ARGUMENT.get(self.scheme)
        # repr, for what is written has to read back as this very number
        return f"{self.scheme}({getattr(self, argument)!r})".replace(".0)", ")") if argument else self.scheme


def read_initializer(value: Any) -> Any:
    """Turn what a spec writes (a name, a call such as `normal(0.02)`, a number, a mapping) into the model's fields."""
    if isinstance(value, str):
        value = parse_value(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"scheme": "constant", "value": value}
    name, options = value, {}
    arguments: tuple[Value, ...] = ()
    if isinstance(value, Call):
        name, arguments, options = value.name, value.arguments, dict(value.options)
    elif isinstance(value, dict) and len(value) == 1 and "scheme" not in value:
        [(name, options)] = value.items()
        options = dict(options) if isinstance(options, dict) else {ARGUMENT.get(str(name), "value"): options}
    if not isinstance(name, str):
        return value
    scheme = name.lower()
    scheme = SYNONYMS.get(scheme, scheme)
    if arguments:
        if len(arguments) > 1 or scheme not in ARGUMENT:
            raise ValueError(
                f"{scheme} takes {'one argument' if scheme in ARGUMENT else 'no argument'}, got {arguments}"
            )
        options = {ARGUMENT[scheme]: arguments[0], **options}
    return {"scheme": scheme, **options}


Init = Annotated[Initializer, BeforeValidator(read_initializer)]

ZEROS = Initializer.model_construct(scheme="zeros")
ONES = Initializer.model_construct(scheme="ones")
GLOROT = Initializer.model_construct(scheme="glorot_uniform")


def bias_beside(kernel: Initializer) -> Initializer:
    """The initial values of a bias that does not say them: zeros, but torch's own where its kernel asks for torch's."""
    return kernel if kernel.scheme == "torch_default" else ZEROS
