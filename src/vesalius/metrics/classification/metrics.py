"""Final numbers of a classifier, computed from nothing but its predictions table."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.facts import Task
from vesalius.metrics.classification.calibration import CalibrationGaps
from vesalius.metrics.classification.no_skill import no_skill_values
from vesalius.metrics.classification.weighted import Floats, weighted_metrics
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.groups import effective_groups
from vesalius.metrics.intervals.auroc import auroc_interval
from vesalius.metrics.intervals.clustered import bootstrap_interval, bootstrap_weights, proportion_interval
from vesalius.metrics.names import CLASSIFICATION_METRICS, COUNTING, OVERALL_ONLY, RANKING
from vesalius.metrics.predictions import Decision, Predictions, read_predictions

_BOOTSTRAPPED = {"average_precision", "precision", "f1", "brier"}


def classification_metrics(
    predictions: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    decision: Decision = "argmax",
    seed: int = 0,
    names: Collection[str] = CLASSIFICATION_METRICS,
) -> dict[str, MetricEntry]:
    """Every metric with its 95 % interval over patients and its no-skill value.

    `auroc` and `average_precision` of a binary task are those of class 1, of other tasks the mean over classes against
    the rest; `recall`, `precision`, `specificity` and `f1` are means over classes; `accuracy` of a multilabel task is
    the mean over labels, as MedMNIST has it. Each also comes per class, as `recall/nodule`.

    Args:
        predictions: the table; the order of its rows does not matter.
        task: how classes relate to a sample (`vesalius.config.facts.Facts`).
        classes: class names, in the order of the model's outputs.
        decision: `argmax`, or a threshold chosen on validation data (`choose_threshold`).
        seed: of the bootstrap.
        names: which metrics, without class names.

    Returns:
        Entries by name, in the order to show them. `n` and `groups` count the samples in the metric's denominator and
        their patients. A metric that cannot be computed, or has no interval, has value and interval None and a
        `reason`.

    Raises:
        InputError: for a table that `predictions.check_predictions` refuses.
    """
    p = read_predictions(predictions, task=task, classes=classes, decision=decision)
    values = weighted_metrics(p, np.ones((1, p.group_count)), names)
    resampled = _BOOTSTRAPPED & set(names)
    weights = bootstrap_weights(p.group_count, p.truth.size, seed) if resampled else np.ones((1, p.group_count))
    replicates = weighted_metrics(p, weights, resampled)
    no_skill = no_skill_values(p)
    return {
        name: _entry(p, name, float(values[name][0]), replicates.get(name), no_skill[name])
        for name in _in_order(values)
    }


def metric_names(classes: Sequence[str]) -> list[str]:
    """The metrics that `classification_metrics` gives where each sample has one class of these."""
    per_class = [name for name in (*RANKING, *COUNTING) if name not in ("accuracy", "balanced_accuracy")]
    return [*CLASSIFICATION_METRICS, *(f"{name}/{label}" for name in per_class for label in classes)]


def _in_order(names: Iterable[str]) -> list[str]:
    """Overall metrics first, then those of single classes."""
    return sorted(names, key=lambda name: ("/" in name, CLASSIFICATION_METRICS.index(name.split("/")[0])))


def _entry(p: Predictions, name: str, value: float, replicates: Floats | None, no_skill: float | None) -> MetricEntry:
    metric, _, label = name.partition("/")
    columns = [p.classes.index(label)] if label else list(range(len(p.classes)))
    member = _denominator(p, metric, columns) if label else np.ones((len(p.groups), 1), dtype=np.bool_)
    counted = member.any(axis=1)
    n, groups = int(counted.sum()), len(np.unique(p.groups[counted]))
    if reason := why_undefined(p, metric, columns):
        return missing_entry(reason, n=n, groups=groups, no_skill=no_skill)
    value = max(value, 0.0)  # an estimate of `ece` falls below 0 by chance
    interval = _interval(p, metric, columns, bool(label), value, replicates)
    entry = metric_entry(value, interval, n=n, groups=groups, no_skill=no_skill)
    if metric == "auroc" and interval.high < 0.5:
        entry["note"] = "worse than chance: are labels exchanged?"
    return entry


def why_undefined(p: Predictions, metric: str, columns: Sequence[int]) -> str | None:
    """Why a metric, or its interval, cannot be computed; None where it can.

    Args:
        p: predictions.
        metric: its name without a class.
        columns: places of the classes that it is computed over.
    """
    if metric in OVERALL_ONLY:
        if p.group_count < 2 and metric != "accuracy":
            return "one patient only: no interval over patients"
        if metric == "ece" and not CalibrationGaps.of(p).defined:
            return "no two patients have predictions in one bin of confidence"
        return None
    for k in columns:
        label = p.classes[k]
        positive = p.truth[:, k]
        sides = {"of": positive, "without": ~positive}
        if metric == "recall" or (metric == "balanced_accuracy" and p.single_label):
            del sides["without"]
        elif metric == "specificity":
            del sides["of"]
        for word, side in sides.items():
            patients = len(np.unique(p.groups[side]))
            which = (
                f"of class {p.classes[1 - k]}" if p.task == "binary" and word == "without" else f"{word} class {label}"
            )
            if patients == 0:
                return f"no sample {which}"
            if patients == 1 and metric in ("auroc", "average_precision", "f1"):
                return f"samples {which} come from one patient: no interval over patients"
        if metric == "precision" and len(columns) == 1 and not p.decided[:, k].any():
            return f"no sample was predicted as {label}"
    return None


def _denominator(p: Predictions, metric: str, columns: Sequence[int]) -> Any:
    """(N, len(columns)) samples in the denominator."""
    return {
        "recall": p.truth[:, columns],
        "specificity": ~p.truth[:, columns],
        "precision": p.decided[:, columns],
    }.get(metric, np.ones((len(p.groups), len(columns)), dtype=np.bool_))


def _interval(
    p: Predictions, metric: str, columns: list[int], one_class: bool, value: float, replicates: Floats | None
) -> Interval:
    """The interval that fits the kind of metric (for the reasons see `intervals/clustered.py` and `auroc.py`)."""
    correct = p.truth == p.decided
    if metric in RANKING and p.task == "binary" and not one_class:
        columns = [1]
    if metric == "auroc":
        return auroc_interval(p.truth[:, columns], p.probabilities[:, columns], p.groups)
    if metric == "ece":
        return CalibrationGaps.of(p).interval()
    if metric == "accuracy":
        if p.single_label:
            correct = correct.all(axis=1, keepdims=True)
        # Every label of a sample is one decision, and all of them belong to its patient.
        flat, groups = correct.reshape(-1, 1), np.repeat(p.groups, correct.shape[1])
        return proportion_interval(flat, np.ones_like(flat), groups)
    if metric == "balanced_accuracy" and not p.single_label:
        return proportion_interval(np.hstack([correct, correct]), np.hstack([p.truth, ~p.truth]), p.groups)
    if metric in ("recall", "specificity", "balanced_accuracy") or (metric == "precision" and one_class):
        metric = "recall" if metric == "balanced_accuracy" else metric
        return proportion_interval(correct[:, columns], _denominator(p, metric, columns), p.groups)
    assert replicates is not None
    if metric == "brier":
        patients = effective_groups(np.ones(len(p.groups), dtype=np.bool_), p.groups)
        upper = 2.0 if p.single_label else 1.0
        return bootstrap_interval(value, replicates, patients - 1, upper=upper, logit=False)
    patients = min(effective_groups(p.truth[:, k], p.groups) for k in columns)
    return bootstrap_interval(value, replicates, patients - 1)
