"""The spec's `export` section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class OnnxExport(BaseModel):
    """How the ONNX file is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the input's axes: channels first as PyTorch has it, or channels last as images have it."""


class ExportSettings(BaseModel):
    """The spec's `export` section: how artefacts are written."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    onnx: OnnxExport = OnnxExport.model_construct()
    """The ONNX file."""
    preprocessing: bool = False
    """Whether artefacts read pixels from 0 to 255: what `preprocess` says is inside, but for resizing and cropping."""
