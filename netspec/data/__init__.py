"""Where images and labels come from, how they are split, and in which order they are trained on."""

from netspec.data.preprocess import Preprocess, read_image
from netspec.data.settings import DataSettings
from netspec.data.source import SOURCES, Source, check_data, load

__all__ = ["SOURCES", "DataSettings", "Preprocess", "Source", "check_data", "load", "read_image"]
