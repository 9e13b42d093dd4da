"""The canvas, the colours and the display of images that all figures share.

Figures are drawn without pyplot, on the Agg canvas, so that no global state changes: `figure.savefig(path, dpi=150)`.
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
#: Distinct for colour-blind readers (Okabe & Ito, 2008); after the seventh class, line styles vary.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
STYLES = ("-", "--", ":", "-.")


def canvas(
    width: float, height: float, *, rows: int = 1, columns: int = 1, heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A white figure of `width` x `height` inches without top and right spines, and its axes, row by row."""
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
    """Convert images (N, C, H, W) to (N, H, W), or for three channels to (N, H, W, 3), in 0..1.

    Integers are divided by the largest value of their type; floats are stretched to their common range.
    """
    if np.issubdtype(images.dtype, np.integer):
        scaled = images / np.iinfo(images.dtype).max
    else:
        low, high = (float(np.nanmin(images)), float(np.nanmax(images))) if images.size else (0.0, 1.0)
        scaled = (images - low) / ((high - low) or 1.0)
    colour = images.ndim == 4 and images.shape[1] == 3
    return np.asarray(np.moveaxis(scaled, 1, -1) if colour else scaled[:, 0], dtype=np.float64)


def hide_axes(axes: Axes) -> None:
    """Remove ticks and frame, as around an image."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def show_image(axes: Axes, image: NDArray[Any]) -> None:
    """Draw an image (C, H, W), 0 as black and 1 as white; three channels as RGB, else the first."""
    pixels = np.clip(np.moveaxis(image, 0, -1) if len(image) == 3 else image[0], 0, 1)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def label_row(axes: Axes, name: str, colour: str = INK) -> None:
    """Write a name to the left of a row of images."""
    axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center", color=colour)
