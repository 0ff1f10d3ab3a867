"""What a kind of layer is: fields with their meaning, a shape rule, weights and cost; and how one is found by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import get_annotations
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, dataclass_transform, get_type_hints

from pydantic import BeforeValidator, Field

if TYPE_CHECKING:
    from pydantic import BaseModel

from netspec.errors import LayerError, ShapeError
from netspec.layers.initializer import Initializer
from netspec.tensors import TensorType

Inputs = Sequence[TensorType]


def read_sizes(value: Any) -> Any:
    """`3`, `[3, 3]`, `(3, 3)` and `3x3` all mean sizes along the spatial axes."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\s*[x×]\s*\d+)*", value.strip()):
        return tuple(int(part) for part in re.split(r"[x×]", value))
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, list):
        return tuple(value)
    return value


def read_pads(value: Any) -> Any:
    """An int pads every side alike, a list has one entry an axis: an int (both sides) or a (begin, end) pair."""
    if isinstance(value, int) and not isinstance(value, bool):
        return ((value, value),)
    if isinstance(value, (list, tuple)):
        return tuple(
            (item, item) if isinstance(item, int) else tuple(item) if isinstance(item, list) else item for item in value
        )
    return value


Size = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1, max_length=4), BeforeValidator(read_sizes)]
"""One size for every spatial axis, or one an axis."""
Counts = Annotated[tuple[Count, ...], Field(min_length=1, max_length=4), BeforeValidator(read_sizes)]
"""Like Sizes, but zero is allowed."""
Pads = Annotated[tuple[tuple[Count, Count], ...], Field(min_length=1, max_length=4), BeforeValidator(read_pads)]
"""(begin, end) for every spatial axis."""

# What users of the frameworks call a field, where we call it differently.
SYNONYMS: Mapping[str, str] = {
    "kernel_size": "kernel",
    "strides": "stride",
    "dilation_rate": "dilation",
    "use_bias": "bias",
    "kernel_initializer": "init",
    "initializer": "init",
    "bias_initializer": "bias_init",
    "pool_size": "size",
    "factor": "size",
    "scale_factor": "size",
    "upscale_factor": "size",
    "interpolation": "mode",
    "out_channels": "filters",
    "out_features": "units",
    "num_groups": "groups",
    "eps": "epsilon",
    "p": "rate",
    "cropping": "crop",
    "target_shape": "shape",
    "dims": "order",
}


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight tensor in its canonical layout (Keras' layouts).

    `fan_in` is the number of inputs that one output sums, as torch counts it (the scale of
    `torch_default`, whose bias needs the fan of its kernel). State that is computed, not
    learnt (running statistics), has `trainable=False`.
    """

    name: str
    shape: tuple[int, ...]
    init: Initializer
    trainable: bool = True
    fan_in: int = 0

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class Layer:
    """A kind of layer with its arguments: a frozen record, whose fields pydantic reads and validates.

    A subclass states its canonical name as the class keyword `kind`, other names as `aliases`, and as `size` the
    fields that the positional cell fills, in order. `inputs` says how many inputs it takes. `presets` are names that
    set fields as well (`ReflectionPad`). `ranks` are the spatial ranks that the kind accepts; each gives every name an
    alias that asserts it (`Conv2D`), and so do the patterns in `ranked` (`Conv{}DTranspose`).

    The pydantic model of a kind is made when its first layer is read: there are many kinds, a spec has few of them,
    and `netspec check` should start at once.
    """

    kind: ClassVar[str]
    positional: ClassVar[tuple[str, ...]]
    synonyms: ClassVar[Mapping[str, str]] = {}
    """What users of the frameworks call a field of this kind alone; SYNONYMS has what is so everywhere."""
    ranks: ClassVar[tuple[int, ...]]
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """How many inputs it takes, at least and at most; None for any number."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Every field with its default; `...` where a value is required."""
    _form: ClassVar[Any]  # evaluated by get_type_hints, where BaseModel is not imported

    def __init_subclass__(
        cls,
        *,
        kind: str | None = None,
        size: tuple[str, ...] = (),
        inputs: tuple[int, int | None] = (1, 1),
        aliases: tuple[str, ...] = (),
        ranks: tuple[int, ...] = (),
        ranked: tuple[str, ...] = (),
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        **keywords: Any,
    ) -> None:
        super().__init_subclass__(**keywords)
        own = [name for name, annotation in get_annotations(cls).items() if "ClassVar" not in str(annotation)]
        cls.defaults = {**cls.defaults, **{name: cls.__dict__.get(name, ...) for name in own}}
        cls._form = None
        if kind is None:
            return
        cls.kind, cls.positional, cls.ranks, cls.arity = kind, size, ranks, inputs
        if kind in KINDS:
            raise TypeError(f"two layers claim the kind {kind!r}: {KINDS[kind].__name__} and {cls.__name__}")
        KINDS[kind] = cls
        for name, fields in {**dict.fromkeys((kind, *aliases)), **(presets or {})}.items():
            _claim(name, Alias(cls, fields=fields))
            for rank in ranks if not name.endswith("D") else ():
                _claim(f"{name}{rank}D", Alias(cls, rank=rank, fields=fields))
        for pattern in ranked:
            for rank in ranks:
                _claim(pattern.format(rank), Alias(cls, rank=rank))

    @classmethod
    def form(cls) -> type[BaseModel]:
        """The pydantic model that reads this kind's fields."""
        if cls._form is None:
            from pydantic import ConfigDict, create_model

            hints = get_type_hints(cls, include_extras=True)
            fields: dict[str, Any] = {name: (hints[name], default) for name, default in cls.defaults.items()}
            cls._form = create_model(
                cls.__name__, __config__=ConfigDict(extra="forbid"), __module__=cls.__module__, **fields
            )
        form: type[BaseModel] = cls._form
        return form

    def __init__(self, **fields: Any) -> None:
        """Read and validate the fields; raises pydantic's ValidationError, or LayerError where they contradict."""
        vars(self).update(self.form()(**fields))
        self.check()

    def check(self) -> None:
        """Raise LayerError when the fields, each valid by itself, contradict one another."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {self.kind} is frozen; replace() gives a copy with another {name}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.kind, *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def fields(self) -> dict[str, Any]:
        """Every field with its value."""
        return dict(vars(self))

    def plain(self) -> dict[str, Any]:
        """Every field as plain data: what JSON can hold, and initialisers as a cell writes them."""
        return {name: str(value) if isinstance(value, Initializer) else value for name, value in vars(self).items()}

    def resolve(self, inputs: Inputs) -> Self:
        """The layer with every default made explicit for these inputs; raises LayerError when it cannot be."""
        return self

    def output(self, inputs: Inputs) -> TensorType:
        """The type of the result of a resolved layer; raises ShapeError when the inputs do not fit."""
        return inputs[0]

    def weights(self, inputs: Inputs) -> tuple[Weight, ...]:
        """The weights of a resolved layer, named without the row (`kernel`)."""
        return ()

    def macs(self, inputs: Inputs, output: TensorType) -> int:
        """Multiply-accumulate operations for one sample, of convolutions and dense layers; biases do not count."""
        return 0

    def replace(self, **fields: Any) -> Self:
        """A copy with other fields, which are already valid."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), **fields)
        return copy


def field_named(layer: type[Layer], name: str) -> str:
    """The field that an option's name means: itself, or what users of a framework call it."""
    if name in layer.defaults:
        return name
    meant = layer.synonyms.get(name) or SYNONYMS.get(name, name)
    return meant if meant in layer.defaults else name


class Alias:
    """What a written type means: a kind, the spatial rank that the name asserts, and fields that it sets."""

    __slots__ = ("fields", "layer", "rank")

    def __init__(self, layer: type[Layer], rank: int | None = None, fields: Mapping[str, Any] | None = None) -> None:
        self.layer, self.rank, self.fields = layer, rank, fields or {}


KINDS: dict[str, type[Layer]] = {}
"""Every canonical kind."""
ALIASES: dict[str, Alias] = {}
"""Every name, folded, with what it means."""
NAMES: dict[str, str] = {}
"""Every name as it is best written, by its folded form; near names are suggested from here."""


def fold(name: str) -> str:
    """A name without case, underscores, hyphens and blanks: they do not matter in the name of a kind.

    >>> fold("Max_Pooling2D")
    'maxpooling2d'
    """
    return re.sub(r"[\s_-]", "", name).casefold()


def _claim(name: str, alias: Alias) -> None:
    folded = fold(name)
    if folded in ALIASES:
        raise TypeError(f"the name {name!r} already means {ALIASES[folded].layer.kind}")
    ALIASES[folded], NAMES[folded] = alias, name


def snake(kind: str) -> str:
    """A kind as it begins the name of an unnamed row.

    >>> snake("BatchNorm"), snake("PReLU"), snake("RMSNorm")
    ('batch_norm', 'prelu', 'rms_norm')
    """
    return re.sub(r"((?<=[a-z0-9])|(?<=[A-Z]{2}))(?=[A-Z][a-z])", "_", kind).lower()


AXES: Mapping[int, str] = {
    0: "a flat vector",
    1: "length x channels",
    2: "height x width x channels",
    3: "depth x height x width x channels",
}
"""What the axes of a value are, by the number of its spatial ones."""


def spatial_input(layer: Layer, inputs: Inputs) -> TensorType:
    """The only input, which must have one of the layer's spatial ranks and a channel axis."""
    [given] = inputs
    if given.rank - 1 not in layer.ranks:
        *others, last = (AXES[rank] for rank in layer.ranks)
        wanted = f"{', '.join(others)} or {last}" if others else last
        raise ShapeError(
            f"{layer.kind} needs {wanted}, but its input is {given}",
            hint="Reshape gives a flat vector its axes back" if given.rank == 1 else None,
        )
    return given


def per_axis(value: tuple[Any, ...], rank: int, field: str) -> tuple[Any, ...]:
    """One entry for every spatial axis: a single one is repeated."""
    if len(value) == 1:
        return value * rank
    if len(value) != rank:
        axes = f"{rank} spatial {'axis' if rank == 1 else 'axes'}"
        raise LayerError(f"{field} has {len(value)} entries {value}, but the input has {axes}", field=field)
    return value


def axis_index(axis: int, rank: int, field: str = "axis") -> int:
    """An axis as an index from 1 into a batch of values (0 is the batch, -1 the channels)."""
    index = axis + rank + 1 if axis < 0 else axis
    if not 1 <= index <= rank:
        raise LayerError(f"{field} {axis} is outside of 1 to {rank} (0 is the batch, -1 the channels)", field=field)
    return index
