"""Difference between two models on the same patients."""

from collections.abc import Sequence

import pandas as pd

from vesalius.config.facts import Task
from vesalius.metrics.comparison.repeats import repeated_difference
from vesalius.metrics.entry import MetricEntry


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
        As `repeated_difference`.

    Raises:
        InputError: for an unknown metric, or tables of different samples or truths.
    """
    return repeated_difference([first], [second], metric=metric, task=task, classes=classes, seed=seed)
