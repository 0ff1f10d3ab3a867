"""The table of the reference: for every kind of layer, the function that is its meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netspec.backend import Rules

Array: TypeAlias = NDArray[Any]
"""Values of any precision, as they come in."""
Values: TypeAlias = NDArray[np.float64]
"""float64 values with the batch first and the channels last."""
Function: TypeAlias = Callable[..., Values]
"""The value of a node: called with its inputs by position and its weights by name (`kernel`, without the row)."""

rules = Rules[Function]("reference")
