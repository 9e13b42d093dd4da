"""Pictures of made images: a grid of each class, and the closest pairs of made and training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vesalius.figures.canvas import INK, bare, canvas, row_name, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = NDArray[Any]

_COLUMNS = 8


def samples_figure(images: Images, names: Sequence[str] | None = None) -> Figure:
    """A grid of images, a row for each class.

    Args:
        images: (N, C, H, W) in 0..1.
        names: the class of each image; None for rows without names.
    """
    if names is None:
        rows = [("", images[start : start + _COLUMNS]) for start in range(0, len(images), _COLUMNS)]
    else:
        of = np.asarray(names)
        rows = [(name, images[of == name][:_COLUMNS]) for name in dict.fromkeys(names)]
    columns = max(len(shown) for _, shown in rows)
    figure, cells = canvas(0.95 * columns + 0.9, 0.98 * len(rows), rows=len(rows), columns=columns)
    for axes in cells:
        bare(axes)
    for number, (name, shown) in enumerate(rows):
        row_name(cells[number * columns], name)
        for column, image in enumerate(shown):
            show(cells[number * columns + column], image)
    return figure


def pairs_figure(made: Images, training: Images, captions: Sequence[str]) -> Figure:
    """Made images above the training images that lie nearest to them.

    Args:
        made: (N, C, H, W) in 0..1.
        training: of the same shape.
        captions: N words below each pair, such as its distance.
    """
    columns = len(made)
    figure, cells = canvas(1.05 * columns + 0.9, 2.3, rows=2, columns=columns)
    for row, (name, images) in enumerate((("made", made), ("nearest in\ntraining", training))):
        row_name(cells[row * columns], name)
        for column, image in enumerate(images):
            axes = cells[row * columns + column]
            bare(axes)
            show(axes, image)
    for column, caption in enumerate(captions):
        cells[columns + column].set_xlabel(caption, fontsize=7, color=INK, labelpad=2)
    return figure
