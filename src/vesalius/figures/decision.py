"""Figures of what a classifier's decisions are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vesalius.figures.canvas import ACCENT, COLOURS, FAINT, INK, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CLASSES = 12


def decision_curve_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Net benefit over the threshold probability, of acting on the model, on all and on none; a panel per class.

    Args:
        curves: `decision_curve` of `metrics.json`; only the first 12 classes are drawn.
    """
    shown = list(curves.items())[:_MOST_CLASSES]
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    size = (4.8, 3.8) if len(shown) == 1 else (2.9 * columns, 2.7 * rows)
    figure, panels = canvas(*size, rows=rows, columns=columns)
    for axes, (name, curve) in zip(panels, shown, strict=False):
        _with_band(axes, curve["thresholds"], curve["model"], ACCENT, "model [95 % CI]")
        axes.plot(curve["thresholds"], curve["treat_all"]["value"], color=COLOURS[1], linewidth=1.2, label="treat all")
        axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="treat none")
        top = max(curve["model"]["high"])
        axes.set(xlim=(0, 1), ylim=(-0.35 * top - 0.01, 1.08 * top + 0.01))
        axes.set_title(f"Net benefit: {name}" if len(shown) == 1 else name, loc="left")
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(shown) - columns) : len(shown)]:
        axes.set_xlabel("threshold probability")
    panels[0].set_ylabel("net benefit")
    panels[0].legend(frameon=False, fontsize=8.5 if len(shown) == 1 else 7, loc="upper right")
    return figure


def abstention_figure(curve: Mapping[str, Any]) -> Figure:
    """Accuracy over the share of the samples that is kept, the surest first.

    Args:
        curve: `abstention` of `metrics.json`.
    """
    figure, (axes,) = canvas(4.8, 3.8)
    _with_band(axes, curve["kept"], curve["accuracy"], ACCENT, "accuracy [95 % CI]")
    axes.axhline(curve["accuracy"]["value"][int(np.argmax(curve["kept"]))], color=FAINT, linestyle=(0, (4, 3)))
    axes.set(xlim=(1, 0), xlabel="share kept, the surest", ylabel="accuracy")
    axes.set_ylim(max(0.0, min(curve["accuracy"]["low"]) - 0.02), 1.01)
    axes.set_title("Accuracy where the rest is left to a person", loc="left")
    return figure


def _with_band(axes: Axes, x: Any, curve: Mapping[str, Any], colour: str, label: str) -> None:
    axes.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, curve["value"], color=colour, linewidth=1.8, label=label)
