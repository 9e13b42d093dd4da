"""Values of every classification metric, for any number of weightings of the patients at once.

A patient's weight is how often the patient counts: all ones give the plain value, the counts of a resample give a
bootstrap replicate. Value and interval come from the same code, and so belong together.

R weightings, G patients, N samples, K classes. An undefined value is NaN.
"""

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.classification.calibration import CalibrationGaps, signed_root
from vesalius.metrics.groups import sum_by_group
from vesalius.metrics.names import CALIBRATION, CLASSIFICATION_METRICS, COUNTING, RANKING
from vesalius.metrics.predictions import Predictions

Floats = NDArray[np.float64]

#: Numbers held in memory at once for replicates of ranking metrics (4 MB per array).
CHUNK = 500_000


def weighted_metrics(
    predictions: Predictions, weights: Floats, names: Iterable[str] = CLASSIFICATION_METRICS
) -> dict[str, Floats]:
    """Every metric under every weighting.

    Args:
        predictions: the table.
        weights: (R, G) how often each patient counts; whole numbers or not, at least 0.
        names: which metrics, without class names.

    Returns:
        (R,) values by name: `recall` is the mean over classes, `recall/nodule` that of one class.
    """
    wanted = set(names)
    values: dict[str, Floats] = {}
    if ranking := [name for name in RANKING if name in wanted]:
        values |= _ranking(predictions, weights, ranking)
    if wanted & set(COUNTING):
        values |= _counting(predictions, weights)
    if wanted & set(CALIBRATION):
        values |= _calibration(predictions, weights)
    return {name: value for name, value in values.items() if name.split("/")[0] in wanted}


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient; NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan))


def _counting(p: Predictions, weights: Floats) -> dict[str, Floats]:
    """Metrics of the confusion matrix. In `precision` (the mean) a class never predicted has 0, as in scikit-learn."""

    def counts(flags: NDArray[np.bool_]) -> Floats:
        return weights @ sum_by_group(flags, p.groups, p.group_count)

    total = counts(np.ones((len(p.groups), 1), dtype=np.bool_))
    true, predicted, both = counts(p.truth), counts(p.decided), counts(p.truth & p.decided)
    neither = total - true - predicted + both
    by_class = {
        "recall": _divide(both, true),
        "precision": _divide(both, predicted),
        "specificity": _divide(neither, total - true),
        "f1": np.where(true > 0, _divide(2 * both, true + predicted), np.nan),
    }
    values = {
        f"{metric}/{label}": array[:, k] for metric, array in by_class.items() for k, label in enumerate(p.classes)
    }
    means = {metric: array.mean(axis=1) for metric, array in by_class.items()}
    means["precision"] = np.where((true > 0) & np.isnan(by_class["precision"]), 0.0, by_class["precision"])
    means["precision"] = np.where(true > 0, means["precision"], np.nan).mean(axis=1)
    if p.single_label:
        means["accuracy"] = (both.sum(axis=1, keepdims=True) / total)[:, 0]
        means["balanced_accuracy"] = means["recall"]
    else:
        means["accuracy"] = ((both + neither) / total).mean(axis=1)
        means["balanced_accuracy"] = (means["recall"] + means["specificity"]) / 2
    return means | values


def _calibration(p: Predictions, weights: Floats) -> dict[str, Floats]:
    """ECE and Brier score.

    `ece`: root mean square gap between the confidence in the most probable class and the share of correct predictions,
    over 15 equal bins; for multilabel of the more probable decision per label, squares averaged over labels. Chance
    can put its square below 0, whose root is returned with the sign (`classification/calibration.py`).

    `brier`: squared distance of the probabilities from the truth, summed over classes, mean over samples (Brier 1950),
    in 0..2; for multilabel the mean over labels of the squared error, in 0..1.
    """
    squared = (p.probabilities - p.truth) ** 2
    squared = squared.sum(axis=1) if p.single_label else squared.mean(axis=1)
    total = weights @ np.bincount(p.groups, minlength=p.group_count)
    return {
        "ece": signed_root(CalibrationGaps.of(p).mean_square(weights)),
        "brier": (weights @ sum_by_group(squared[:, None], p.groups, p.group_count))[:, 0] / total,
    }


def _ranking(p: Predictions, weights: Floats, names: Collection[str]) -> dict[str, Floats]:
    """AUROC, average precision or both, one class against the rest; `auroc` of a binary task is that of class 1."""
    values: dict[str, Floats] = {}
    for k, label in enumerate(p.classes):
        of_class = _rank_one(p.truth[:, k], p.probabilities[:, k], p.groups, weights, names)
        values |= {f"{name}/{label}": value for name, value in of_class.items()}
    averaged = p.classes[1:] if p.task == "binary" else p.classes
    means = {name: np.mean([values[f"{name}/{label}"] for label in averaged], axis=0) for name in names}
    return means | values


def _rank_one(
    truth: NDArray[np.bool_], scores: Floats, groups: NDArray[np.int64], weights: Floats, names: Collection[str]
) -> dict[str, Floats]:
    """(R,) `auroc` (ties count half) and `average_precision` (sum of precision times step of recall) of one class."""
    order = np.argsort(-scores, kind="stable")
    truth, groups = truth[order], groups[order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    values = {name: np.empty(len(weights)) for name in names}
    rows = max(1, CHUNK // len(scores))
    for first in range(0, len(weights), rows):
        chunk = slice(first, first + rows)
        drawn = weights[chunk][:, groups]
        everyone, positives = drawn, drawn * truth
        if len(starts) < len(scores):  # equal scores count as one step
            everyone = np.add.reduceat(everyone, starts, axis=1)
            positives = np.add.reduceat(positives, starts, axis=1)
        hits = positives.cumsum(axis=1)
        if "auroc" in names:
            negatives = everyone - positives
            pairs = (negatives * (hits - positives / 2)).sum(axis=1)
            values["auroc"][chunk] = _divide(pairs, hits[:, -1] * negatives.sum(axis=1))
        if "average_precision" in names:
            precision = hits / np.maximum(everyone.cumsum(axis=1), 1e-300)
            values["average_precision"][chunk] = _divide((positives * precision).sum(axis=1), hits[:, -1])
    return values
