"""Final numbers of a classifier, computed from its predictions table alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vesalius.config.facts import Task
from vesalius.metrics.entry import Interval, MetricEntry, metric_entry, missing_entry
from vesalius.metrics.intervals.auroc import auroc_interval
from vesalius.metrics.intervals.clustered import (
    Floats,
    bootstrap_interval,
    bootstrap_weights,
    effective_groups,
    proportion_interval,
)
from vesalius.metrics.no_skill import no_skill_values
from vesalius.metrics.predictions import Decision, Predictions, read_predictions
from vesalius.metrics.statistics import CALIBRATION, COUNTING, RANKING, weighted_metrics

ORDER = (*RANKING, *COUNTING, *CALIBRATION)


def classification_metrics(
    predictions: pd.DataFrame,
    *,
    task: Task,
    classes: Sequence[str],
    decision: Decision = "argmax",
    seed: int = 0,
) -> dict[str, MetricEntry]:
    """Every metric with its 95 % interval over patients and its no-skill value.

    `auroc` and `average_precision` of a binary task are those of class 1, of other tasks the mean over classes against
    the rest; `recall`, `precision`, `specificity` and `f1` are means over classes; `accuracy` of a multilabel task is
    the mean over labels, as MedMNIST has it. Each also comes per class, as `recall/nodule`.

    Args:
        predictions: the table; the order of its rows does not matter.
        task: what the classes are to each other.
        classes: class names, in the order of the model's outputs.
        decision: `argmax`, or a threshold chosen on validation data (`thresholds.choose_threshold`).
        seed: of the bootstrap.

    Returns:
        By name, in the order to show them, plain numbers ready for JSON: `value`, `ci95` (low, high), `n` (samples
        that the number rests upon), `groups` (their patients), `method` (of the interval), `no_skill`. A metric that
        cannot be computed, or has no interval, has value and interval None and a `reason`.

    Raises:
        InputError: for a table that `predictions.check_predictions` refuses.
    """
    p = read_predictions(predictions, task=task, classes=classes, decision=decision)
    values = weighted_metrics(p, np.ones((1, p.group_count)))
    weights = bootstrap_weights(p.group_count, p.truth.size, seed)
    replicates = weighted_metrics(p, weights, ("average_precision", "precision", "f1", "ece", "brier"))
    no_skill = no_skill_values(p)
    return {
        name: _metric(p, name, float(values[name][0]), replicates.get(name), no_skill[name])
        for name in _ordered(values)
    }


def metric_names(classes: Sequence[str]) -> list[str]:
    """What `classification_metrics` gives where each sample has one class of these."""
    alone = [name for name in (*RANKING, *COUNTING) if name not in ("accuracy", "balanced_accuracy")]
    return [*ORDER, *(f"{name}/{label}" for name in alone for label in classes)]


def _ordered(names: Sequence[str] | dict[str, Floats]) -> list[str]:
    """Overall metrics first, then per class, each as a person reads them."""
    return sorted(names, key=lambda name: ("/" in name, ORDER.index(name.split("/")[0])))


def _metric(p: Predictions, name: str, value: float, replicates: Floats | None, no_skill: float) -> MetricEntry:
    """The M of DESIGN's `metrics.json`."""
    family, _, label = name.partition("/")
    columns = [p.classes.index(label)] if label else list(range(len(p.classes)))
    member = _member(p, family, columns) if label else np.ones((len(p.groups), 1), dtype=np.bool_)
    counted = member.any(axis=1)
    n, groups = int(counted.sum()), len(np.unique(p.groups[counted]))
    if reason := why_undefined(p, family, columns):
        return missing_entry(reason, n=n, groups=groups, no_skill=no_skill)
    interval = _interval(p, family, columns, bool(label), value, replicates)
    return metric_entry(value, interval, n=n, groups=groups, no_skill=no_skill)


def why_undefined(p: Predictions, family: str, columns: Sequence[int]) -> str | None:
    """Why a metric, or its interval, cannot be computed; None where it can."""
    if family in ("accuracy", "ece", "brier"):
        few = p.group_count < 2 and family != "accuracy"
        return "one patient only: no interval over patients" if few else None
    for k in columns:
        label = p.classes[k]
        has = p.truth[:, k]
        sides = {"of": has, "without": ~has}
        if family == "recall" or (family == "balanced_accuracy" and p.single_label):
            del sides["without"]
        elif family == "specificity":
            del sides["of"]
        for word, side in sides.items():
            patients = len(np.unique(p.groups[side]))
            which = (
                f"of class {p.classes[1 - k]}" if p.task == "binary" and word == "without" else f"{word} class {label}"
            )
            if patients == 0:
                return f"no sample {which}"
            if patients == 1 and family in ("auroc", "average_precision", "f1"):
                return f"samples {which} come from one patient: no interval over patients"
        if family == "precision" and len(columns) == 1 and not p.decided[:, k].any():
            return f"no sample was predicted as {label}"
    return None


def _member(p: Predictions, family: str, columns: Sequence[int]) -> Any:
    """(N, len(columns)) samples in the denominator."""
    return {
        "recall": p.truth[:, columns],
        "specificity": ~p.truth[:, columns],
        "precision": p.decided[:, columns],
    }.get(family, np.ones((len(p.groups), len(columns)), dtype=np.bool_))


def _interval(
    p: Predictions, family: str, columns: list[int], one_class: bool, value: float, replicates: Floats | None
) -> Interval:
    """The interval that fits the kind of metric (`intervals.py` and `auroc.py` say why)."""
    right = p.truth == p.decided
    if family in RANKING and p.task == "binary" and not one_class:
        columns = [1]
    if family == "auroc":
        return auroc_interval(p.truth[:, columns], p.probabilities[:, columns], p.groups)
    if family == "accuracy":
        if p.single_label:
            right = right.all(axis=1, keepdims=True)
        # Every label of a sample is one decision, and all of them belong to its patient.
        flat, groups = right.reshape(-1, 1), np.repeat(p.groups, right.shape[1])
        return proportion_interval(flat, np.ones_like(flat), groups)
    if family == "balanced_accuracy" and not p.single_label:
        return proportion_interval(np.hstack([right, right]), np.hstack([p.truth, ~p.truth]), p.groups)
    if family in ("recall", "specificity", "balanced_accuracy") or (family == "precision" and one_class):
        family = "recall" if family == "balanced_accuracy" else family
        return proportion_interval(right[:, columns], _member(p, family, columns), p.groups)
    assert replicates is not None
    if family in ("ece", "brier"):
        everyone = effective_groups(np.ones(len(p.groups), dtype=np.bool_), p.groups)
        upper = 2.0 if family == "brier" and p.single_label else 1.0
        return bootstrap_interval(value, replicates, everyone - 1, upper=upper, logit=False)
    patients = min(effective_groups(p.truth[:, k], p.groups) for k in columns)
    return bootstrap_interval(value, replicates, patients - 1)
