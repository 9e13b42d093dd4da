"""Figures of a classifier's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.figures.canvas import ACCENT, COLOURS, FAINT, INK, STYLES, WRONG, canvas, displayable, hide_axes
from vesalius.metrics.classification.calibration import ECE_BINS
from vesalius.metrics.classification.confusion import ConfusionCounts, confusion_counts
from vesalius.metrics.classification.curves import reliability_table, roc_table
from vesalius.metrics.entry import MetricEntry
from vesalius.metrics.formatting import format_metric
from vesalius.metrics.predictions import Decision, read_predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRID_COLUMNS = 6
_CURVE_POINTS = 1_000  # more than a figure has pixels


def confusion_matrix_figure(
    predictions: pd.DataFrame, *, task: Task, classes: Sequence[str], decision: Decision = "argmax"
) -> Figure:
    """The confusion matrix, shaded by the share of the true class; for multilabel, one row of four counts per label."""
    p = read_predictions(predictions, task=task, classes=classes, decision=decision)
    counts = confusion_counts(p)
    if not p.single_label:
        return _label_confusion(counts)
    side = max(3.6, 0.62 * len(classes) + 2.2)
    figure, (axes,) = canvas(side + 0.3, side)
    _shaded_counts(axes, counts)
    axes.set_xticks(
        range(len(classes)),
        classes,
        rotation=40 if len(classes) > 2 else 0,
        ha="right" if len(classes) > 2 else "center",
    )
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(counts.title, loc="left")
    return figure


def _label_confusion(table: ConfusionCounts) -> Figure:
    """One row per label: true positives, false negatives, false positives and true negatives."""
    figure, (axes,) = canvas(6.4, max(3.0, 0.42 * len(table.rows) + 1.6))
    _shaded_counts(axes, table)
    axes.axvline(1.5, color="white", linewidth=4)
    axes.set_aspect("auto")
    axes.set_xticks(range(4), [name.replace(", ", ",\n") for name in table.columns])
    axes.set_yticks(range(len(table.rows)), table.rows)
    axes.set_title(table.title, loc="left")
    return figure


def _shaded_counts(axes: Axes, table: ConfusionCounts) -> None:
    counts, shares = table.counts, table.shares
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else INK if count else FAINT
        size = 10 if counts.max() < 1000 else 8
        axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=size)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def roc_figure(
    predictions: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    metrics: Mapping[str, MetricEntry] | None = None,
) -> Figure:
    """ROC curves of each class against the rest (for binary, of class 1 only), with AUROC and interval in the legend.

    Args:
        predictions: the predictions table.
        task: the classification task.
        classes: class names.
        metrics: entries of `classification_metrics` on this table, for the legend; None for names only.
    """
    p = read_predictions(predictions, task=task, classes=classes)
    shown = 1 if task == "binary" else len(classes)
    long = shown > 5
    figure, (axes,) = canvas(8.2 if long else 5.0, 4.8)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label="chance  .500")
    for position, (name, curve) in enumerate(roc_table(p, max_points=_CURVE_POINTS).groupby("class", sort=False)):
        entry = (metrics or {}).get(f"auroc/{name}")
        label = f"{name}  {format_metric(entry)}" if entry else name
        style = STYLES[position // len(COLOURS) % len(STYLES)]
        colour = COLOURS[position % len(COLOURS)]
        axes.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=style, linewidth=1.8, label=label)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axes.set_title("ROC curve" if shown == 1 else "ROC curves, each class against the rest", loc="left")
    axes.legend(
        **({"loc": "center left", "bbox_to_anchor": (1.02, 0.5)} if long else {"loc": "lower right"}),
        frameon=False,
        fontsize=8.5,
        title="AUROC [95 % CI]" if metrics else None,
        title_fontsize=8.5,
        alignment="left",
    )
    return figure


def history_figure(history: pd.DataFrame) -> Figure:
    """Every numeric column of `history.csv` over `epoch`: losses on the left, other metrics on the right.

    Training losses are grey, validation losses blue.
    """
    from matplotlib.ticker import MaxNLocator

    epoch = history["epoch"] if "epoch" in history else pd.RangeIndex(len(history))
    numeric = [
        name
        for name in history.select_dtypes("number").columns
        if name not in ("epoch", "step") and history[name].notna().any()
    ]
    losses = [name for name in numeric if "loss" in name]
    scores = [name for name in numeric if name not in losses and not name.startswith(("lr", "seconds", "time"))]
    panels = [(title, names) for title, names in (("loss", losses), ("metrics", scores)) if names]
    figure, all_axes = canvas(4.8 * max(1, len(panels)), 3.6, columns=max(1, len(panels)))
    for axes, (title, names) in zip(all_axes, panels, strict=False):
        for position, name in enumerate(names):
            known = history[name].notna()
            axes.plot(epoch[known], history.loc[known, name], **_history_style(name, position), label=name)
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axes.legend(frameon=False, fontsize=8.5)
    return figure


def _history_style(name: str, position: int) -> dict[str, Any]:
    marker = {"marker": "o", "markersize": 3, "linewidth": 1.6}
    if "loss" in name:
        return {"color": FAINT if name.startswith("train") else ACCENT, **marker}
    return {"color": COLOURS[position % len(COLOURS)], **marker}


def image_grid_figure(
    images: NDArray[Any],
    true: Sequence[str],
    predicted: Sequence[str],
    *,
    captions: Sequence[str] | None = None,
) -> Figure:
    """Images with their true and predicted classes; wrong predictions are framed and written in red.

    Args:
        images: (N, C, H, W); integers in their full range, or floats, which are stretched to their common range.
            One channel is shown in grey, three as RGB, of other numbers the first.
        true: N names of true classes.
        predicted: N names of predicted classes.
        captions: N lines below the images, such as the probability.
    """
    columns, rows = _GRID_COLUMNS, max(1, -(-len(images) // _GRID_COLUMNS))
    figure, cells = canvas(1.55 * columns, 2.0 * rows + 0.1, rows=rows, columns=columns)
    pixels = displayable(np.asarray(images))
    for position, axes in enumerate(cells):
        hide_axes(axes)
        if position >= len(images):
            continue
        wrong = true[position] != predicted[position]
        axes.imshow(pixels[position], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.spines[:].set(visible=wrong, color=WRONG, linewidth=2.5)
        label = f"{predicted[position]}, not\n{true[position]}" if wrong else f"{true[position]}"
        axes.set_title(
            label, fontsize=8, color=WRONG if wrong else INK, fontweight="bold" if wrong else "normal", pad=4
        )
        if captions:
            axes.set_xlabel(captions[position], fontsize=7, color=INK, labelpad=3)
    return figure


def reliability_figure(
    predictions: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    metrics: Mapping[str, MetricEntry] | None = None,
    calibrated: pd.DataFrame | None = None,
    calibrated_metrics: Mapping[str, MetricEntry] | None = None,
) -> Figure:
    """Accuracy over confidence in the 15 bins of `ece`, and below it the number of predictions per bin.

    The confidence is the probability of the most probable class; for multilabel, of a label or of its absence.

    Args:
        predictions: the predictions table.
        task: the classification task.
        classes: class names.
        metrics: entries of `classification_metrics` on this table, for the legend; None for none.
        calibrated: the same table with calibrated probabilities, to be drawn as well.
        calibrated_metrics: entries on that one.
    """
    tables = [(predictions, metrics, WRONG if calibrated is not None else ACCENT, "as the net gives them")]
    if calibrated is not None:
        tables.append((calibrated, calibrated_metrics, ACCENT, "calibrated"))
    figure, (axes, histogram) = canvas(4.6, 5.2, rows=2, heights=(4, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    lowest = 0.5
    for at, (table, entries, colour, name) in enumerate(tables):
        points = reliability_table(read_predictions(table, task=task, classes=classes))
        confidence, correct = points["confidence"], points["correct"]
        lowest = min(lowest, confidence.min())
        entry = (entries or {}).get("ece")
        label = f"{name}{f'  ECE {format_metric(entry)}' if entry else ''}"
        if len(tables) == 1:
            axes.vlines(confidence, confidence, correct, color=WRONG, alpha=0.35, linewidth=4)
        axes.plot(confidence, correct, color=colour, marker="o", markersize=4, linewidth=1.6, label=label)
        place = (points.index + at / len(tables)) / ECE_BINS
        bars: Any = {"width": 1 / ECE_BINS / len(tables), "align": "edge", "alpha": 0.7, "edgecolor": "white"}
        histogram.bar(place, points["predictions"], color=colour, **bars)
    left = float(np.floor(lowest * 10) / 10)
    axes.set(xlim=(left, 1.01), ylim=(-0.02, 1.02), ylabel="accuracy")
    axes.set_title("Reliability (ECE: root mean square)" if metrics else "Reliability", loc="left")
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    axes.tick_params(labelbottom=False)
    histogram.set(xlim=(left, 1.01), xlabel="confidence", ylabel="predictions")
    return figure
