"""Difference between two models on the same patients."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vesalius.config.facts import Task
from vesalius.metrics.comparison.repeats import repeated_difference
from vesalius.metrics.entry import MetricEntry, missing_entry
from vesalius.metrics.regression import NO_SPREAD


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, *, metric: str, task: Task, classes: Sequence[str], seed: int = 0
) -> MetricEntry:
    """First minus second, with an interval over patients: `repeated_difference` of one table each.

    Args:
        first: predictions table, such as the model's.
        second: predictions table of the same samples in any order, such as a baseline's.
        metric: as in `repeated_difference`.
        task: as in `repeated_difference`.
        classes: as in `repeated_difference`.
        seed: of the bootstrap.

    Returns:
        An entry with no-skill value 0: no difference. Of regressions it is missing where all resamples give the same
        difference, which does not show how it varies.

    Raises:
        InputError: for an unknown metric, or tables of different samples or truths.
    """
    entry = repeated_difference([first], [second], metric=metric, task=task, classes=classes, seed=seed)
    if task == "regression" and entry["value"] and entry["ci95"] and np.ptp(entry["ci95"]) == 0:
        return missing_entry(NO_SPREAD, n=entry["n"], groups=entry["groups"], no_skill=0.0)
    return entry
