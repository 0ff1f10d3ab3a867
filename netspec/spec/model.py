"""A spec as it was written: rows, sections, and where everything stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from netspec.errors import Position, SpecError
from netspec.notation import NotationError, Value, parse_value
from netspec.spec.reader import Node, find
from netspec.spec.row import Row
from netspec.tensors import TensorType

if TYPE_CHECKING:
    from netspec.backend.settings import ExportSettings
    from netspec.data.preprocess import Preprocess
    from netspec.data.settings import DataSettings
    from netspec.training.settings import TrainSettings

SIZES = re.compile(r"-?\d{1,40}(\s*[x×]\s*-?\d{1,40})*")
MAX_AXES = 4
MAX_AXIS = 2**31 - 1
HARD = ("ramp", "wide", "zeros", "constant", "large", "tiny", "offset")
"""The inputs beside ordinary ones; `netspec.verify.inputs` makes them."""


def read_shape(value: Any) -> tuple[int, ...]:
    """A shape without the batch: `32x32x3`, `100`, `(32, 32, 3)` or `[32, 32, 3]`; raises ValueError.

    >>> read_shape("32x32x3"), read_shape(100), read_shape([8000, 1])
    ((32, 32, 3), (100,), (8000, 1))
    """
    written = value
    if isinstance(value, str) and SIZES.fullmatch(value.strip()):
        value = [int(size) for size in re.split(r"[x×]", value)]
    elif isinstance(value, str):
        try:
            value = parse_value(value)
        except NotationError:
            value = None
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not sizes or any(isinstance(size, bool) or not isinstance(size, int) for size in sizes):
        raise ValueError(f"a shape is written 32x32x3, 100 or [32, 32, 3], not {_shown(written)}")
    if len(sizes) > MAX_AXES:
        raise ValueError(f"a shape has at most {MAX_AXES} axes without the batch, {_shown(written)} has {len(sizes)}")
    for size in sizes:
        if not 1 <= size <= MAX_AXIS:
            wanted = "at least 1" if size < 1 else f"at most {MAX_AXIS:,}"
            raise ValueError(f"every size of a shape is {wanted}, but {_shown(written)} has {size}")
    return sizes


def _shown(value: Any) -> str:
    text = repr(value) if value is not None else "nothing"
    return text if len(text) <= 60 else f"{text[:59]}…"


Shape = Annotated[
    tuple[int, ...],
    BeforeValidator(
        read_shape,
        json_schema_input_type=Annotated[str, Field(pattern=r"^\d+(\s*[x×]\s*\d+)*$")] | int | list[int],
    ),
]
Total = Annotated[int, Field(ge=0, strict=True)]


def _read_golden(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class Golden(BaseModel):
    """A file with inputs, weights and the outputs that they give."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    file: str
    """What `netspec golden` wrote, relative to the spec."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The digest of the file; any when not given."""


class Expect(BaseModel):
    """Published facts about the network, each of which is checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    parameters: Total | None = None
    """How many weights there are in all, trained or not."""
    trainable: Total | None = None
    """How many weights are trained."""
    non_trainable: Total | None = None
    """How many weights are kept but not trained, such as the running statistics of BatchNorm."""
    output: Shape | None = None
    """The shape of the result, without the batch."""
    layers: Total | None = None
    """How many layers a network analyser counts: inputs, layers, activations and outputs."""
    macs: Total | None = None
    """How many multiply-accumulate operations one sample takes."""
    shapes: Mapping[str, Shape] = {}
    """The shape that each of these rows or blocks gives, by its name."""
    counts: Mapping[str, Total] = {}
    """How many weights each of these rows or blocks has, by its name."""
    golden: Annotated[Golden, BeforeValidator(_read_golden, json_schema_input_type=str | Golden)] | None = None
    """A file of `netspec golden`: with its inputs and weights the network gives its outputs. It is computed by `build`,
    `verify` and the tests of the pytest plugin."""


class VerifySettings(BaseModel):
    """The spec's `verify` section: what the backends are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    inputs: Annotated[int, Field(ge=1, le=1000, strict=True)] = 3
    """How many random samples are compared, beside the hard ones (a ramp, zeros, a constant; wide, large, tiny and
    offset values)."""
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    """The seed of those samples and of the weights that they are compared with."""

    train_steps: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0
    """How many updates of a training every backend that trains takes in lock-step with the others; 0 for none."""

    levels: Annotated[bool | None, Field(strict=True)] = None
    """Whether the ONNX file is run at every level of ONNX Runtime's optimisation, and not only with all of it; by
    default of a network whose weights are not too large for that (some sixty million)."""

    @property
    def samples(self) -> int:
        """How many samples are compared in all."""
        return self.inputs + len(HARD)


class BaseSettings(BaseModel):
    """Another network whose rows join this one, perhaps cut, trained before and frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    spec: str
    """The spec file, relative to this one."""
    variant: str | None = None
    """Which of that spec's variants."""
    output: str | None = None
    """The row at which it is cut; its own output when not given."""
    weights: str | None = None
    """A file with its weights, in any format that `netspec import-weights` reads; relative to this file, or in the
    folder that NETSPEC_DATA names or the folder `weights` in it. Without one they are drawn."""
    freeze: bool | str | tuple[str, ...] = False
    """Whether its rows are frozen: all of them, or those whose names match a pattern such as `mixed[0-5]*`."""


@dataclass(frozen=True, slots=True)
class Base:
    """What the section `base` says, and the spec that it names."""

    settings: BaseSettings
    spec: Spec


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a block is told: of which type (int, float, bool, word, size), and its default, if it has one."""

    type: str
    default: Value = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Rows under a name, which other rows use with values for its parameters.

    `inputs` are the names by which its rows read what it is given.
    """

    name: str
    parameters: Mapping[str, Parameter]
    inputs: tuple[str, ...]
    rows: tuple[Row, ...]
    position: Position | None = field(default=None, compare=False)
    about: str = ""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows of a resolved spec that were a block at work, by the dotted names that they share."""

    block: str
    parameters: Mapping[str, Value]
    inputs: tuple[str, ...]
    names: tuple[str, ...]
    """What its rows called the inputs."""
    result: str
    about: str = ""
    """What the block is, in its own words."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything that a spec file says; nothing is defaulted but the name, no kind is looked up."""

    name: str
    inputs: Mapping[str, TensorType]
    rows: tuple[Row, ...]
    outputs: Mapping[str, str] | None = None
    """The row that each output is, by the output's name; the last row when not given."""
    about: str | None = None
    variables: Mapping[str, Value] = field(default_factory=dict)
    blocks: Mapping[str, Block] = field(default_factory=dict)
    uses: Mapping[str, Grouped] = field(default_factory=dict)
    base: Base | None = None
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """By kind, as written, the values of its options."""
    expect: Expect | None = None
    classes: tuple[str, ...] | None = None
    data: DataSettings | None = None
    preprocess: Preprocess | None = None
    train: TrainSettings | None = None
    verify: VerifySettings | None = None
    export: ExportSettings | None = None
    file: str = ""
    text: str = field(default="", repr=False)
    root: Node | None = field(default=None, repr=False, compare=False)
    """The document with its positions."""

    def place(self, path: str) -> Position | None:
        """Where the value at a dotted path (`expect.shapes.conv1`) stands, or None when it is not written."""
        found = find(self.root, path) if self.root is not None else None
        return found[1].position if found else None

    def nearest(self, path: str | None) -> Position | None:
        """Where a path is written, or the nearest section around it: a default has no place of its own."""
        path = path or ""
        while path:
            place = self.place(path)
            if place is not None:
                return place
            path = path.rpartition(".")[0]
        return None

    @contextmanager
    def places(self) -> Iterator[None]:
        """Inside, a SpecError that knows only a path is given the place of it."""
        try:
            yield
        except SpecError as error:
            raise SpecError(problem.at(self.nearest(problem.path)) for problem in error.problems) from None
