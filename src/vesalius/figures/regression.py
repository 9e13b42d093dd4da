"""Figures of predicted continuous targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vesalius.figures.canvas import ACCENT, FAINT, canvas
from vesalius.metrics.entry import MetricEntry
from vesalius.metrics.formatting import format_metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scatter_figure(
    predictions: pd.DataFrame, names: Sequence[str], metrics: Mapping[str, MetricEntry] | None = None
) -> Figure:
    """Predicted over true values with the line of equality, one panel per target.

    Args:
        predictions: `target/<name>` and `pred/<name>` for each target.
        names: of the targets; the first six are drawn.
        metrics: entries of `regression_metrics` on this table, for the titles.
    """
    shown = list(names)[:6]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, panels = canvas(3.8 * columns, 3.8 * rows, rows=rows, columns=columns)
    for axes, name in zip(panels, shown, strict=False):
        true, predicted = (predictions[f"{kind}/{name}"].to_numpy(float) for kind in ("target", "pred"))
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        axes.scatter(true, predicted, s=10, color=ACCENT, alpha=min(1.0, 8 / np.sqrt(len(true))), linewidths=0)
        entry = (metrics or {}).get(f"r2/{name}") or (metrics or {}).get("r2")
        axes.set_title(f"{name}{f'   R² {format_metric(entry)}' if entry else ''}", loc="left")
        axes.set(xlabel="true", ylabel="predicted")
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    return figure
