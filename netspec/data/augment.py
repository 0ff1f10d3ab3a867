"""The spec's `train.augment` section: how the images that are trained on are changed, each time that they are seen."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from netspec.errors import Problem
from netspec.network import Network

Fill = Literal["nearest", "constant", "reflect"]
Flip = Literal["none", "horizontal", "vertical", "both"]


def _pair(value: Any) -> Any:
    """One number for both axes, or two."""
    if isinstance(value, list) and len(value) != 2:
        raise ValueError(f"it is one number or two, but there are {len(value)}")
    return tuple(value) if isinstance(value, list | tuple) else (value, value)


def _flips(value: Any) -> Any:
    """`true` is what most people mean, and both may be written as a list."""
    if value is True:
        return "horizontal"
    if value is False:
        return "none"
    return "both" if isinstance(value, list | tuple) and {*value} == {"horizontal", "vertical"} else value


Fraction = Annotated[float, Field(ge=0, lt=1)]
Fractions = Annotated[tuple[Fraction, Fraction], BeforeValidator(_pair)]
Border = Annotated[int, Field(ge=0, le=1024)]
Borders = Annotated[tuple[Border, Border], BeforeValidator(_pair)]
Probability = Annotated[float, Field(gt=0, le=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Short(BaseModel):
    """A section that one number stands for, the value of its first field."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        first = next(iter(cls.model_fields))
        return {first: value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        section = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [next(iter(section["properties"].values())), section]}


class Erase(_Short):
    """A rectangle of one value somewhere in the image."""

    probability: Probability = 0.5
    """How many of the images have one."""
    area: Annotated[tuple[Fraction, Annotated[float, Field(gt=0, le=1)]], BeforeValidator(_pair)] = (0.02, 0.33)
    """The least and the greatest part of the image that it covers, between which it is drawn; one number is both."""
    aspect: Annotated[float, Field(ge=1, le=100)] = 3.3
    """How many times longer one side may be than the other; 1 is a square."""
    value: Number = 0.0
    """What its pixels become, in the units of the data."""


class Mixup(_Short):
    """Every pixel, and the label, becomes a mean with those of another image: of `share` of it."""

    alpha: Annotated[float, Field(gt=0, le=100)] = 0.2
    """The share is drawn from Beta(alpha, alpha): 1 is uniform, small values are near to 0 or 1."""
    probability: Probability = 1.0
    """How many of the images are mixed."""


class CutMix(_Short):
    """A rectangle, and as much of the label as its part of the area, becomes that of another image."""

    alpha: Annotated[float, Field(gt=0, le=100)] = 1.0
    """The part of the area is drawn from Beta(alpha, alpha)."""
    probability: Probability = 1.0
    """How many of the images are mixed."""


class Augment(BaseModel):
    """What is drawn anew for every image in every epoch, fixed by the seed.

    In this order: the image is flipped, zoomed, sheared, rotated, shifted and cropped, which is one map with bilinear
    interpolation; then its brightness and contrast change; then a rectangle is erased; then it is mixed with the image
    before it in its batch. May be written as a mapping or as a list: `[flip: horizontal, crop: 4, {fill: reflect}]`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    flip: Annotated[Flip, BeforeValidator(_flips)] = "none"
    """Half of the images are mirrored: `horizontal` (left and right change), `vertical` or `both`, each by itself."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """The greatest angle in degrees, either way."""
    shift: Fractions = (0.0, 0.0)
    """The greatest part of the height and the width by which an image is moved, either way."""
    shear: Fractions = (0.0, 0.0)
    """How much columns move up and rows move sideways at most, as a part of their distance from the middle: the
    tangent of the angle, as in Keras' RandomShear (its older ImageDataGenerator counts in degrees)."""
    zoom: Fraction = 0.0
    """Both sides become between 1 - zoom and 1 + zoom times as long."""
    crop: Borders = (0, 0)
    """How many pixels are put around an image, as `fill` says, before one of its own size is cut from it."""
    fill: Fill = "nearest"
    """What lies outside of the image: its `nearest` pixel, a `constant`, or what is inside, `reflect`ed at the middle
    of the pixels at the border, which are not repeated."""
    fill_value: Number = 0.0
    """The constant, in the units of the data."""
    brightness: Fraction = 0.0
    """Every pixel is multiplied by a number between 1 - brightness and 1 + brightness."""
    contrast: Fraction = 0.0
    """The difference of every pixel from the image's mean is multiplied by a number between 1 - contrast and
    1 + contrast. After either the pixels of images of bytes are cut off at 0 and 255."""
    erase: Erase | None = None
    """A rectangle of one value: `0.5` for half of the images, or `{probability: 1, area: 0.25, aspect: 1}`."""
    mixup: Mixup | None = None
    """Means of two images and their labels: `0.2`, or `{alpha: 0.2, probability: 0.5}`. With `cutmix` too, each has
    half of the images."""
    cutmix: CutMix | None = None
    """Rectangles from other images: `1.0`, or `{alpha: 1.0, probability: 0.5}`."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        if loose := [item for item in value if not isinstance(item, dict)]:
            raise ValueError(f"each entry is a name and its value, such as `flip: horizontal`, not {loose[0]!r}")
        entries = [entry for item in value for entry in item.items()]
        read = dict(entries)
        if len(read) < len(entries):
            names = [name for name, _ in entries]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice} is here for the second time; every image is changed once in each way")
        return read

    @property
    def moves(self) -> bool:
        """Whether pixels change their places."""
        return self.flip != "none" or any((self.rotate, *self.shift, *self.shear, self.zoom, *self.crop))

    @property
    def whole(self) -> bool:
        """Whether pixels only change their places, from one pixel to another, so that nothing is interpolated."""
        return not any((self.rotate, *self.shift, *self.shear, self.zoom))

    @property
    def mixes(self) -> bool:
        """Whether labels become shares of two classes."""
        return self.mixup is not None or self.cutmix is not None

    @property
    def spatial(self) -> bool:
        """Whether it makes sense for images alone."""
        return self.moves or bool(self.contrast) or self.erase is not None or self.cutmix is not None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        section = handler.resolve_ref_schema(handler(schema))
        for name in ("shift", "shear", "crop"):
            field = section["properties"][name]
            own = {key: field.pop(key) for key in list(field) if key not in ("title", "description", "default")}
            field["anyOf"] = [own["prefixItems"][0], own]
        flip = section["properties"]["flip"]
        flip["enum"] = [*flip["enum"], True, False]
        del flip["type"]
        one = {**section, "minProperties": 1}
        return {"anyOf": [section, {"type": "array", "items": one}]}


def augment_problems(augment: Augment, network: Network) -> list[Problem]:
    """What does not fit between the section and the network."""
    problems, given = [], network.input_type
    if augment.spatial and given.rank != 3:
        message = f"images are height x width x channels, but the input is {given}"
        hint = "of numbers that are no image only mixup and brightness make sense"
        problems.append(Problem(message, hint, "train.augment"))
    if augment.mixes and network.output_type.size == 1:
        name = "mixup" if augment.mixup is not None else "cutmix"
        message = f"{name} mixes classes, which needs one output a class, but there is 1"
        problems.append(
            Problem(message, "a last row FNN | 2 | Softmax tells two classes apart", f"train.augment.{name}")
        )
    return problems
