"""A contact sheet: the images of a batch, each as it is and as it is trained on, with the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.errors import BackendError
from netspec.storage.atomic import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Pixels = NDArray[np.uint8]

DPI = 100
WIDTH = 1200
"""About how many pixels wide a sheet is."""
LEAST, MOST = 84, 224
"""The longer side of an image on the sheet, in pixels; a small one is enlarged by a whole factor."""
BETWEEN, GAP, MARGIN, HEAD, LABEL = 4, 20, 20, 56, 20
QUIET, INK = "#8b929c", "#1f2328"


def draw_sheet(
    before: Array,
    after: Array | None,
    names: Sequence[str],
    path: Path,
    title: str,
    about: str,
    black_white: tuple[float, float],
) -> None:
    """Write a PNG of images [n, h, w, c]: each `before` and, where it is augmented, `after` beside it, named below.

    `black_white` are the values of the darkest and the lightest pixel that there may be. The file is there whole or
    not at all. Raises BackendError when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendError(
            "the picture is drawn by matplotlib, which is not installed\n  hint: pip install 'netspec[train]'"
        ) from error
    import numpy as np

    height, width = tile_size(*before.shape[1:3])
    cell = width if after is None else 2 * width + BETWEEN
    columns = max(1, min(len(before), (WIDTH - 2 * MARGIN + GAP) // (cell + GAP)))
    rows = ceil(len(before) / columns)
    canvas = np.full((rows * (height + LABEL + GAP) - GAP, columns * (cell + GAP) - GAP, 3), 255, np.uint8)
    page = max(canvas.shape[1] + 2 * MARGIN, 480), canvas.shape[0] + HEAD + 2 * MARGIN
    figure = Figure(dpi=DPI, facecolor="white", figsize=(page[0] / DPI, page[1] / DPI))
    FigureCanvasAgg(figure)
    for index in range(len(before)):
        row, column = divmod(index, columns)
        top, left = row * (height + LABEL + GAP), column * (cell + GAP)
        shown = [before] if after is None else [before, after]
        for place, images in enumerate(shown):
            start = left + place * (width + BETWEEN)
            canvas[top : top + height, start : start + width] = pixels(images[index], height, width, black_white)
        y = page[1] - (MARGIN + HEAD + top + height + LABEL / 2 + 2)
        text = fitted(names[index], cell)
        figure.text((MARGIN + left) / page[0], y / page[1], text, size=7.5, color=INK, ha="left", va="center")
    figure.figimage(canvas, MARGIN, MARGIN, origin="upper")
    figure.text(MARGIN / page[0], 1 - 24 / page[1], title, size=12, color=INK, va="center")
    figure.text(MARGIN / page[0], 1 - 48 / page[1], about, size=8.5, color=QUIET, va="center")
    with replacing(path) as partial:
        # A PNG without the time of its making: the same images give the same bytes.
        figure.savefig(partial, format="png", metadata={"Software": None})


def tile_size(height: int, width: int) -> tuple[int, int]:
    """How many pixels of the sheet an image of these sizes takes.

    >>> tile_size(28, 28), tile_size(32, 48), tile_size(300, 600)
    ((84, 84), (64, 96), (112, 224))
    """
    longer = max(height, width)
    scale = float(ceil(LEAST / longer)) if longer < LEAST else min(1.0, MOST / longer)
    return max(1, round(height * scale)), max(1, round(width * scale))


def pixels(image: Array, height: int, width: int, black_white: tuple[float, float]) -> Pixels:
    """An image [h, w, c] as pixels uint8 [height, width, 3]: in squares where it is small, averaged where it is large.

    One channel is gray, of more than three the first three are shown.
    """
    import numpy as np
    from PIL import Image

    black, white = black_white
    scaled = np.clip((image.astype(np.float64) - black) / ((white - black) or 1.0), 0, 1)
    bytes_ = (scaled * 255 + 0.5).astype(np.uint8)
    coloured = np.repeat(bytes_[..., :1], 3, axis=2) if image.shape[2] < 3 else np.ascontiguousarray(bytes_[..., :3])
    how = Image.Resampling.BOX if image.shape[0] > height else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(coloured).resize((width, height), how))


def fitted(text: str, width: int) -> str:
    """A text cut off to about this many pixels.

    >>> fitted("a long name of a class", 84)
    'a long name of…'
    """
    most = max(6, int(width / 5.6))
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
