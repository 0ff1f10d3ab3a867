"""A picture of what a row computed for one sample: its channels side by side, each normalised by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
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
"""About how many pixels wide a montage is."""
LEAST, MOST = 32, 240
"""The longer side of a tile in pixels; a channel larger than its tile is averaged, a smaller one enlarged by a whole
factor, so that every value stays a square of its own."""
GAP, MARGIN, HEAD, LABEL = 4, 16, 48, 13
COLOURS = "viridis"
QUIET, INK, BAR = "#8b929c", "#1f2328", "#31688e"
DEAD = (236, 238, 240)
"""The colour of a channel that has one value everywhere, which has no range to be shown in."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How tiles of `height` x `width` pixels are laid out in `rows` and `columns`."""

    rows: int
    columns: int
    height: int
    width: int

    @classmethod
    def of(cls, count: int, height: int, width: int) -> Grid:
        """A grid of `count` channels of these sizes, about four to three, its last row as full as can be."""
        wanted = max(1, min(count, ceil(sqrt(count * 4 / 3 * (height + LABEL) / (width + GAP)))))
        near = range(ceil(0.65 * wanted), min(count, int(1.35 * wanted)) + 1)
        columns = min(near, key=lambda columns: (-count % columns, abs(columns - wanted)))
        side = min(MOST, max(LEAST, (WIDTH - 2 * MARGIN) // columns - GAP))
        longer = max(height, width)
        scale = round(side / longer) if longer <= side else side / longer
        return cls(ceil(count / columns), columns, max(1, round(height * scale)), max(1, round(width * scale)))

    def corner(self, index: int) -> tuple[int, int]:
        """The upper left pixel of a tile, (row, column) from that of the first."""
        row, column = divmod(index, self.columns)
        return row * (self.height + LABEL + GAP), column * (self.width + GAP)

    @property
    def size(self) -> tuple[int, int]:
        """The pixels of all tiles with their labels: height, width."""
        return (
            self.rows * (self.height + LABEL + GAP) - GAP,
            self.columns * (self.width + GAP) - GAP,
        )


EACH = "each channel from its least to its greatest value"


def draw_activations(values: Array, path: Path, title: str, about: str) -> None:
    """Write a PNG of what a row computed for one sample, [*spatial, channels], or one vector.

    Images are a grid with a tile for every channel, sequences one picture with a line for every channel, a vector
    bars. Of a volume the middle slice is shown. The file is there whole or not at all. Raises BackendError when
    matplotlib or Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401 - matplotlib writes a PNG with it
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendError(
            "the picture is drawn by matplotlib, which is not installed\n  hint: pip install 'netspec[train]'"
        ) from error
    if values.ndim == 4:
        about = f"{about}; slice {len(values) // 2} of {len(values)}"
        values = values[len(values) // 2]
    spatial = [size for size in values.shape[:-1] if size > 1]
    figure = Figure(dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    if not spatial:
        _bars(figure, values.reshape(-1))
    elif values.ndim == 3:
        _tiles(figure, values)
    else:
        _lines(figure, values)
    _head(figure, title, f"{about}; {EACH}" if spatial else about)
    with replacing(path) as partial:
        # A PNG without the time of its making: the same values give the same bytes.
        figure.savefig(partial, format="png", metadata={"Software": None})


def normalised(values: Array) -> Array | None:
    """A channel with its least value as 0 and its greatest as 1; None where there is no range, or none is finite.

    Values that are not finite are shown as the least.
    """
    import numpy as np

    finite = np.isfinite(values)
    if not finite.any():
        return None
    least, most = float(values[finite].min()), float(values[finite].max())
    if least == most:
        return None
    scaled: Array = np.where(finite, (values.astype(np.float64) - least) / (most - least), 0.0)
    return scaled


def tile(channel: Array, height: int, width: int) -> Pixels:
    """A channel [h, w] as pixels uint8 [height, width, 3]: averaged where it is larger, in squares where smaller."""
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image

    scaled = normalised(channel)
    if scaled is None:
        return np.full((height, width, 3), DEAD, np.uint8)
    how = Image.Resampling.BOX if channel.shape[0] > height else Image.Resampling.NEAREST
    picture = Image.fromarray(scaled.astype(np.float32)).resize((width, height), how)
    coloured: Pixels = (colormaps[COLOURS](np.asarray(picture))[..., :3] * 255 + 0.5).astype(np.uint8)
    return coloured


def _tiles(figure: Any, values: Array) -> None:
    """A tile for every channel, its number below."""
    import numpy as np

    height, width, count = values.shape
    grid = Grid.of(count, height, width)
    rows, columns = grid.size
    page = (max(columns + 2 * MARGIN, 480), rows + HEAD + 2 * MARGIN)
    figure.set_size_inches(page[0] / DPI, page[1] / DPI)
    canvas = np.full((rows, columns, 3), 255, np.uint8)
    for index in range(count):
        top, left = grid.corner(index)
        canvas[top : top + grid.height, left : left + grid.width] = tile(values[..., index], grid.height, grid.width)
        x, y = MARGIN + left + grid.width / 2, page[1] - (MARGIN + HEAD + top + grid.height + LABEL / 2)
        figure.text(x / page[0], y / page[1], str(index), size=6, color=QUIET, ha="center", va="center")
    figure.figimage(canvas, MARGIN, MARGIN, origin="upper")


def _lines(figure: Any, values: Array) -> None:
    """A sequence: a line for every channel, its positions from left to right."""
    import numpy as np

    flat = values.reshape(-1, values.shape[-1])
    figure.set_size_inches(WIDTH / DPI, min(1600, max(260, 6 * flat.shape[1] + 120)) / DPI)
    axes = figure.add_axes(_inside(figure))
    lines = [normalised(flat[:, index]) for index in range(flat.shape[1])]
    empty = np.zeros(len(flat))
    picture = np.stack([empty if line is None else line for line in lines])
    axes.imshow(picture, cmap=COLOURS, aspect="auto", interpolation="nearest")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("position", color=QUIET, size=8)
    axes.set_ylabel("channel", color=QUIET, size=8)
    _quiet(axes)


def _bars(figure: Any, values: Sequence[float] | Array) -> None:
    """A vector: a bar for every number, and which are the highest."""
    import numpy as np

    heights = np.where(np.isfinite(values), values, 0.0)
    figure.set_size_inches(WIDTH / DPI, 4.2)
    axes = figure.add_axes(_inside(figure))
    places = np.arange(len(heights))
    if len(heights) <= 400:
        axes.bar(places, heights, width=0.8, color=BAR)
    else:  # thinner than a pixel: lines, none of which is lost
        axes.vlines(places, 0, heights, color=BAR, linewidth=0.8)
    axes.axhline(0, color=QUIET, linewidth=0.6)
    axes.set_xlim(-0.8, len(heights) - 0.2)
    least, most = min(0.0, float(heights.min())), max(0.0, float(heights.max()))
    room = 0.1 * (most - least or 1.0)
    axes.set_ylim(least - room * (least < 0), most + room)
    for index in _highest(heights):
        up = heights[index] >= 0
        axes.annotate(
            str(index), (index, heights[index]), (0, 3 if up else -3), textcoords="offset points", size=7, color=INK,
            ha="center", va="bottom" if up else "top",
        )  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("channel", color=QUIET, size=8)
    _quiet(axes)


def _highest(heights: Array, count: int = 5) -> list[int]:
    """The places of the highest bars, of those side by side, whose numbers would overlap, the highest alone."""
    import numpy as np

    apart = len(heights) / 50
    found: list[int] = []
    for index in np.argsort(-np.abs(heights), kind="stable"):
        if all(abs(index - other) >= apart for other in found):
            found.append(int(index))
        if len(found) == count:
            break
    return found


def _inside(figure: Any) -> tuple[float, float, float, float]:
    """The part of the figure for axes, below the head: left, bottom, width, height as fractions."""
    width, height = (side * DPI for side in figure.get_size_inches())
    left, bottom = 64, 48
    return left / width, bottom / height, (width - left - MARGIN) / width, (height - bottom - HEAD - MARGIN) / height


def _quiet(axes: Any) -> None:
    axes.tick_params(labelsize=7, colors=QUIET, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)


def _head(figure: Any, title: str, about: str) -> None:
    width, height = (side * DPI for side in figure.get_size_inches())
    figure.text(MARGIN / width, 1 - 18 / height, title, size=11, color=INK, va="center")
    figure.text(MARGIN / width, 1 - 40 / height, about, size=8, color=QUIET, va="center")
