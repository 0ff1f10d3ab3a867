"""The spec's `data` section: where images and labels come from."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from netspec.errors import did_you_mean

SourceName = Literal["digits", "mnist", "fashion-mnist", "cifar10"]
Origin = Literal["source", "folder", "file", "hf"]

ARRAYS, TABLES = (".npz", ".npy"), (".csv", ".tsv", ".parquet")

_SYNONYMS = {"cifar-10": "cifar10", "fashionmnist": "fashion-mnist", "load-digits": "digits"}
_ONLY: dict[str, tuple[Origin, ...]] = {
    "validation": ("folder", "file", "hf"),
    "test": ("folder", "file", "hf"),
    "inputs": ("file", "hf"),
    "labels": ("file", "hf"),
    "standardise": ("file",),
    "sha256": ("file",),
    "skip_broken": ("folder", "hf"),
}
"""The fields that only some origins have."""


def plain_name(written: str) -> str:
    """What a known data set is called, whatever its spelling.

    >>> plain_name("CIFAR-10")
    'cifar10'
    """
    plain = written.strip().casefold().replace("_", "-").replace(" ", "-")
    return _SYNONYMS.get(plain, plain)


def _read_source(value: Any) -> Any:
    return plain_name(value) if isinstance(value, str) else value


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class DataSettings(BaseModel):
    """Images and labels to train on; `data: digits` is short for `data: {source: digits}`.

    Or folders of images: `data: {folder: photos}`; arrays or a table in a file: `data: {file: iris.csv, labels:
    species}`; or a data set of the Hugging Face hub: `data: {hf: ylecun/mnist}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    source: Annotated[SourceName, BeforeValidator(_read_source)] | None = None
    """A known data set: `digits` is part of scikit-learn; the official files of the others are read from the folder
    that the environment variable NETSPEC_DATA names, or downloaded once."""
    folder: str | None = None
    """A folder with one folder of images a class, named as the class; or with such folders called `train`, `val` and
    perhaps `test`. The path is relative to the spec, or to the folder that NETSPEC_DATA names."""
    file: str | None = None
    """A file of arrays, `.npz` or `.npy`, or a table, `.csv`, `.tsv` or `.parquet`; its path is found as a folder's
    is."""
    hf: str | None = None
    """A data set of the Hugging Face hub, or a folder with one, as the package `datasets` loads it."""
    inputs: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    """Where the images or features are: the array in an `.npz` (images, x, ...), the columns of a table (all but the
    labels), or the column of a hub's data set (image)."""
    labels: str | None = None
    """Where the classes are, as numbers from 0 or as words: the array in an `.npz` (labels, y, ...), the `.npy` beside
    the one with the images, or the column (label)."""
    validation: str | None = None
    """Another folder or file, or another split of a hub's data set, with what to choose the best epoch by."""
    test: str | None = None
    """Another folder or file, or another split of a hub's data set, for the final test."""
    validation_split: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The fraction of the training images, class by class, that is held out to choose the best epoch by, where they
    are not given by themselves."""
    standardise: bool = False
    """Whether the mean of each column of a table is taken off and the rest divided by its standard deviation, both of
    the rows that are trained on; `netspec data` prints them as a row, for artefacts that read raw numbers."""
    skip_broken: bool = False
    """Whether images that cannot be decoded are left out, instead of being an error."""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """What the sha256 of `file` is; another is an error."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in get_args(Origin) if getattr(self, name) is not None]
        if not given:
            raise ValueError("data needs a source, such as digits, a folder of images, a file, or hf")
        if len(given) > 1:
            said = " and ".join(f"{name} is {getattr(self, name)}" for name in given)
            raise ValueError(f"data has one origin, but {said}")
        for name, origins in _ONLY.items():
            if name in self.model_fields_set and self.origin not in origins and getattr(self, name):
                raise ValueError(f"{name} belongs to {' and '.join(origins)}; {self.name} has none")
        if self.file is not None:
            self._check_file(PurePath(self.file).suffix.lower())
        return self

    def _check_file(self, suffix: str) -> None:
        if suffix not in (*ARRAYS, *TABLES):
            near = did_you_mean(suffix, [*ARRAYS, *TABLES])
            raise ValueError(
                f"the file {self.file} is none of {', '.join([*ARRAYS, *TABLES])}; {near or ''}".rstrip("; ")
            )
        if suffix == ".npy" and self.labels is None:
            raise ValueError(
                f"{self.file} holds the images alone; `labels: labels.npy` names the file with their classes"
            )
        if suffix in TABLES and self.labels is None:
            raise ValueError(f"which column of {self.file} is the class? `labels: species` says so")
        if self.standardise and suffix not in TABLES:
            raise ValueError("standardise is for the columns of a table; images have a Rescale or Normalize row")

    @property
    def origin(self) -> Origin:
        """Which of the fields says where the data are from."""
        return next(name for name in get_args(Origin) if getattr(self, name) is not None)

    @property
    def is_table(self) -> bool:
        """Whether the data are the rows of a table."""
        return self.file is not None and PurePath(self.file).suffix.lower() in TABLES

    @property
    def name(self) -> str:
        """What the data are called in messages."""
        return self.source or f"the {'data set' if self.hf else self.origin} {self.folder or self.file or self.hf}"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        section = handler.resolve_ref_schema(handler(schema))
        section["anyOf"] = [{"required": [name]} for name in get_args(Origin)]
        inputs = section["properties"]["inputs"]
        own = {key: inputs.pop(key) for key in list(inputs) if key not in ("title", "description", "default")}
        inputs["anyOf"] = [{"type": "string"}, own]
        return {"anyOf": [{"enum": list(get_args(SourceName)), "type": "string"}, section]}
