"""Difference between two models on the same patients."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Task
from vesalius.metrics.classification import why_undefined
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.clustered import bootstrap_error, bootstrap_weights, effective_groups, t_quantile
from vesalius.metrics.predictions import Decision, read_predictions, target_columns
from vesalius.metrics.statistics import FAMILIES, weighted_metrics


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
    """First minus second, with an interval over patients.

    Both models are judged on the same drawn patients, so what makes a case hard for both cancels out; two overlapping
    intervals of single models do not say that they are equal. Cluster bootstrap, t interval.

    Args:
        first: predictions table, such as the model's.
        second: predictions table of the same samples in any order, such as a baseline's.
        metric: name such as `auroc` or `recall/nodule`.
        task: what the classes are to each other.
        classes: class names.
        decision: how `first` is decided (see `classification_metrics`).
        decision_second: how `second` is decided; the same where not given.
        seed: of the bootstrap.

    Returns:
        As the entries of `classification_metrics`, with no-skill 0: no difference.

    Raises:
        InputError: for an unknown metric, or tables of different samples or truths.
    """
    family, _, label = metric.partition("/")
    if family not in FAMILIES or (label and (label not in classes or family in ("accuracy", "ece", "brier"))):
        raise InputError(f"metric {metric}: unknown; use one of {', '.join(FAMILIES)}, or recall/<class> and the like.")
    other = decision if decision_second is None else decision_second
    first, second = (table.sort_values("sample_id", ignore_index=True) for table in (first, second))
    a = read_predictions(first, task=task, classes=classes, decision=decision, name="first predictions")
    b = read_predictions(second, task=task, classes=classes, decision=other, name="second predictions")
    shared = ["sample_id", "group_id", *target_columns(task, classes)]
    if len(first) != len(second) or (first[shared].astype(str) != second[shared].astype(str)).any(axis=None):
        raise InputError(
            "The two predictions tables differ in samples, patients or truth; compare models on one split."
        )

    columns = [classes.index(label)] if label else list(range(len(classes)))
    reason = why_undefined(a, family, columns) or why_undefined(b, family, columns)
    if a.group_count < 2:
        reason = "one patient only: no interval over patients"
    if reason:
        return missing_entry(reason, n=len(first), groups=a.group_count, no_skill=0.0)

    def under(weights: np.ndarray) -> np.ndarray:
        name = [family]
        return weighted_metrics(a, weights, name)[metric] - weighted_metrics(b, weights, name)[metric]

    value = float(under(np.ones((1, a.group_count)))[0])
    everyone = effective_groups(np.ones(len(first), dtype=np.bool_), a.groups)
    error = bootstrap_error(under(bootstrap_weights(a.group_count, a.truth.size, seed)), everyone - 1)
    half = t_quantile(everyone - 1) * error
    interval = Interval(value - half, value + half, "paired cluster bootstrap")
    return metric_entry(value, interval, n=len(first), groups=a.group_count, no_skill=0.0)
