"""Runs of tests have blank figures: to draw and save real ones costs as much as all the rest of a small run.

The figures of one run of each family are drawn (`tests/contract/test_pairs.py`), and each kind in `tests/figures`.
"""

import contextlib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

_draw = Figure.savefig
_sketching = True


def _sketch(figure: Figure, path: Any, *, dpi: float = 100, **options: Any) -> None:
    if not isinstance(path, str | Path) or Path(path).parent.name not in ("figures", "samples"):  # not of a run
        _draw(figure, path, dpi=dpi, **options)
        return
    Image.new("RGB", tuple(int(side * dpi) for side in figure.get_size_inches())).save(path)


def _blank(make: Callable[..., Figure]) -> Callable[..., Figure]:
    @functools.wraps(make)
    def figure(*arguments: Any, **options: Any) -> Figure:
        return Figure(figsize=(3, 2)) if _sketching else make(*arguments, **options)

    return figure


def leave_figures_blank() -> None:
    """Figures that runs ask for are blank from now on; `tests/figures` draws its own."""
    import vesalius.figures

    for found in pkgutil.iter_modules(vesalius.figures.__path__):
        module = importlib.import_module(f"vesalius.figures.{found.name}")
        for name in [name for name in vars(module) if name.endswith("_figure")]:
            setattr(module, name, _blank(getattr(module, name)))


def sketch_figures() -> None:
    """From now on the figures of runs are blank."""
    global _sketching
    Figure.savefig, _sketching = _sketch, True


def draw_figures() -> None:
    """From now on the figures of runs are what they are for a user."""
    global _sketching
    Figure.savefig, _sketching = _draw, False


@contextlib.contextmanager
def real_figures() -> Iterator[None]:
    """Figures of runs that end meanwhile are drawn."""
    draw_figures()
    try:
        yield
    finally:
        sketch_figures()
