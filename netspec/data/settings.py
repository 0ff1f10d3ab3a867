"""The spec's `data` section: where images and labels come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

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
    """Images and labels to train on; `data: digits` is short for `data: {source: digits}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    source: Annotated[SourceName, BeforeValidator(_read_source)]
    """A known data set: `digits` is part of scikit-learn; the files of the others lie in the folder that the
    environment variable NETSPEC_DATA names."""
    validation_split: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The fraction of the training images, class by class, that is held out to choose the best epoch by."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        section = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [{"enum": list(get_args(SourceName)), "type": "string"}, section]}
