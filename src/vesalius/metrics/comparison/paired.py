"""Difference between two models on the same patients."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vesalius.config.facts import Task
from vesalius.metrics.comparison.repeats import repeated_difference
from vesalius.metrics.entry import MetricEntry, missing_entry
from vesalius.metrics.predictions import Decision
from vesalius.metrics.regression import NO_SPREAD


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    metric: str,
    task: Task,
    classes: Sequence[str],
    decision: Decision = "argmax",
    decision_second: Decision | None = None,
    seed: int = 0,
) -> MetricEntry:
    """First minus second, with an interval over patients: `repeated_difference` of one table each.

    Args:
        first: predictions table, such as the model's.
        second: predictions table of the same samples in any order, such as a baseline's.
        metric: name such as `auroc`, `recall/nodule` or `mae`.
        task: how classes relate to a sample, or `regression`.
        classes: names of the classes or continuous targets.
        decision: how `first` is decided (see `classification_metrics`).
        decision_second: how `second` is decided; None: as `first`.
        seed: of the bootstrap.

    Returns:
        An entry with no-skill value 0: no difference. Of regressions it is missing where all resamples give the same
        difference, which does not show how it varies.

    Raises:
        InputError: for an unknown metric, or tables of different samples or truths.
    """
    other = decision if decision_second is None else decision_second
    tables = [[_with_threshold(first, decision)], [_with_threshold(second, other)]]
    entry = repeated_difference(*tables, metric=metric, task=task, classes=classes, seed=seed)
    if task == "regression" and entry["value"] and entry["ci95"] and np.ptp(entry["ci95"]) == 0:
        return missing_entry(NO_SPREAD, n=entry["n"], groups=entry["groups"], no_skill=0.0)
    return entry


def _with_threshold(table: pd.DataFrame, decision: Decision) -> pd.DataFrame:
    return (
        table.drop(columns="threshold", errors="ignore") if decision == "argmax" else table.assign(threshold=decision)
    )
