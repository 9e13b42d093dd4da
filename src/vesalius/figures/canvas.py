"""What all figures share: a quiet canvas, colours, and images as a screen shows them.

Drawn without pyplot, on the Agg canvas, so that no global state is touched: `figure.savefig(path, dpi=150)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, ACCENT, WRONG = "#1f2933", "#9aa5b1", "#0072b2", "#d1495b"
#: Told apart by colour-blind readers (Okabe & Ito, 2008); line styles take over after the seventh class.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
STYLES = ("-", "--", ":", "-.")


def canvas(
    width: float, height: float, *, rows: int = 1, columns: int = 1, heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A quiet white figure of `width` x `height` inches, and its axes row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(colors=INK, labelsize=8.5, color=FAINT)
        axes.xaxis.label.set(color=INK, size=9.5)
        axes.yaxis.label.set(color=INK, size=9.5)
        axes.title.set_fontsize(11)
        axes._left_title.set(fontsize=11, color=INK)
    return figure, list(grid.flat)


def displayable(images: NDArray[Any]) -> NDArray[np.float64]:
    """(N, H, W) or (N, H, W, 3) in 0..1."""
    if np.issubdtype(images.dtype, np.integer):
        scaled = images / np.iinfo(images.dtype).max
    else:
        low, high = (float(np.nanmin(images)), float(np.nanmax(images))) if images.size else (0.0, 1.0)
        scaled = (images - low) / ((high - low) or 1.0)
    colour = images.ndim == 4 and images.shape[1] == 3
    return np.asarray(np.moveaxis(scaled, 1, -1) if colour else scaled[:, 0], dtype=np.float64)


def bare(axes: Axes) -> None:
    """No ticks and no frame, as around an image."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def show(axes: Axes, image: NDArray[Any]) -> None:
    """An image (C, H, W) where 0 is black and 1 white, so that it can be compared: three channels as RGB, else one."""
    pixels = np.clip(np.moveaxis(image, 0, -1) if len(image) == 3 else image[0], 0, 1)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def row_name(axes: Axes, name: str) -> None:
    """What the row of cells that begins here shows."""
    axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center", color=INK)
