"""The spec's `data` section: where images and labels come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

SourceName = Literal["digits", "mnist", "fashion-mnist", "cifar10"]

_SYNONYMS = {"cifar-10": "cifar10", "fashionmnist": "fashion-mnist", "load-digits": "digits"}


def _read_source(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    plain = value.strip().casefold().replace("_", "-").replace(" ", "-")
    return _SYNONYMS.get(plain, plain)


class DataSettings(BaseModel):
    """Images and labels to train on; `data: digits` is short for `data: {source: digits}`.

    Or folders of images: `data: {folder: photos}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    source: Annotated[SourceName, BeforeValidator(_read_source)] | None = None
    """A known data set: `digits` is part of scikit-learn; the files of the others lie in the folder that the
    environment variable NETSPEC_DATA names."""
    folder: str | None = None
    """A folder with one folder of images a class, named as the class; or with such folders called `train`, `val` and
    perhaps `test`. The path is relative to the spec, or to the folder that NETSPEC_DATA names."""
    validation: str | None = None
    """Another folder like `folder`, with the images to choose the best epoch by."""
    test: str | None = None
    """Another folder like `folder`, with the images of the final test."""
    validation_split: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The fraction of the training images, class by class, that is held out to choose the best epoch by, where they
    have no folder of their own."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.source is None and self.folder is None:
            raise ValueError("data needs a source, such as digits, or a folder of images")
        if self.source is not None and self.folder is not None:
            raise ValueError(f"data has one origin, but source is {self.source} and folder is {self.folder}")
        if self.folder is None and (self.validation or self.test):
            raise ValueError(f"validation and test are folders beside `folder`; {self.source} has its own test images")
        return self

    @property
    def name(self) -> str:
        """What the data are called in messages."""
        return self.source or f"the folder {self.folder}"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        section = handler.resolve_ref_schema(handler(schema))
        section["anyOf"] = [{"required": ["source"]}, {"required": ["folder"]}]
        return {"anyOf": [{"enum": list(get_args(SourceName)), "type": "string"}, section]}
