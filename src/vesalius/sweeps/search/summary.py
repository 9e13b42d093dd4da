"""Summary of a study: its best trials, the importance of each key, a table of trials."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from vesalius.metrics.formatting import csv_cell
from vesalius.runs.run_folder import CONFIG, RunFolder
from vesalius.sweeps.search.study import SweepStudy, history_rows


def best_trials(sweep: SweepStudy) -> list[FrozenTrial]:
    """The best trial; with several objectives the Pareto front; empty before a trial is finished."""
    if not sweep.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return [sweep.study.best_trial] if len(sweep.objectives) == 1 else sweep.study.best_trials


def study_summary(sweep: SweepStudy, importance: Mapping[str, float]) -> dict[str, Any]:
    """The entry of the study in `sweep.json`; `importance` is empty until it is known."""
    best = [trial.number for trial in best_trials(sweep)]
    single = len(sweep.objectives) == 1
    return {
        "objectives": [{"name": objective.name, "mode": objective.mode} for objective in sweep.objectives],
        "directions": [direction.name.lower() for direction in sweep.study.directions],
        "best": best[0] if single and best else None,
        "front": None if single else best,
        "importance": dict(importance),
        "failed": {
            str(trial.number): trial.user_attrs.get("reason")
            for trial in sweep.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        },
    }


def importance_of(sweep: SweepStudy) -> dict[str, float]:
    """Importance of each key: its share of the first objective's variance that single keys explain.

    A functional analysis of variance (Hutter et al. 2014) of a random forest with a fixed seed. Empty with fewer than
    four finished trials, or where all are equally good.
    """
    trials = sweep.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(trials) < 4 or len({trial.values[0] for trial in trials}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(
        sweep.study, evaluator=evaluator, target=lambda trial: trial.values[0]
    )
    return {key: round(float(value), 4) for key, value in found.items()}


def write_table(sweep: SweepStudy, path: Path) -> None:
    """Write one row per trial: number, state, values, epochs, what was drawn, seconds, reason."""
    names = [objective.name for objective in sweep.objectives]
    keys = list(sweep.space.distributions)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(csv_cell, ["number", "state", *names, "epochs", *keys, "seconds", "reason"]))
        for trial in sweep.trials:
            folder = sweep.path / str(trial.number)
            values = trial.values or [None] * len(names)
            seconds = RunFolder(folder).state.get("seconds") if (folder / CONFIG).is_file() else None
            drawn = [trial.params.get(key) for key in keys]
            ending = [seconds, trial.user_attrs.get("reason")]
            epochs = len(history_rows(folder))
            row = [trial.number, trial.state.name.lower(), *values, epochs, *drawn, *ending]
            writer.writerow(map(csv_cell, row))
