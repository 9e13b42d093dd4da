"""Figures of image series, of ablations of time, and of hidden states over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vesalius.figures.canvas import ACCENT, COLOURS, FAINT, INK, WRONG, canvas, displayable, hide_axes, label_row
from vesalius.metrics.entry import MetricEntry, value_and_ends
from vesalius.metrics.formatting import ALL_CLASSES, format_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAMES_SHOWN = 8

Metrics = Mapping[str, MetricEntry]


def filmstrip_figure(
    series: Sequence[NDArray[Any]],
    names: Sequence[str],
    *,
    times: Sequence[Sequence[float]] | None = None,
    wrong: Sequence[bool] | None = None,
) -> Figure:
    """One row per series: up to eight of its frames, evenly spaced, with their times.

    Args:
        series: each (T, C, H, W); integers in their full range, or floats, stretched to the range of the series.
        names: one label per series.
        times: seconds since the first frame, T per series; None to show frame numbers.
        wrong: for which series the label is printed in red.
    """
    columns = min(FRAMES_SHOWN, max(len(frames) for frames in series))
    figure, cells = canvas(1.1 * columns + 1.6, 1.25 * len(series) + 0.2, rows=len(series), columns=columns)
    for axes in cells:
        hide_axes(axes)
    for row, frames in enumerate(series):
        chosen = np.unique(np.linspace(0, len(frames) - 1, columns).round().astype(np.int64))
        for column, (frame, pixels) in enumerate(zip(chosen, displayable(frames[chosen]), strict=True)):
            axes = cells[row * columns + column]
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            label = f"{frame + 1}" if times is None else f"{times[row][frame]:.4g} s"
            axes.set_xlabel(label, fontsize=7, labelpad=2)
        label_row(cells[row * columns], names[row], WRONG if wrong is not None and wrong[row] else INK)
    return figure


def ablation_figure(ablations: Mapping[str, Metrics], metric: str) -> Figure:
    """A metric with its 95 % interval when information is removed from the series.

    Panels: one row per ablation; the number of first frames; the share of frames that are dropped at random.

    Args:
        ablations: the `evidence` of `metrics.json`.
        metric: such as `auroc`.
    """
    early, dropped = _numbered(ablations, "first_frames"), _numbered(ablations, "frames_dropped")
    # Ablations of the data set, such as the test split without duplicates, remove nothing from a series.
    single = [arm for arm in ablations if "/" not in arm and arm not in ALL_CLASSES]
    panels = 1 + bool(early) + bool(dropped)
    figure, all_axes = canvas(4.2 * panels, 3.6, columns=panels)
    _arms(all_axes[0], {arm: ablations[arm][metric] for arm in single if metric in ablations[arm]}, metric)
    for axes, (title, unit, points) in zip(
        all_axes[1:],
        [
            entry
            for entry in (
                ("First frames only", "number of frames", early),
                ("Frames dropped at random", "frames dropped (%)", dropped),
            )
            if entry[2]
        ],
        strict=True,
    ):
        _curve(axes, {number: entry[metric] for number, entry in points.items() if metric in entry})
        axes.set_title(title, loc="left")
        axes.set_xlabel(unit)
        axes.set_ylabel(metric)
    return figure


def trajectory_figure(
    states: NDArray[Any], lengths: Sequence[int], labels: Sequence[int], classes: Sequence[str]
) -> Figure:
    """Hidden states over time, in their two principal components: thin lines for series, thick lines for class means.

    Args:
        states: (N, T, F), states after each frame.
        lengths: N numbers of real frames.
        labels: N class indices.
        classes: names of the classes.
    """
    from sklearn.decomposition import PCA

    real = np.arange(states.shape[1]) < np.asarray(lengths)[:, None]
    plane = PCA(2, random_state=0).fit(states[real]).transform(states.reshape(-1, states.shape[2]))
    plane = np.where(real[:, :, None], plane.reshape(*states.shape[:2], 2), np.nan)
    figure, (axes,) = canvas(6.4, 4.8)
    for label, name in enumerate(classes):
        mine = plane[np.asarray(labels) == label]
        if not len(mine):
            continue
        colour = COLOURS[label % len(COLOURS)]
        for path in mine[:40]:
            axes.plot(path[:, 0], path[:, 1], color=colour, alpha=0.15, linewidth=0.8)
        known = ~np.isnan(mine[:, :, 0]).all(axis=0)
        mean = np.nanmean(mine[:, known], axis=0)
        axes.plot(mean[:, 0], mean[:, 1], color=colour, linewidth=2.2, marker="o", markersize=3, label=name)
        axes.annotate("", mean[-1], mean[-2] if len(mean) > 1 else mean[-1], arrowprops={"arrowstyle": "->"})
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.set_title("Hidden states over time, by class", loc="left")
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def _numbered(ablations: Mapping[str, Metrics], prefix: str) -> dict[int, Metrics]:
    found = {int(arm.split("/")[1]): entry for arm, entry in ablations.items() if arm.startswith(f"{prefix}/")}
    return dict(sorted(found.items()))


def _arms(axes: Axes, arms: Metrics, metric: str) -> None:
    known = {arm: numbers for arm, entry in arms.items() if (numbers := value_and_ends(entry))}
    for row, (arm, (value, low, high)) in enumerate(known.items()):
        colour = ACCENT if arm == "model" else INK
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot([value], [row], marker="o", color=colour)
        axes.text(high, row - 0.28, format_metric(arms[arm]), fontsize=7.5, ha="right", color=colour)
    if known and (no_skill := arms[next(iter(known))]["no_skill"]) is not None:
        axes.axvline(no_skill, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_yticks(range(len(known)), [arm.replace("_", " ") for arm in known])
    axes.invert_yaxis()
    axes.set_xlabel(metric)
    axes.set_title("Ablations", loc="left")


def _curve(axes: Axes, points: Mapping[int, MetricEntry]) -> None:
    known = {x: numbers for x, entry in points.items() if (numbers := value_and_ends(entry))}
    if not known:
        return
    value, low, high = np.array(list(known.values())).T
    axes.fill_between(list(known), low, high, color=ACCENT, alpha=0.18, linewidth=0)
    axes.plot(list(known), value, color=ACCENT, marker="o", markersize=4)
    if (no_skill := points[next(iter(known))]["no_skill"]) is not None:
        axes.axhline(no_skill, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
