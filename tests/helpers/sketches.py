"""Runs of tests save blank images for their figures: to draw them costs as much as all the rest of a small run.

The figures of one run of each family are drawn (`tests/contract/test_pairs.py`), and each kind in `tests/figures`.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

_draw = Figure.savefig


def _sketch(figure: Figure, path: Any, *, dpi: float = 100, **options: Any) -> None:
    if not isinstance(path, str | Path) or Path(path).parent.name not in ("figures", "samples"):  # not of a run
        _draw(figure, path, dpi=dpi, **options)
        return
    Image.new("RGB", tuple(int(side * dpi) for side in figure.get_size_inches())).save(path)


def sketch_figures() -> None:
    """From now on the figures of runs are blank."""
    Figure.savefig = _sketch


def draw_figures() -> None:
    """From now on the figures of runs are what they are for a user."""
    Figure.savefig = _draw


@contextlib.contextmanager
def real_figures() -> Iterator[None]:
    """Figures of runs that end meanwhile are drawn."""
    draw_figures()
    try:
        yield
    finally:
        sketch_figures()
