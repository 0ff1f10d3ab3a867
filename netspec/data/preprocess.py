"""The spec's `preprocess` section: how the picture in a file becomes the numbers that a network reads."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from netspec.errors import BackendError, Problem, SpecError, file_near
from netspec.notation import NotationError, parse_value
from netspec.tensors import TensorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = NDArray[np.uint8]
    Array = NDArray[np.float32]

ChannelOrder = Literal["rgb", "bgr", "gray"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]

CHANNELS: Mapping[ChannelOrder, int] = {"rgb": 3, "bgr": 3, "gray": 1}
MAX_SIDE = 2**14
MAX_PIXELS = 2**27
"""What a resized picture may have: one of 1x10000 would have 2.6 million columns when its shorter side is 256."""
NOTATION = {"type": "string", "pattern": r"^[-+*/().,x× 0-9eE]+$"}
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
"""What Pillow's decoders raise for files that are not whole or not what they say."""


def _read_value(value: Any) -> Any:
    """What a cell would write: `1/255`, `256x320`, also inside of a list."""
    if isinstance(value, list):
        return tuple(_read_value(each) for each in value)
    if not isinstance(value, str):
        return value
    try:
        return parse_value(value)
    except NotationError:
        return value


def _read_size(value: Any) -> Any:
    size = _read_value(value)
    sides = size if isinstance(size, tuple) and len(size) == 2 else (size,)
    if any(isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(f"a size is one number of pixels, 256, or height x width, 256x320; got {value}")
    return size


def _read_channels(value: Any) -> Any:
    value = _read_value(value)
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _read_order(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    folded = value.strip().casefold()
    return "gray" if folded in ("grey", "grayscale", "greyscale", "l") else folded


Size = Annotated[int | tuple[int, int], BeforeValidator(_read_size)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Preprocess(BaseModel):
    """How the picture in a file becomes the network's input: its size first, then every pixel's numbers.

    pixel = (byte * scale - mean) / std, in the order of `channels`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    resize: Size | None = None
    """The length of the shorter side, which keeps the proportions: `256`; or height and width: `256x320`. When
    neither this nor `crop` is given, the picture is brought to the input's height and width."""
    crop: Size | None = None
    """The height and width that is cut from the middle: the input's, which is also meant when it is not given."""
    interpolation: Interpolation = "bilinear"
    """How `resize` computes pixels, as Pillow does: averaged over all that a smaller picture's pixel covers (`nearest`
    takes one)."""
    channels: Annotated[ChannelOrder, BeforeValidator(_read_order)] | None = None
    """`rgb`, `bgr` or `gray`; by the input's channels when not given: rgb for 3, gray for 1."""
    scale: Annotated[Positive, BeforeValidator(_read_value)] = 1.0
    """The factor of every byte, such as `1/255`."""
    mean: Annotated[tuple[Number, ...], Field(min_length=1), BeforeValidator(_read_channels)] = (0.0,)
    """What is taken from the scaled bytes: one number, or one a channel in the order of `channels`."""
    std: Annotated[tuple[Positive, ...], Field(min_length=1), BeforeValidator(_read_channels)] = (1.0,)
    """What that is divided by: one number, or one a channel."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Numbers may also be written as arithmetic, sizes as `256x256`, and one number stands for all channels."""
        section = handler.resolve_ref_schema(handler(schema))
        for name in ("resize", "crop", "scale", "mean", "std"):
            field = section["properties"][name]
            own = {key: field.pop(key) for key in list(field) if key not in ("title", "description", "default")}
            members = own["anyOf"] if set(own) == {"anyOf"} else [own]
            if "items" in own:
                own["items"] = {"anyOf": [own["items"], NOTATION]}
            number = [{"type": "number"}] if name in ("mean", "std") else []
            field["anyOf"] = [*members, *number, NOTATION]
        return section

    def order(self, given: TensorType) -> ChannelOrder:
        """The channels of a network's input."""
        return self.channels or ("gray" if given.channels == 1 else "rgb")


def preprocess_problems(settings: Preprocess, inputs: Mapping[str, TensorType]) -> list[Problem]:
    """What does not fit between the section and the network's input."""
    if len(inputs) != 1:
        names = ", ".join(inputs)
        return [Problem(f"pictures need one input to go to, but there are {len(inputs)}: {names}", None, "preprocess")]
    [given] = inputs.values()
    if given.rank != 3 or given.channels not in CHANNELS.values():
        message = f"a picture is height x width x 3 or x 1, but the input is {given}"
        return [Problem(message, "input: 224x224x3", "preprocess")]
    return [*_channel_problems(settings, given), *_size_problems(settings, given)]


def _channel_problems(settings: Preprocess, given: TensorType) -> list[Problem]:
    problems = []
    count = CHANNELS[settings.order(given)]
    if count != given.channels:
        message = f"{settings.channels} is {count} {'channel' if count == 1 else 'channels'}, but the input is {given}"
        wanted = " or ".join(name for name, has in CHANNELS.items() if has == given.channels)
        problems.append(Problem(message, f"channels: {wanted}", "preprocess.channels"))
    for name, values in (("mean", settings.mean), ("std", settings.std)):
        if len(values) not in (1, given.channels):
            message = f"{name} has {len(values)} numbers, but the input {given} has {given.channels} channels"
            problems.append(Problem(message, "one number, or one a channel", f"preprocess.{name}"))
    return problems


def _size_problems(settings: Preprocess, given: TensorType) -> list[Problem]:
    wanted = given.spatial
    if settings.crop is not None and _pair(settings.crop) != wanted:
        message = f"crop gives {_sized(_pair(settings.crop))}, but the input is {given}"
        return [Problem(message, f"crop: {_sized(wanted)}, or leave it out", "preprocess.crop")]
    if settings.resize is not None and any(
        have < want for have, want in zip(_pair(settings.resize), wanted, strict=True)
    ):
        shorter = isinstance(settings.resize, int)
        what = f"a shorter side of {settings.resize}" if shorter else _sized(_pair(settings.resize))
        message = f"resize gives {what}, from which the input's {_sized(wanted)} cannot be cut"
        return [Problem(message, f"at least {max(wanted) if shorter else _sized(wanted)}", "preprocess.resize")]
    return []


def read_image(path: Path, given: TensorType, settings: Preprocess | None) -> Array:
    """The picture in a file as a network reads it: float32 [h, w, c] of the input's type `given`.

    Without settings it is brought to that size, and the pixels are its bytes, 0 to 255. Raises SpecError for a file
    that is missing, is no image, is not whole, or is too small to be cropped; BackendError without Pillow.
    """
    settings = settings or Preprocess()
    return scaled(read_pixels(path, given, settings), settings)


def bytes_only(settings: Preprocess | None) -> Preprocess:
    """What is left of the settings for a network that reads pixels: their size, and how they are brought to it."""
    kept = (settings or Preprocess()).model_dump(include={"resize", "crop", "interpolation"})
    return Preprocess(**kept)


def scaled(pixels: Pixels, settings: Preprocess) -> Array:
    """Pixels uint8 [..., c], red first, as a network reads them: float32, (byte * scale - mean) / std."""
    import numpy as np

    values = (pixels[..., ::-1] if settings.channels == "bgr" else pixels).astype(np.float32)
    mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
    return (values * np.float32(settings.scale) - mean) / std


def read_pixels(path: Path, given: TensorType, settings: Preprocess, content: IO[bytes] | None = None) -> Pixels:
    """The picture in a file, resized and cropped: uint8 [h, w, c] of the type `given`, red first or gray.

    Where its `content` is given, the path is only its name. Raises as `read_image` does.
    """
    import numpy as np

    if problems := preprocess_problems(settings, {"input": given}):
        raise SpecError(problems)
    picture = _decoded(path, "L" if settings.order(given) == "gray" else "RGB", content)
    return np.asarray(_fitted(picture, given, settings, path)).reshape(given.shape)


def _decoded(path: Path, mode: str, content: IO[bytes] | None) -> Image:
    """The picture in these colours, `RGB` or `L`; of several frames the first. An EXIF orientation is not followed,
    as torchvision and Keras do not either.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise BackendError(
            "images are read by Pillow, which is not installed\n  hint: pip install 'netspec[train]'"
        ) from error
    try:
        with Image.open(content or path) as image:
            return _coloured(image, mode)
    except FileNotFoundError:
        raise _refused(f"there is no image {path}", _near(path)) from None
    except UnidentifiedImageError:
        raise _refused(f"{path} is no image", "JPEG, PNG, BMP, GIF, WebP and TIFF files are read") from None
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise _refused(f"{path} cannot be decoded: {error}", "is the file whole?") from None


def _coloured(image: Image, mode: str) -> Image:
    """The image with 8 bits a channel in this mode; of 16 bits the upper ones, as Pillow has it for colours."""
    if image.mode.startswith("I;16"):
        import numpy as np
        from PIL import Image as Images

        image = Images.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"its pixels are {'whole' if image.mode == 'I' else 'real'} numbers of 32 bits, not bytes")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def _fitted(picture: Image, given: TensorType, settings: Preprocess, path: Path) -> Image:
    """The picture resized, then cropped.

    A longer side is rounded to the nearest pixel, and where the two borders of the crop cannot be equal the upper and
    left ones are smaller by one.
    """
    from PIL.Image import Resampling

    height, width = given.spatial
    size = settings.resize
    if size is None:
        rows, columns = (picture.height, picture.width) if settings.crop is not None else (height, width)
    elif isinstance(size, int):
        shorter = min(picture.height, picture.width)
        rows, columns = ((2 * size * side + shorter) // (2 * shorter) for side in (picture.height, picture.width))
    else:
        rows, columns = size
    if rows * columns > MAX_PIXELS:
        message = f"{path} is {_sized((picture.height, picture.width))}, which resize makes {_sized((rows, columns))}"
        raise _refused(message, f"at most {MAX_PIXELS:,} pixels")
    if (rows, columns) != (picture.height, picture.width):
        picture = picture.resize((columns, rows), Resampling[settings.interpolation.upper()])
    if rows < height or columns < width:
        message = f"{path} is {_sized((rows, columns))}, too small to cut {_sized((height, width))} from it"
        raise _refused(message, f"preprocess: {{resize: {max(height, width)}}} enlarges it")
    top, left = (rows - height) // 2, (columns - width) // 2
    return picture.crop((left, top, left + width, top + height))


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _sized(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _near(path: Path) -> str | None:
    try:
        return file_near(path.name, [found.name for found in path.parent.iterdir()])
    except OSError:
        return f"there is no folder {str(path.parent)!r} either"


def _refused(message: str, hint: str | None) -> SpecError:
    return SpecError([Problem(message, hint)])
