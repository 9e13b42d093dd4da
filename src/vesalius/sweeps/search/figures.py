"""What a study looks like: how it went on, and which keys mattered."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from vesalius.figures.canvas import ACCENT, FAINT, INK, WRONG, canvas
from vesalius.sweeps.search.study import Objective, SweepStudy
from vesalius.sweeps.search.summary import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_study_figures(study: SweepStudy, folder: Path, importance: Mapping[str, float]) -> None:
    """Write `trials.csv`, `history.png` and, where there is one to show, `importance.png`.

    Args:
        study: at any stage.
        folder: where they go.
        importance: of each key, between 0 and 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_table(study, folder / "trials.csv")
    history_figure(study.trials, study.objectives).savefig(folder / "history.png", dpi=150)
    if importance:
        importance_figure(importance, study.objectives[0].name).savefig(folder / "importance.png", dpi=150)


def history_figure(trials: list[FrozenTrial], objectives: list[Objective]) -> "Figure":
    """Each trial's value and the best so far; pruned trials at their last value, failed ones below."""
    figure, panels = canvas(7, 3.2 * len(objectives), rows=len(objectives))
    for place, (axes, objective) in enumerate(zip(panels, objectives, strict=True)):
        _draw_history(axes, trials, objective, place)
    panels[-1].set_xlabel("trial")
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def _draw_history(axes: "Axes", trials: list[FrozenTrial], objective: Objective, place: int) -> None:
    from matplotlib.ticker import MaxNLocator

    done = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED and trial.values]
    failed = [trial.number for trial in trials if trial.state is TrialState.FAIL]
    if done:
        numbers, values = [trial.number for trial in done], np.array([trial.values[place] for trial in done])
        best = np.maximum.accumulate(values) if objective.mode == "max" else np.minimum.accumulate(values)
        axes.step(numbers, best, where="post", color=ACCENT, linewidth=1.4, label="best so far")
        axes.plot(numbers, values, "o", color=ACCENT, markersize=4.5, label="done")
    if pruned:
        axes.plot(
            [trial.number for trial in pruned],
            [trial.values[place] for trial in pruned],
            "x",
            color=FAINT,
            markersize=5.5,
            label="pruned",
        )
    if failed:
        axes.plot(
            failed,
            [0.02] * len(failed),
            "|",
            color=WRONG,
            markersize=9,
            transform=axes.get_xaxis_transform(),
            label="failed",
        )
    axes.set_ylabel(objective.name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def importance_figure(importance: Mapping[str, float], objective: str) -> "Figure":
    """One bar per key, the most important on top."""
    names = sorted(importance, key=lambda key: importance[key])
    figure, (axes,) = canvas(7, 0.9 + 0.36 * len(names))
    axes.barh(names, [importance[name] for name in names], color=ACCENT, height=0.6)
    for at, name in enumerate(names):
        axes.text(importance[name] + 0.01, at, f"{importance[name]:.2f}", va="center", fontsize=8.5, color=INK)
    axes.set(xlim=(0, 1.1), xlabel=f"share of the variance of {objective} that keys explain by themselves")
    return figure
