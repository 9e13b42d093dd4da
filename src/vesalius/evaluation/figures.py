"""Figures of a classifier's results; each function returns a `matplotlib.figure.Figure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.facts import Task
from vesalius.evaluation.canvas import ACCENT, COLOURS, FAINT, INK, STYLES, WRONG, canvas, displayable
from vesalius.evaluation.predictions import Decision, Predictions, read_predictions
from vesalius.evaluation.statistics import ECE_BINS
from vesalius.evaluation.tables import format_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def confusion_matrix_figure(
    predictions: pd.DataFrame, *, task: Task, classes: Sequence[str], decision: Decision = "argmax"
) -> Figure:
    """Counts, shaded by their share of the true class (of each label apart, for multilabel)."""
    p = read_predictions(predictions, task=task, classes=classes, decision=decision)
    if not p.single_label:
        return _label_confusion(p)
    counts = p.truth.astype(np.int64).T @ p.decided.astype(np.int64)
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
    axes.set_title("Confusion matrix", loc="left")
    return figure


def _label_confusion(p: Predictions) -> Figure:
    """A row a label: hits and misses of those who have it, false alarms and clear answers of those who do not."""
    hits, misses = (p.truth & p.decided).sum(axis=0), (p.truth & ~p.decided).sum(axis=0)
    alarms, clear = (~p.truth & p.decided).sum(axis=0), (~p.truth & ~p.decided).sum(axis=0)
    figure, (axes,) = canvas(6.4, max(3.0, 0.42 * len(p.classes) + 1.6))
    counts = np.stack([hits, misses, alarms, clear], axis=1)
    shares = np.hstack([_shares(counts[:, :2]), _shares(counts[:, 2:])])
    _shaded_counts(axes, counts, shares)
    axes.axvline(1.5, color="white", linewidth=4)
    axes.set_aspect("auto")
    axes.set_xticks(range(4), ["has it,\nfound", "has it,\nmissed", "has it not,\nalarm", "has it not,\nclear"])
    axes.set_yticks(range(len(p.classes)), p.classes)
    axes.set_title("Answers by label", loc="left")
    return figure


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _shaded_counts(axes: Axes, counts: NDArray[Any], shares: NDArray[np.float64] | None = None) -> None:
    shares = _shares(counts) if shares is None else shares
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
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """A curve a class against the rest (class 1 alone, for binary), with AUROC and interval in the legend.

    Args:
        predictions: the predictions table.
        task: what the classes are to each other.
        classes: class names.
        metrics: entries of `classification_metrics` on this table, for the legend; without them curves only.
    """
    p = read_predictions(predictions, task=task, classes=classes)
    shown = [1] if task == "binary" else list(range(len(classes)))
    long = len(shown) > 5
    figure, (axes,) = canvas(8.2 if long else 5.0, 4.8)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label="chance  .500")
    for position, k in enumerate(shown):
        truth = p.truth[:, k]
        if not truth.any() or truth.all():
            continue
        false_positives, true_positives = _roc_points(truth, p.probabilities[:, k])
        entry = (metrics or {}).get(f"auroc/{classes[k]}")
        label = f"{classes[k]}  {format_metric(entry)}" if entry else classes[k]
        style = STYLES[position // len(COLOURS) % len(STYLES)]
        colour = COLOURS[position % len(COLOURS)]
        axes.plot(false_positives, true_positives, color=colour, linestyle=style, linewidth=1.8, label=label)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axes.set_title("ROC curve" if len(shown) == 1 else "ROC curves, each class against the rest", loc="left")
    axes.legend(
        **({"loc": "center left", "bbox_to_anchor": (1.02, 0.5)} if long else {"loc": "lower right"}),
        frameon=False,
        fontsize=8.5,
        title="AUROC [95 %]" if metrics else None,
        title_fontsize=8.5,
        alignment="left",
    )
    return figure


def _roc_points(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[Any, Any]:
    """False and true positive rates, from strictest to laxest; one point for each distinct score."""
    order = np.argsort(-scores, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    hits, alarms = truth[order].cumsum()[ends], (~truth[order]).cumsum()[ends]
    return np.r_[0, alarms / alarms[-1]], np.r_[0, hits / hits[-1]]


def history_figure(history: pd.DataFrame) -> Figure:
    """Every column of `history.csv` that holds numbers, over `epoch`: losses left, other metrics right.

    Columns named `train/...` and `val/...` (or `train_...`, `val_...`) share a colour by split.
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
    columns: int = 6,
    title: str = "",
) -> Figure:
    """Images with what they are and what the model said; wrong ones are framed and say so in words.

    Args:
        images: (N, C, H, W); integers in their full range, or floats, which are stretched together to their range.
            One channel is shown grey, three as RGB, of other numbers the first.
        true: N names of what is in the image.
        predicted: N names of what the model said.
        captions: N further words, such as the probability or the sample's name.
        columns: images in a row.
        title: above the grid.
    """
    rows = max(1, -(-len(images) // columns))
    figure, cells = canvas(1.55 * columns, 2.0 * rows + (0.4 if title else 0.1), rows=rows, columns=columns)
    pixels = displayable(np.asarray(images))
    for position, axes in enumerate(cells):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if position >= len(images):
            continue
        wrong = true[position] != predicted[position]
        axes.imshow(pixels[position], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.spines[:].set(visible=wrong, color=WRONG, linewidth=2.5)
        verdict = f"{predicted[position]}, not\n{true[position]}" if wrong else f"{true[position]}"
        axes.set_title(
            verdict, fontsize=8, color=WRONG if wrong else INK, fontweight="bold" if wrong else "normal", pad=4
        )
        if captions:
            axes.set_xlabel(captions[position], fontsize=7, color=INK, labelpad=3)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    return figure


def reliability_figure(
    predictions: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """How often the model is right at each confidence, over the 15 bins of `ece`; below, the answers in each.

    The confidence is that of the most probable class; for multilabel, of the more probable answer to each label.
    """
    p = read_predictions(predictions, task=task, classes=classes)
    if p.single_label:
        confidence = p.probabilities.max(axis=1)
        right = p.truth[np.arange(len(p.truth)), p.probabilities.argmax(axis=1)]
    else:
        confidence = np.maximum(p.probabilities, 1 - p.probabilities).ravel()
        right = ((p.probabilities > 0.5) == p.truth).ravel()
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    count = np.bincount(bins, minlength=ECE_BINS)
    filled = count > 0
    mean_confidence = np.bincount(bins, confidence, ECE_BINS)[filled] / count[filled]
    accuracy = np.bincount(bins, right, ECE_BINS)[filled] / count[filled]

    figure, (axes, histogram) = canvas(4.6, 5.2, rows=2, heights=(4, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.vlines(mean_confidence, mean_confidence, accuracy, color=WRONG, alpha=0.35, linewidth=4)
    axes.plot(mean_confidence, accuracy, color=ACCENT, marker="o", markersize=4, linewidth=1.6)
    floor = float(np.floor(min(mean_confidence.min(), 0.5) * 10) / 10)
    axes.set(xlim=(floor, 1.01), ylim=(-0.02, 1.02), ylabel="share that is right")
    entry = (metrics or {}).get("ece")
    axes.set_title(f"Reliability{f'   ECE {format_metric(entry)}' if entry else ''}", loc="left")
    axes.tick_params(labelbottom=False)
    edges = np.linspace(0, 1, ECE_BINS + 1)
    histogram.bar(edges[:-1], count, width=1 / ECE_BINS, align="edge", color=ACCENT, alpha=0.7, edgecolor="white")
    histogram.set(xlim=(floor, 1.01), xlabel="confidence", ylabel="answers")
    return figure
