"""Figure of a comparison: each arm's metric, and its difference from another arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vesalius.figures.canvas import ACCENT, FAINT, INK, canvas
from vesalius.metrics.comparison.verdict import shows_gain_or_loss
from vesalius.metrics.entry import MetricEntry, value_and_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def comparison_figure(arms: Mapping[str, Mapping[str, Any]], metric: str) -> Figure:
    """One row per arm: its metric on the left, its difference on the right, each a dot on its 95 % interval.

    Args:
        arms: `arms` of `compare.json` (`vesalius.studies.compare.compare`). Missing numbers are not drawn.
        metric: name of the metric. Dashed lines mark its no-skill value, if all arms share it, and a difference of 0;
            a difference that shows a gain or a loss is coloured.
    """
    figure, (left, right) = canvas(10.0, 1.3 + 0.42 * len(arms), columns=2)
    chance = {arm[metric]["no_skill"] for arm in arms.values()}
    if len(chance) == 1 and None not in chance:
        left.axvline(chance.pop(), color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    right.axvline(0, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    for row, arm in enumerate(arms.values()):
        _dot(left, arm[metric], row, INK)
        if "against" in arm:
            difference = arm[f"{metric}_difference"]
            _dot(right, difference, row, ACCENT if shows_gain_or_loss(difference) else INK)
    left.set_yticks(range(len(arms)), [f"{name}  (runs: {len(arm['runs'])})" for name, arm in arms.items()])
    right.set_yticks(range(len(arms)), [f"minus {arm['against']}" if "against" in arm else "" for arm in arms.values()])
    for axes, title in ((left, f"{metric} with 95 % CI"), (right, "difference with 95 % CI")):
        axes.set_title(title, loc="left")
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
    return figure


def _dot(axes: Axes, entry: MetricEntry, row: int, colour: str) -> None:
    if (known := value_and_ends(entry)) is not None:
        value, low, high = known
        axes.hlines(row, low, high, color=colour, linewidth=2)
        axes.plot(value, row, color=colour, marker="o", markersize=6)
