"""Real handwritten digits that come with scikit-learn: 1,797 images 8x8, values 0 to 16."""

from __future__ import annotations

import numpy as np

from netspec.data.dataset import Split
from netspec.data.split import hold_out
from netspec.errors import BackendError
from netspec.progress import Progress

TEST_FRACTION = 0.2


def version_of(reader: str) -> str:  # noqa: ARG001 - there is one
    """The version of scikit-learn; raises BackendError when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("scikit-learn")
    except PackageNotFoundError as error:
        raise _missing() from error


def read(progress: Progress) -> tuple[Split, Split]:  # noqa: ARG001 - there is nothing to wait for
    """1,438 images to train on and 359 to test on, uint8 [n, 8, 8, 1]: a fifth of each digit, always the same.

    Raises BackendError when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _missing() from error
    pixels, labels = load_digits(return_X_y=True)
    every = Split(pixels.astype(np.uint8).reshape(-1, 8, 8, 1), labels.astype(np.int64))
    kept, held = hold_out(every.labels, TEST_FRACTION, part=0)
    return every.take(kept), every.take(held)


def _missing() -> BackendError:
    return BackendError(
        "the digits data set is part of scikit-learn, which is not installed\n  hint: pip install 'netspec[train]'"
    )
