"""Figures of synthetic images: a grid of each class, and the closest pairs of synthetic and training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vesalius.figures.canvas import INK, canvas, hide_axes, label_row, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = NDArray[Any]

_COLUMNS = 8


def samples_figure(images: Images, names: Sequence[str] | None = None) -> Figure:
    """A grid of images, with one row of eight for each class.

    Args:
        images: (N, C, H, W) in 0..1.
        names: the class of each image; None for rows of all images, without names.
    """
    if names is None:
        rows = [("", images[start : start + _COLUMNS]) for start in range(0, len(images), _COLUMNS)]
    else:
        classes = np.asarray(names)
        rows = [(name, images[classes == name][:_COLUMNS]) for name in dict.fromkeys(names)]
    columns = max(len(shown) for _, shown in rows)
    figure, cells = canvas(0.95 * columns + 0.9, 0.98 * len(rows), rows=len(rows), columns=columns)
    for axes in cells:
        hide_axes(axes)
    for number, (name, shown) in enumerate(rows):
        label_row(cells[number * columns], name)
        for column, image in enumerate(shown):
            show_image(cells[number * columns + column], image)
    return figure


def pairs_figure(synthetic: Images, training: Images, captions: Sequence[str]) -> Figure:
    """Synthetic images above the training images that are most similar to them.

    Args:
        synthetic: (N, C, H, W) in 0..1.
        training: of the same shape.
        captions: N lines below the pairs, such as their distance.
    """
    columns = len(synthetic)
    figure, cells = canvas(1.05 * columns + 0.9, 2.3, rows=2, columns=columns)
    for row, (name, images) in enumerate((("synthetic", synthetic), ("nearest\ntraining\nimage", training))):
        label_row(cells[row * columns], name)
        for column, image in enumerate(images):
            axes = cells[row * columns + column]
            hide_axes(axes)
            show_image(axes, image)
    for column, caption in enumerate(captions):
        cells[columns + column].set_xlabel(caption, fontsize=7, color=INK, labelpad=2)
    return figure
